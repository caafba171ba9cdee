"""What all three studies share: the corpus on disk, its folds, its labels, and one embedding an encoder.

Bad input stops here, before any compute: unknown encoders, unusable files (by policy), speaker leaks.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Shaped

from jaxemo.data.audio import LeftOut
from jaxemo.data.clip_store import ClipStore, UnusablePolicy, apply_policy, open_clip_stores
from jaxemo.data.corpora.corpus import (
    DOMAINS,
    CalmPolicy,
    Corpus,
    Utterance,
    check_present,
    choose_emotions,
    manifest_hash,
)
from jaxemo.data.folds import EmptyCell, Fold, Split, audit, make_folds, split
from jaxemo.data.progress import Progress
from jaxemo.data.protocols import Protocol, plan
from jaxemo.embedding.folder import EmbeddingFolder
from jaxemo.studies.config import CorpusSettings, Settings
from jaxemo.studies.corpora import open_corpora
from jaxemo.studies.recognition import Task, targets_of, task_of
from jaxemo.training.processes import first_goes_first

logger = logging.getLogger("jaxemo")

HALVES = 2

# Of a corpus whose sources need no audio: it decides which files are usable.
_DEFAULT_RATE_HZ = 16_000


class Experiment(NamedTuple):
    """A corpus made ready.

    Attributes:
      corpus: Its usable utterances; rows everywhere below are positions in it.
      task: What is recognised.
      labels: Emotion number of each row, in the order of `corpus.emotions`; or its ratings or tags.
      digests: Content digest of each row's file.
      duration_s: Length of each clip.
      folds: Speaker-disjoint folds; the fold number is its position within one seed.
      protocol: How they were made, in words.
      empty_cells: Emotions that a part of a fold has no clip of.
      left_out: Files that were found and not used, with reasons.
      stores: The clips' audio by sample rate; none where embeddings alone are at hand.
      cache_dir: Where decoded audio and embeddings live.
      progress: How long work is shown.
    """

    corpus: Corpus
    task: Task
    labels: Shaped[np.ndarray, "n ..."]
    digests: tuple[str, ...]
    duration_s: np.ndarray
    folds: tuple[tuple[Fold, ...], ...]
    protocol: str
    empty_cells: tuple[EmptyCell, ...]
    left_out: tuple[LeftOut, ...]
    stores: dict[int, ClipStore]
    cache_dir: Path
    progress: Progress

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        return self.corpus.utterances

    @property
    def emotions(self) -> tuple[str, ...]:
        return self.corpus.emotions

    def rows_of(self, domain: str) -> Int[np.ndarray, " m"]:
        """Rows of one domain."""
        return np.flatnonzero([utterance.domain == domain for utterance in self.utterances])

    def split(self, seed_index: int, fold_index: int) -> Split:
        """Train, dev and test rows of a fold, both domains together."""
        return split(self.utterances, self.folds[seed_index][fold_index])

    def corpus_hash(self) -> str:
        """Digest of labels and audio content; the same wherever the files lie."""
        return manifest_hash(self.utterances, self.digests)


def check_training_parts(experiment: Experiment) -> None:
    """Every emotion of a domain must be among what is trained on, in every fold and for every seed.

    A fold that has no clip at all of a domain is not used for it.

    Raises:
      ValueError: Naming every emotion, domain and fold without a clip.
    """
    empty = sorted({cell for cell in experiment.empty_cells if cell.part == "train"})
    emotions_of = Counter((row.domain, row.emotion) for row in experiment.utterances)
    num_emotions = Counter(domain for domain, _ in emotions_of)
    num_empty = Counter((cell.fold, cell.domain) for cell in empty)
    lacking = [
        f"{cell.emotion!r} ({cell.domain}, fold {cell.fold})"
        for cell in empty
        if num_empty[cell.fold, cell.domain] < num_emotions[cell.domain]
    ]
    if lacking:
        raise ValueError(
            f"The training part has no clip of {', '.join(lacking)}: too few speakers have it. Leave "
            "the emotion out (config.corpus.emotions), add speakers, or take other folds "
            "(config.folds.num_folds)."
        )


def prepare_experiment(
    config: Settings,
    *,
    sample_rates_hz: Sequence[int],
    num_seeds: int,
    cache_dir: Path,
    progress: Progress,
) -> Experiment:
    """Reads, decodes, folds and audits the config's corpus.

    Args:
      sample_rates_hz: Rates to decode at; a clip takes part if it is usable at all of them. Without
        any, the corpus must be a folder of embeddings.
      num_seeds: How many choices of dev speakers are wanted.

    Raises:
      ValueError: For anything wrong with the corpus (LeakageError and UnusableFiles are such).
    """
    with first_goes_first("the corpus is decoded"):
        read = _read_corpus(config, sample_rates_hz, cache_dir=cache_dir, progress=progress)
    planned = plan(read.corpus.utterances, Protocol(config.folds.protocol))
    utterances, digests = planned.utterances, read.digests
    folds = tuple(
        make_folds(
            utterances,
            num_folds=config.folds.num_folds,
            seed=config.seed,
            rotation=config.seed + index,
            protocol=planned.protocol,
        )
        for index in range(num_seeds)
    )
    empty_cells = [
        cell for one_seed in folds for cell in audit(utterances, one_seed, digests=digests)
    ]
    task = task_of(read.corpus, config.corpus)
    return Experiment(
        corpus=read.corpus._replace(utterances=utterances),
        task=task,
        labels=targets_of(task, utterances),
        digests=digests,
        duration_s=read.duration_s,
        folds=folds,
        protocol=planned.name,
        empty_cells=tuple(empty_cells),
        left_out=read.left_out,
        stores=read.stores,
        cache_dir=cache_dir,
        progress=progress,
    )


class _ReadCorpus(NamedTuple):
    """The usable clips of a corpus."""

    corpus: Corpus
    digests: tuple[str, ...]
    duration_s: np.ndarray
    left_out: tuple[LeftOut, ...]
    stores: dict[int, ClipStore]


def _read_corpus(
    config: Settings,
    sample_rates_hz: Sequence[int],
    *,
    cache_dir: Path,
    progress: Progress,
) -> _ReadCorpus:
    settings = config.corpus
    if settings.name == "embeddings" and not config.corpora:
        if sample_rates_hz:
            raise ValueError(
                "config.corpus.name is 'embeddings', which holds no audio; name folders that "
                "`jaxemo embed` wrote in config.encoders, or give a corpus with audio."
            )
        return _embedded_corpus(settings)
    corpus = open_corpora(config, cache_dir)
    stores = usable_stores(
        corpus.utterances,
        sample_rates_hz or (_DEFAULT_RATE_HZ,),
        unusable=settings.unusable,
        cache_dir=cache_dir,
        progress=progress,
    )
    first = next(iter(stores.values()))
    return _ReadCorpus(
        corpus._replace(utterances=first.utterances),
        first.digests,
        first.duration_s,
        (*corpus.left_out, *first.left_out),
        stores,
    )


def _embedded_corpus(settings: CorpusSettings) -> _ReadCorpus:
    """The corpus that a folder of embeddings describes."""
    folder = EmbeddingFolder(Path(settings.manifest).expanduser())
    wanted = tuple(settings.emotions)
    found, classes, others = choose_emotions(
        folder.utterances, emotions=wanted, calm=CalmPolicy(settings.calm)
    )
    check_present(found, emotions=classes, domains=(), where=folder.path)
    row_of = {row.path: index for index, row in enumerate(folder.utterances)}
    rows = np.array([row_of[row.path] for row in found])
    name = "+".join(sorted({row.corpus for row in found}))
    return _ReadCorpus(
        Corpus(name, found, classes, (), others),
        tuple(folder.digests[row] for row in rows),
        folder.duration_s[rows],
        (),
        {},
    )


def usable_stores(
    utterances: Sequence[Utterance],
    sample_rates_hz: Sequence[int],
    *,
    unusable: str,
    cache_dir: Path,
    progress: Progress,
) -> dict[int, ClipStore]:
    """The clips at each rate: those that are usable at all of them.

    Raises:
      UnusableFiles: There are unusable files and the policy is to stop, or none is left.
    """
    rates = sorted(set(sample_rates_hz))
    stores = open_clip_stores(
        utterances,
        sample_rates_hz=rates,
        cache_dir=cache_dir,
        progress=progress.count(f"reading and decoding to {' and '.join(map(str, rates))} Hz"),
    )
    usable = np.all([store.num_samples > 0 for store in stores.values()], axis=0)
    faults = {item.path: item for store in stores.values() for item in store.left_out}
    left_out = tuple(faults[row.path] for row in utterances if row.path in faults)
    merged = {
        rate: replace(store, num_samples=np.where(usable, store.num_samples, 0), left_out=left_out)
        for rate, store in stores.items()
    }
    policy = UnusablePolicy(unusable)
    return {rate: apply_policy(store, policy=policy) for rate, store in merged.items()}


def num_cells(experiment: Experiment) -> int:
    """Statistics cells: (domain, emotion, half of the clips), in this order of axes."""
    return len(DOMAINS) * len(experiment.emotions) * HALVES


def cell_of_clip(experiment: Experiment) -> Int[np.ndarray, " n"]:
    """The cell number of each row."""
    shape = (len(DOMAINS), len(experiment.emotions), HALVES)
    domain = np.array([DOMAINS.index(u.domain) for u in experiment.utterances])
    halves = clip_halves(experiment.utterances)
    return np.ravel_multi_index((domain, experiment.labels, halves), shape)


def clip_halves(utterances: Sequence[Utterance]) -> Int[np.ndarray, " n"]:
    """Two halves of each speaker's clips of a domain and emotion, for the same-domain null.

    The clips go to the halves in turn, by intensity, statement and take: RAVDESS's second takes against
    its first. Of an odd number, the one too many goes to either half by neighbouring pairs of speakers
    in sorted order: RAVDESS numbers its actors by alternating sex, so each half gets as many women as
    men where cells hold one clip.
    """
    speakers = sorted({row.speaker for row in utterances})
    first = {speaker: (position // 2) % HALVES for position, speaker in enumerate(speakers)}

    def order(place: int) -> tuple[str, ...]:
        row = utterances[place]
        return (row.intensity, row.statement, row.repetition, row.path)

    taken: Counter[tuple[str, str, str]] = Counter()
    halves = np.empty(len(utterances), np.int64)
    for place in sorted(range(len(utterances)), key=order):
        row = utterances[place]
        cell = (row.domain, row.emotion, row.speaker)
        halves[place] = (first[row.speaker] + taken[cell]) % HALVES
        taken[cell] += 1
    return halves
