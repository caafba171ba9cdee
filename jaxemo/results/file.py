"""results.json and tables beside it, each written whole or not at all."""

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np


def write_results(results: dict[str, Any], path: Path) -> None:
    """Writes the results beside `path` first and renames, so that an old file is never half lost.

    Raises:
      ValueError: For NaN or infinity: an unknown figure is None.
    """
    text = json.dumps(results, indent=1, allow_nan=False, default=_plain)
    _write(text + "\n", path)


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


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value: {value!r}")
