"""results.json and tables beside it, each written whole or not at all."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxemo.data.files import write_whole
from jaxemo.results.checks import plain, results_from
from jaxemo.results.contents import SCHEMA_VERSION, Results


def write_results(results: Mapping[str, Any], path: Path) -> None:
    """Writes the results beside `path` first and renames, so that an old file is never half lost.

    Args:
      results: Sections by name, their rows of the schema's classes, and `provenance`.
      path: Where they go.

    Raises:
      ValueError: They do not fit the schema; NaN and infinity are named, an unknown figure is None.
    """
    contents = plain({"schema_version": SCHEMA_VERSION, **results})
    results_from(contents)
    write_whole(path, json.dumps(contents, indent=1, allow_nan=False) + "\n")


def read_results(path: Path | str) -> Results:
    """The typed contents of a results.json.

    Raises:
      FileNotFoundError: There is no such file.
      ValueError: It is no JSON object, or of another schema; the message says what to do.
    """
    path = Path(path)
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no results.json: {error}.") from error
    if not isinstance(contents, dict):
        raise ValueError(f"{path} is no results.json: it holds no object.")
    contents.setdefault("schema_version", "0")  # Before the first, files had no version.
    try:
        return results_from(contents)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes flat rows of the same keys under one header line; what is not known is empty.

    Text that a spreadsheet would take for a formula gets an apostrophe before it, and control
    characters are written as escapes.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([safe_cell(name) for name in rows[0]])
    writer.writerows([safe_cell(value) for value in row.values()] for row in rows)
    write_whole(path, text.getvalue())


def safe_cell(value: Any) -> Any:
    """The value as a CSV cell that no spreadsheet runs and no terminal obeys."""
    if not isinstance(value, str):
        return value
    shown = visible(value)
    if shown.startswith(("=", "+", "-", "@")) and not _is_number(shown):
        return "'" + shown
    return shown


def visible(text: Any) -> str:
    """The text with control, surrogate and direction-changing characters as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
