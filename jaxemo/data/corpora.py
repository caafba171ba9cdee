"""A labelled corpus on disk as rows of `Utterance`.

RAVDESS comes from any folder layout that keeps its file names; every other corpus from a CSV
manifest. Rows come in an order that depends on labels and names alone, never on where the files
lie. Files are found and named here, not opened: whether their audio is usable is `clip_store.py`'s
question, who is held out when is `folds.py`'s.
"""

import csv
import enum
import hashlib
import io
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.audio import LeftOut

DOMAINS = ("speech", "music")
# What RAVDESS actors both say and sing. This order is the class order everywhere.
SHARED_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful")
# RAVDESS speech has two more than its songs.
SPEECH_EMOTIONS = (*SHARED_EMOTIONS, "disgust", "surprised")
AUDIO_EXTENSIONS = (".wav", ".flac", ".mp3", ".ogg")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its labels.

    Attributes:
      path: Where the audio lies.
      corpus: Name of the corpus, for example "ravdess".
      domain: "speech" or "music".
      emotion: Class label.
      speaker: Speaker or performer, unique over all corpora, for example "ravdess/01".
      intensity: Free text, "" where the corpus has none; as are the next two.
      statement: What is said or sung.
      repetition: Which take.
    """

    path: str
    corpus: str
    domain: str
    emotion: str
    speaker: str
    intensity: str = ""
    statement: str = ""
    repetition: str = ""


class Corpus(NamedTuple):
    """A corpus as read.

    Attributes:
      name: Name of the corpus.
      utterances: The clips, in an order that does not depend on the folder layout.
      emotions: The classes in class order; each has at least one clip.
      left_out: Files that look as if they belonged to the corpus and take no part, with reasons.
      other_emotions: Number of clips per emotion that the corpus has and that was not asked for.
    """

    name: str
    utterances: tuple[Utterance, ...]
    emotions: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    other_emotions: dict[str, int]


class CalmPolicy(enum.Enum):
    """What becomes of "calm", which listeners hardly tell from "neutral"."""

    KEEP_APART = "keep_apart"
    MERGE_INTO_NEUTRAL = "merge_into_neutral"
    DROP = "drop"


# RAVDESS -------------------------------------------------------------------------------------

_RAVDESS_NAME = re.compile(r"\d\d(-\d\d){6}")
_RAVDESS_EXAMPLE = "03-01-06-01-02-01-12.wav"
# The seven fields of a name in order, with the codes of each.
# Reference: Livingstone & Russo 2018, PLoS ONE 13(5):e0196391.
_RAVDESS_FIELDS = {
    "modality": {"01": "audio and video", "02": "video", "03": "audio"},
    "channel": {"01": "speech", "02": "music"},
    "emotion": {
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fearful",
        "07": "disgust",
        "08": "surprised",
    },
    "intensity": {"01": "normal", "02": "strong"},
    "statement": {"01": "kids", "02": "dogs"},
    "repetition": {"01": "1", "02": "2"},
    "actor": {f"{actor:02d}": f"{actor:02d}" for actor in range(1, 25)},
}


def read_ravdess(
    audio_dir: str | os.PathLike,
    *,
    emotions: Sequence[str] = SHARED_EMOTIONS,
    calm: CalmPolicy = CalmPolicy.KEEP_APART,
    domains: Sequence[str] = DOMAINS,
) -> Corpus:
    """Reads RAVDESS speech and song from any layout of folders that keeps the file names.

    A take counts once: of several files of the same name (the copy on Kaggle holds every file
    twice), and of an audio-only file beside the sound of its video, the first is kept and the
    others are listed in `left_out`, as are audio files whose names are not RAVDESS's.

    Args:
      audio_dir: Folder at the top; links are followed, each real folder once.
      emotions: Classes to read, in class order.
      calm: What becomes of "calm"; unless kept apart it is no class of the result.
      domains: Domains to read ("speech", "music"); each must have a clip.

    Raises:
      FileNotFoundError, NotADirectoryError: There is no such folder.
      ValueError: An emotion or domain unknown or without a clip, or no file with a RAVDESS name.
    """
    _check_names("emotion", emotions, known=SPEECH_EMOTIONS)
    _check_names("domain", domains, known=DOMAINS)
    root = _existing_folder(audio_dir)
    takes, left_out = _ravdess_takes(root)
    found = [row for take in sorted(takes) if (row := _ravdess_row(takes[take])).domain in domains]
    utterances, classes, others = _choose_emotions(found, emotions=emotions, calm=calm)
    _check_present(utterances, emotions=classes, domains=domains, where=root)
    return Corpus("ravdess", utterances, classes, left_out, others)


def _ravdess_takes(root: Path) -> tuple[dict[tuple[str, ...], Path], tuple[LeftOut, ...]]:
    """The file of each take, keyed by its name's codes after the modality; and the rest."""
    paths = _files_below(root)
    audio = [path for path in paths if path.suffix.lower() in AUDIO_EXTENSIONS]
    # Audio-only files come first, then those nearest to the top.
    audio.sort(key=lambda path: (not path.stem.startswith("03-"), len(path.parts), path))
    takes: dict[tuple[str, ...], Path] = {}
    left_out = []
    for path in audio:
        codes = tuple(path.stem.split("-"))
        if fault := _ravdess_name_fault(path.stem):
            left_out.append(LeftOut(str(path), fault))
        elif (kept := takes.setdefault(codes[1:], path)) is not path:
            left_out.append(LeftOut(str(path), f"another file of the same take is used: {kept}"))
    if not takes:
        raise ValueError(_no_ravdess_file(root, paths, audio))
    return takes, tuple(sorted(left_out))


def _ravdess_name_fault(stem: str) -> str:
    """Why a file name is not one of RAVDESS's audio files, or "" if it is."""
    if not _RAVDESS_NAME.fullmatch(stem):
        return f"not a RAVDESS name: expected seven two-digit codes as in {_RAVDESS_EXAMPLE}"
    codes = zip(_RAVDESS_FIELDS.items(), stem.split("-"), strict=True)
    unknown = [f"{field} {code}" for (field, known), code in codes if code not in known]
    if unknown:
        return f"not a RAVDESS name: no such {', '.join(unknown)}"
    return "video without sound (modality 02)" if stem.startswith("02-") else ""


def _ravdess_row(path: Path) -> Utterance:
    codes = zip(_RAVDESS_FIELDS.items(), path.stem.split("-"), strict=True)
    labels = {field: known[code] for (field, known), code in codes}
    return Utterance(
        path=str(path),
        corpus="ravdess",
        domain=labels["channel"],
        emotion=labels["emotion"],
        speaker=f"ravdess/{labels['actor']}",
        intensity=labels["intensity"],
        statement=labels["statement"],
        repetition=labels["repetition"],
    )


def _no_ravdess_file(root: Path, paths: Sequence[Path], audio: Sequence[Path]) -> str:
    found = f"{len(audio)} audio files with other names" if audio else "no audio file"
    if num_videos := sum(path.suffix.lower() == ".mp4" for path in paths):
        found += f" and {num_videos} videos (extract their sound first)"
    return (
        f"no RAVDESS file below {root}: found {found}. Expected names such as {_RAVDESS_EXAMPLE} "
        f"({'-'.join(_RAVDESS_FIELDS)}), in any folders, as {', '.join(AUDIO_EXTENSIONS)}."
    )


def _existing_folder(audio_dir: str | os.PathLike) -> Path:
    root = Path(audio_dir).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"audio folder {root} does not exist. Give the folder of RAVDESS.")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file. Give the folder that holds the audio files.")
    return root


def _files_below(root: Path) -> list[Path]:
    """All files below a folder. Links are followed, each real folder once, so loops end."""
    found, entered = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders.sort()
        found += [Path(folder, name) for name in names]
    return found


def _raise(error: OSError) -> None:
    # os.walk's own way is to pass over a folder that it may not open.
    raise error


# Manifests -----------------------------------------------------------------------------------

_REQUIRED_COLUMNS = ("path", "domain", "emotion", "speaker")
_OPTIONAL_COLUMNS = ("corpus", "intensity", "statement", "repetition")


def read_manifest(
    csv_path: str | os.PathLike,
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
        _check_names("emotion", emotions, known=None)
    found, faults, first_line = [], [], {}
    for line, cells in _manifest_rows(path):
        row_faults = _row_faults(cells)
        where = str(path.parent / cells["path"])
        if cells["path"] and (first := first_line.setdefault(where, line)) != line:
            row_faults.append(f"path {cells['path']!r} is on line {first} already")
        faults += [f"line {line}: {fault}" for fault in row_faults]
        found.append(_manifest_utterance({**cells, "path": where}, default_corpus=path.stem))
    if faults:
        raise ValueError(f"{path} has {len(faults)} faults:\n  " + "\n  ".join(faults))
    found.sort(key=lambda row: (*astuple(row)[1:], Path(row.path).name))
    wanted = _in_class_order({row.emotion for row in found}) if emotions is None else emotions
    utterances, classes, others = _choose_emotions(found, emotions=wanted, calm=calm)
    _check_present(utterances, emotions=classes, domains=(), where=path)
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
    corpus = cells["corpus"] or default_corpus
    return Utterance(
        path=cells["path"],
        corpus=corpus,
        domain=cells["domain"].lower(),
        emotion=cells["emotion"].lower(),
        speaker=f"{corpus}/{cells['speaker'].removeprefix(f'{corpus}/')}",
        intensity=cells["intensity"],
        statement=cells["statement"],
        repetition=cells["repetition"],
    )


def _in_class_order(emotions: set[str]) -> tuple[str, ...]:
    known = [emotion for emotion in SPEECH_EMOTIONS if emotion in emotions]
    return (*known, *sorted(emotions.difference(known)))


# Both ----------------------------------------------------------------------------------------


def corpus_summary(utterances: Sequence[Utterance]) -> list[dict[str, str | int]]:
    """Clips and speakers of every corpus, domain and emotion that occurs: one flat row each."""
    speakers: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for row in utterances:
        speakers[row.corpus, row.domain, row.emotion].append(row.speaker)
    return [
        {
            "corpus": corpus,
            "domain": domain,
            "emotion": emotion,
            "clips": len(names),
            "speakers": len(set(names)),
        }
        for (corpus, domain, emotion), names in speakers.items()
    ]


def manifest_hash(utterances: Sequence[Utterance], digests: Sequence[str]) -> str:
    """SHA-256 over the labels and the content digest of every clip.

    Paths and order do not enter: two machines that hold the same labelled audio get the same hash.

    Args:
      utterances: The clips.
      digests: `ClipStore.digests` of the same clips.
    """
    rows = zip(utterances, digests, strict=True)
    lines = sorted(json.dumps([digest, *astuple(row)[1:]]) for row, digest in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _check_names(kind: str, asked: Sequence[str], *, known: Sequence[str] | None) -> None:
    if isinstance(asked, str) or not asked:
        raise ValueError(f"{kind}s is {asked!r}; expected a list of at least one {kind}.")
    if twice := [name for name, count in Counter(asked).items() if count > 1]:
        raise ValueError(f"{kind} {', '.join(twice)} is asked for more than once.")
    if known and (unknown := [name for name in asked if name not in known]):
        raise ValueError(f"unknown {kind} {', '.join(unknown)}; expected of {', '.join(known)}.")


def _choose_emotions(
    found: Sequence[Utterance], *, emotions: Sequence[str], calm: CalmPolicy
) -> tuple[tuple[Utterance, ...], tuple[str, ...], dict[str, int]]:
    """The clips of the classes asked for, the classes, and how many clips others have."""
    classes = tuple(emotions)
    if calm is not CalmPolicy.KEEP_APART:
        classes = tuple(emotion for emotion in classes if emotion != "calm")
    if calm is CalmPolicy.MERGE_INTO_NEUTRAL:
        found = [replace(row, emotion="neutral") if row.emotion == "calm" else row for row in found]
    others = Counter(row.emotion for row in found if row.emotion not in classes)
    return tuple(row for row in found if row.emotion in classes), classes, dict(others)


def _check_present(
    utterances: Sequence[Utterance],
    *,
    emotions: Sequence[str],
    domains: Sequence[str],
    where: Path,
) -> None:
    present = {row.emotion for row in utterances} | {row.domain for row in utterances}
    absent = [f"emotion {name!r}" for name in emotions if name not in present]
    absent += [f"domain {name!r}" for name in domains if name not in present]
    if absent:
        raise ValueError(
            f"{where} has no clip of {', '.join(absent)}. Add the files or ask for fewer."
        )
