"""Distances between two folders for a terminal: one line per layer, and the files that belong least."""

from collections import defaultdict
from typing import Any

from jaxemo.results.schema import FolderRow

_COLUMNS = ("layer", "FAD", "FAD-files", "+-", "KAD", "frames", "d", "rank", "")
_UNKNOWN = "-"


def folder_table(results: dict[str, Any]) -> str:
    """The section `folders` as aligned columns; reference / candidate where there are two figures."""
    body = [_COLUMNS, *(_cells(row) for row in results["folders"])]
    widths = [max(len(line[column]) for line in body) for column in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in body
    ]
    if any(row.small_sample for row in results["folders"]):
        lines.append("* fewer than 2 d frames: FAD is mostly small-sample bias")
    lines.append("FAD-files: extrapolated to infinitely many files, in fewer dimensions")
    return "\n".join(lines)


def worst_files(file_scores: list[dict[str, Any]], *, count: int) -> list[tuple[str, float]]:
    """The files whose scores are highest on average over layers, highest first."""
    scores = defaultdict(list)
    for row in file_scores:
        scores[row["path"]].append(row["score"])
    means = {path: sum(values) / len(values) for path, values in scores.items()}
    return sorted(means.items(), key=lambda item: -item[1])[:count]


def _cells(row: FolderRow) -> tuple[str, ...]:
    return (
        str(row.layer),
        *(
            _number(getattr(row, key))
            for key in ("FAD", "FAD_infinite_files", "FAD_infinite_files_error", "KAD")
        ),
        _pair(row, "frames"),
        str(row.d),
        _pair(row, "rank"),
        "*" if row.small_sample else "",
    )


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4g}"


def _pair(row: FolderRow, name: str) -> str:
    sides = (getattr(row, f"{name}_reference"), getattr(row, f"{name}_candidate"))
    return " / ".join(_UNKNOWN if side is None else str(side) for side in sides)
