#!/usr/bin/env bash
# The causal study: nine small encoders, then all three studies over them.
#   bash tools/pretraining_cause.sh RAVDESS_DIR [WORKDIR]      needs what tools/pretrain_small.sh needs
# Music has no prompts: speech and music are matched in hours, and all audio is 16 kHz at one level.
# Each training has one core to itself, which takes two thirds of the time of all cores for one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
ravdess=$1
work=$(realpath -m "${2:-runs/cause}")
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD:$PWD/tools work python
"$python" tools/small_encoders/make_audio.py --out="$work/audio" --hours=1.2

train() { # SEED KIND, on the core of its place $slot
  local seed=$1 kind=$2 folders=$work/audio/$2*1
  [ "$kind" = both ] && folders=$work/audio/speech*1,$work/audio/music*1
  [ -f "$work/$kind-$seed/model.safetensors" ] && return
  local core
  core=$("$python" -c "import os; print(sorted(os.sched_getaffinity(0))[$slot])")
  taskset -c "$core" "$python" -m jaxemo pretrain --config=demo --workdir="$work/$kind-$seed" \
    --config.seed="$seed" --config.pretrain.folders="$folders" --config.pretrain.steps=2000 \
    --config.pretrain.objective=mert --config.pretrain.regressed=log_mel \
    --config.pretrain.unmasked_weight=0.5 --config.pretrain.stem_width=32 \
    --config.pretrain.batch_size=8 --config.pretrain.learning_rate=0.0015
}
export -f train
printf '%s\n' {0,1,2}\ {speech,music,both} |
  xargs -P "$(nproc)" --process-slot-var=slot -L 1 bash -euc 'train "$@"' train

"$python" -m jaxemo study --config=configs/pretraining_cause.py:"$work" \
  --config.corpus.audio_dir="$ravdess" --workdir="$work/study"
