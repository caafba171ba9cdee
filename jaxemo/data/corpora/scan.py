"""Reads a published corpus from a folder: names and tables alone, no audio is opened.

A file takes part once; what does not is in `left_out` with its reason, labels that are no class are
counted.
"""

import enum
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.data.audio import LeftOut
from jaxemo.data.corpora.audio_files import audio_files, files_below
from jaxemo.data.corpora.corpus import (
    CalmPolicy,
    Corpus,
    Utterance,
    check_names,
    check_present,
    choose_emotions,
    labels_of,
)
from jaxemo.data.corpora.published import (
    QUADRANT_OF_EMOTION,
    QUADRANTS,
    Entry,
    Names,
    PublishedCorpus,
    Table,
    Tree,
    quadrant_of_label,
    quadrant_of_ratings,
)

_LISTED = 8
_FIRST_ENDINGS = (".wav", ".flac")


class Classes(enum.Enum):
    """What is recognised in an experiment's clips.

    EMOTIONS, QUADRANTS: one of several classes.
    RATINGS, TAGS: numbers or tags; the clips that have some are of one class, "rated" or "tagged".
    """

    EMOTIONS = "emotions"
    QUADRANTS = "quadrants"
    RATINGS = "ratings"
    TAGS = "tags"


_NAMES = {
    Classes.QUADRANTS: QUADRANTS,
    Classes.RATINGS: ("rated",),
    Classes.TAGS: ("tagged",),
}


class _Ratings(NamedTuple):
    """Between -1 and 1; None where nobody rated."""

    valence: float | None
    arousal: float | None
    dominance: float | None


class _Files(NamedTuple):
    """What lies in a folder; audio with its path below the folder without the ending."""

    tree: Tree
    audio: tuple[tuple[str, str], ...]
    left_out: tuple[LeftOut, ...]


class _Scan(NamedTuple):
    """Files with what the layout says of them."""

    found: tuple[tuple[str, Entry], ...]
    left_out: tuple[LeftOut, ...]
    absent: tuple[str, ...]


def read_published(
    corpus: PublishedCorpus,
    audio_dir: str | os.PathLike[str],
    *,
    emotions: Sequence[str] | None = None,
    calm: CalmPolicy = CalmPolicy.KEEP_APART,
    classes: Classes = Classes.EMOTIONS,
) -> Corpus:
    """Reads a corpus from any folder above its files.

    Args:
      corpus: Its description.
      audio_dir: The folder; links are followed, each real folder once.
      emotions: Emotions to read, in class order; all that the corpus has when None. Read where the
        classes are emotions.
      calm: What becomes of "calm".
      classes: Emotions by the description's table; Russell's quadrants by ratings or else labels; or
        the clips with valence and arousal, or with tags.

    Raises:
      FileNotFoundError: There is no such folder, or no table of labels in it.
      ValueError: The corpus has no such classes, or no clip of one that was asked for.
    """
    known = tuple(dict.fromkeys(corpus.emotions.values()))
    if classes is Classes.EMOTIONS:
        _check_emotions(corpus, emotions, known)
    root = _existing_folder(corpus, audio_dir)
    layout = corpus.layout
    files = _files(root)
    scan = _scan_names(layout, files) if isinstance(layout, Names) else _scan_table(layout, files)
    rows, unmapped = _utterances(corpus, scan.found, classes)
    if not rows:
        raise ValueError(_nothing_found(corpus, root, scan, unmapped))
    rows.sort(key=lambda row: (*labels_of(row), os.path.basename(row.path)))
    wanted = _NAMES.get(classes) or emotions or known
    present = {row.emotion for row in rows}
    if classes is not Classes.EMOTIONS or emotions is None:
        wanted = tuple(name for name in wanted if name in present)
    utterances, chosen, others = choose_emotions(rows, emotions=wanted, calm=calm)
    check_present(utterances, emotions=chosen, domains=(), where=root)
    notes = tuple(_notes(corpus, others, unmapped=unmapped, scan=scan))
    return Corpus(
        corpus.corpus or corpus.name, utterances, chosen, scan.left_out, others, unmapped, notes
    )


def in_classes(corpus: Corpus, classes: Classes) -> Corpus:
    """A corpus of emotions with other classes in their place; clips that have none are counted.

    Raises:
      ValueError: No clip has one.
    """
    rows, unmapped = [], Counter()
    for row in corpus.utterances:
        name = _class_of(row, classes)
        rows += [replace(row, emotion=name)] if name else []
        unmapped.update([] if name else [row.emotion or "no label"])
    kind = "a quadrant" if classes is Classes.QUADRANTS else classes.value
    if not rows:
        raise ValueError(f"no clip of {corpus.name} has {kind}: {_counts(unmapped)}.")
    present = {row.emotion for row in rows}
    notes = [f"{corpus.name}: clips without {kind}: {_counts(unmapped)}."] if unmapped else []
    return corpus._replace(
        utterances=tuple(rows),
        emotions=tuple(name for name in _NAMES[classes] if name in present),
        unmapped=dict(unmapped),
        notes=(*corpus.notes, *notes),
    )


def _class_of(row: Utterance, classes: Classes) -> str:
    """The quadrant, or whether there are ratings or tags; "" where there is none."""
    if classes is Classes.TAGS:
        return "tagged" if row.tags else ""
    if row.valence is not None and row.arousal is not None:
        return _rated_class(row.valence, row.arousal, classes)
    return QUADRANT_OF_EMOTION.get(row.emotion, "") if classes is Classes.QUADRANTS else ""


def _rated_class(valence: float, arousal: float, classes: Classes) -> str:
    return "rated" if classes is Classes.RATINGS else quadrant_of_ratings(valence, arousal)


# Files ----------------------------------------------------------------------------------------


def _scan_names(layout: Names, files: _Files) -> _Scan:
    pattern = re.compile(rf"(?:.*/)?(?P<_clip>{layout.pattern})")
    partitions = layout.partitions(files.tree) if layout.partitions is not None else {}
    left_out = list(files.left_out)
    found: dict[str, tuple[str, Entry]] = {}
    for name, path in files.audio:
        match = pattern.fullmatch(name)
        if match is None:
            left_out.append(LeftOut(path, f"its name is not as in {layout.example}"))
            continue
        labels: dict[str, Any] = {field: value or "" for field, value in match.groupdict().items()}
        clip = labels.pop("_clip")
        if partitions:
            labels["partition"] = partitions.get(name.rpartition("/")[2], "")
        _keep_first(found, clip, (path, Entry(**labels)), left_out)
    return _Scan(tuple(found.values()), tuple(sorted(left_out)), ())


def _scan_table(layout: Table, files: _Files) -> _Scan:
    table = layout.read(files.tree)
    depths = sorted({key.count("/") + 1 for key in table}, reverse=True)
    left_out = list(files.left_out)
    found: dict[str, tuple[str, Entry]] = {}
    for name, path in files.audio:
        key = next((key for key in _ends(name, depths) if key in table), None)
        if key is None:
            left_out.append(LeftOut(path, f"not in the labels of {layout.files}"))
        else:
            _keep_first(found, key, (path, table[key]), left_out)
    absent = tuple(sorted(table.keys() - found.keys()))
    return _Scan(tuple(found.values()), tuple(sorted(left_out)), absent)


def _files(root: Path) -> _Files:
    """Every file below a folder, named once; lossless audio comes first."""
    paths = files_below(root)
    prefix = len(os.path.join(root, ""))
    found = audio_files(paths)
    audio = [(*os.path.splitext(path[prefix:].replace(os.sep, "/")), path) for path in found.paths]
    audio.sort(key=lambda item: item[1].lower() not in _FIRST_ENDINGS)
    visible = (path for path in paths if not os.path.basename(path).startswith("."))
    return _Files(
        Tree(root, tuple(path[prefix:].replace(os.sep, "/") for path in visible)),
        tuple((name, path) for name, _, path in audio),
        found.left_out,
    )


def _ends(name: str, depths: Sequence[int]) -> Iterator[str]:
    parts = name.split("/")
    return ("/".join(parts[-depth:]) for depth in depths if depth <= len(parts))


def _keep_first(
    found: dict[str, tuple[str, Entry]],
    clip: str,
    new: tuple[str, Entry],
    left_out: list[LeftOut],
) -> None:
    kept, _ = found.setdefault(clip, new)
    if kept != new[0]:
        left_out.append(LeftOut(new[0], f"another file of the same clip is used: {kept}"))


# Labels ---------------------------------------------------------------------------------------


def _utterances(
    corpus: PublishedCorpus, found: Sequence[tuple[str, Entry]], classes: Classes
) -> tuple[list[Utterance], dict[str, int]]:
    """The clips that have a class, and how many have none by published label."""
    rows, unmapped = [], Counter()
    for path, entry in found:
        ratings = _ratings(corpus, entry)
        if entry.partition and entry.partition not in corpus.partitions:
            unmapped[f"part {entry.partition}"] += 1
        elif name := _class_name(corpus, entry, ratings, classes):
            rows.append(_utterance(corpus, path, entry, emotion=name, ratings=ratings))
        else:
            unmapped[entry.label or ", ".join(entry.tags) or "no label"] += 1
    return rows, dict(sorted(unmapped.items()))


def _utterance(
    corpus: PublishedCorpus, path: str, entry: Entry, *, emotion: str, ratings: _Ratings
) -> Utterance:
    prefix = corpus.corpus or corpus.name
    assert isinstance(corpus.domain, str)  # RAVDESS, which has both, has a reader of its own.
    return Utterance(
        path=path,
        corpus=prefix,
        domain=corpus.domain,
        emotion=emotion,
        speaker=f"{prefix}/{entry.speaker}",
        intensity=entry.intensity,
        statement=entry.statement,
        repetition=entry.repetition,
        group=entry.group and f"{prefix}/{entry.group}",
        partition=corpus.partitions.get(entry.partition, ""),
        valence=ratings.valence,
        arousal=ratings.arousal,
        dominance=ratings.dominance,
        tags=entry.tags,
    )


def _ratings(corpus: PublishedCorpus, entry: Entry) -> _Ratings:
    scale = corpus.scale
    if scale is None:
        return _Ratings(None, None, None)
    return _Ratings(*map(scale.unit, (entry.valence, entry.arousal, entry.dominance)))


def _class_name(corpus: PublishedCorpus, entry: Entry, ratings: _Ratings, classes: Classes) -> str:
    """The class of a clip; "" where it has none."""
    labels = (entry.label,) if entry.label else entry.tags
    if classes is Classes.EMOTIONS:
        return _only(corpus.emotions.get(label, "") for label in labels)
    if classes is Classes.TAGS:
        return "tagged" if entry.tags else ""
    if ratings.valence is not None and ratings.arousal is not None:
        return _rated_class(ratings.valence, ratings.arousal, classes)
    if classes is Classes.RATINGS:
        return ""
    return _only(quadrant_of_label(corpus, label) for label in labels)


def _only(names: Iterable[str]) -> str:
    """The one name among blanks; "" where tags disagree or none says anything."""
    different = {name for name in names if name}
    return different.pop() if len(different) == 1 else ""


# Words ----------------------------------------------------------------------------------------


def _check_emotions(
    corpus: PublishedCorpus, emotions: Sequence[str] | None, known: Sequence[str]
) -> None:
    if not known:
        kind = "valence and arousal" if corpus.scale is not None else "quadrants"
        raise ValueError(
            f"{corpus.title} has {kind} only, and no emotions; set "
            "config.corpus.classes='quadrants' for Russell's quadrants, or 'ratings' to train on "
            "valence and arousal themselves."
        )
    if emotions is not None:
        check_names("emotion", emotions, known=known)


def _existing_folder(corpus: PublishedCorpus, audio_dir: str | os.PathLike[str]) -> Path:
    if not os.fspath(audio_dir):
        raise ValueError(
            f"config.corpus.audio_dir is empty; give the folder of {corpus.title}, "
            "--config.corpus.audio_dir=DIR."
        )
    root = Path(audio_dir).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(
            f"There is no folder '{audio_dir}'; expected that of {corpus.title}. To obtain it: "
            f"{corpus.obtain}"
        )
    return root


def _nothing_found(
    corpus: PublishedCorpus, root: Path, scan: _Scan, unmapped: Mapping[str, int]
) -> str:
    if unmapped:
        counts = _counts(unmapped)
        return f"no clip of {corpus.title} below {root} has a label that is a class: {counts}."
    return (
        f"no audio file of {corpus.title} below {root}: {len(scan.left_out)} audio files with other "
        f"names. Expected names such as {corpus.layout.example}; videos need their sound extracted "
        "first."
    )


def _notes(
    corpus: PublishedCorpus, others: Mapping[str, int], *, unmapped: Mapping[str, int], scan: _Scan
) -> Iterator[str]:
    if unmapped:
        yield f"{corpus.title}: clips with labels that are no class take no part: {_counts(unmapped)}."
    if others:
        yield f"{corpus.title}: clips of emotions that were not asked for: {_counts(others)}."
    if scan.absent:
        some = ", ".join(scan.absent[:_LISTED])
        yield f"{corpus.title}: {len(scan.absent)} labelled clips have no audio file, such as {some}."


def _counts(counts: Mapping[str, int]) -> str:
    most = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    shown = ", ".join(f"{name} {count}" for name, count in most[:_LISTED])
    rest = sum(count for _, count in most[_LISTED:])
    return f"{shown}, others {rest}" if rest else shown
