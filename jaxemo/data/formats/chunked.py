"""Files whose header says how much sound follows: RIFF, RF64, AIFF, CAF, Wave64, AU, NIST SPHERE.

libsndfile takes what is there for the whole, so a file that was cut short is found here. Whoever
writes to a pipe cannot know the sizes and leaves a number that stands for none: such files are
whole, and their sound goes on to the end.
"""

import math
import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from jaxemo.data.formats.fault import Stream, check_whole


class _Layout(NamedTuple):
    """How the chunks of a format lie.

    Attributes:
      first: Offset of the first chunk.
      name: Of the chunk that holds the sound.
      size: struct format of a chunk's size, which comes behind its name.
      counts_header: Whether that size includes name and size.
      alignment: Chunks begin at multiples of it.
    """

    first: int
    name: bytes
    size: str
    counts_header: bool
    alignment: int


# EBU Tech 3306 (RF64), Microsoft RIFF, Apple AIFF-C and CAF 1.0, Sony Wave64.
_WAVE64_DATA = b"data" + bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF = _Layout(12, b"data", "<I", counts_header=False, alignment=2)
_LAYOUTS = {
    b"RIFF": _RIFF,
    b"RIFX": _RIFF._replace(size=">I"),
    b"RF64": _RIFF,
    b"BW64": _RIFF,
    b"FORM": _Layout(12, b"SSND", ">I", counts_header=False, alignment=2),
    b"caff": _Layout(8, b"data", ">Q", counts_header=False, alignment=1),
    b"riff": _Layout(40, _WAVE64_DATA, "<Q", counts_header=True, alignment=8),
}
# (offset of the sound, size of the sound) of Sun's AU, in both byte orders.
_AU = {b".snd": ">II", b"dns.": "<II"}
_NIST = b"NIST"
# Where libsndfile takes what follows the sound for more of it.
_READ_TO_THE_END = (b"riff", _NIST)
MAGICS = (*_LAYOUTS, *_AU, _NIST)
# RF64: the size of the data chunk, 64 bits, which stands there in place of the chunk's own.
_DS64_DATA_SIZE = 28


class _Sound(NamedTuple):
    """Where the sound of a file lies, and what its header says of it."""

    start: int
    size_offset: int
    size_format: str
    size: int


def chunked_streams(content: bytes) -> list[Stream]:
    """The files that were joined end to end, nearly always one, with sizes that are right.

    Raises:
      Fault: One holds fewer bytes of sound than its header promises.
    """
    return [_with_true_size(part) for part in _parts(content)]


def _parts(content: bytes) -> Iterator[bytes]:
    """RIFF and AIFF say where they end, and the next may begin there; the others do not."""
    magic = content[:4]
    while magic in (b"RIFF", b"RIFX", b"FORM"):
        (size,) = struct.unpack_from(_LAYOUTS[magic].size, content, 4)
        end = 8 + size + size % 2
        if len(content) < 12 or content[end : end + 4] != magic:
            break
        yield content[:end]
        content = content[end:]
    yield content


def _with_true_size(content: bytes) -> Stream:
    sound = _find_sound(content)
    if sound is None:
        return Stream(content)
    available = max(len(content) - sound.start, 0)
    if not sound.size_format or not _stands_for_none(sound, available):
        check_whole(available, sound.size, "bytes of sound")
        if content[:4] == b"FORM":
            return Stream(content, _aiff_samples(content))
        if content[:4] in _READ_TO_THE_END:
            return Stream(content[: sound.start + sound.size])
        return Stream(content)
    mended = bytearray(content)
    struct.pack_into(sound.size_format, mended, sound.size_offset, available)
    return Stream(bytes(mended))


def _find_sound(content: bytes) -> _Sound | None:
    """None where the chunks do not lead to any."""
    magic = content[:4]
    if magic == _NIST:
        return _find_nist_sound(content)
    if magic in _AU:
        if len(content) < 12:
            return None
        start, size = struct.unpack_from(_AU[magic], content, 4)
        return _Sound(start, 8, _AU[magic][:2], size)
    layout = _LAYOUTS[magic]
    header = len(layout.name) + struct.calcsize(layout.size)
    place = layout.first
    while place + header <= len(content):
        size_offset = place + len(layout.name)
        (size,) = struct.unpack_from(layout.size, content, size_offset)
        size -= header if layout.counts_header else 0
        if content[place:size_offset] == layout.name:
            sound = _Sound(place + header, size_offset, layout.size, size)
            return _with_ds64(content, sound) if magic in (b"RF64", b"BW64") else sound
        if size < 0 or (size == 0 and layout.counts_header):
            return None
        end = place + header + size
        place = end + -(end - layout.first) % layout.alignment
    return None


def _aiff_samples(content: bytes) -> int | None:
    """The number in an AIFF file's COMM chunk; None for compressed ones, where it counts packets."""
    place = content.find(b"COMM", 12)
    if content[8:12] != b"AIFF" or place < 0 or place + 14 > len(content):
        return None
    return struct.unpack_from(">I", content, place + 10)[0]


def _find_nist_sound(content: bytes) -> _Sound | None:
    """SPHERE's header is text of a stated length; sizes in it are not mended."""
    head = re.match(rb"NIST_1A\n\s*(\d{1,6})\n", content)
    if head is None:
        return None
    start = int(head[1])
    factors = [
        re.search(rb"\n%s -i (\d{1,12})\s" % name, content[:start])
        for name in (b"sample_count", b"channel_count", b"sample_n_bytes")
    ]
    sizes = [int(factor[1]) for factor in factors if factor]
    return _Sound(start, 0, "", math.prod(sizes)) if len(sizes) == len(factors) else None


def _with_ds64(content: bytes, sound: _Sound) -> _Sound:
    if content[12:16] != b"ds64" or sound.size != 0xFFFFFFFF:
        return sound
    (size,) = struct.unpack_from("<Q", content, _DS64_DATA_SIZE)
    return _Sound(sound.start, _DS64_DATA_SIZE, "<Q", size)


def _stands_for_none(sound: _Sound, available: int) -> bool:
    """Whether a size is one that writers leave when they cannot know it.

    0, all bits set, the largest of 31, 32 or 63 bits but for a header's length, or a round thousand
    million, as seen from ffmpeg, sox, libsndfile, GStreamer and telephone recorders.
    """
    if sound.size == 0:
        return available > 0
    if sound.size <= available:
        return False
    near = 1 << 16
    limits = (1 << 31, 1 << 32, 1 << 63, 1 << 64)
    return any(abs(sound.size - limit) <= near for limit in limits) or (
        sound.size >= 10**9 and sound.size % 10**6 == 0
    )
