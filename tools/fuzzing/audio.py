"""Audio files of ten formats, spoilt, through `read_waveform`."""

import io
import math
import struct
from collections.abc import Callable
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
    """The length that a header gives, if it can be found where headers have it."""
    read = _PROMISES.get(content[:4])
    try:
        return None if read is None else read(content)
    except (struct.error, ValueError, ZeroDivisionError, OverflowError):
        return None


def _riff_seconds(content: bytes) -> float:
    _, rate, _, block = struct.unpack_from("<HIIH", content, 22)
    size = struct.unpack_from("<I", content, content.index(b"data", 0, 200) + 4)[0]
    return size / block / rate


def _w64_seconds(content: bytes) -> float:
    rate, _, block = struct.unpack_from("<IIH", content, 68)
    size = struct.unpack_from("<Q", content, 96)[0] - 24  # Counts its own head.
    return size / block / rate


def _aiff_seconds(content: bytes) -> float:
    """The rate is a float of 80 bits: an exponent of 15, and a fraction of 64 with its leading 1."""
    place = content.index(b"COMM", 0, 200)
    frames, _, exponent, fraction = struct.unpack_from(">IHHQ", content, place + 10)
    return frames / math.ldexp(fraction, exponent - 16383 - 63)


def _flac_seconds(content: bytes) -> float | None:
    packed = struct.unpack_from(">Q", content, 18)[0]
    total = packed & (2**36 - 1)
    return total / (packed >> 44) if total else None


def _au_seconds(content: bytes) -> float:
    return _SECONDS * _RATE_HZ / struct.unpack_from(">I", content, 16)[0]


def _caf_seconds(content: bytes) -> float:
    return _SECONDS * _RATE_HZ / struct.unpack_from(">d", content, 20)[0]


_PROMISES: dict[bytes, Callable[[bytes], float | None]] = {
    b"RIFF": _riff_seconds,
    b"riff": _w64_seconds,
    b"FORM": _aiff_seconds,
    b"fLaC": _flac_seconds,
    # Their rate alone is believed: what they have plays more slowly or faster.
    b".snd": _au_seconds,
    b"caff": _caf_seconds,
}


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
