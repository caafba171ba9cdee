"""Rows of a manifest, whatever it is written as: CSV, JSON lines or Parquet, audio with its labels, folders.

All formats give the same: cells of text by lower-case column, and where the row stands. Audio that lies
inside a file is unpacked first (`unpacking.py`).
"""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.audio import LeftOut
from jaxemo.data.corpora.labelled_folder import folder_rows
from jaxemo.data.corpora.unpacking import (
    RawRow,
    cells_of,
    dataset_rows,
    hub_rows,
    is_dataset_folder,
    parquet_rows,
    shard_rows,
    shards_of,
)

# Before the name of a dataset that is not a path.
HUB = "hub:"
_JSON_LINES = (".jsonl", ".ndjson")
_DELIMITERS = ",;\t|"
_NOT_READ = {
    ".json": "write one object per line and call it .jsonl",
    ".xls": "save it as CSV",
    ".xlsx": "save it as CSV",
    ".ods": "save it as CSV",
    ".gz": "unpack it",
    ".zip": "unpack it",
}
# What every manifest has.
_KNOWN = {"path", "domain", "speaker"}
# Enough for the sniffer; a manifest of 100,000 rows has millions.
_SNIFFED_CHARACTERS = 16_384


class Row(NamedTuple):
    """One row: where it stands, its cells by column, and those beyond the header."""

    where: str
    cells: dict[str, str]
    beyond: str = ""


class ManifestRows(NamedTuple):
    """All rows that are not blank; files beside them that take no part; what a reader must know."""

    rows: list[Row]
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()


def manifest_rows(place: str, unpack_dir: Path | None) -> ManifestRows:
    """What a manifest says of its clips.

    Args:
      place: A table, a tar file or a folder of them, a folder that `datasets` saved or with a folder per
        emotion, or "hub:NAME" of a dataset that `datasets` loads.
      unpack_dir: Where audio goes that lies inside; None refuses such manifests.

    Raises:
      FileNotFoundError: There is no such manifest.
      ValueError: It cannot be read as what its name says.
    """
    if place.startswith(HUB):
        return _packed(hub_rows(place.removeprefix(HUB), unpack_dir))
    path = Path(place).expanduser()
    if is_dataset_folder(path):
        return _packed(dataset_rows(path, unpack_dir))
    if shards := shards_of(path):
        return _packed(shard_rows(shards, unpack_dir))
    if path.is_dir():
        cells, left_out, notes = folder_rows(path)
        return ManifestRows([Row(row["path"], row) for row in cells], left_out, notes)
    if not path.is_file():
        raise FileNotFoundError(f"manifest {path} does not exist or is no file.")
    if advice := _NOT_READ.get(path.suffix.lower()):
        raise ValueError(f"manifest {path} ends in {path.suffix}, which is not read; {advice}.")
    if path.suffix.lower() == ".parquet":
        return _packed(parquet_rows(path, unpack_dir))
    rows = _json_rows(path) if path.suffix.lower() in _JSON_LINES else _csv_rows(path)
    return ManifestRows(list(rows))


def _packed(rows: list[RawRow]) -> ManifestRows:
    return ManifestRows([Row(*row) for row in rows])


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
    if twice := sorted(name for name, count in Counter(header).items() if name and count > 1):
        raise ValueError(f"{path} has more than one column {', '.join(twice)}; keep one of each.")
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
    # Not `splitlines`, which parts at characters that a JSON string may hold.
    for number, line in enumerate(_text_of(path, "JSON lines").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path}, line {number} is no JSON: {error}") from error
        if not isinstance(record, Mapping):
            raise ValueError(f"{path}, line {number} is {line[:60]!r}; expected a JSON object.")
        yield Row(f"line {number}", cells_of(record))
