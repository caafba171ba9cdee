"""results.json: strict JSON, written whole or not at all."""

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
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no JSON value: {value!r}")
