"""Audio files to waveforms: decode, mix to mono, resample, standardise, crop. No jax.

What formats hold and how they deceive is `data/formats/`'s knowledge; here blocks become clips.

A waveform is float32 mono at a stated rate, nominally in [-1, 1]. `read_waveform` either returns a
clip that an encoder can take or raises `UnusableAudio` with the reason; it never returns silence,
NaN or half a file. Whether such a file stops a run or is left out is decided in `clip_store.py`.
"""

import contextlib
import enum
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64

from jaxemo.data.formats.decoding import Decoder, open_decoder
from jaxemo.data.formats.fault import Fault

# Raise it whenever `read_waveform` returns other samples or finds other faults than before: caches
# of audio and of embeddings are made anew.
DECODER_VERSION = 2
# Receptive field of the wav2vec2 conv stem (kernels 10 3 3 3 3 2 2, strides 5 2 2 2 2 2 2): fewer
# samples give no frame. Every family has this stem, at 16 kHz or (MERT) 24 kHz.
RECEPTIVE_FIELD = 400
# 400 samples at 16 kHz. Asked for at 24 kHz too, so that every encoder gets the same clips.
MIN_DURATION_S = 0.025
# -80 dBFS, about 3 steps of 16-bit audio: above dither, and 50 times below the quietest clip of
# RAVDESS (peak 172 steps).
SILENCE_PEAK = 1e-4
# Added to the variance by Hugging Face's Wav2Vec2FeatureExtractor.
VARIANCE_FLOOR = 1e-7
# Loudness for trimming is taken over blocks of this length: long enough that a click does not count,
# short enough that no more than this is cut too little at either edge.
_TRIM_BLOCK_S = 0.02
# Moments and peaks are taken over blocks: float64 copies of an hour would take half a gigabyte.
_BLOCK_SAMPLES = 1 << 20
# Files that are longer go through one at a time, whatever the number of threads.
_LONG_SECONDS = 600


class LeftOut(NamedTuple):
    """A file that takes no part in a run, and why."""

    path: str
    reason: str


class UnusableAudio(ValueError):
    """A file from which no usable waveform can be had.

    Attributes:
      path: The file.
      reason: One line that starts with the kind of fault: missing, unreadable, empty, corrupt,
        truncated, non-finite, too short, silent.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason

    def __reduce__(self) -> tuple:
        # Exceptions are rebuilt from their one message by default, which __init__ does not take.
        return type(self), (self.path, self.reason)


def read_content(path: str | os.PathLike) -> bytes:
    """The bytes of a file.

    Raises:
      UnusableAudio: The file is missing, unreadable or empty.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            # Reading a pipe would wait for whoever writes to it.
            raise UnusableAudio(os.fspath(path), "unreadable: it is a folder, pipe or device")
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError as error:
        raise UnusableAudio(os.fspath(path), "missing: there is no such file") from error
    except OSError as error:
        raise UnusableAudio(os.fspath(path), f"unreadable: {error.strerror or error}") from error
    if not content:
        raise UnusableAudio(os.fspath(path), "empty: 0 bytes")
    return content


def read_waveform(path: str | os.PathLike, *, sample_rate_hz: int) -> Float32[np.ndarray, " N"]:
    """Reads a file of any format, rate and channels as mono at `sample_rate_hz`.

    Channels are averaged; resampling is soxr HQ (band-limited, linear phase).

    Raises:
      UnusableAudio: The file is missing, unreadable, empty, corrupt, truncated, of an implausible
        rate or peak, longer than six hours, has NaN or infinite samples, is shorter than one
        encoder frame (`MIN_DURATION_S`, `RECEPTIVE_FIELD`), or is silent (peak deviation from its
        mean below `SILENCE_PEAK`).
      ValueError: `sample_rate_hz` is not positive.
    """
    return decode(read_content(path), path, sample_rate_hz=sample_rate_hz)


def decode(
    content: bytes, path: str | os.PathLike, *, sample_rate_hz: int
) -> Float32[np.ndarray, " N"]:
    """The bytes of an audio file as a waveform at one rate; see `read_waveform`."""
    waveform = decode_at_rates(content, path, sample_rates_hz=(sample_rate_hz,))[sample_rate_hz]
    if isinstance(waveform, UnusableAudio):
        raise waveform
    return waveform


def decode_at_rates(
    content: bytes, path: str | os.PathLike, *, sample_rates_hz: Sequence[int]
) -> dict[int, Float32[np.ndarray, " N"] | UnusableAudio]:
    """The bytes of an audio file at each rate, decoded once; or why an encoder cannot take them.

    Memory is that of the result and a few blocks.

    Raises:
      ValueError: A rate is not positive.
    """
    if wrong := [rate for rate in sample_rates_hz if rate <= 0]:
        raise ValueError(f"sample_rate_hz is {wrong[0]}; expected a rate such as 16000.")
    try:
        decoder = open_decoder(content)
        resamplers = {rate: _Resampler(decoder.sample_rate_hz, rate) for rate in sample_rates_hz}
        with contextlib.ExitStack() as alone:
            for block in _announced(decoder, alone):
                for resampler in resamplers.values():
                    resampler.add(block)
    except Fault as fault:
        unusable = UnusableAudio(os.fspath(path), str(fault))
        unusable.__cause__ = fault.__cause__
        return dict.fromkeys(sample_rates_hz, unusable)
    return {rate: _usable(resampler.result(), rate, path) for rate, resampler in resamplers.items()}


_long_file = threading.Lock()


def _announced(
    decoder: Decoder, alone: contextlib.ExitStack
) -> Iterator[Float32[np.ndarray, " n"]]:
    """The blocks; a thread that finds its file long waits until it is the only such."""
    seconds, is_long = 0.0, False
    for block in decoder.blocks:
        seconds += block.size / decoder.sample_rate_hz
        if seconds > _LONG_SECONDS and not is_long:
            alone.enter_context(_long_file)
            is_long = True
        yield block


class _Resampler:
    """Blocks at one rate to a waveform at another; equal rates pass through."""

    def __init__(self, source_rate_hz: int, sample_rate_hz: int) -> None:
        import soxr

        self._samples = np.empty(0, np.float32)
        self._size = 0
        self._stream = None
        if source_rate_hz != sample_rate_hz:
            self._stream = soxr.ResampleStream(
                source_rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ"
            )

    def add(self, block: Float32[np.ndarray, " n"]) -> None:
        self._append(block if self._stream is None else self._stream.resample_chunk(block))

    def result(self) -> Float32[np.ndarray, " N"]:
        if self._stream is not None:
            self._append(self._stream.resample_chunk(np.empty(0, np.float32), last=True))
        self._samples.resize(self._size, refcheck=False)
        return self._samples

    def _append(self, block: Float32[np.ndarray, " n"]) -> None:
        # In place, by halves more: joining a list of blocks would need twice the memory.
        if (needed := self._size + block.size) > self._samples.size:
            self._samples.resize(needed + needed // 2, refcheck=False)
        self._samples[self._size : needed] = block
        self._size = needed


def _usable(
    waveform: Float32[np.ndarray, " N"], sample_rate_hz: int, path: str | os.PathLike
) -> Float32[np.ndarray, " N"] | UnusableAudio:
    try:
        _check_length(waveform.size, sample_rate_hz)
        _check_audible(waveform)
    except Fault as fault:
        return UnusableAudio(os.fspath(path), str(fault))
    return waveform


def standardise(waveform: Float32[np.ndarray, " N"]) -> Float32[np.ndarray, " N"]:
    """Zero mean and unit variance over the clip's own samples, before any padding.

    y = (x - mean x) / sqrt(var x + 1e-7), population variance, moments in float64.

    Reference: Hugging Face transformers, Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm.
    """
    mean, variance = _moments(waveform)
    standardised = np.empty_like(waveform)
    for block in _blocks(waveform.size):
        standardised[block] = (waveform[block] - mean) / np.sqrt(variance + VARIANCE_FLOOR)
    return standardised


def _moments(waveform: Float32[np.ndarray, " N"]) -> tuple[np.float64, np.float64]:
    """Mean and population variance."""
    mean = waveform.mean(dtype=np.float64)
    squares = [np.square(waveform[block] - mean).sum() for block in _blocks(waveform.size)]
    return mean, np.sum(squares) / waveform.size


def _blocks(size: int) -> list[slice]:
    return [slice(start, start + _BLOCK_SAMPLES) for start in range(0, size, _BLOCK_SAMPLES)]


def centre_crop(
    waveform: Float32[np.ndarray, " N"], *, num_samples: int
) -> Float32[np.ndarray, " M"]:
    """The middle `num_samples` samples; a clip that is no longer than that is returned whole.

    M = min(N, num_samples), first sample kept = floor((N - M) / 2).

    Raises:
      ValueError: `num_samples` is not positive.
    """
    if num_samples <= 0:
        raise ValueError(f"num_samples is {num_samples}; expected at least 1.")
    start = max(waveform.size - num_samples, 0) // 2
    return waveform[start : start + num_samples]


def trim_silence(
    waveform: Float32[np.ndarray, " N"], *, threshold_db: float, sample_rate_hz: int
) -> Float32[np.ndarray, " M"]:
    """The clip without the quiet at its edges; quiet between loud parts stays.

    Kept: from the first to the last block of 20 ms with
    rms >= 10^(-threshold_db / 20) * rms of the loudest block
    and, where that is shorter, the shortest clip that an encoder takes around its middle.

    Args:
      waveform: Samples at any level; a constant offset counts as silence.
      threshold_db: How far below the clip's own loudest block quiet begins; 0 cuts nothing.
      sample_rate_hz: Rate of the samples.

    Raises:
      ValueError: `threshold_db` is negative.
    """
    if threshold_db < 0:
        raise ValueError(f"threshold_db is {threshold_db}; expected 0 (no trimming) or more.")
    if threshold_db == 0:
        return waveform
    block = max(round(_TRIM_BLOCK_S * sample_rate_hz), 1)
    power = _block_power(waveform, block=block)
    loud = np.flatnonzero(power >= 10.0 ** (-threshold_db / 10.0) * power.max())
    first, last = int(loud[0]) * block, min(int(loud[-1] + 1) * block, waveform.size)
    shortest = min(_shortest_clip(sample_rate_hz), waveform.size)
    if last - first < shortest:
        first = min(max((first + last - shortest) // 2, 0), waveform.size - shortest)
        last = first + shortest
    return waveform[first:last]


def _block_power(waveform: Float32[np.ndarray, " N"], *, block: int) -> Float64[np.ndarray, " B"]:
    """Mean square about the clip's mean of each `block` samples; the last may have fewer."""
    mean = waveform.mean(dtype=np.float64)
    stride = block * max(_BLOCK_SAMPLES // block, 1)
    powers = []
    for start in range(0, waveform.size, stride):
        part = waveform[start : start + stride]
        starts = np.arange(0, part.size, block)
        lengths = np.minimum(starts + block, part.size) - starts
        powers.append(np.add.reduceat((part - mean) ** 2, starts) / lengths)
    return np.concatenate(powers)


class Extent(enum.Enum):
    """How much of a clip is looked at.

    RANDOM is the whole clip, of which training draws a stretch anew in every step.
    """

    WHOLE = "whole"
    MIDDLE = "middle"
    RANDOM = "random"


class Excerpt(NamedTuple):
    """What of a clip is looked at: its middle, or all of it, once its quiet edges are gone.

    Attributes:
      extent: Whole clips, their middle, or whole clips with random crops in training.
      crop_seconds: Length of a crop; of no account for whole clips.
      trim_silence_db: Edges this far below the clip's loudest 20 ms are cut first; 0 cuts nothing.
    """

    extent: Extent
    crop_seconds: float = 0.0
    trim_silence_db: float = 0.0

    def cut(
        self, waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int
    ) -> Float32[np.ndarray, " M"]:
        """The part of the clip that an encoder is given."""
        kept = trim_silence(
            waveform, threshold_db=self.trim_silence_db, sample_rate_hz=sample_rate_hz
        )
        longest = self.longest_samples(sample_rate_hz)
        return kept if longest is None else centre_crop(kept, num_samples=longest)

    def longest_samples(self, sample_rate_hz: int) -> int | None:
        """Most samples that an excerpt has; None where clips are whole."""
        if self.extent is not Extent.MIDDLE:
            return None
        return round(self.crop_seconds * sample_rate_hz)

    def identity(self) -> dict[str, str | int | float]:
        """What decides, beside the file, which samples an encoder is given; part of every key."""
        cropped = {"crop_seconds": self.crop_seconds} if self.extent is Extent.MIDDLE else {}
        extent = Extent.WHOLE if self.extent is Extent.RANDOM else self.extent
        return {
            "decoder": DECODER_VERSION,
            "extent": extent.value,
            **cropped,
            "trim_silence_db": self.trim_silence_db,
        }


def _check_length(num_samples: int, sample_rate_hz: int) -> None:
    needed = _shortest_clip(sample_rate_hz)
    if num_samples < needed:
        raise Fault(
            f"too short: {num_samples} samples at {sample_rate_hz} Hz, the encoder needs at least "
            f"{needed} ({1000 * needed / sample_rate_hz:g} ms)"
        )


def _shortest_clip(sample_rate_hz: int) -> int:
    return max(RECEPTIVE_FIELD, round(MIN_DURATION_S * sample_rate_hz))


def _check_audible(waveform: Float32[np.ndarray, " N"]) -> None:
    # A constant offset is silence too, so the peak is taken about the mean.
    mean = waveform.mean(dtype=np.float64)
    peak = float(max(waveform.max() - mean, mean - waveform.min()))
    if peak < SILENCE_PEAK:
        raise Fault(f"silent: peak {peak:.1e} of full scale, expected at least {SILENCE_PEAK:.0e}")
