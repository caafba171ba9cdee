"""A few seconds of a clip for people: as MP3, which every browser plays, and as a mel spectrogram."""

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data.log_mel import log_mel_features


class SoundExcerpt(NamedTuple):
    """The beginning of a clip.

    Attributes:
      seconds: Its length.
      mp3: The sound at the level of the recording.
      mel_db: Level of 80 mel bands in dB, by frame of 10 ms; bands ascend.
    """

    seconds: float
    mp3: bytes
    mel_db: Float32[np.ndarray, "T 80"]


def sound_excerpt(
    waveform: Float32[np.ndarray, " N"], *, sample_rate_hz: int, longest_seconds: float
) -> SoundExcerpt:
    """The first seconds of a clip.

    Args:
      waveform: Mono samples; what is beyond [-1, 1] is clipped in the sound.
      sample_rate_hz: One that MP3 knows and that has mel bands: 8000 to 48000.
      longest_seconds: Clips that are no longer are taken whole.

    Raises:
      ValueError: The clip is empty or not finite, or the rate is below 8 kHz.
    """
    import soundfile

    begun = waveform[: round(longest_seconds * sample_rate_hz)]
    mel_db = log_mel_features(begun, sample_rate_hz=sample_rate_hz).frames
    file = io.BytesIO()
    soundfile.write(file, np.clip(begun, -1, 1), sample_rate_hz, format="MP3")
    return SoundExcerpt(begun.size / sample_rate_hz, file.getvalue(), mel_db)
