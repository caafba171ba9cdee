#!/usr/bin/env bash
# Every test that is not marked slow or reference; further arguments go to pytest (-m slow, -k name, ...).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
if [ -z "${JAXEMO_RAVDESS:-}" ] && [ -d ../shared/ravdess ]; then
    JAXEMO_RAVDESS=$(cd ../shared/ravdess && pwd)
    export JAXEMO_RAVDESS
fi
# Tests of one group share expensive fixtures, so they stay in one worker.
python -m pytest -n auto --dist loadgroup "$@"
