"""A corpus through one encoder, as far as the store does not know the answer yet."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Int

from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.buckets import MAX_BUCKETS
from jaxemo.distances.statistics import PackedStatistics
from jaxemo.embedding.collectors import (
    Cells,
    CellStatistics,
    HiddenState,
    LayerSpreads,
    PooledLayers,
    Rows,
    SampledFrames,
    StemFeatures,
)
from jaxemo.embedding.frames import FrameSample, StemFrames
from jaxemo.embedding.hosts import own_clips, wait_for_hosts
from jaxemo.embedding.passes import (
    SECONDS_BETWEEN_COMMITS,
    Collector,
    Timing,
    Track,
    Waveforms,
    plain_network,
    run_passes,
    untracked,
)
from jaxemo.embedding.plan import WindowPlan, plan_passes
from jaxemo.embedding.store import RowStore, StatisticsStore, stream_folder
from jaxemo.models.config import EncoderConfig
from jaxemo.models.pretrained import Encoder


class Clips(NamedTuple):
    """The clips of a corpus at one encoder's rate.

    Attributes:
      digests: Content digest of each clip's file.
      waveforms: Clip number -> whole waveform.
      num_samples: Length of each.
      sample_rate_hz: Of the waveforms.
      excerpt: What of each clip is looked at.
    """

    digests: tuple[str, ...]
    waveforms: Waveforms
    num_samples: Int[np.ndarray, " n"]
    sample_rate_hz: int
    excerpt: Excerpt

    def cut(self, clip: int) -> Float32[np.ndarray, " N"]:
        """The excerpt of one clip."""
        return self.excerpt.cut(self.waveforms(clip), sample_rate_hz=self.sample_rate_hz)

    @property
    def drawn_samples(self) -> int | None:
        """Length of the stretch that training draws from a clip; None where it looks at all of it."""
        if self.excerpt.extent is not Extent.RANDOM:
            return None
        return round(self.excerpt.crop_seconds * self.sample_rate_hz)

    def excerpt_samples(self, clips: Int[np.ndarray, " m"]) -> Int[np.ndarray, " n"]:
        """Length of each clip's excerpt; those that are not among `clips` are not looked at."""
        longest = self.excerpt.longest_samples(self.sample_rate_hz)
        lengths = np.array(self.num_samples, np.int64)
        if self.excerpt.trim_silence_db:
            lengths[clips] = [self.cut(int(clip)).size for clip in clips]
        return lengths if longest is None else np.minimum(lengths, longest)


class Wanted(NamedTuple):
    """What a study needs of a corpus beside the means of its layers.

    Attributes:
      stem: Stem features, for training inside the encoder.
      layers: Numbers of hidden states of which all frames are needed, for training above them.
      cells: Frechet statistics of all frames of these cells; None for none.
      frames_per_clip: Frames of each clip to sample; 0 for none.
      spread: Standard deviations of its layers.
    """

    stem: bool = False
    layers: tuple[int, ...] = ()
    cells: Cells | None = None
    frames_per_clip: int = 0
    spread: bool = False


class Embedding(NamedTuple):
    """What one encoder says of a corpus of n clips; None where it was not asked for.

    Attributes:
      pooled: Mean over the valid frames of each clip and layer.
      stem: Stem features of each clip.
      layers: Hidden states of each clip by their number.
      statistics: Frechet statistics with leading axes (layer, cell).
      frames: A few frames of each clip.
      timing: What had to be computed; None where all of it was known.
      spread: Standard deviation over the valid frames of each clip and layer.
    """

    pooled: Float32[np.ndarray, "n L D"]
    stem: StemFrames | None
    statistics: PackedStatistics | None
    frames: FrameSample | None
    timing: Timing | None
    spread: Float32[np.ndarray, "n L D"] | None = None
    layers: Mapping[int, StemFrames] = MappingProxyType({})


class Settings(NamedTuple):
    """How clips are put through an encoder.

    Attributes:
      batch_size: Clips or windows per forward pass, over all devices.
      window_seconds: Longer excerpts go through in overlapping windows.
      overlap_seconds: Least overlap of those.
    """

    batch_size: int
    window_seconds: float = 30.0
    overlap_seconds: float = 4.0


def embed_clips(
    encoder: Encoder,
    clips: Clips,
    wanted: Wanted,
    settings: Settings,
    *,
    cache_dir: Path | None,
    mesh: Mesh,
    track: Track = untracked,
) -> Embedding:
    """Runs the encoder over the clips that the store does not know.

    Args:
      encoder: As loaded.
      clips: The corpus.
      wanted: What is needed of it.
      settings: How clips go through.
      cache_dir: Folder of the store; None to keep everything in memory.
      mesh: Of one axis; rows of a batch lie on all its devices, which are this host's.
      track: Wraps the loop over passes, for progress.

    Raises:
      ValueError: Clips are too short for the encoder; all are named by their number. Or several
        hosts have no cache folder in common.
    """
    folder = None
    if cache_dir is not None:
        identity = _identity(encoder, clips.excerpt, settings)
        folder = stream_folder(cache_dir, identity, name=stream_name(encoder.name, clips.excerpt))
    elif jax.process_count() > 1:
        raise ValueError("Several hosts share what they embed by the store; expected a cache_dir.")
    parts = _parts(clips, wanted, folder, mesh)
    timing = _run(encoder, clips, parts, settings, cells=wanted.cells, mesh=mesh, track=track)
    if jax.process_count() > 1:
        wait_for_hosts(f"embedded with {encoder.fingerprint}")
        parts = _parts(clips, wanted, folder, mesh)
        _check_complete(parts, cache_dir)
    stem, sample, statistics = parts.stem, parts.sample, parts.statistics
    crop_frames = _crop_frames(encoder, clips)
    per_clip = wanted.frames_per_clip
    return Embedding(
        pooled=np.stack(parts.pooled.result()),
        stem=None if stem is None else StemFrames(stem.result(), crop_frames=crop_frames),
        statistics=None if statistics is None else statistics.result(),
        frames=None if sample is None else FrameSample(sample.result(), per_clip=per_clip),
        timing=timing,
        spread=None if parts.spread is None else np.stack(parts.spread.result()),
        layers={
            layer: StemFrames(found.result(), crop_frames=crop_frames)
            for layer, found in zip(wanted.layers, parts.layers, strict=True)
        },
    )


class _Parts(NamedTuple):
    """A collector for each thing that is wanted."""

    pooled: PooledLayers
    stem: StemFeatures | None
    sample: SampledFrames | None
    statistics: CellStatistics | None
    spread: LayerSpreads | None
    layers: tuple[HiddenState, ...]

    def collectors(self) -> list[Collector]:
        single = (self.pooled, self.stem, self.sample, self.statistics, self.spread)
        return [*(part for part in single if part is not None), *self.layers]


def _parts(clips: Clips, wanted: Wanted, folder: Path | None, mesh: Mesh) -> _Parts:
    """The collectors, with what the store knows."""
    digests, per_clip = clips.digests, wanted.frames_per_clip
    sample = None
    if per_clip:
        sample = SampledFrames(digests, _rows(folder, f"frames{per_clip}"), per_clip=per_clip)
    statistics = None
    if wanted.cells is not None:
        store = None if folder is None else StatisticsStore(folder)
        statistics = CellStatistics(digests, wanted.cells, mesh=mesh, store=store)
    return _Parts(
        PooledLayers(digests, _rows(folder, "pooled")),
        StemFeatures(digests, _rows(folder, "stem")) if wanted.stem else None,
        sample,
        statistics,
        LayerSpreads(digests, _rows(folder, "spread")) if wanted.spread else None,
        tuple(
            HiddenState(digests, _rows(folder, f"hidden{layer}"), layer=layer)
            for layer in wanted.layers
        ),
    )


def _missing(parts: _Parts) -> Bool[np.ndarray, " n"]:
    """The clips that any collector has to see."""
    return np.any([collector.missing() for collector in parts.collectors()], axis=0)


def _check_complete(parts: _Parts, cache_dir: Path | None) -> None:
    """Raises ValueError if the store lacks what other hosts have made."""
    if lacking := int(_missing(parts).sum()):
        raise ValueError(
            f"{cache_dir} lacks {lacking} clips that other hosts have embedded; expected a cache "
            "folder on storage that all hosts share (config.cache_dir)."
        )


def window_plan(
    config: EncoderConfig, settings: Settings, *, sample_rate_hz: int, longest_samples: int | None
) -> WindowPlan:
    """How excerpts of at most `longest_samples` (None: of any length) are cut and batched."""
    window = round(settings.window_seconds * sample_rate_hz)
    if config.longest_clip_samples is not None:
        window = min(window, config.longest_clip_samples)
    max_widths = MAX_BUCKETS
    if longest_samples is not None and longest_samples <= window:
        # Crops are nearly all of one length: one program, not eight.
        window, max_widths = longest_samples, 1
    overlap = min(round(settings.overlap_seconds * sample_rate_hz), window // 2)
    return WindowPlan(window, overlap, settings.batch_size, max_widths)


def _run(
    encoder: Encoder,
    clips: Clips,
    parts: _Parts,
    settings: Settings,
    *,
    cells: Cells | None,
    mesh: Mesh,
    track: Track,
) -> Timing | None:
    """One pass over the clips that any collector misses, or this host's share of them."""
    group_of_clip = None if cells is None else cells.cell_of_clip
    own = own_clips(
        clips.num_samples,
        group_of_clip,
        host=jax.process_index(),
        num_hosts=jax.process_count(),
    )
    missing = np.flatnonzero(_missing(parts) & own)
    if not missing.size:
        return None
    num_samples = clips.excerpt_samples(missing)
    passes = plan_passes(
        encoder.config,
        num_samples,
        window_plan(
            encoder.config,
            settings,
            sample_rate_hz=clips.sample_rate_hz,
            longest_samples=clips.excerpt.longest_samples(clips.sample_rate_hz),
        ),
        clips=missing,
        group_of_clip=group_of_clip,
    )
    return run_passes(
        plain_network(encoder),
        passes,
        clips.cut,
        parts.collectors(),
        mesh=mesh,
        batch_size=settings.batch_size,
        track=track,
        seconds_between_commits=SECONDS_BETWEEN_COMMITS,
    )


def stream_name(encoder: str, excerpt: Excerpt) -> str:
    """What a stream is called in the cache, such as `wav2vec2-base, middle 3.0 s, trimmed 40 dB`."""
    words = [encoder]
    identity = excerpt.identity()
    cropped = f" {identity['crop_seconds']} s" if "crop_seconds" in identity else ""
    words.append(f"{identity['extent']}{cropped}")
    if excerpt.trim_silence_db:
        words.append(f"trimmed {excerpt.trim_silence_db:g} dB")
    return ", ".join(words)


def _identity(encoder: Encoder, excerpt: Excerpt, settings: Settings) -> dict[str, Any]:
    return {
        "fingerprint": encoder.fingerprint,
        "normalisation": encoder.normalisation.value,
        "sample_rate_hz": encoder.sample_rate_hz,
        "compute_dtype": jnp.dtype(encoder.module.dtype).name,
        "window_seconds": settings.window_seconds,
        "overlap_seconds": settings.overlap_seconds,
        **excerpt.identity(),
    }


def _rows(folder: Path | None, kind: str) -> Rows:
    return {} if folder is None else RowStore(folder, kind)


def _crop_frames(encoder: Encoder, clips: Clips) -> int | None:
    """Frames of what training draws from a clip; None where it looks at all of it."""
    drawn = clips.drawn_samples
    return None if drawn is None else int(encoder.config.num_frames(drawn))
