#!/usr/bin/env bash
# The causal study: nine small encoders, then all three studies over them.
#   bash tools/pretraining_cause.sh RAVDESS_DIR [WORKDIR]      needs what tools/pretrain_small.sh needs
# Music has no prompts: speech and music are matched in hours, and all audio is 16 kHz at one level.
set -euo pipefail
cd "$(dirname "$0")/.."
ravdess=$1
work=$(realpath -m "${2:-runs/cause}")
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD:$PWD/tools
"$python" tools/small_encoders/make_audio.py --out="$work/audio" --hours=1.2
declare -A folders=(
  [speech]="$work/audio/speech*1"
  [music]="$work/audio/music*1"
  [both]="$work/audio/speech*1,$work/audio/music*1"
)
for seed in 0 1 2; do
  for kind in speech music both; do
    [ -f "$work/$kind-$seed/model.safetensors" ] && continue
    "$python" -m jaxemo pretrain --config=demo --workdir="$work/$kind-$seed" --config.seed=$seed \
      --config.pretrain.folders="${folders[$kind]}" --config.pretrain.steps=1100 \
      --config.pretrain.objective=mert --config.pretrain.regressed=log_mel \
      --config.pretrain.unmasked_weight=0.5 --config.pretrain.stem_width=32 \
      --config.pretrain.batch_size=8 --config.pretrain.learning_rate=0.0015
  done
done
"$python" -m jaxemo study --config=configs/pretraining_cause.py:"$work" \
  --config.corpus.audio_dir="$ravdess" --workdir="$work/study"
