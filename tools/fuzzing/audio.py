"""Audio files of ten formats, spoilt, through `read_waveform`."""

import io
import struct
from pathlib import Path

import numpy as np

from fuzzing.outcomes import Outcome, Verdict
from fuzzing.spoiling import Generator, spoil_bytes

NAMES = r"spoilt\.\w+"
_SECONDS = 1.5
# (extension, subtype, sample rate in Hz, channels); subtype "" is the format's default.
_FORMATS = (
    ("wav", "PCM_16", 16_000, 1),
    ("wav", "PCM_24", 44_100, 2),
    ("wav", "FLOAT", 24_000, 1),
    ("flac", "PCM_16", 16_000, 1),
    ("flac", "PCM_24", 44_100, 2),
    ("mp3", "", 44_100, 1),
    ("mp3", "", 16_000, 2),
    ("ogg", "VORBIS", 16_000, 1),
    ("ogg", "OPUS", 48_000, 2),
    ("aiff", "PCM_16", 22_050, 1),
    ("au", "PCM_16", 16_000, 1),
    ("w64", "PCM_16", 16_000, 1),
    ("caf", "PCM_16", 16_000, 1),
)
# Where headers have their rate, by their first bytes; and what it was.
_RATES = {
    b"caff": (20, ">d", 16_000.0),
    b".snd": (16, ">I", 16_000.0),
    b"riff": (68, "<I", 16_000.0),  # w64
}
_RATE_HZ = 16_000
# Lossy formats lose a frame or two around a fault, and say nothing of their length.
_TOLERANCE_S = 0.15


class Audio:
    """Valid files are made in memory."""

    def __init__(self, folder: Path) -> None:
        self._valid = [(format[0], _encoded(*format)) for format in _FORMATS]

    def spoil(self, rng: Generator, place: Path) -> str:
        extension, content = self._valid[rng.integers(len(self._valid))]
        spoilt, words = spoil_bytes(rng, content)
        (place / f"spoilt.{extension}").write_bytes(spoilt)
        return f"{extension}: {words}"

    def judge(self, place: Path) -> Verdict:
        """Accepted waveforms are finite and as long as the sound was, or as the header says."""
        from jaxemo.data.audio import read_waveform

        [path] = place.iterdir()
        waveform = read_waveform(path, sample_rate_hz=_RATE_HZ)
        if not np.isfinite(waveform).all():
            return Verdict(Outcome.WRONG, f"{path.suffix}: not finite")
        seconds = waveform.size / _RATE_HZ
        promised = promised_seconds(path.read_bytes())
        expected = _SECONDS if promised is None else promised
        if abs(seconds - expected) > _TOLERANCE_S and abs(seconds - _SECONDS) > _TOLERANCE_S:
            lengths = f"{seconds:.3f} s, expected {expected:.3f}"
            return Verdict(Outcome.WRONG, f"{path.suffix}: other length ({lengths})")
        return Verdict(Outcome.ACCEPTED)


def promised_seconds(content: bytes) -> float | None:
    """The length that a header gives, if it can be found without trouble.

    Of what is neither wav nor flac, only the rate is believed: formats without compression play as
    many samples more slowly or faster.
    """
    if content[:4] == b"RIFF" and content[12:16] == b"fmt " and b"data" in content[:200]:
        _, rate, _, block = struct.unpack_from("<HIIH", content, 22)
        size = struct.unpack_from("<I", content, content.index(b"data") + 4)[0]
        return size / block / rate if block and rate else None
    if content[:4] == b"fLaC" and len(content) > 26:
        packed = int.from_bytes(content[18:26], "big")
        rate, total = packed >> 44, packed & (2**36 - 1)
        return total / rate if rate and total else None
    place, layout, true_rate = _RATES.get(content[:4], (0, "", 0.0))
    if not layout or len(content) < place + 8:
        return None
    rate = struct.unpack_from(layout, content, place)[0]
    return _SECONDS * true_rate / rate if rate > 0 else None


def _encoded(extension: str, subtype: str, rate_hz: int, channels: int) -> bytes:
    """A gliding tone in a little noise."""
    import soundfile

    time = np.arange(round(_SECONDS * rate_hz)) / rate_hz
    noise = np.random.default_rng(rate_hz).standard_normal(time.size)
    mono = 0.3 * np.sin(2 * np.pi * (200 + 80 * time) * time) + 0.01 * noise
    stream = io.BytesIO()
    soundfile.write(
        stream,
        np.stack([mono] * channels, axis=1),
        rate_hz,
        format=extension.upper(),
        subtype=subtype or None,
    )
    return stream.getvalue()
