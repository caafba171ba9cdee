"""MPEG audio (mp3): frames are counted, and each stream is given a header that says how many.

Without such a header libsndfile guesses the length from the first frame's bit rate. Tags and padding
go; files joined end to end come apart where a header of its own begins the next.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from jaxemo.data.formats.fault import Fault, Stream, check_whole

# kbit/s by index 1 to 14, for (version 1?, layer). ISO/IEC 11172-3 and 13818-3.
_BIT_RATES = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES_HZ = (44100, 48000, 32000)
# By the two version bits: 2.5, reserved, 2, 1.
_RATE_DIVISORS = (4, 0, 2, 1)
_SYNC = re.compile(rb"\xff[\xe0-\xff]")
# So many frames in a row are no accident.
_FRAMES_IN_A_ROW = 3
_HAS_FRAMES, _HAS_BYTES = 1, 2


# Version bits, layer and rate in Hz: what all frames of a stream have in common.
_Kind = tuple[int, int, int]


class _Frame(NamedTuple):
    start: int
    size: int
    kind: _Kind
    is_mono: bool

    @property
    def end(self) -> int:
        return self.start + self.size


def mpeg_streams(content: bytes) -> list[Stream] | None:
    """Each file that was joined, with a header that counts its frames; None if this is no mp3.

    Raises:
      Fault: It holds fewer frames than a header promises, or something else between them.
    """
    streams: list[list[_Frame]] = []
    for frame in _frames(content):
        if not streams or _count_offset(content, frame) is not None:
            streams.append([])
        streams[-1].append(frame)
    if not streams:
        return None
    last = streams[-1][-1]
    is_cut = _frame_at(content, last.end, last.kind) is not None
    return [
        _counted(content, frames, is_cut=is_cut and frames is streams[-1]) for frames in streams
    ]


def _counted(content: bytes, frames: list[_Frame], *, is_cut: bool) -> Stream:
    first, *others = frames
    offset = _count_offset(content, first)
    if offset is None:
        others, head = frames, _made_header(content, first, len(frames))
    else:
        promised = int.from_bytes(content[offset : offset + 4], "big")
        # Some writers count the header as a frame.
        check_whole(len(others) if is_cut else len(others) + 1, promised, "frames")
        head = _mended_header(content, first, others)
    if not others:
        raise Fault("empty: a header without samples")
    sound = b"".join(content[frame.start : frame.end] for frame in others)
    return Stream(head + sound, promised=0)


def _made_header(content: bytes, first: _Frame, count: int) -> bytes:
    """A silent frame with an Info tag, which decoders do not play; nothing for other layers."""
    if first.kind[1] != 3:
        return b""
    frame = bytearray(first.size)
    frame[:4] = content[first.start : first.start + 4]
    frame[1] |= 1  # No checksum.
    place = _side_end(first)
    tag = struct.pack(">4sII", b"Info", _HAS_FRAMES, count)
    if place + len(tag) > first.size:
        frame.extend(bytes(place + len(tag) - first.size))
    frame[place : place + len(tag)] = tag
    return bytes(frame)


def _mended_header(content: bytes, first: _Frame, others: list[_Frame]) -> bytes:
    """The tag's own frame, which knows how much silence the encoder added, with the true counts."""
    head = content[first.start : first.end]
    place = _side_end(first)
    if head[place : place + 4] not in (b"Xing", b"Info"):
        return _made_header(content, others[0], len(others)) if others else b""
    mended = bytearray(head)
    # The frame is silent; anything else there would keep decoders from seeing the tag.
    mended[4:place] = bytes(place - 4)
    flags = int.from_bytes(head[place + 4 : place + 8], "big")
    struct.pack_into(">I", mended, place + 8, len(others))
    if flags & _HAS_BYTES:
        size = first.size + sum(frame.size for frame in others)
        struct.pack_into(">I", mended, place + 12, min(size, 0xFFFFFFFF))
    return bytes(mended)


def _count_offset(content: bytes, frame: _Frame) -> int | None:
    """Where a Xing, Info or VBRI tag in this frame counts the frames; None without one."""
    place = frame.start + _side_end(frame)
    if frame.kind[1] == 3 and content[place : place + 4] in (b"Xing", b"Info"):
        flags = int.from_bytes(content[place + 4 : place + 8], "big")
        return place + 8 if flags & _HAS_FRAMES else None
    if content[frame.start + 36 : frame.start + 40] == b"VBRI":
        return frame.start + 50
    return None


def _side_end(frame: _Frame) -> int:
    """Bytes of header and side information, behind which the tag lies."""
    version_1 = frame.kind[0] == 3
    return 4 + ((17 if frame.is_mono else 32) if version_1 else (9 if frame.is_mono else 17))


# Frames --------------------------------------------------------------------------------------


def _frames(content: bytes) -> Iterator[_Frame]:
    """The frames in order, tags and zeros between them passed over."""
    place = _next_run(content, skip_tags(content), None)
    kind = None
    while place is not None:
        frame = _frame_at(content, place, kind)
        if frame is None:
            after = _next_run(content, place, kind)
            if after is not None and content[place:after].strip(b"\0"):
                raise Fault(f"corrupt: bytes {place} to {after} are no MPEG frames")
            place = after
        elif frame.end > len(content):
            return
        else:
            yield frame
            kind = frame.kind
            place = skip_tags(content, frame.end)


def _next_run(content: bytes, start: int, kind: _Kind | None) -> int | None:
    """Where the next few frames in a row begin, or as many as the end leaves room for."""
    for match in _SYNC.finditer(content, start):
        place, found = match.start(), kind
        for _ in range(_FRAMES_IN_A_ROW):
            frame = _frame_at(content, place, found)
            if frame is None or frame.end > len(content):
                break
            if kind is None and _count_offset(content, frame) is not None:
                return frame.start  # A tag is no accident either.
            place, found = frame.end, frame.kind
            if place == len(content):
                return match.start()
        else:
            return match.start()
    return None


def _frame_at(content: bytes, start: int, kind: _Kind | None) -> _Frame | None:
    """The frame that begins here; None where none does, or one of another kind."""
    if start + 4 > len(content) or content[start] != 0xFF or content[start + 1] < 0xE0:
        return None
    second, third, fourth = content[start + 1 : start + 4]
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    rate_index, bit_rate_index = third >> 2 & 3, third >> 4
    if version == 1 or layer == 4 or rate_index == 3 or bit_rate_index in (0, 15):
        return None
    rate_hz = _RATES_HZ[rate_index] // _RATE_DIVISORS[version]
    bits = 1000 * _BIT_RATES[version == 3, layer][bit_rate_index - 1]
    padding = third >> 1 & 1
    if layer == 1:
        size = (12 * bits // rate_hz + padding) * 4
    else:
        size = (72 if layer == 3 and version != 3 else 144) * bits // rate_hz + padding
    found = version, layer, rate_hz
    if kind is not None and found != kind:
        return None
    return _Frame(start, size, found, is_mono=fourth >> 6 == 3)


def skip_tags(content: bytes, place: int = 0) -> int:
    """Behind ID3v2, ID3v1 and APE tags that begin here, and zeros."""
    while True:
        head = content[place : place + 10]
        if head[:3] == b"ID3" and len(head) == 10 and max(head[6:10]) < 0x80:
            place += 10 + _synchsafe(head[6:10]) + (10 if head[5] & 0x10 else 0)
        elif head[:3] == b"TAG" and len(content) - place >= 128:
            place += 128
        elif content[place : place + 8] == b"APETAGEX" and len(content) - place >= 32:
            place += 32 + int.from_bytes(content[place + 12 : place + 16], "little")
        else:
            return place


def _synchsafe(number: bytes) -> int:
    """28 bits in four bytes of seven (ID3v2.4, 6.2)."""
    value = 0
    for byte in number:
        value = value << 7 | byte
    return value
