"""A spectrogram as a small PNG in the report's colours: louder is darker; the page turns it over in the dark."""

import struct
import zlib

import numpy as np
from jaxtyping import Float32, UInt8

from jaxemo.report import theme

_RANGE_DB = 60.0
_LEVELS = 32


def spectrogram_png(spectrum_db: Float32[np.ndarray, "T K"]) -> bytes:
    """A picture of T by K points, low bands below.

    level = 31 clip((spectrum_db - max spectrum_db) / 60 + 1, 0, 1), rounded: 60 dB from white to the darkest.

    Reference: PNG specification (W3C), colour type 3.
    """
    scaled = np.clip((spectrum_db - spectrum_db.max()) / _RANGE_DB + 1, 0, 1)
    levels = np.rint(scaled * (_LEVELS - 1)).astype(np.uint8).T[::-1]
    height, width = levels.shape
    # Each line begins with the number of its filter, none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), levels], axis=1)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", _palette().tobytes()),
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _palette() -> UInt8[np.ndarray, "32 3"]:
    """From white over the steps of the matrices' colours, with equal steps between."""
    hues = ["#ffffff", *theme.LEVELS]
    known = np.array([[int(hue[at : at + 2], 16) for at in (1, 3, 5)] for hue in hues])
    places = np.linspace(0, len(hues) - 1, _LEVELS)
    mixed = [np.interp(places, np.arange(len(hues)), column) for column in known.T]
    return np.rint(np.stack(mixed, axis=1)).astype(np.uint8)


def _chunk(kind: bytes, content: bytes) -> bytes:
    body = kind + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
