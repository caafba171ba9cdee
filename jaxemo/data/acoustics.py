"""Hand-made acoustic features: the baseline that every learnt representation is charted against.

`acoustic_features` turns one mono waveform into frame vectors (for distances) and one summary
vector (for probes). Their columns are named, in order, by `FRAME_FEATURES` and `SUMMARY_FEATURES`.
The waveform comes as recorded: zero-mean/unit-variance normalisation would remove the loudness
cue. Clip length is left out of the summary on purpose, since in many corpora it gives the domain away.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float32, Num

FRAME_MS = 25.0
HOP_MS = 10.0
PITCH_FRAME_MS = 64.0
MIN_PITCH_HZ, MAX_PITCH_HZ = 65.0, 800.0
PITCH_REFERENCE_HZ = 150.0
MIN_SAMPLE_RATE_HZ = 8000

_NUM_MELS = 40
_NUM_MFCC = 20
_MIN_MEL_HZ, _MAX_MEL_HZ = 50.0, 8000.0
_HIGH_FREQUENCY_HZ = 1000.0
# About the quantisation noise of 16-bit audio in one bin, so it binds in digital silence alone.
_POWER_FLOOR = 1e-12
_ACTIVE_RANGE_DB = 35.0
_YIN_THRESHOLD = 0.15
_VOICED_APERIODICITY = 0.35
# An onset is a local peak of the spectral flux, this far above the clip's mean and from its
# neighbours.
_ONSET_DELTA_DB = 1.5
_ONSET_GAP_FRAMES = 5

_CONTOURS = (
    "pitch_semitones",
    "loudness_db",
    "high_frequency_db",
    "centroid_octaves",
    "flatness_db",
    "flux_db",
    "aperiodicity",
)
_CONTOUR_STATISTICS = ("mean", "std", "p10", "p50", "p90", "slope")

FRAME_FEATURES: tuple[str, ...] = tuple(
    f"{kind}_{index:02d}" for kind in ("mfcc", "delta_mfcc") for index in range(_NUM_MFCC)
)
SUMMARY_FEATURES: tuple[str, ...] = (
    *(f"{name}_mean" for name in FRAME_FEATURES[:_NUM_MFCC]),
    *(f"{name}_std" for name in FRAME_FEATURES),
    *(f"{contour}_{statistic}" for contour in _CONTOURS for statistic in _CONTOUR_STATISTICS),
    "pitch_jitter_semitones",
    "loudness_shimmer_db",
    "attack_db",
    "voiced_fraction",
    "active_fraction",
    "onset_rate_hz",
)


class AcousticFeatures(NamedTuple):
    """Frame vectors (columns `FRAME_FEATURES`) and clip summary (columns `SUMMARY_FEATURES`)."""

    frames: Float32[np.ndarray, "T D_f"]
    summary: Float32[np.ndarray, " D_s"]


class _Pitch(NamedTuple):
    semitones: Float[np.ndarray, " T"]
    aperiodicity: Float[np.ndarray, " T"]


class _Statistics(NamedTuple):
    mean: float
    std: float
    p10: float
    p50: float
    p90: float
    slope: float


def acoustic_features(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int
) -> AcousticFeatures:
    """MFCC frames, and statistics of MFCC, pitch, loudness, spectrum and rhythm over a clip.

    frames = 1 + (max(N, frame) - frame) // hop, with frame = 25 ms and hop = 10 ms in samples;
    every frame lies wholly inside the clip, and a clip shorter than one frame is padded with
    zeros to one. The summary is taken over active frames, those within 35 dB of the loudest, so
    that silence around the clip hardly counts. `slope` is the change of the fitted line from the
    first to the last active frame. Pitch (YIN, 65-800 Hz) is in semitones above 150 Hz over
    voiced active frames; its statistics are 0 where none is.

    Args:
      waveform: Mono samples in [-1, 1], at the level of the recording.
      sample_rate_hz: At least 8000; the mel bands end at 8 kHz or half the rate, whichever is
        lower.

    Returns:
      Finite values for any finite waveform, digital silence included.

    Raises:
      ValueError: the rate is under 8 kHz, the clip is empty, or a sample is not finite.

    Reference: de Cheveigne & Kawahara 2002, JASA 111(4):1917-1930 (YIN); McFee et al. 2015
    (librosa).
    """
    check_usable(waveform, sample_rate_hz)
    import librosa

    frame, hop = _even_samples(FRAME_MS, sample_rate_hz), _hop(sample_rate_hz)
    padded = np.pad(waveform, (0, max(0, frame - waveform.size)))
    spectrum = librosa.stft(padded, n_fft=frame, hop_length=hop, center=False)  # K T
    # The Hann window sums to frame / 2: a sine of amplitude A has power A^2 at any sampling rate.
    power = np.abs(spectrum * (4 / frame)) ** 2
    mel_db = _decibels(_mel_filters(sample_rate_hz) @ power)
    mfcc = librosa.feature.mfcc(S=mel_db, n_mfcc=_NUM_MFCC)
    delta = librosa.feature.delta(mfcc, width=9, mode="nearest")

    pitch = _pitch(padded, sample_rate_hz)
    contours = {
        "pitch_semitones": pitch.semitones,
        "loudness_db": _loudness_db(padded, frame, hop),
        **_spectral_contours(power, sample_rate_hz),
        "flux_db": np.maximum(np.diff(mel_db, prepend=mel_db[:, :1]), 0.0).mean(axis=0),
        "aperiodicity": pitch.aperiodicity,
    }
    frames = np.concatenate([mfcc, delta]).T.astype(np.float32)
    return AcousticFeatures(frames, _summary(mfcc, delta, contours))


def check_usable(waveform: Float32[np.ndarray, " N"], sample_rate_hz: int) -> None:
    """Raises ValueError for what has no features: rates under 8 kHz, empty clips, NaN or infinity."""
    if sample_rate_hz < MIN_SAMPLE_RATE_HZ:
        raise ValueError(
            f"sampling rate is {sample_rate_hz} Hz; the features need at least "
            f"{MIN_SAMPLE_RATE_HZ}. Resample the clip or leave it out."
        )
    if waveform.size == 0 or not np.isfinite(waveform).all():
        raise ValueError(
            f"clip of {waveform.size} samples is empty or has NaN or infinite samples; "
            "expected finite ones. Leave it out."
        )


def _summary(
    mfcc: Float[np.ndarray, "M T"],
    delta: Float[np.ndarray, "M T"],
    contours: dict[str, Float[np.ndarray, " T"]],
) -> Float32[np.ndarray, " D_s"]:
    loudness = contours["loudness_db"]
    active = loudness >= loudness.max() - _ACTIVE_RANGE_DB
    voiced = active & (contours["aperiodicity"] < _VOICED_APERIODICITY)
    statistics = [
        _statistics(contours[name][voiced if name == "pitch_semitones" else active])
        for name in _CONTOURS
    ]
    parts = [
        mfcc[:, active].mean(axis=1),
        mfcc[:, active].std(axis=1),
        delta[:, active].std(axis=1),
        *statistics,
        _irregularity(contours["pitch_semitones"], loudness, voiced),
        _rhythm(loudness, contours["flux_db"], active, voiced),
    ]
    summary = np.concatenate(parts).astype(np.float32)
    assert summary.size == len(SUMMARY_FEATURES)
    return summary


def _hop(sample_rate_hz: int) -> int:
    return round(HOP_MS * sample_rate_hz / 1000)


def _even_samples(duration_ms: float, sample_rate_hz: int) -> int:
    return 2 * round(duration_ms * sample_rate_hz / 2000)


def _decibels(power: Num[np.ndarray, "..."]) -> Num[np.ndarray, "..."]:
    return 10.0 * np.log10(np.maximum(power, _POWER_FLOOR))


@lru_cache
def _mel_filters(sample_rate_hz: int) -> Float32[np.ndarray, "M K"]:
    import librosa

    return librosa.filters.mel(
        sr=sample_rate_hz,
        n_fft=_even_samples(FRAME_MS, sample_rate_hz),
        n_mels=_NUM_MELS,
        fmin=_MIN_MEL_HZ,
        fmax=min(_MAX_MEL_HZ, sample_rate_hz / 2),
        norm=None,
    )


def _frames_of(
    waveform: Float32[np.ndarray, " N"], length: int, hop: int
) -> Float32[np.ndarray, "T W"]:
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[::hop]


def _loudness_db(
    waveform: Float32[np.ndarray, " N"], frame: int, hop: int
) -> Float[np.ndarray, " T"]:
    """Root mean square of each frame in dB below full scale."""
    return _decibels((_frames_of(waveform, frame, hop).astype(np.float64) ** 2).mean(axis=1))


def _spectral_contours(
    power: Float32[np.ndarray, "K T"], sample_rate_hz: int
) -> dict[str, Float[np.ndarray, " T"]]:
    """Brightness by frame.

    Energy above 1 kHz against below, centroid in octaves above 1 kHz, and spectral flatness. All
    stop at 8 kHz, so that they hardly depend on the sampling rate.
    """
    frequencies = np.fft.rfftfreq(2 * (power.shape[0] - 1), 1 / sample_rate_hz)
    band = (frequencies >= _MIN_MEL_HZ) & (frequencies <= _MAX_MEL_HZ)
    frequencies, power = frequencies[band], np.maximum(power[band].astype(np.float64), _POWER_FLOOR)
    high = frequencies >= _HIGH_FREQUENCY_HZ
    centroid = frequencies @ power / power.sum(axis=0)
    return {
        "high_frequency_db": 10 * np.log10(power[high].sum(axis=0) / power[~high].sum(axis=0)),
        "centroid_octaves": np.log2(centroid / _HIGH_FREQUENCY_HZ),
        "flatness_db": 10 * (np.log10(power).mean(axis=0) - np.log10(power.mean(axis=0))),
    }


def _pitch(waveform: Float32[np.ndarray, " N"], sample_rate_hz: int) -> _Pitch:
    """YIN on 64 ms windows centred on the spectral frames, with its aperiodicity in [0, 1].

    d(lag) = sum over half a window of (x[t] - x[t + lag])^2, divided by its running mean over
    lags up to lag. The pitch lag is the first local minimum under the threshold, else the global
    minimum. librosa.yin keeps the aperiodicity to itself, and its first call compiles for
    seconds.
    """
    frame = _even_samples(FRAME_MS, sample_rate_hz)
    window = _even_samples(PITCH_FRAME_MS, sample_rate_hz)
    pad_before = (window - frame) // 2
    padded = np.pad(waveform, (pad_before, window - frame - pad_before))
    difference = _yin_difference(
        _frames_of(padded, window, _hop(sample_rate_hz)).astype(np.float64)
    )
    lowest, highest = int(sample_rate_hz / MAX_PITCH_HZ), int(sample_rate_hz / MIN_PITCH_HZ)
    search = difference[:, : highest + 2]
    inner = search[:, 1:-1]
    is_dip = (inner < search[:, :-2]) & (inner <= search[:, 2:]) & (inner < _YIN_THRESHOLD)
    is_dip[:, : lowest - 1] = False
    fallback = lowest + search[:, lowest : highest + 1].argmin(axis=1)
    lag = np.where(is_dip.any(axis=1), 1 + is_dip.argmax(axis=1), fallback)
    rows = np.arange(len(lag))
    before, here, after = search[rows, lag - 1], search[rows, lag], search[rows, lag + 1]
    curvature = before - 2 * here + after
    is_minimum = (here <= before) & (here <= after) & (curvature > 0)
    shift = np.where(is_minimum, 0.5 * (before - after) / np.where(is_minimum, curvature, 1.0), 0.0)
    frequency = sample_rate_hz / (lag + shift)
    return _Pitch(12 * np.log2(frequency / PITCH_REFERENCE_HZ), np.minimum(here, 1.0))


def _yin_difference(frames: Float[np.ndarray, "T W"]) -> Float[np.ndarray, "T lags"]:
    """Cumulative-mean-normalised difference at lags 0 .. W/2; 1 where a frame is silent."""
    window = frames.shape[1]
    half = window // 2
    # x[t + lag] stays inside the frame, so the circular correlation of one window length is the
    # plain one.
    spectrum = np.fft.rfft(frames[:, :half], window).conj() * np.fft.rfft(frames)
    correlation = np.fft.irfft(spectrum, window)[:, : half + 1]
    energy = np.pad(np.cumsum(frames**2, axis=1), ((0, 0), (1, 0)))
    lags = np.arange(half + 1)
    lagged = energy[:, lags + half] - energy[:, lags]
    difference = np.maximum(lagged[:, :1] + lagged - 2 * correlation, 0.0)
    difference[:, 0] = 0.0
    running = np.cumsum(difference, axis=1)
    # Rounding leaves about 1e-13 of the energy in the differences of a constant frame.
    quiet = running <= 1e-9 * energy[:, -1:]
    return np.where(quiet, 1.0, difference * lags / np.where(quiet, 1.0, running))


def _statistics(track: Float[np.ndarray, " T"]) -> _Statistics:
    if track.size == 0:
        return _Statistics(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    time = np.linspace(-0.5, 0.5, track.size)
    time -= time.mean()  # One frame: no time passes, so no slope.
    slope = float(time @ track / max(time @ time, 0.5))
    p10, p50, p90 = (float(value) for value in np.percentile(track, (10, 50, 90)))
    return _Statistics(float(track.mean()), float(track.std()), p10, p50, p90, slope)


def _irregularity(
    semitones: Float[np.ndarray, " T"],
    loudness: Float[np.ndarray, " T"],
    voiced: Bool[np.ndarray, " T"],
) -> Float[np.ndarray, " 2"]:
    """Median absolute second difference of pitch and loudness over runs of three voiced frames."""
    if voiced.size < 3 or not (runs := voiced[:-2] & voiced[1:-1] & voiced[2:]).any():
        return np.zeros(2)
    return np.array([np.median(np.abs(np.diff(track, 2)[runs])) for track in (semitones, loudness)])


def _rhythm(
    loudness: Float[np.ndarray, " T"],
    flux: Float[np.ndarray, " T"],
    active: Bool[np.ndarray, " T"],
    voiced: Bool[np.ndarray, " T"],
) -> Float[np.ndarray, " 4"]:
    """Attack (90th percentile of rises in 30 ms), voiced and active fractions, onsets per second."""
    span = np.flatnonzero(active)
    first, last = span[0], span[-1] + 1
    rise = (loudness[3:] - loudness[:-3])[active[3:]]
    rise = rise[rise > 0]
    attack = np.percentile(rise, 90) if rise.size else 0.0
    onsets = _onset_frames(flux[first:last])
    seconds = (last - first) * HOP_MS / 1000
    # Under a quarter of a second one onset would read as a rate of dozens.
    rate = onsets.size / max(seconds, 0.25)
    return np.array([attack, voiced.sum() / active.sum(), active[first:last].mean(), rate])


def _onset_frames(flux: Float[np.ndarray, " T"]) -> Num[np.ndarray, " K"]:
    from scipy.signal import find_peaks

    smooth = np.convolve(flux, np.ones(3) / 3, mode="same") if flux.size >= 3 else flux
    return find_peaks(smooth, height=smooth.mean() + _ONSET_DELTA_DB, distance=_ONSET_GAP_FRAMES)[0]
