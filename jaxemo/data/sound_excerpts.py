"""A few seconds of a clip for people: as MP3, which every browser plays, and as a spectrogram."""

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

FRAME_MS, HOP_MS = 25.0, 10.0
# Below the noise of 16 bits in one bin.
_POWER_FLOOR = 1e-12


class SoundExcerpt(NamedTuple):
    """The beginning of a clip.

    Attributes:
      seconds: Its length.
      mp3: The sound at the level of the recording.
      spectrum_db: See `spectrogram_db`.
    """

    seconds: float
    mp3: bytes
    spectrum_db: Float32[np.ndarray, "T K"]


def sound_excerpt(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int, longest_seconds: float
) -> SoundExcerpt:
    """The first seconds of a clip.

    Args:
      waveform: Mono samples, finite; what is beyond [-1, 1] is clipped in the sound.
      sample_rate_hz: One that MP3 knows: 8000 to 48000.
      longest_seconds: Clips that are no longer are taken whole.
    """
    import soundfile

    begun = waveform[: round(longest_seconds * sample_rate_hz)]
    file = io.BytesIO()
    soundfile.write(file, np.clip(begun, -1, 1), sample_rate_hz, format="MP3")
    return SoundExcerpt(
        seconds=begun.size / sample_rate_hz,
        mp3=file.getvalue(),
        spectrum_db=spectrogram_db(begun, sample_rate_hz=sample_rate_hz),
    )


def spectrogram_db(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int
) -> Float32[np.ndarray, "T K"]:
    """Power in dB by frame and by band of 80 Hz, from 0 Hz to half the rate.

    10 log10 of the mean of two neighbouring bins of |rfft(hann x)|^2, frames of 25 ms every 10 ms that lie
    wholly inside the clip; one shorter than a frame is padded with zeros to one.
    """
    frame, hop = (round(ms * sample_rate_hz / 1000) for ms in (FRAME_MS, HOP_MS))
    padded = np.pad(waveform, (0, max(0, frame - waveform.size)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, frame)[::hop]
    power = np.abs(np.fft.rfft(frames * np.hanning(frame))) ** 2
    bands = power[:, : power.shape[1] // 2 * 2].reshape(len(power), -1, 2).mean(axis=2)
    return (10 * np.log10(bands + _POWER_FLOOR)).astype(np.float32)
