#!/usr/bin/env bash
# Makes the small encoders of the package (small/speech, small/music, small/both) from nothing.
#   bash tools/pretrain_small.sh [WORKDIR]      needs espeak-ng, ffmpeg and Debian's apt-get
# The budget is in steps, so that the weights do not depend on the machine's speed; whatever is there already
# (audio, snapshots, encoders) is not made again.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${1:-runs/small}")
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD:$PWD/tools
declare -A steps=([speech]=1100 [music]=1100 [both]=700)

bash tools/small_encoders/prompts.sh "$work/prompts"
"$python" tools/small_encoders/make_audio.py --out="$work/audio" --hours=1.2

declare -A folders=(
  [both]="$work/audio/speech*1,$work/prompts/speech*1,$work/audio/music*1,$work/audio/sung*1"
  [speech]="$work/audio/speech*1,$work/prompts/speech*1"
  [music]="$work/audio/music*1,$work/audio/sung*1"
)
for kind in speech music both; do
  [ -f "$work/$kind/model.safetensors" ] && continue
  "$python" -m jaxemo pretrain --config=demo --workdir="$work/$kind" \
    --config.pretrain.folders="${folders[$kind]}" --config.pretrain.steps="${steps[$kind]}" \
    --config.pretrain.objective=mert --config.pretrain.regressed=log_mel \
    --config.pretrain.unmasked_weight=0.5 --config.pretrain.stem_width=32 \
    --config.pretrain.batch_size=8 --config.pretrain.learning_rate=0.0015
done
"$python" tools/small_encoders/pack.py --runs="$work" --sources="$work/prompts/sources"
