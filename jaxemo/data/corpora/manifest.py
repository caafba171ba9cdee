"""Any corpus from a table of its clips, from audio packed with its labels, or from a folder per emotion."""

import functools
import os
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxemo.data.corpora.corpus import (
    DOMAINS,
    PARTITIONS,
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
from jaxemo.data.corpora.manifest_formats import HUB, ManifestRows, Row, manifest_rows

_REQUIRED_COLUMNS = ("path", "domain", "emotion", "speaker")
_RATINGS = ("valence", "arousal")
_OPTIONAL_COLUMNS = (
    *("corpus", "intensity", "statement", "repetition", "group", "partition", "tags", "sex"),
    *(*_RATINGS, "dominance"),
)
_BLANK = dict.fromkeys((*_REQUIRED_COLUMNS, *_OPTIONAL_COLUMNS), "")


def read_manifest(
    manifest: str | os.PathLike[str],
    *,
    emotions: Sequence[str] | None = None,
    calm: CalmPolicy = CalmPolicy.KEEP_APART,
    unpack_dir: Path | None = None,
) -> Corpus:
    """Reads any corpus from a table in UTF-8 with a header line.

    Columns: path (absolute, or relative to the manifest's folder), domain ("speech" or "music"),
    emotion, speaker; optional: corpus (else the manifest's name without its ending), intensity,
    statement, repetition, group, partition ("train", "dev" or "test"), tags (with bars between), sex, and
    valence and arousal together, with or without dominance (-1 to 1). With tags or ratings the emotion may
    be empty.
    Other columns are not read. A speaker is one person within a corpus, in both domains.

    Args:
      manifest: A CSV file of any usual delimiter, .jsonl, .parquet, a .tar of WebDataset or a folder
        of them, a folder of `datasets`, "hub:NAME" for a dataset of the hub, or a folder with a folder
        per emotion.
      emotions: Classes to read, in class order; all that the manifest has when None.
      calm: What becomes of "calm"; unless kept apart it is no class of the result.
      unpack_dir: Where audio goes that lies inside the manifest.

    Raises:
      FileNotFoundError: There is no such manifest.
      ValueError: Columns are missing; rows are bad (all are listed with their line); an emotion
        asked for has no clip. Whether the audio files exist is checked when they are decoded.
    """
    place = os.fspath(manifest)
    path = Path(place.removeprefix(HUB)).expanduser()
    if emotions is not None:
        check_names("emotion", emotions, known=None)
    read = manifest_rows(place, unpack_dir)
    rows = _utterances(path, read)
    rows.sort(key=lambda row: (*labels_of(row), os.path.basename(row.path)))
    wanted = _in_class_order({row.emotion for row in rows}) if emotions is None else emotions
    utterances, classes, others = choose_emotions(rows, emotions=wanted, calm=calm)
    check_present(utterances, emotions=classes, domains=(), where=path)
    name = "+".join(sorted({row.corpus for row in utterances}))
    return Corpus(name, utterances, classes, read.left_out, others, notes=read.notes)


def _utterances(path: Path, read: ManifestRows) -> list[Utterance]:
    """All clips; raises ValueError for the faults of all rows together."""
    rows, faults, first_place = [], [], {}
    columns = _check_columns(path, read.rows)
    name = path.absolute().stem
    for row in read.rows:
        cells = _BLANK | row.cells
        if not columns.issuperset(_RATINGS):
            # One of them alone says no quadrant, and is read no more than any other column.
            cells |= dict.fromkeys((*_RATINGS, "dominance"), "")
        row_faults = _row_faults(cells, row.beyond)
        where = str(path.parent / cells["path"])
        place = os.path.normpath(where)
        if cells["path"] and (first := first_place.setdefault(place, row.where)) != row.where:
            row_faults.append(f"path {cells['path']!r} is on {first} already")
        faults += [f"{row.where}: {fault}" for fault in row_faults]
        if not row_faults:
            rows.append(_utterance({**cells, "path": where}, default_corpus=name))
    faults += [
        f"speakers {' and '.join(map(repr, names))} differ only in case, leading zeros, spacing or "
        "invisible characters: give one person one name, and two people names that differ"
        for names in name_clashes({row.speaker for row in rows})
    ]
    if faults:
        raise ValueError(f"{path} has {len(faults)} faults:\n  " + "\n  ".join(faults))
    return rows


def _check_columns(path: Path, rows: Sequence[Row]) -> set[str]:
    """The columns that occur; raises ValueError where one is missing or there is no row."""
    columns = {column for row in rows for column in row.cells}
    labelled = columns.issuperset(_RATINGS) or "tags" in columns
    required = [name for name in _REQUIRED_COLUMNS if name != "emotion" or not labelled]
    if missing := [column for column in required if column not in columns]:
        found = ",".join(rows[0].cells) if rows else ""
        raise ValueError(
            f"{path} has no column {', '.join(missing)}: expected "
            f"{','.join(_REQUIRED_COLUMNS)} separated by commas, found {found!r}."
        )
    if rows[0].where == "header":
        raise ValueError(f"{path} has a header and no rows.")
    return columns


def _row_faults(cells: Mapping[str, str], beyond: str) -> list[str]:
    labelled = all(cells[name] for name in _RATINGS) or cells["tags"]
    needed = [name for name in _REQUIRED_COLUMNS if name != "emotion" or not labelled]
    faults = [f"no {column}" for column in needed if not cells[column]]
    if not _can_be_a_path(cells["path"]):
        faults.append(f"path {cells['path']!r} has characters that no path can have")
    if cells["domain"] and cells["domain"].lower() not in DOMAINS:
        faults.append(f"domain {cells['domain']!r}, expected {' or '.join(DOMAINS)}")
    if cells["partition"] and cells["partition"].lower() not in PARTITIONS:
        faults.append(f"partition {cells['partition']!r}, expected {' or '.join(PARTITIONS)}")
    for name in (*_RATINGS, "dominance"):
        if cells[name] and not _is_rating(cells[name]):
            faults.append(f"{name} {cells[name]!r}, expected a number from -1 to 1")
    if beyond:
        faults.append(f"more cells than columns: {beyond!r} (quote cells that hold a comma)")
    return faults


def _can_be_a_path(cell: str) -> bool:
    try:
        return b"\0" not in os.fsencode(cell)
    except UnicodeEncodeError:  # Half of a character, which JSON can say.
        return False


def _is_rating(cell: str) -> bool:
    try:
        return abs(float(cell)) <= 1  # NaN is not.
    except ValueError:
        return False


def _utterance(cells: Mapping[str, str], *, default_corpus: str) -> Utterance:
    labels = {column: _label(cell) for column, cell in cells.items() if column != "path"}
    corpus = labels["corpus"] or _label(default_corpus)
    valence, arousal, dominance = (
        float(labels[name]) if labels[name] else None for name in (*_RATINGS, "dominance")
    )
    return Utterance(
        path=cells["path"],
        corpus=corpus,
        domain=labels["domain"].lower(),
        emotion=labels["emotion"].lower(),
        speaker=f"{corpus}/{labels['speaker'].removeprefix(f'{corpus}/')}",
        intensity=labels["intensity"],
        statement=labels["statement"],
        repetition=labels["repetition"],
        group=labels["group"] and f"{corpus}/{labels['group'].removeprefix(f'{corpus}/')}",
        partition=labels["partition"].lower(),
        tags=tuple(tag.strip() for tag in labels["tags"].split("|") if tag.strip()),
        valence=valence,
        arousal=arousal,
        dominance=dominance,
        sex=labels["sex"].lower(),
    )


@functools.lru_cache(maxsize=65_536)
def _label(cell: str) -> str:
    """With composed accents and single spaces, as other spellings of the name would be."""
    return " ".join(unicodedata.normalize("NFC", cell).split())


def _in_class_order(emotions: set[str]) -> tuple[str, ...]:
    known = [emotion for emotion in SPEECH_EMOTIONS if emotion in emotions]
    return (*known, *sorted(emotions.difference(known)))
