"""Rows of a manifest, whatever it is written as: CSV, JSON lines or Parquet, or audio with its labels.

All formats give the same: cells of text by lower-case column, and where the row stands. Audio that lies
inside a file is unpacked first (`unpacking.py`).
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.corpora.unpacking import (
    cells_of,
    dataset_rows,
    is_dataset_folder,
    parquet_rows,
    shard_rows,
    shards_of,
)

_JSON_LINES = (".jsonl", ".ndjson")
_DELIMITERS = ",;\t|"
# What every manifest has.
_KNOWN = {"path", "domain", "speaker"}
# Enough for the sniffer; a manifest of 100,000 rows has millions.
_SNIFFED_CHARACTERS = 16_384


class Row(NamedTuple):
    """One row: where it stands, its cells by column, and those beyond the header."""

    where: str
    cells: dict[str, str]
    beyond: str = ""


def manifest_rows(path: Path, unpack_dir: Path | None) -> list[Row]:
    """All rows of a manifest that are not blank.

    Args:
      path: A table, a tar file or a folder of them, or a folder that `datasets` saved.
      unpack_dir: Where audio goes that lies inside; None refuses such manifests.

    Raises:
      FileNotFoundError: There is no such manifest.
      ValueError: It cannot be read as what its name says.
    """
    if is_dataset_folder(path):
        return [Row(*row) for row in dataset_rows(path, unpack_dir)]
    if shards := shards_of(path):
        return [Row(*row) for row in shard_rows(shards, unpack_dir)]
    if not path.is_file():
        raise FileNotFoundError(f"manifest {path} does not exist or is no file.")
    if path.suffix.lower() == ".parquet":
        return [Row(*row) for row in parquet_rows(path, unpack_dir)]
    return list(_json_rows(path) if path.suffix.lower() in _JSON_LINES else _csv_rows(path))


def _text_of(path: Path, kind: str) -> str:
    try:
        # Excel writes a byte order mark, which utf-8-sig takes away.
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a {kind} file in UTF-8: {error}") from error


def _csv_rows(path: Path) -> Iterator[Row]:
    text = _text_of(path, "CSV")
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(text))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if len(lines) < 2:
        header = lines[0][1] if lines else []
        # Without a row, the columns alone can be said.
        yield Row("header", dict.fromkeys((column.lower() for column in header), ""))
        return
    header = [column.lower() for column in lines[0][1]]
    for number, cells in lines[1:]:
        # Cells beyond the header hint at an unquoted delimiter, which is reported.
        filled = [*cells, *[""] * (len(header) - len(cells))]
        beyond = ",".join(cells[len(header) :])
        yield Row(f"line {number}", dict(zip(header, filled, strict=False)), beyond)


def _delimiter(text: str) -> str:
    """The one that parts the header into columns that are known; else what the sniffer finds."""
    header, _, rest = text.lstrip("\r\n").partition("\n")
    if not rest.strip():
        return ","  # One line is too little to judge by.
    for delimiter in _DELIMITERS:
        columns = {column.strip(' "\r').lower() for column in header.split(delimiter)}
        if columns >= _KNOWN:
            return delimiter
    try:
        return csv.Sniffer().sniff(text[:_SNIFFED_CHARACTERS]).delimiter
    except csv.Error:
        return ","


def _json_rows(path: Path) -> Iterator[Row]:
    for number, line in enumerate(_text_of(path, "JSON lines").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
        if not isinstance(record, Mapping):
            raise ValueError(f"{path}, line {number} is {line[:60]!r}; expected a JSON object.")
        yield Row(f"line {number}", cells_of(record))
