"""Audio files to waveforms: decode, mix to mono, resample, standardise, crop. No jax.

A waveform is float32 mono at a stated rate, nominally in [-1, 1]. `read_waveform` either returns a
clip that an encoder can take or raises `UnusableAudio` with the reason; it never returns silence,
NaN or half a file. Whether such a file stops a run or is left out is decided in `clip_store.py`.
"""

import enum
import io
import os
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

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
# Decoding goes block by block, so that memory follows the audio that is there and not the length
# that a header claims.
_BLOCK_FRAMES = 1 << 20


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


class Recording(NamedTuple):
    """A decoded file: its samples, channels averaged, at its own rate."""

    path: str
    samples: Float32[np.ndarray, " N"]
    sample_rate_hz: int


def read_content(path: str | os.PathLike) -> bytes:
    """The bytes of a file.

    Raises:
      UnusableAudio: The file is missing, unreadable or empty.
    """
    try:
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
    """Reads a wav, flac, mp3 or ogg file of any rate and channels as mono at `sample_rate_hz`.

    Channels are averaged; resampling is soxr HQ (band-limited, linear phase).

    Raises:
      UnusableAudio: The file is missing, unreadable, empty, corrupt, truncated, has NaN or infinite
        samples, is shorter than one encoder frame (`MIN_DURATION_S`, `RECEPTIVE_FIELD`), or is
        silent (peak deviation from its mean below `SILENCE_PEAK`).
      ValueError: `sample_rate_hz` is not positive.
    """
    return resampled(decode(read_content(path), path), sample_rate_hz=sample_rate_hz)


def decode(content: bytes, path: str | os.PathLike) -> Recording:
    """The bytes of a wav, flac, mp3 or ogg file as mono samples at the file's own rate.

    Raises:
      UnusableAudio: They are corrupt, truncated, hold no samples, or NaN or infinite ones.
    """
    try:
        mono, rate_hz = _decode(content)
        _check_finite(mono)
    except _Fault as fault:
        raise UnusableAudio(os.fspath(path), str(fault)) from fault.__cause__
    return Recording(os.fspath(path), mono, rate_hz)


def resampled(recording: Recording, *, sample_rate_hz: int) -> Float32[np.ndarray, " N"]:
    """The recording at another rate, if an encoder can take it; see `read_waveform`.

    Raises:
      UnusableAudio: It is too short, silent, or overflows.
      ValueError: `sample_rate_hz` is not positive.
    """
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz is {sample_rate_hz}; expected a rate such as 16000.")
    try:
        waveform = _resample(recording.samples, recording.sample_rate_hz, sample_rate_hz)
        _check_finite(waveform)  # Samples near the float32 limit overflow in the filter.
        _check_length(waveform.size, sample_rate_hz)
        _check_audible(waveform)
    except _Fault as fault:
        raise UnusableAudio(recording.path, str(fault)) from fault.__cause__
    return waveform


def standardise(waveform: Float32[np.ndarray, " N"]) -> Float32[np.ndarray, " N"]:
    """Zero mean and unit variance over the clip's own samples, before any padding.

    y = (x - mean x) / sqrt(var x + 1e-7), population variance, moments in float64.

    Reference: Hugging Face transformers, Wav2Vec2FeatureExtractor.zero_mean_unit_var_norm.
    """
    mean = waveform.mean(dtype=np.float64)
    variance = waveform.var(dtype=np.float64)
    return ((waveform - mean) / np.sqrt(variance + VARIANCE_FLOOR)).astype(np.float32)


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
    starts = np.arange(0, waveform.size, block)
    centred = waveform - waveform.mean(dtype=np.float64)
    lengths = np.minimum(starts + block, waveform.size) - starts
    power = np.add.reduceat(centred**2, starts) / lengths
    loud = np.flatnonzero(power >= 10.0 ** (-threshold_db / 10.0) * power.max())
    first, last = int(starts[loud[0]]), int(starts[loud[-1]] + lengths[loud[-1]])
    shortest = min(_shortest_clip(sample_rate_hz), waveform.size)
    if last - first < shortest:
        first = min(max((first + last - shortest) // 2, 0), waveform.size - shortest)
        last = first + shortest
    return waveform[first:last]


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

    def identity(self) -> dict[str, str | float]:
        """What decides which samples an encoder is given, for keys and descriptions."""
        cropped = {"crop_seconds": self.crop_seconds} if self.extent is Extent.MIDDLE else {}
        extent = Extent.WHOLE if self.extent is Extent.RANDOM else self.extent
        return {"extent": extent.value, **cropped, "trim_silence_db": self.trim_silence_db}


class _Fault(Exception):
    """A reason without its path; `read_waveform` adds the path."""


def _decode(content: bytes) -> tuple[Float32[np.ndarray, " N"], int]:
    """Mono samples and their rate."""
    import soundfile

    _check_riff_size(content)
    blocks = []
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            rate_hz, promised = file.samplerate, file.frames
            while len(block := file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                blocks.append(block.mean(axis=1) if block.shape[1] > 1 else block[:, 0])
    except soundfile.SoundFileError as error:
        detail = getattr(error, "error_string", str(error)).strip().rstrip(".")
        raise _Fault(f"corrupt: cannot be decoded ({detail})") from error
    if not blocks:
        raise _Fault("empty: a header without samples")
    mono = np.concatenate(blocks)
    if mono.size < promised:
        raise _Fault(f"truncated: {mono.size} of the {promised} samples that the header promises")
    return mono, rate_hz


def _check_riff_size(content: bytes) -> None:
    # libsndfile reads a cut-off wav as a shorter clip, without a word. Recorders that write to a
    # pipe put a size near 2^31 or 2^32 into the header because they cannot know it, and some
    # writers count the first 8 bytes too: those files are whole.
    if content[:4] != b"RIFF" or len(content) < 8:
        return
    promised = int.from_bytes(content[4:8], "little") + 8
    if len(content) + 8 < promised < 0x7FFFF000:
        raise _Fault(f"truncated: {len(content)} of the {promised} bytes that the header promises")


def _check_finite(waveform: Float32[np.ndarray, " N"]) -> None:
    num_bad = waveform.size - np.count_nonzero(np.isfinite(waveform))
    if num_bad:
        raise _Fault(f"non-finite: {num_bad} of {waveform.size} samples are NaN or infinite")


def _resample(
    mono: Float32[np.ndarray, " N"], source_rate_hz: int, sample_rate_hz: int
) -> Float32[np.ndarray, " M"]:
    if source_rate_hz == sample_rate_hz:
        return mono
    import soxr

    return soxr.resample(mono, source_rate_hz, sample_rate_hz, quality="HQ")


def _check_length(num_samples: int, sample_rate_hz: int) -> None:
    needed = _shortest_clip(sample_rate_hz)
    if num_samples < needed:
        raise _Fault(
            f"too short: {num_samples} samples at {sample_rate_hz} Hz, the encoder needs at least "
            f"{needed} ({1000 * needed / sample_rate_hz:g} ms)"
        )


def _shortest_clip(sample_rate_hz: int) -> int:
    return max(RECEPTIVE_FIELD, round(MIN_DURATION_S * sample_rate_hz))


def _check_audible(waveform: Float32[np.ndarray, " N"]) -> None:
    # A constant offset is silence too, so the peak is taken about the mean.
    peak = float(np.abs(waveform - waveform.mean(dtype=np.float64)).max())
    if peak < SILENCE_PEAK:
        raise _Fault(f"silent: peak {peak:.1e} of full scale, expected at least {SILENCE_PEAK:.0e}")
