#!/usr/bin/env bash
# Makes the small encoders of the package (small/speech, small/music, small/both) from nothing.
#   bash tools/pretrain_small.sh [WORKDIR]      needs espeak-ng, ffmpeg and Debian's apt-get
# The budget is in steps, so that the weights do not depend on the machine's speed; whatever is there already
# (audio, snapshots, encoders) is not made again. Each training has one core to itself, which takes two thirds of
# the time of all cores for one after another.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(realpath -m "${1:-runs/small}")
python=${PYTHON:-.venv/bin/python}
export PYTHONPATH=$PWD:$PWD/tools work python

bash tools/small_encoders/prompts.sh "$work/prompts"
"$python" tools/small_encoders/make_audio.py --out="$work/audio" --hours=1.2

train() { # KIND STEPS, on the core of its place $slot
  local speech=$work/audio/speech*1,$work/prompts/speech*1 music=$work/audio/music*1,$work/audio/sung*1
  local both=$speech,$music
  [ -f "$work/$1/model.safetensors" ] && return
  local core
  core=$("$python" -c "import os; print(sorted(os.sched_getaffinity(0))[$slot])")
  taskset -c "$core" "$python" -m jaxemo pretrain --config=demo --workdir="$work/$1" \
    --config.pretrain.folders="${!1}" --config.pretrain.steps="$2" \
    --config.pretrain.objective=mert --config.pretrain.regressed=log_mel \
    --config.pretrain.unmasked_weight=0.5 --config.pretrain.stem_width=32 \
    --config.pretrain.batch_size=8 --config.pretrain.learning_rate=0.0015
}
export -f train
printf '%s\n' 'speech 3000' 'music 3000' 'both 700' |
  xargs -P "$(nproc)" --process-slot-var=slot -L 1 bash -euc 'train "$@"' train
"$python" tools/small_encoders/pack.py --runs="$work" --sources="$work/prompts/sources"
