"""FLAC: streams whose header does not know their length, and files joined end to end (RFC 9639)."""

import re

from jaxemo.data.formats.fault import Stream

MAGIC = b"fLaC"
# The marker and the head of STREAMINFO, which is 34 bytes long and may be the last block.
_START = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
# The last 36 bits of these count samples.
_TOTAL = slice(18, 26)
_TOTAL_MASK = (1 << 36) - 1


def flac_streams(content: bytes) -> list[Stream]:
    """Each file that was joined, with a length that keeps libsndfile reading to the end."""
    starts = [match.start() for match in _START.finditer(content)]
    if not starts:
        return [Stream(content)]
    return [
        _endless(content[start:end])
        for start, end in zip(starts, [*starts[1:], len(content)], strict=True)
    ]


def _endless(content: bytes) -> Stream:
    fields = int.from_bytes(content[_TOTAL], "big")
    endless = (fields | _TOTAL_MASK).to_bytes(8, "big")
    return Stream(content[: _TOTAL.start] + endless + content[_TOTAL.stop :], fields & _TOTAL_MASK)
