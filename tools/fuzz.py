"""Spoilt inputs by the thousand: prints progress to stderr and one JSON object, last, to stdout.

    python tools/fuzz.py [--kind=all --count=2000 --seed=0 --start=0 --folder=DIR]
    python tools/fuzz.py --kind=audio --only=123

Valid inputs are made in code, spoilt (bits, bytes, numbers, JSON values, files), and read by the
library's own entry in a process of its own that is watched. What becomes of each:

    clean      refused by ValueError or OSError, in words that name the file or the key
    accepted   read, and what came of it is right or plausible
    wrong      read, but figures differ where they should not, or are not finite
    traceback  another exception, a refusal that names nothing, or a process that died
    hang       no answer within the kind's time
    memory     more memory than the kind's limit, on top of what the process had

An input is made again by its kind, seed and number: the last lines on stderr say which ones to look
at, one per cause. Exit code 1 if there are any.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fuzzing.campaign import Campaign, counts_of, print_causes
from fuzzing.kinds import KINDS
from fuzzing.outcomes import FAULTS


def main() -> int:
    arguments = _parser().parse_args()
    names = tuple(KINDS) if arguments.kind == "all" else (arguments.kind,)
    numbers = range(arguments.start, arguments.start + arguments.count // len(names))
    if arguments.only is not None:
        numbers = range(arguments.only, arguments.only + 1)
    os.environ.update(JAX_PLATFORMS="cpu", HF_HUB_OFFLINE="1", OPENBLAS_NUM_THREADS="1")
    with tempfile.TemporaryDirectory(prefix="jaxemo-fuzz-") as scratch:
        folder = Path(arguments.folder or scratch).resolve()
        reports = {
            name: Campaign(KINDS[name], folder, arguments.seed).run(numbers) for name in names
        }
    counts = {name: counts_of(findings) for name, findings in reports.items()}
    for findings in reports.values():
        print_causes(findings, seed=arguments.seed)
    limits = {name: KINDS[name].limits() for name in names}
    print(json.dumps({"seed": arguments.seed, "kinds": counts, "limits": limits}))
    return int(any(count[fault] for count in counts.values() for fault in FAULTS))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kind", choices=("all", *KINDS), default="all")
    parser.add_argument("--count", type=int, default=2000, help="inputs, of all kinds together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first input")
    parser.add_argument("--only", type=int, help="number of the one input to run")
    parser.add_argument("--folder", help="keeps valid inputs for the next run (default: none)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
