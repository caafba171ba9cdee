"""Random changes of training clips: speed, white noise and gain of waveforms, and SpecAugment's masks.

Each change of a clip has a random stream of its own, which depends on the run's seed, the epoch and the
clip's row alone: not on its batch, on other runs or processes, nor on which other changes there are. No
state has to be saved, and training that was killed goes on with the very same clips.
"""

import enum
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int

Range = tuple[float, float]


class Draw(NamedTuple):
    """Where training stands, for each row that is taken; all randomness of data follows from it.

    Attributes:
      seeds: Of the run that each row is for, with the shape of the rows.
      epoch: Of the runs.
    """

    seeds: Int[np.ndarray, "..."]
    epoch: int

    def at(self, index: Any) -> "Draw":
        """Of the rows at an index."""
        return Draw(self.seeds[index], self.epoch)

    def streams(self, rows: Int[np.ndarray, "..."]) -> list["Stream"]:
        """The random stream of each row, flat."""
        pairs = zip(np.ravel(self.seeds), np.ravel(rows), strict=True)
        return [Stream(int(seed), self.epoch, int(row)) for seed, row in pairs]


class Purpose(enum.IntEnum):
    """What random numbers are for; a new purpose leaves the numbers of the others as they are."""

    CROP = 0
    SPEED = 1
    NOISE = 2
    GAIN = 3
    FRAME_MASK = 4
    CHANNEL_MASK = 5


class Stream(NamedTuple):
    """Everything that is random about one clip in one epoch of one run."""

    seed: int
    epoch: int
    row: int

    def numbers(self, purpose: Purpose) -> np.random.Generator:
        """The generator for one purpose, always from its beginning."""
        return np.random.default_rng((*self, purpose.value))


class WaveformChanges(NamedTuple):
    """Ranges from which changes of a waveform are drawn uniformly; None leaves that one out.

    Attributes:
      speed: Factors on tempo and pitch together.
      noise_snr_db: Decibels of the clip above white noise.
      gain_db: Decibels.
    """

    speed: Range | None = None
    noise_snr_db: Range | None = None
    gain_db: Range | None = None

    def longest(self, num_samples: Int[np.ndarray, "..."]) -> Int[np.ndarray, "..."]:
        """The most samples that clips of these lengths can have afterwards."""
        slowest = 1.0 if self.speed is None else min(self.speed[0], 1.0)
        return np.ceil(num_samples / slowest).astype(np.int64)


class SpanMasks(NamedTuple):
    """How much SpecAugment hides of a clip's frames, and of the channels of all its frames.

    Attributes:
      frame_share: Expected share of frames in spans that do not overlap; 0 for none. Spans may overlap,
        so that somewhat less is hidden.
      span_frames: Length of a span of frames.
      channel_share: Likewise of channels.
      span_channels: Width of a span of channels.
    """

    frame_share: float = 0.0
    span_frames: int = 10
    channel_share: float = 0.0
    span_channels: int = 64


def changed_waveform(
    waveform: Float32[np.ndarray, " N"],
    changes: WaveformChanges,
    stream: Stream,
    *,
    shortest_samples: int,
) -> Float32[np.ndarray, " M"]:
    """The clip at another speed, then with noise, then louder or softer.

    Args:
      shortest_samples: No clip is made shorter than that by speed.
    """
    if changes.speed is not None:
        factor = stream.numbers(Purpose.SPEED).uniform(*changes.speed)
        waveform = at_speed(waveform, min(factor, max(waveform.size / shortest_samples, 1.0)))
    if changes.noise_snr_db is not None:
        random = stream.numbers(Purpose.NOISE)
        waveform = with_noise(waveform, snr_db=random.uniform(*changes.noise_snr_db), random=random)
    if changes.gain_db is not None:
        gain_db = stream.numbers(Purpose.GAIN).uniform(*changes.gain_db)
        waveform = waveform * np.float32(10.0 ** (gain_db / 20.0))
    return waveform


def at_speed(waveform: Float32[np.ndarray, " N"], factor: float) -> Float32[np.ndarray, " M"]:
    """The clip as if played `factor` times as fast, M = round(N / factor): resampled, so pitch follows.

    Reference: Ko et al. 2015, Audio augmentation for speech recognition, section 2.
    """
    import soxr

    num_samples = max(round(waveform.size / factor), 1)
    played = soxr.resample(waveform, factor, 1.0, quality="HQ")[:num_samples]
    return np.pad(played, (0, num_samples - played.size))


def with_noise(
    waveform: Float32[np.ndarray, " N"], *, snr_db: float, random: np.random.Generator
) -> Float32[np.ndarray, " N"]:
    """The clip with white Gaussian noise, 10 log10(var clip / var noise) = snr_db over its own samples."""
    noise = random.standard_normal(waveform.size, np.float32)
    power = waveform.var(dtype=np.float64) / max(noise.var(dtype=np.float64), 1e-30)
    return waveform + np.float32(np.sqrt(power * 10.0 ** (-snr_db / 10.0))) * noise


def frame_mask(num_frames: int, masks: SpanMasks, stream: Stream) -> Bool[np.ndarray, " T"]:
    """True on the hidden frames of a clip of T frames."""
    random = stream.numbers(Purpose.FRAME_MASK)
    return _spans(random, num_frames, share=masks.frame_share, span=masks.span_frames)


def channel_mask(width: int, masks: SpanMasks, stream: Stream) -> Bool[np.ndarray, " D"]:
    """True on the channels of a clip, of D, that are hidden in all frames."""
    random = stream.numbers(Purpose.CHANNEL_MASK)
    return _spans(random, width, share=masks.channel_share, span=masks.span_channels)


def _spans(
    random: np.random.Generator, size: int, *, share: float, span: int
) -> Bool[np.ndarray, " S"]:
    """floor(share size / span + u) spans, u uniform in [0, 1), their starts without replacement.

    Reference: Park et al. 2019, arXiv 1904.08779, as in wav2vec 2.0 (Baevski et al. 2020, arXiv
    2006.11477, appendix B).
    """
    mask = np.zeros(size, bool)
    places = max(size - span + 1, 0)
    count = min(int(share * size / span + random.random()), places) if share else 0
    for start in random.choice(places, count, replace=False) if count else ():
        mask[start : start + span] = True
    return mask
