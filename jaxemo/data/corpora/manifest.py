"""Any corpus from a CSV manifest."""

import csv
import io
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from jaxemo.data.corpora.corpus import (
    DOMAINS,
    SPEECH_EMOTIONS,
    CalmPolicy,
    Corpus,
    Utterance,
    check_names,
    check_present,
    choose_emotions,
    labels_of,
    name_clashes,
)

_REQUIRED_COLUMNS = ("path", "domain", "emotion", "speaker")
_OPTIONAL_COLUMNS = ("corpus", "intensity", "statement", "repetition")


def read_manifest(
    csv_path: str | os.PathLike[str],
    *,
    emotions: Sequence[str] | None = None,
    calm: CalmPolicy = CalmPolicy.KEEP_APART,
) -> Corpus:
    """Reads any corpus from a UTF-8 CSV file with a header line.

    Columns: path (absolute, or relative to the CSV's folder), domain ("speech" or "music"),
    emotion, speaker; optional: corpus (else the CSV's name without its ending), intensity,
    statement, repetition. Other columns are not read. A speaker is one person within a corpus,
    in both domains.

    Args:
      csv_path: The manifest.
      emotions: Classes to read, in class order; all that the manifest has when None.
      calm: What becomes of "calm"; unless kept apart it is no class of the result.

    Raises:
      FileNotFoundError: There is no such manifest.
      ValueError: Columns are missing; rows are bad (all are listed with their line); an emotion
        asked for has no clip. Whether the audio files exist is checked when they are decoded.
    """
    path = Path(csv_path).expanduser()
    if emotions is not None:
        check_names("emotion", emotions, known=None)
    rows, faults, first_line = [], [], {}
    for line, cells in _manifest_rows(path):
        row_faults = _row_faults(cells)
        where = str(path.parent / cells["path"])
        if cells["path"] and (first := first_line.setdefault(where, line)) != line:
            row_faults.append(f"path {cells['path']!r} is on line {first} already")
        faults += [f"line {line}: {fault}" for fault in row_faults]
        rows.append(_manifest_utterance({**cells, "path": where}, default_corpus=path.stem))
    faults += [
        f"speakers {' and '.join(map(repr, names))} differ only in case, leading zeros, spacing or "
        "invisible characters: give one person one name, and two people names that differ"
        for names in name_clashes(row.speaker for row in rows)
    ]
    if faults:
        raise ValueError(f"{path} has {len(faults)} faults:\n  " + "\n  ".join(faults))
    rows.sort(key=lambda row: (*labels_of(row), Path(row.path).name))
    wanted = _in_class_order({row.emotion for row in rows}) if emotions is None else emotions
    utterances, classes, others = choose_emotions(rows, emotions=wanted, calm=calm)
    check_present(utterances, emotions=classes, domains=(), where=path)
    name = "+".join(sorted({row.corpus for row in utterances}))
    return Corpus(name, utterances, classes, (), others)


def _manifest_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line number, cell by column) of every row that is not blank; absent columns are ""."""
    if not path.is_file():
        raise FileNotFoundError(f"manifest {path} does not exist or is no file.")
    try:
        # Excel writes a byte order mark, which utf-8-sig takes away.
        reader = csv.reader(io.StringIO(path.read_bytes().decode("utf-8-sig"), newline=""))
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file in UTF-8: {error}") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    header = [column.lower() for column in lines[0][1]] if lines else []
    if missing := [column for column in _REQUIRED_COLUMNS if column not in header]:
        raise ValueError(
            f"{path} has no column {', '.join(missing)}: expected "
            f"{','.join(_REQUIRED_COLUMNS)} separated by commas, found {','.join(header)!r}."
        )
    if len(lines) == 1:
        raise ValueError(f"{path} has a header and no rows.")
    blank = dict.fromkeys((*_REQUIRED_COLUMNS, *_OPTIONAL_COLUMNS), "")
    return [
        # Cells beyond the header hint at an unquoted comma; `_row_faults` reports them.
        (number, {**blank, **dict(zip(header, cells)), "": ",".join(cells[len(header) :])})  # noqa: B905
        for number, cells in lines[1:]
    ]


def _row_faults(cells: dict[str, str]) -> list[str]:
    faults = [f"no {column}" for column in _REQUIRED_COLUMNS if not cells[column]]
    if cells["domain"] and cells["domain"].lower() not in DOMAINS:
        faults.append(f"domain {cells['domain']!r}, expected {' or '.join(DOMAINS)}")
    if cells[""]:
        faults.append(f"more cells than columns: {cells['']!r} (quote cells that hold a comma)")
    return faults


def _manifest_utterance(cells: dict[str, str], *, default_corpus: str) -> Utterance:
    labels = {column: _label(cell) for column, cell in cells.items() if column != "path"}
    corpus = labels["corpus"] or _label(default_corpus)
    return Utterance(
        path=cells["path"],
        corpus=corpus,
        domain=labels["domain"].lower(),
        emotion=labels["emotion"].lower(),
        speaker=f"{corpus}/{labels['speaker'].removeprefix(f'{corpus}/')}",
        intensity=labels["intensity"],
        statement=labels["statement"],
        repetition=labels["repetition"],
    )


def _label(cell: str) -> str:
    """With composed accents and single spaces, as other spellings of the name would be."""
    return " ".join(unicodedata.normalize("NFC", cell).split())


def _in_class_order(emotions: set[str]) -> tuple[str, ...]:
    known = [emotion for emotion in SPEECH_EMOTIONS if emotion in emotions]
    return (*known, *sorted(emotions.difference(known)))
