"""Whether two results files hold the same figures; their provenance may differ.

Command: python tools/compare_results.py OLD/results.json NEW/results.json [--tolerance=1e-6]
Prints one line per difference (at most 20) and the number of figures compared; exit code 1 if any differs.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINES_SHOWN = 20


def main() -> int:
    """Compares; 1 if a figure differs by more than the tolerance."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs=2, type=Path, metavar="results.json")
    parser.add_argument("--tolerance", type=float, default=0.0, help="relative; 0: equal bits")
    arguments = parser.parse_args()
    old, new = (json.loads(path.read_text(encoding="utf-8")) for path in arguments.files)
    found = [
        line
        for section in sorted({*old, *new} - {"provenance"})
        for line in differences(
            old.get(section), new.get(section), section, tolerance=arguments.tolerance
        )
    ]
    print("\n".join(found[:LINES_SHOWN]))
    print(f"{len(found)} differences; sections {', '.join(sorted({*new} - {'provenance'}))}")
    return int(bool(found))


def differences(old: Any, new: Any, place: str, *, tolerance: float) -> Iterator[str]:
    """One line for each value that differs, with its place."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(
                old.get(key), new.get(key), f"{place}.{key}", tolerance=tolerance
            )
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, pair in enumerate(zip(old, new, strict=True)):
            yield from differences(*pair, f"{place}[{index}]", tolerance=tolerance)
    elif isinstance(old, float) and isinstance(new, float):
        if not math.isclose(old, new, rel_tol=tolerance, abs_tol=tolerance):
            yield f"{place}: {old!r} became {new!r}"
    elif old != new:
        yield f"{place}: {str(old)[:60]} became {str(new)[:60]}"


if __name__ == "__main__":
    sys.exit(main())
