#!/usr/bin/env bash
# What trimming silence and cropping cost a probe: four runs, and one page that sets them side by side.
#   bash tools/measure_excerpts.sh RAVDESS_DIR [WORKDIR] [ENCODERS]
set -euo pipefail
ravdess=$(realpath "$1")
work=$(realpath -m "${2:-runs/excerpts}")
encoders=${3:-acoustic,small/both}
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD
declare -A excerpts=(
  [whole]="whole 0" [trimmed]="whole 40" [cropped]="middle 0" [trimmed_and_cropped]="middle 40"
)
for name in whole trimmed cropped trimmed_and_cropped; do
  read -r excerpt trim <<<"${excerpts[$name]}"
  "$python" -m jaxemo probe --config=ravdess_quick --config.corpus.audio_dir="$ravdess" \
    --config.encoders="$encoders" --config.audio.excerpt="$excerpt" --config.audio.crop_seconds=2.0 \
    --config.audio.trim_silence_db="$trim" "--config.layers.controls=()" "--config.layers.comparisons=()" \
    --workdir="$work/$name"
done
"$python" -m jaxemo report "$work"/{whole,trimmed,cropped,trimmed_and_cropped}/results.json --workdir="$work/together"
