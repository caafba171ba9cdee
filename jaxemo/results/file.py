"""results.json and tables beside it, each written whole or not at all."""

import csv
import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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
    _write(json.dumps(contents, indent=1, allow_nan=False) + "\n", path)


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


def write_csv(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes flat rows of the same keys under one header line."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _write(text.getvalue(), path)


def _write(text: str, path: Path) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
