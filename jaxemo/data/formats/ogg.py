"""Ogg: chains of streams, each link a file of its own, checked page by page (RFC 3533)."""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from jaxemo.data.formats.fault import Fault, Stream, check_whole

MAGIC = b"OggS"
_HEADER = struct.Struct("<4sBBqIIIB")
_CHECKSUM = slice(22, 26)
_BEGINS = 0x02
_REFLECTED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


class _Page(NamedTuple):
    start: int
    end: int
    begins_stream: bool
    serial: int
    number: int


def ogg_streams(content: bytes) -> list[Stream]:
    """The links of a chain, in order; most files are one.

    Raises:
      Fault: A page is damaged, missing or cut short.
    """
    starts, numbers = [0], {}
    in_headers = True
    for page in _pages(content):
        if page.begins_stream and not in_headers:
            starts.append(page.start)
            numbers.clear()
        in_headers = page.begins_stream
        expected = numbers.get(page.serial, page.number)
        if page.number != expected:
            raise Fault(f"corrupt: page {page.number} follows page {expected - 1}")
        numbers[page.serial] = page.number + 1
    return [
        Stream(content[start:end])
        for start, end in zip(starts, [*starts[1:], len(content)], strict=True)
    ]


def _pages(content: bytes) -> Iterator[_Page]:
    place = 0
    while place < len(content):
        if place and content.find(MAGIC, place) < 0:
            return  # A tag that some program has added.
        page = _page(content, place)
        yield page
        place = page.end


def _page(content: bytes, start: int) -> _Page:
    check_whole(len(content) - start, _HEADER.size, "bytes of the last page")
    magic, _, kind, _, serial, number, expected, segments = _HEADER.unpack_from(content, start)
    if magic != MAGIC:
        raise Fault(f"corrupt: no Ogg page at byte {start}")
    body = start + _HEADER.size + segments
    end = body + sum(content[start + _HEADER.size : body])
    check_whole(len(content) - start, end - start, "bytes of the last page")
    if _page_checksum(content[start:end]) != expected:
        raise Fault(f"corrupt: the Ogg page at byte {start} is damaged")
    return _Page(start, end, bool(kind & _BEGINS), serial, number)


def _page_checksum(page: bytes) -> int:
    """CRC-32 with polynomial 0x04c11db7, not reflected, from 0: zlib's with its bits turned round."""
    blank = page[: _CHECKSUM.start] + bytes(4) + page[_CHECKSUM.stop :]
    turned = zlib.crc32(blank.translate(_REFLECTED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{turned:032b}"[::-1], 2)
