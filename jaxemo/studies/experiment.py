"""What all three studies share: the corpus on disk, its folds, its labels, and one embedding an encoder.

Bad input stops here, before any compute: unknown encoders, unusable files (by policy), speaker leaks.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemo.data.audio import LeftOut
from jaxemo.data.clip_store import ClipStore, UnusablePolicy, apply_policy, open_clip_store
from jaxemo.data.corpora.corpus import DOMAINS, CalmPolicy, Corpus, Utterance, manifest_hash
from jaxemo.data.corpora.manifest import read_manifest
from jaxemo.data.corpora.ravdess import read_ravdess
from jaxemo.data.folds import EmptyCell, Fold, Split, audit, make_folds, split
from jaxemo.data.progress import Progress
from jaxemo.embedding.corpus_pass import Embedding, embed_acoustics, embed_corpus
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.training.sharding import make_mesh

HALVES = 2

ACOUSTIC = "acoustic"
ACOUSTIC_NAME = "acoustic baseline (librosa)"
_ACOUSTIC_RATE_HZ = 16_000


class Experiment(NamedTuple):
    """A corpus made ready.

    Attributes:
      corpus: Its usable utterances; rows everywhere below are positions in it.
      labels: Emotion number of each row, in the order of `corpus.emotions`.
      digests: Content digest of each row's file.
      duration_s: Length of each clip.
      folds: Speaker-disjoint folds; the fold number is its position within one seed.
      empty_cells: Emotions that a part of a fold has no clip of.
      left_out: Files that were found and not used, with reasons.
      cache_dir: Where decoded audio lives.
      progress: How long work is shown.
    """

    corpus: Corpus
    labels: Int[np.ndarray, " n"]
    digests: tuple[str, ...]
    duration_s: np.ndarray
    folds: tuple[tuple[Fold, ...], ...]
    empty_cells: tuple[EmptyCell, ...]
    left_out: tuple[LeftOut, ...]
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

    def open_store(self, sample_rate_hz: int) -> ClipStore:
        """The corpus decoded at one rate."""
        return open_clip_store(
            self.utterances,
            sample_rate_hz=sample_rate_hz,
            cache_dir=self.cache_dir,
            progress=self.progress.count(f"decoding to {sample_rate_hz} Hz"),
        )


class Source(NamedTuple):
    """One row of every chart: an encoder, or the hand-made baseline (`encoder` is None)."""

    name: str
    source: str
    origin: str
    sample_rate_hz: int
    fingerprint: str
    encoder: Encoder | None


class Embedded(NamedTuple):
    """A source and what it says of the corpus."""

    source: Source
    embedding: Embedding


def open_corpus(settings: Any, cache_dir: Path) -> Corpus:
    """The corpus that a config's `corpus` block names.

    Raises:
      ValueError: For an unknown corpus or policy, or labels that are not there.
      FileNotFoundError: When its files are missing.
    """
    calm = CalmPolicy(settings.calm)
    emotions = tuple(settings.emotions)
    match settings.name:
        case "ravdess":
            domains = tuple(settings.domains)
            return read_ravdess(settings.audio_dir, emotions=emotions, calm=calm, domains=domains)
        case "manifest":
            return read_manifest(settings.manifest, emotions=emotions or None, calm=calm)
        case "synthetic":
            manifest = _synthetic_manifest(settings, cache_dir)
            return read_manifest(manifest, emotions=emotions, calm=calm)
    raise ValueError(
        f"config.corpus.name is {settings.name!r}; expected 'ravdess', 'manifest' or 'synthetic'."
    )


def _synthetic_manifest(settings: Any, cache_dir: Path) -> Path:
    from jaxemo.data.synthetic.corpus import write_synthetic_corpus

    clips = settings.clips_per_cell
    directory = cache_dir / f"synthetic-{settings.seed}-{clips}"
    return write_synthetic_corpus(directory, seed=settings.seed, clips_per_cell=clips)


def prepare_experiment(
    config: Any, *, sample_rate_hz: int, num_seeds: int, cache_dir: Path, progress: Progress
) -> Experiment:
    """Reads, decodes, folds and audits the config's corpus.

    Args:
      sample_rate_hz: Rate to decode at first; it decides which files are usable.
      num_seeds: How many choices of dev speakers are wanted.

    Raises:
      ValueError: For anything wrong with the corpus (LeakageError and UnusableFiles are such).
    """
    corpus = open_corpus(config.corpus, cache_dir)
    store = open_clip_store(
        corpus.utterances,
        sample_rate_hz=sample_rate_hz,
        cache_dir=cache_dir,
        progress=progress.count(f"decoding to {sample_rate_hz} Hz"),
    )
    store = apply_policy(store, policy=UnusablePolicy(config.corpus.unusable))
    folds = tuple(
        make_folds(
            store.utterances,
            num_folds=config.folds.num_folds,
            seed=config.seed,
            rotation=config.seed + index,
        )
        for index in range(num_seeds)
    )
    empty_cells = [
        cell
        for one_seed in folds
        for cell in audit(store.utterances, one_seed, digests=store.digests)
    ]
    emotions = corpus.emotions
    return Experiment(
        corpus=corpus._replace(utterances=store.utterances),
        labels=np.array([emotions.index(row.emotion) for row in store.utterances], np.int64),
        digests=store.digests,
        duration_s=store.duration_s,
        folds=folds,
        empty_cells=tuple(empty_cells),
        left_out=(*corpus.left_out, *store.left_out),
        cache_dir=cache_dir,
        progress=progress,
    )


def load_source(name: str) -> Source:
    """An encoder by hub id, folder or own name, or the acoustic baseline by `acoustic`."""
    if name == ACOUSTIC:
        version = hashlib.sha256(ACOUSTIC_NAME.encode()).hexdigest()
        return Source(ACOUSTIC_NAME, name, "hand-made", _ACOUSTIC_RATE_HZ, version, None)
    return source_of(load_encoder(name), name)


def source_of(encoder: Encoder, name: str) -> Source:
    """An encoder that was loaded from `name`."""
    return Source(
        encoder.name,
        name,
        encoder.origin,
        encoder.sample_rate_hz,
        encoder.fingerprint,
        encoder,
    )


def describe_source(source: Source) -> dict[str, Any]:
    """Provenance of one encoder."""
    return {
        "name": source.name,
        "source": source.source,
        "origin": source.origin,
        "revision": "" if source.encoder is None else source.encoder.revision,
        "fingerprint": source.fingerprint,
        "sample_rate_hz": source.sample_rate_hz,
    }


def embed_sources(
    experiment: Experiment,
    config: Any,
    *,
    sources: list[Source],
    stem_dir: Path | None,
    frames_dir: Path | None = None,
) -> Iterator[Embedded]:
    """Embeds the corpus with one source after the other.

    Args:
      stem_dir: Where to keep the encoders' stem features; None when nothing fine-tunes them.
      frames_dir: Where a large sample of frames lies until the next source is asked for; None when
        nothing needs a sample.
    """
    for source in sources:
        name = f"{source.fingerprint[:16]}.npy"
        frames_path = None if frames_dir is None else frames_dir / name
        stem_path = None if stem_dir is None else stem_dir / name
        try:
            yield Embedded(source, _embed(experiment, config, source, stem_path, frames_path))
        finally:
            if frames_path is not None:
                frames_path.unlink(missing_ok=True)


def _embed(
    experiment: Experiment,
    config: Any,
    source: Source,
    stem_path: Path | None,
    frames_path: Path | None,
) -> Embedding:
    common = {
        "waveforms": experiment.open_store(source.sample_rate_hz).waveform,
        "cell_of_clip": cell_of_clip(experiment),
        "num_cells": num_cells(experiment),
        "crop_seconds": config.audio.crop_seconds,
        "trim_silence_db": config.audio.trim_silence_db,
        "frames_per_clip": 0 if frames_path is None else config.similarity.frames_per_clip,
        "track": experiment.progress.track,
    }
    if source.encoder is None:
        return embed_acoustics(sample_rate_hz=source.sample_rate_hz, **common)
    return embed_corpus(
        source.encoder,
        batch_size=config.audio.batch_size,
        stem_path=stem_path,
        frames_path=frames_path,
        **common,
    )


def num_cells(experiment: Experiment) -> int:
    """Statistics cells: (domain, emotion, half of the speakers), in this order of axes."""
    return len(DOMAINS) * len(experiment.emotions) * HALVES


def cell_of_clip(experiment: Experiment) -> Int[np.ndarray, " n"]:
    """The cell number of each row."""
    shape = (len(DOMAINS), len(experiment.emotions), HALVES)
    half = speaker_halves(experiment.utterances)
    domain = np.array([DOMAINS.index(u.domain) for u in experiment.utterances])
    speaker_half = np.array([half[u.speaker] for u in experiment.utterances])
    return np.ravel_multi_index((domain, experiment.labels, speaker_half), shape)


def speaker_halves(utterances: tuple[Utterance, ...]) -> dict[str, int]:
    """Two disjoint halves of the speakers, for the same-domain null.

    Neighbouring pairs in sorted order go together: RAVDESS numbers its actors by alternating sex, so each
    half gets as many women as men.
    """
    speakers = sorted({utterance.speaker for utterance in utterances})
    return {speaker: (position // 2) % HALVES for position, speaker in enumerate(speakers)}


def default_mesh(settings: Any):
    """The mesh over all devices that a config's `mesh` block describes."""
    return make_mesh(data=settings.data, fsdp=settings.fsdp, tensor=settings.tensor)
