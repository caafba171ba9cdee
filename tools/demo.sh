#!/usr/bin/env bash
# All three studies on the embedded corpus; ends with a short table and the report's path.
# Further arguments go to `jaxemo study`, for example --workdir=DIR or --config.training.epochs=3.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
jaxemo study --config=configs/demo.py --workdir=runs/demo "$@"
