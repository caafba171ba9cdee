"""What the printed intervals cover and the printed tests find, on simulated corpora: a Markdown table.

    python tools/measure_coverage.py [--part=all --corpora=200 --seed=0]

Corpora are drawn from variance components that `tools/measure_components.py` measured on RAVDESS.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from simulation.distances import distance_lines
from simulation.scores import score_lines
from simulation.shifts import advantage_lines, encoder_lines, shift_lines, test_lines

PARTS = {
    "scores": score_lines,
    "shifts": shift_lines,
    "tests": test_lines,
    "advantage": advantage_lines,
    "encoders": encoder_lines,
    "distances": distance_lines,
}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--part", choices=("all", *PARTS), default="all")
    parser.add_argument("--corpora", type=int, default=200, help="simulated corpora per line")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| figure | corpora | measured | value | mean width |")
    print("| --- | --- | --- | --- | --- |")
    for part in PARTS if options.part == "all" else (options.part,):
        for line in PARTS[part](options.corpora, options.seed):
            width = "" if line.width is None else f"{line.width:.3g}"
            cells = (line.what, line.corpus, line.measure, f"{line.value:.3f}", width)
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
