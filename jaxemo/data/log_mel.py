"""Log-mel spectrum as a baseline: what the average spectrum of a clip says, and how much it moves."""

import numpy as np
from jaxtyping import Float32

from jaxemo.data.acoustics import (
    FRAME_MS,
    HOP_MS,
    AcousticFeatures,
    check_usable,
)

NUM_MELS = 80
# About the quantisation noise of 16-bit audio in one band.
_POWER_FLOOR = 1e-10


def log_mel_features(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int
) -> AcousticFeatures:
    """80 mel bands in dB by frame; the means of all bands over the frames, then their standard deviations.

    Frames of 25 ms every 10 ms lie wholly inside the clip; one shorter than a frame is padded with
    zeros to one. Slaney's bands reach from 0 Hz to half the rate.

    Args:
      waveform: Mono samples in [-1, 1], at the level of the recording.
      sample_rate_hz: At least 8000.

    Raises:
      ValueError: The rate is under 8 kHz, the clip is empty, or a sample is not finite.

    Reference: McFee et al. 2015 (librosa).
    """
    check_usable(waveform, sample_rate_hz)
    import librosa

    frame, hop = (round(ms * sample_rate_hz / 1000) for ms in (FRAME_MS, HOP_MS))
    padded = np.pad(waveform, (0, max(0, frame - waveform.size)))
    mel = librosa.feature.melspectrogram(
        y=padded, sr=sample_rate_hz, n_fft=frame, hop_length=hop, n_mels=NUM_MELS, center=False
    )
    frames = 10 * np.log10(np.maximum(mel, _POWER_FLOOR)).T
    summary = np.concatenate([frames.mean(axis=0), frames.std(axis=0)])
    return AcousticFeatures(frames.astype(np.float32), summary.astype(np.float32))
