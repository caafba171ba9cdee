"""Tables of labels as corpora publish them: found below the folder, read row by row."""

import csv
import fnmatch
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from jaxemo.data.corpora.published import Tree


def files_like(tree: Tree, pattern: str) -> list[Path]:
    """The files of a folder whose path ends as a pattern of the shell says, sorted."""
    end = re.compile(rf"(?:.*/)?{fnmatch.translate(pattern)}")
    return [tree.root / name for name in sorted(tree.names) if end.match(name)]


def find_below(tree: Tree, *patterns: str) -> list[Path]:
    """The files of a folder that fit the first pattern that any fits, sorted.

    Raises:
      FileNotFoundError: None fits, said with the patterns.
    """
    for pattern in patterns:
        if found := files_like(tree, pattern):
            return found
    raise FileNotFoundError(
        f"{tree.root} has no {' or '.join(patterns)}, at any depth. The corpus's labels stand in it: "
        "give the folder above both audio and labels."
    )


def table_rows(path: Path, *, needed: Iterable[str], delimiter: str = ",") -> Iterator[dict]:
    """Rows of a CSV file by lower-case column, cells without spaces around them.

    Raises:
      ValueError: A column is missing.
    """
    text = path.read_bytes().decode("utf-8-sig", errors="replace")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    header = [column.strip().lower() for column in next(reader, [])]
    if missing := [column for column in needed if column not in header]:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}; found {', '.join(header) or 'nothing'}. "
            "Is it the published file?"
        )
    for cells in reader:
        if any(cells):
            yield dict.fromkeys(header, "") | {
                column: cell.strip() for column, cell in zip(header, cells, strict=False)
            }


def number(cell: str) -> float | None:
    """A rating; None for an empty cell or NaN."""
    return float(cell) if cell and cell.lower() != "nan" else None
