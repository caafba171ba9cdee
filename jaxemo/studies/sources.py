"""What stands in a row of every chart: an encoder, a folder of its embeddings, or hand-made features.

Sources are loaded here, and put over the corpus one at a time, each as far as the store does not
know the answer.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.clip_store import ClipStore
from jaxemo.distances.statistics import PackedStatistics
from jaxemo.embedding.collectors import Cells
from jaxemo.embedding.folder import EmbeddingFolder, embed_from_folder, is_embedding_folder
from jaxemo.embedding.frames import FrameSample
from jaxemo.embedding.hand_made import HAND_MADE, HandMade, acoustic_cues, embed_hand_made
from jaxemo.embedding.passes import Timing, row_mesh
from jaxemo.embedding.stream import Clips, Embedding, Wanted, embed_clips
from jaxemo.embedding.stream import Settings as EmbeddingSettings
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.peft import Method
from jaxemo.studies.audio_settings import AudioSettings
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment, cell_of_clip, num_cells
from jaxemo.studies.frozen_part import Kept, kept_for
from jaxemo.studies.peft_folder import is_peft_folder, load_adapted_encoder
from jaxemo.studies.study_settings import SimilaritySettings

logger = logging.getLogger("jaxemo")

# Hand-made features look at the band that encoders of speech are given.
HAND_MADE_RATE_HZ = 16_000


class Source(NamedTuple):
    """One row of every chart: an encoder, a folder of its embeddings, or hand-made features.

    One of `encoder`, `folder` and `hand_made` is there.
    """

    name: str
    source: str
    origin: str
    sample_rate_hz: int
    fingerprint: str
    encoder: Encoder | None = None
    folder: EmbeddingFolder | None = None
    hand_made: HandMade | None = None

    @property
    def needs_audio(self) -> bool:
        """Whether it is given the clips' audio."""
        return self.folder is None


class Compared(NamedTuple):
    """What study 3 reads of the excerpts that are compared between domains.

    Attributes:
      pooled: Mean over the valid frames of each clip and layer.
      statistics: Frechet statistics with leading axes (layer, cell).
      frames: A few frames of each clip.
    """

    pooled: Float32[np.ndarray, "n L D"]
    statistics: PackedStatistics
    frames: FrameSample


class Embedded(NamedTuple):
    """A source and what it says of the corpus, as far as it was asked."""

    source: Source
    of_recognised: Embedding | None
    of_compared: Embedding | None

    @property
    def embedding(self) -> Embedding:
        """Of the excerpts that are recognised (studies 1 and 2).

        Raises:
          ValueError: They were not asked for.
        """
        if self.of_recognised is None:
            raise ValueError(
                f"{self.source.name} was embedded without the excerpts that are recognised; ask "
                "for them with Needs(recognition=True)."
            )
        return self.of_recognised

    @property
    def compared(self) -> Compared:
        """Of the excerpts that are compared between domains (study 3).

        Raises:
          ValueError: They were not asked for.
        """
        found = self.of_compared
        if found is None or found.statistics is None or found.frames is None:
            raise ValueError(
                f"{self.source.name} was embedded without the excerpts that are compared; ask for "
                "them with Needs(similarity=True)."
            )
        return Compared(found.pooled, found.statistics, found.frames)


class Needs(NamedTuple):
    """What the studies to be run read of an embedding.

    Attributes:
      recognition: The excerpts that are recognised.
      methods: What is trained on them.
      similarity: The excerpts that are compared between domains.
      spread: Standard deviations of layers beside their means.
      stem: The output of stems, whatever the methods.
    """

    recognition: bool = True
    methods: tuple[Method, ...] = ()
    similarity: bool = False
    spread: bool = False
    stem: bool = False


def check_long_enough(encoder: Encoder, store: ClipStore) -> None:
    """Raises ValueError naming every clip that is shorter than one frame of the encoder."""
    shortest = encoder.config.shortest_clip_samples
    lines = [
        f"  {row.path}: {length} samples"
        for row, length in zip(store.utterances, store.num_samples, strict=True)
        if length < shortest
    ]
    if lines:
        raise ValueError(
            f"{len(lines)} clips are shorter than one frame of {encoder.name} ({shortest} samples at "
            f"{encoder.sample_rate_hz} Hz); drop them from the corpus:\n" + "\n".join(lines)
        )


def load_source(name: str) -> Source:
    """An encoder by hub id, folder (peft's too) or own name, embeddings by their folder, or hand-made features."""
    if name in HAND_MADE:
        features = HAND_MADE[name]
        return Source(
            features.name,
            name,
            "hand-made",
            HAND_MADE_RATE_HZ,
            features.fingerprint,
            hand_made=features,
        )
    if is_embedding_folder(name):
        folder = EmbeddingFolder(Path(name).expanduser())
        return Source(
            folder.encoder,
            name,
            folder.origin,
            folder.sample_rate_hz,
            folder.fingerprint,
            None,
            folder,
        )
    if is_peft_folder(name):
        return encoder_source(load_adapted_encoder(name), name)
    return encoder_source(load_encoder(name), name)


def encoder_source(encoder: Encoder, name: str) -> Source:
    """An encoder that was loaded from `name`."""
    return Source(
        encoder.name, name, encoder.origin, encoder.sample_rate_hz, encoder.fingerprint, encoder
    )


def load_sources(names: Sequence[str]) -> list[Source]:
    """The sources of a config, each under a name of its own.

    Raises:
      ValueError: Two have one name: their rows, charts and models would run into each other.
    """
    sources = [load_source(name) for name in names]
    called: dict[str, list[str]] = defaultdict(list)
    for source in sources:
        called[source.name].append(source.source)
    if twice := {name: places for name, places in called.items() if len(places) > 1}:
        listed = "; ".join(f"{name!r}: {', '.join(places)}" for name, places in twice.items())
        raise ValueError(
            f"config.encoders holds several of one name ({listed}). Rename a folder, so that rows "
            "and charts can be told apart."
        )
    return sources


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
    experiment: Experiment, config: Settings, *, sources: list[Source], needs: Needs
) -> Iterator[Embedded]:
    """Embeds the corpus with one source after the other; what the store knows is not computed."""
    for source in sources:
        yield _embed(experiment, config, source, needs)


def recognised_excerpt(audio: AudioSettings) -> Excerpt:
    """What of a clip is recognised: a config's `audio` block, or that of a checkpoint's record."""
    return Excerpt(Extent(audio.excerpt), audio.crop_seconds, audio.trim_silence_db)


def compared_excerpt(similarity: SimilaritySettings) -> Excerpt:
    """What of a clip is compared: one length in both domains, so that no clip weighs more."""
    return Excerpt(Extent.MIDDLE, similarity.crop_seconds, similarity.trim_silence_db)


def clip_cues(experiment: Experiment, excerpt: Excerpt) -> Float32[np.ndarray, "n C"] | None:
    """Acoustic cues of every clip's excerpt; None where there is no audio."""
    if not experiment.stores:
        return None
    rates = sorted(experiment.stores)
    rate = HAND_MADE_RATE_HZ if HAND_MADE_RATE_HZ in rates else rates[0]
    clips = clips_at(experiment, rate, excerpt)
    return acoustic_cues(clips, cache_dir=experiment.cache_dir, track=experiment.progress.track)


def clips_at(experiment: Experiment, sample_rate_hz: int, excerpt: Excerpt) -> Clips:
    """The corpus at one rate, as a study looks at it."""
    store = experiment.stores[sample_rate_hz]
    return Clips(experiment.digests, store.waveform, store.num_samples, sample_rate_hz, excerpt)


def _embed(experiment: Experiment, config: Settings, source: Source, needs: Needs) -> Embedded:
    recognised, compared = recognised_excerpt(config.audio), compared_excerpt(config.similarity)
    comparison = Wanted()
    if needs.similarity:
        cells = Cells(cell_of_clip(experiment), num_cells(experiment))
        comparison = Wanted(cells=cells, frames_per_clip=config.similarity.frames_per_clip)
    recognition = _to_train_on(experiment, config, source, needs)
    if needs.similarity and needs.recognition and recognised == compared:
        both = comparison._replace(
            stem=recognition.stem, layers=recognition.layers, spread=recognition.spread
        )
        embedding = _embed_excerpts(experiment, config, source, recognised, both)
        return Embedded(source, embedding, embedding)
    found = [
        _embed_excerpts(experiment, config, source, excerpt, wanted) if needed else None
        for needed, excerpt, wanted in (
            (needs.recognition, recognised, recognition),
            (needs.similarity, compared, comparison),
        )
    ]
    return Embedded(source, *found)


def kept_of(experiment: Experiment, config: Settings, source: Source, method: Method) -> Kept:
    """What is kept of a corpus for a method; pooled layers alone where there is no encoder."""
    if source.encoder is None:
        return Kept(None)
    longest = max(experiment.stores[source.sample_rate_hz].num_samples)
    seconds = float(longest / source.sample_rate_hz)
    return kept_for(method, source.encoder.params, config, longest_seconds=seconds)


def _to_train_on(experiment: Experiment, config: Settings, source: Source, needs: Needs) -> Wanted:
    kept = {kept_of(experiment, config, source, method).layer for method in needs.methods}
    layers = tuple(sorted(layer for layer in kept if layer))
    stem = 0 in kept or (needs.stem and source.encoder is not None)
    return Wanted(stem=stem, layers=layers, spread=needs.spread)


def _embed_excerpts(
    experiment: Experiment, config: Settings, source: Source, excerpt: Excerpt, wanted: Wanted
) -> Embedding:
    """One source over one kind of excerpt; says how much of it had to be computed."""
    if source.folder is not None:
        return embed_from_folder(source.folder, experiment.digests, excerpt, wanted)
    store = experiment.stores[source.sample_rate_hz]
    clips = clips_at(experiment, source.sample_rate_hz, excerpt)
    common = {"cache_dir": experiment.cache_dir, "track": experiment.progress.track}
    if source.hand_made is not None:
        embedding = embed_hand_made(source.hand_made, clips, wanted, **common)
    else:
        assert source.encoder is not None
        check_long_enough(source.encoder, store)
        audio = config.audio
        settings = EmbeddingSettings(audio.batch_size, audio.window_seconds, audio.overlap_seconds)
        embedding = embed_clips(source.encoder, clips, wanted, settings, mesh=row_mesh(), **common)
    logger.info("%s: %s", source.name, in_words(embedding.timing, len(experiment.digests)))
    return embedding


def in_words(timing: Timing | None, num_clips: int) -> str:
    """How an embedding went, for the log."""
    if timing is None:
        return f"all {num_clips} clips were in the store, none was embedded"
    speed = timing.audio_seconds / max(timing.wall_seconds, 1e-9)
    return (
        f"{timing.num_clips} of {num_clips} clips embedded, {timing.audio_seconds:.1f} s of audio in "
        f"{timing.wall_seconds:.1f} s ({speed:.1f} audio-seconds per second), the device waited "
        f"{100 * timing.device_wait:.0f} % of the time"
    )
