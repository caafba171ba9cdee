"""Hand-made features in an encoder's place: one "layer" of clip summaries, kept in the store.

Clip summaries stand where pooled layers stand. Frame features have units as different as dB and Hz, so
they are standardised over the whole corpus before they enter Frechet statistics and frame samples.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import inspect
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data import acoustics, log_mel, opensmile_features
from jaxemo.data.acoustics import SUMMARY_FEATURES, AcousticFeatures, acoustic_features
from jaxemo.data.log_mel import log_mel_features
from jaxemo.data.opensmile_features import FeatureSet
from jaxemo.distances.statistics import PackedStatistics, empty_statistics, pack, update
from jaxemo.embedding.collectors import Cells, Rows
from jaxemo.embedding.frames import FrameSample, rows_of, sampled_positions
from jaxemo.embedding.passes import Timing, Track, untracked
from jaxemo.embedding.store import RowStore, held, stream_folder
from jaxemo.embedding.stream import Clips, Embedding, Wanted, stream_name

CUES = (
    "pitch_semitones_mean",
    "pitch_semitones_std",
    "loudness_db_mean",
    "loudness_db_std",
    "onset_rate_hz",
    "centroid_octaves_mean",
    "high_frequency_db_mean",
)
# Clips between two writes to the store.
_CLIPS_PER_COMMIT = 64


class HandMade(NamedTuple):
    """Features that nobody trained.

    Attributes:
      name: As charts and the store have it.
      extract: Frames and summary of a waveform, given with its `sample_rate_hz`.
      code: The modules that decide the numbers.
      package: The package that decides them too, and must be installed.
    """

    name: str
    extract: Callable[..., AcousticFeatures]
    code: tuple[ModuleType, ...]
    package: str

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what decides the features: which they are, their code, the version of their package.

        Raises:
          ValueError: The package is not installed.
        """
        if importlib.util.find_spec(self.package) is None:
            raise ValueError(
                f"{self.name} is made by {self.package}, which is not installed: pip install "
                f"'jaxemo[{self.package}]', or leave it out of config.encoders."
            )
        version = importlib.metadata.version(self.package)
        parts = [self.name, version, *map(inspect.getsource, self.code)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# By their names in `config.encoders`.
HAND_MADE = {
    "acoustic": HandMade(
        "acoustic baseline (librosa)", acoustic_features, (acoustics,), package="librosa"
    ),
    "log_mel": HandMade(
        "log-mel mean and deviation", log_mel_features, (log_mel, acoustics), package="librosa"
    ),
} | {
    name: HandMade(
        f"{feature_set.value} (openSMILE)",
        functools.partial(opensmile_features.opensmile_features, feature_set=feature_set),
        (opensmile_features, acoustics),
        package="opensmile",
    )
    for name, feature_set in (("egemaps", FeatureSet.EGEMAPS), ("compare", FeatureSet.COMPARE))
}


def embed_hand_made(
    hand_made: HandMade,
    clips: Clips,
    wanted: Wanted,
    *,
    cache_dir: Path | None,
    track: Track = untracked,
) -> Embedding:
    """What `embed_clips` gives, of hand-made features; they have no stem.

    Args:
      hand_made: The features.
      clips: The corpus.
      wanted: What is needed of it; `stem` is of no account.
      cache_dir: Folder of the store; None to keep everything in memory.
      track: Wraps the loop over clips, for progress.
    """
    summaries, frames = _stores(hand_made, clips, cache_dir)
    timing = _compute(hand_made, clips, summaries, frames, track)
    statistics, sample = None, None
    if wanted.cells is not None or wanted.frames_per_clip:
        standardised = _standardised(rows_of(frames, clips.digests))
        if wanted.cells is not None:
            statistics = _frame_statistics(standardised, wanted.cells)
        if wanted.frames_per_clip:
            sample = _sample(standardised, per_clip=wanted.frames_per_clip)
    return Embedding(
        pooled=np.stack(rows_of(summaries, clips.digests)),
        stem=None,
        statistics=statistics,
        frames=sample,
        timing=timing,
    )


def acoustic_cues(
    clips: Clips, *, cache_dir: Path | None, track: Track = untracked
) -> Float32[np.ndarray, "n C"]:
    """Pitch, loudness, rate and spectral balance of each clip, as `CUES` of the summary has them."""
    acoustic = HAND_MADE["acoustic"]
    summaries, frames = _stores(acoustic, clips, cache_dir)
    _compute(acoustic, clips, summaries, frames, track)
    columns = [SUMMARY_FEATURES.index(name) for name in CUES]
    return np.stack(rows_of(summaries, clips.digests))[:, 0, columns]


def _stores(hand_made: HandMade, clips: Clips, cache_dir: Path | None) -> tuple[Rows, Rows]:
    """Where summaries and frames are kept."""
    if cache_dir is None:
        return {}, {}
    identity = {
        "fingerprint": hand_made.fingerprint,
        "sample_rate_hz": clips.sample_rate_hz,
        **clips.excerpt.identity(),
    }
    folder = stream_folder(cache_dir, identity, name=stream_name(hand_made.name, clips.excerpt))
    return RowStore(folder, "summaries"), RowStore(folder, "frames")


def _compute(
    hand_made: HandMade, clips: Clips, summaries: Rows, frames: Rows, track: Track
) -> Timing | None:
    """Fills in what is not known yet."""
    known = held(summaries, clips.digests) & held(frames, clips.digests)
    missing = np.flatnonzero(~known).tolist()
    if not missing:
        return None
    started = time.monotonic()
    num_samples = 0
    fresh: dict[str, AcousticFeatures] = {}
    for clip in track(missing, hand_made.name, len(missing)):
        excerpt = clips.cut(clip)
        num_samples += excerpt.size
        fresh[clips.digests[clip]] = hand_made.extract(excerpt, sample_rate_hz=clips.sample_rate_hz)
        if len(fresh) == _CLIPS_PER_COMMIT:
            _keep(fresh, summaries, frames)
    _keep(fresh, summaries, frames)
    seconds = time.monotonic() - started
    return Timing(len(missing), num_samples / clips.sample_rate_hz, seconds, 0.0)


def _keep(fresh: dict[str, AcousticFeatures], summaries: Rows, frames: Rows) -> None:
    frames.update({digest: features.frames for digest, features in fresh.items()})
    summaries.update({digest: features.summary[None] for digest, features in fresh.items()})
    fresh.clear()


def _standardised(
    frames: Sequence[Float32[np.ndarray, "_ F"]],
) -> list[Float32[np.ndarray, "_ F"]]:
    """Frame features in units of their standard deviation over all the clips."""
    everything = np.concatenate(frames)
    mean, std = everything.mean(axis=0), np.maximum(everything.std(axis=0), 1e-6)
    return [((clip - mean) / std).astype(np.float32) for clip in frames]


def _frame_statistics(
    frames: Sequence[Float32[np.ndarray, "_ F"]], cells: Cells
) -> PackedStatistics:
    """Leading axes (1, cell); a cell without clips is empty."""
    width = frames[0].shape[1]
    statistics = [
        _statistics_of(
            [frames[clip] for clip in np.flatnonzero(cells.cell_of_clip == cell).tolist()],
            width=width,
        )
        for cell in range(cells.num_cells)
    ]
    return PackedStatistics(*(np.stack(leaf, axis=1) for leaf in zip(*statistics, strict=True)))


def _statistics_of(clips: Sequence[Float32[np.ndarray, "_ F"]], *, width: int) -> PackedStatistics:
    statistics = empty_statistics(width, cells=(1,))
    if clips:
        rows = np.concatenate(clips)[None]
        statistics = update(statistics, rows, np.ones(rows.shape[:2], bool))
    return pack(statistics)


def _sample(frames: Sequence[Float32[np.ndarray, "_ F"]], *, per_clip: int) -> FrameSample:
    """At most `per_clip` evenly spaced frames of each clip."""
    rows = [clip[sampled_positions(len(clip), per_clip=per_clip)][:, None] for clip in frames]
    return FrameSample(rows, per_clip=per_clip)
