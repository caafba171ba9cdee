"""Writes docs/results.schema.json and docs/results.md from the dataclasses of jaxemo/results.

Command: python tools/write_results_schema.py
"""

import json
from pathlib import Path

from jaxemo.results.describe import json_schema, schema_page

DOCS = Path(__file__).resolve().parent.parent / "docs"


def documents() -> dict[str, str]:
    """File name -> text."""
    schema = json.dumps(json_schema(), indent=1, ensure_ascii=False)
    return {"results.schema.json": schema + "\n", "results.md": schema_page()}


def main() -> None:
    """Writes every document."""
    for name, text in documents().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(DOCS / name)


if __name__ == "__main__":
    main()
