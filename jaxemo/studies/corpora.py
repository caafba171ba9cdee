"""The corpus of an experiment: one that the config names, or several that are joined."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import (
    DOMAINS,
    SPEECH_EMOTIONS,
    CalmPolicy,
    Corpus,
    check_present,
    choose_emotions,
)
from jaxemo.data.corpora.manifest import read_manifest
from jaxemo.data.corpora.published import QUADRANT_OF_EMOTION
from jaxemo.data.corpora.ravdess import read_ravdess
from jaxemo.data.corpora.scan import Classes, in_classes, read_published
from jaxemo.studies.config import CorpusSettings, Settings
from jaxemo.studies.corpus_settings import RAVDESS_NAMES, known_emotions


def open_corpora(config: Settings, cache_dir: Path) -> Corpus:
    """What `config.corpora` joins, or the corpus of `config.corpus` where it is empty.

    Raises:
      ValueError: For an unknown corpus or policy, or labels that are not there.
      FileNotFoundError: When files are missing.
    """
    return open_places(config.corpus, config.corpora, cache_dir)


def open_places(settings: CorpusSettings, places: Sequence[str], cache_dir: Path) -> Corpus:
    """Corpora at places such as "crema_d=DIR", or that of `settings` alone where there is none.

    Raises:
      ValueError, FileNotFoundError: As `open_corpora`.
    """
    if not places:
        return open_corpus(settings, cache_dir)
    named = [place.partition("=")[::2] for place in places]
    return _joined([_part(settings, name, place, cache_dir) for name, place in named], settings)


def open_corpus(settings: CorpusSettings, cache_dir: Path) -> Corpus:
    """The corpus that a config's `corpus` block names.

    Raises:
      ValueError: For an unknown corpus or policy, or labels that are not there.
      FileNotFoundError: When its files are missing.
    """
    classes, calm = Classes(settings.classes), CalmPolicy(settings.calm)
    of_emotions = classes is Classes.EMOTIONS
    emotions = (tuple(settings.emotions) or None) if of_emotions else None
    match settings.name:
        case name if name in RAVDESS_NAMES:
            domain = CATALOGUE[name].domain
            corpus = read_ravdess(
                settings.audio_dir,
                emotions=emotions or _ravdess_emotions(domain),
                calm=calm if of_emotions else CalmPolicy.KEEP_APART,
                domains=(domain,) if isinstance(domain, str) else settings.domains,
            )
        case name if name in CATALOGUE:
            options = {"emotions": emotions, "calm": calm, "classes": classes}
            return read_published(CATALOGUE[name], settings.audio_dir, **options)
        case "manifest":
            options = {"emotions": emotions, "calm": calm, "unpack_dir": cache_dir}
            corpus = read_manifest(settings.manifest, **options)
            if of_emotions:
                _check_emotions(corpus)
        case "synthetic":
            manifest = _synthetic_manifest(settings, cache_dir)
            corpus = read_manifest(manifest, emotions=emotions, calm=calm)
        case name:
            raise ValueError(
                f"config.corpus.name is {name!r}; expected a corpus that `jaxemo corpora` lists, "
                "'manifest', 'synthetic' or 'embeddings'."
            )
    return corpus if of_emotions else in_classes(corpus, classes)


def _check_emotions(corpus: Corpus) -> None:
    without = sum(not row.emotion for row in corpus.utterances)
    if without:
        raise ValueError(
            f"{corpus.name} has {without} clips with ratings or tags and no emotion; set "
            "config.corpus.classes='ratings' or 'tags' to train on those, 'quadrants' for Russell's "
            "quadrants, or config.corpus.emotions for the clips that have one."
        )


def _ravdess_emotions(domain: str | tuple[str, ...]) -> tuple[str, ...]:
    """All that have a quadrant, and that RAVDESS has in the domains."""
    spoken = SPEECH_EMOTIONS if domain == "speech" else SPEECH_EMOTIONS[:6]
    return tuple(emotion for emotion in spoken if emotion in QUADRANT_OF_EMOTION)


def _synthetic_manifest(settings: CorpusSettings, cache_dir: Path) -> Path:
    from jaxemo.data.synthetic.corpus import NOTHING_PLANTED, Planted, write_synthetic_corpus

    clips, planted = settings.clips_per_cell, Planted(**settings.synthetic)
    name = f"synthetic-{settings.seed}-{clips}"
    if planted != NOTHING_PLANTED:
        name += f"-{hashlib.blake2b(repr(planted).encode(), digest_size=6).hexdigest()}"
    options = {"seed": settings.seed, "clips_per_cell": clips, "planted": planted}
    return write_synthetic_corpus(cache_dir / name, **options)


# Joining --------------------------------------------------------------------------------------


def _part(settings: CorpusSettings, name: str, place: str, cache_dir: Path) -> Corpus:
    """One of several corpora: of the emotions asked for those that it can have."""
    known = known_emotions(name)
    emotions = tuple(e for e in settings.emotions if not known or e in known)
    if settings.classes == "emotions" and settings.emotions and known and not emotions:
        raise ValueError(
            f"config.corpora has {name}, which has none of {', '.join(settings.emotions)}; it has "
            f"{', '.join(known)}."
        )
    if name not in RAVDESS_NAMES:
        # What it has of the emotions is seen once it is read.
        emotions = ()
    of_part = replace(settings, name=name, emotions=emotions, audio_dir=place, manifest=place)
    corpus = open_corpus(of_part, cache_dir)
    return corpus if settings.classes != "emotions" else _chosen(corpus, settings.emotions)


def _chosen(corpus: Corpus, emotions: Sequence[str]) -> Corpus:
    """The clips of the emotions; the others are counted."""
    wanted = tuple(name for name in emotions or corpus.emotions if name in corpus.emotions)
    rows, _, others = choose_emotions(
        corpus.utterances, emotions=wanted, calm=CalmPolicy.KEEP_APART
    )
    counts = _sum((corpus.other_emotions, others))
    return corpus._replace(utterances=rows, emotions=wanted, other_emotions=counts)


def _joined(corpora: Sequence[Corpus], settings: CorpusSettings) -> Corpus:
    """All clips of several corpora.

    Raises:
      ValueError: Two parts have a clip in common, or no part has an emotion that was asked for.
    """
    rows = [row for corpus in corpora for row in corpus.utterances]
    if len({row.path for row in rows}) < len(rows):
        names = ", ".join(corpus.name for corpus in corpora)
        raise ValueError(f"config.corpora names files more than once ({names}); name each once.")
    emotions = _class_order(corpora, settings)
    check_present(rows, emotions=emotions, domains=(), where=Path("config.corpora"))
    return Corpus(
        name="+".join(dict.fromkeys(corpus.name for corpus in corpora)),
        utterances=tuple(rows),
        emotions=emotions,
        left_out=tuple(item for corpus in corpora for item in corpus.left_out),
        other_emotions=_sum(corpus.other_emotions for corpus in corpora),
        unmapped=_sum(corpus.unmapped for corpus in corpora),
        notes=(*(note for corpus in corpora for note in corpus.notes), *_lacking(rows, emotions)),
    )


def _class_order(corpora: Sequence[Corpus], settings: CorpusSettings) -> tuple[str, ...]:
    """The classes in the order asked for; without one, in that of the first corpus that has each."""
    present = dict.fromkeys(name for corpus in corpora for name in corpus.emotions)
    if settings.classes != "emotions":
        return tuple(sorted(present))
    dropped = () if settings.calm == CalmPolicy.KEEP_APART.value else ("calm",)
    return tuple(name for name in settings.emotions or present if name not in dropped)


def _lacking(rows: Sequence, emotions: Sequence[str]) -> list[str]:
    """Classes that a domain has no clip of, which a comparison of domains cannot use."""
    notes = []
    for domain in DOMAINS:
        present = {row.emotion for row in rows if row.domain == domain}
        if present and (absent := [name for name in emotions if name not in present]):
            notes.append(f"No corpus of {domain} has {', '.join(absent)}.")
    return notes


def _sum(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in counts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
