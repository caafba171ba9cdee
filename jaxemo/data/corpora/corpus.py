"""A labelled corpus on disk as rows of `Utterance`.

Rows come in an order that depends on labels and names alone, never on where the files lie. Files
are found and named in this room, not opened: whether their audio is usable is `data.clip_store`'s
question, who is held out when is `data.folds`'s.
"""

import enum
import hashlib
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.data.audio import LeftOut

DOMAINS = ("speech", "music")
# What RAVDESS actors both say and sing. This order is the class order everywhere.
SHARED_EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful")
# RAVDESS speech has two more than its songs.
SPEECH_EMOTIONS = (*SHARED_EMOTIONS, "disgust", "surprised")
PARTITIONS = ("train", "dev", "test")
RATINGS = ("valence", "arousal", "dominance")
_LABELS = attrgetter(
    "corpus", "domain", "emotion", "speaker", "intensity", "statement", "repetition"
)
# What only some corpora have.
OPTIONAL_LABELS = ("group", "partition", *RATINGS, "tags", "sex")
_OPTIONAL = attrgetter(*OPTIONAL_LABELS)
_NONE_OF_THEM = ("", "", None, None, None, (), "")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One clip and its labels.

    Attributes:
      path: Where the audio lies.
      corpus: Name of the corpus, for example "ravdess".
      domain: "speech" or "music".
      emotion: Class label.
      speaker: Speaker or performer, unique over all corpora, for example "ravdess/01"; the song
        where a corpus of music names no performer.
      intensity: Free text, "" where the corpus has none; as are the next two.
      statement: What is said or sung.
      repetition: Which take.
      group: What folds keep together, where that is not the speaker: a session of two speakers.
      partition: "train", "dev" or "test" as published; "" where nothing is.
      valence: From -1 (unpleasant) to 1; None where nobody rated it.
      arousal: From -1 (quiet) to 1; None where nobody rated it.
      dominance: From -1 (weak) to 1; None where nobody rated it.
      tags: All labels of a clip that may have several.
      sex: Of the speaker, "female" or "male" where the corpus says it.
    """

    path: str
    corpus: str
    domain: str
    emotion: str
    speaker: str
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    group: str = ""
    partition: str = ""
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    tags: tuple[str, ...] = ()
    sex: str = ""


def units_of(utterances: Iterable[Utterance]) -> list[str]:
    """What no two parts of a fold may share, of each clip: its group, or else its speaker."""
    return [row.group or row.speaker for row in utterances]


def labels_of(row: Utterance) -> tuple[str, ...]:
    """Everything but the path; optional labels as `name=value`, and only where there is one."""
    optional = _OPTIONAL(row)
    if optional == _NONE_OF_THEM:
        return _LABELS(row)
    named = zip(OPTIONAL_LABELS, optional, _NONE_OF_THEM, strict=True)
    return (*_LABELS(row), *(f"{name}={value!r}" for name, value, none in named if value != none))


class Corpus(NamedTuple):
    """A corpus as read.

    Attributes:
      name: Name of the corpus.
      utterances: The clips, in an order that does not depend on the folder layout.
      emotions: The classes in class order; each has at least one clip.
      left_out: Files that look as if they belonged to the corpus and take no part, with reasons.
      other_emotions: Number of clips per emotion that the corpus has and that was not asked for.
      unmapped: Number of clips per published label that is no class here.
      notes: What a reader of the results must know of it, in sentences.
    """

    name: str
    utterances: tuple[Utterance, ...]
    emotions: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    other_emotions: dict[str, int]
    unmapped: dict[str, int] = {}  # noqa: RUF012 - never written to
    notes: tuple[str, ...] = ()


class CalmPolicy(enum.Enum):
    """What becomes of "calm", which listeners hardly tell from "neutral"."""

    KEEP_APART = "keep_apart"
    MERGE_INTO_NEUTRAL = "merge_into_neutral"
    DROP = "drop"


def corpus_summary(utterances: Sequence[Utterance]) -> list[dict[str, Any]]:
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
    lines = sorted(json.dumps([digest, *labels_of(row)]) for row, digest in rows)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def identity_of(name: str) -> str:
    """What spellings of one name have in common that differ in case, leading zeros or spacing.

    Unicode's compatible forms (composed or not, full width) are one; invisible characters go.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    visible = "".join(c for c in folded if not c.isspace() and unicodedata.category(c) != "Cf")
    return re.sub(r"(?<!\d)0+(?=\d)", "", visible)


def name_clashes(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Different names that are one name by `identity_of`, together."""
    spellings: dict[str, set[str]] = defaultdict(set)
    for name in names:
        spellings[identity_of(name)].add(name)
    return sorted(tuple(sorted(group)) for group in spellings.values() if len(group) > 1)


def check_names(kind: str, asked: Sequence[str], *, known: Sequence[str] | None) -> None:
    """Names asked for in a config: at least one, each once and, unless `known` is None, of those."""
    if isinstance(asked, str) or not asked:
        raise ValueError(f"{kind}s is {asked!r}; expected a list of at least one {kind}.")
    if twice := [name for name, count in Counter(asked).items() if count > 1]:
        raise ValueError(f"{kind} {', '.join(twice)} is asked for more than once.")
    if known and (unknown := [name for name in asked if name not in known]):
        raise ValueError(f"unknown {kind} {', '.join(unknown)}; expected of {', '.join(known)}.")


def choose_emotions(
    utterances: Sequence[Utterance], *, emotions: Sequence[str], calm: CalmPolicy
) -> tuple[tuple[Utterance, ...], tuple[str, ...], dict[str, int]]:
    """The clips of the classes asked for, the classes, and how many clips others have."""
    classes = tuple(emotions)
    if calm is not CalmPolicy.KEEP_APART:
        classes = tuple(emotion for emotion in classes if emotion != "calm")
    if calm is CalmPolicy.MERGE_INTO_NEUTRAL:
        utterances = [
            replace(row, emotion="neutral") if row.emotion == "calm" else row for row in utterances
        ]
    others = Counter(row.emotion for row in utterances if row.emotion not in classes)
    return tuple(row for row in utterances if row.emotion in classes), classes, dict(others)


def check_present(
    utterances: Sequence[Utterance],
    *,
    emotions: Sequence[str],
    domains: Sequence[str],
    where: Path,
) -> None:
    """Every emotion and domain asked for has a clip."""
    present = {row.emotion for row in utterances} | {row.domain for row in utterances}
    absent = [f"emotion {name!r}" for name in emotions if name not in present]
    absent += [f"domain {name!r}" for name in domains if name not in present]
    if absent:
        raise ValueError(
            f"{where} has no clip of {', '.join(absent)}. Add the files or ask for fewer."
        )
