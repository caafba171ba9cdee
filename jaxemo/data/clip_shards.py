"""Shards of the decoded-audio cache: Arrow files of clips, written whole and checked when read.

A shard is a file that `datasets.Dataset.from_file` opens; its samples stay on disk, memory-mapped.
"""

import ctypes
import hashlib
import logging
import mmap
import sys
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data.files import written_whole

# A shard is written when it has either; the second bounds memory where clips are long.
SHARD_CLIPS = 256
SHARD_BYTES = 128 << 20

# Of mapped samples that were looked at and may be in memory. The system would leave them there as long as
# nobody else wants the memory, so that a pass over a large corpus would seem to fill the machine.
_RESIDENT_BYTES = 512 << 20
# What Linux maps at once where it keeps a file in large pages.
_BLOCK_BYTES = 2 << 20

logger = logging.getLogger("jaxemo")


class CachedClip(NamedTuple):
    """One row of a shard; `waveforms[row]` stays on disk until it is asked for."""

    waveforms: Any  # pyarrow.ChunkedArray; pyarrow is imported late
    row: int
    num_samples: int
    reason: str
    checksum: int
    shard: Path


class DecodedClip(NamedTuple):
    digest: str
    reason: str
    waveform: Float32[np.ndarray, " N"]


def fills_a_shard(rows: list[DecodedClip]) -> bool:
    return len(rows) >= SHARD_CLIPS or sum(row.waveform.nbytes for row in rows) >= SHARD_BYTES


def write_shard(folder: Path, rows: Sequence[DecodedClip]) -> Path:
    """Writes one shard, named after the clips in it, whole or not at all."""
    import datasets
    import pyarrow

    features = datasets.Features(
        digest=datasets.Value("string"),
        reason=datasets.Value("string"),
        # 64-bit offsets: 32 bits end at 25 hours of 24 kHz audio.
        waveform=datasets.LargeList(datasets.Value("float32")),
        checksum=datasets.Value("uint32"),
    )
    columns = {
        "digest": [row.digest for row in rows],
        "reason": [row.reason for row in rows],
        "waveform": pyarrow.LargeListArray.from_arrays(
            np.cumsum([0, *(row.waveform.size for row in rows)]),
            # One long clip is not copied.
            rows[0].waveform if len(rows) == 1 else np.concatenate([row.waveform for row in rows]),
        ),
        "checksum": [checksum(*row) for row in rows],
    }
    name = hashlib.sha256("".join(row.digest for row in rows).encode()).hexdigest()[:16]
    shard = folder / f"{name}.arrow"
    table = pyarrow.table(columns, schema=features.arrow_schema)
    with (
        written_whole(shard, num_bytes=table.nbytes) as unfinished,
        pyarrow.OSFile(str(unfinished), "wb") as file,
        pyarrow.ipc.new_stream(file, table.schema) as writer,
    ):
        writer.write_table(table)
    return shard


def read_shards(folder: Path) -> dict[str, CachedClip]:
    """Everything in the cache by digest. Damaged shards are deleted, to be made again."""
    clips: dict[str, CachedClip] = {}
    for shard in sorted(folder.glob("*.arrow")):
        try:
            clips |= read_shard(shard)
        except Exception as error:
            # Bytes out of place in the header make pyarrow and datasets raise errors of any type.
            logger.warning("cache shard %s is damaged and will be made again: %s", shard, error)
            shard.unlink(missing_ok=True)
    return clips


def read_shard(shard: Path) -> dict[str, CachedClip]:
    """The rows of a memory-mapped shard; its samples are not read."""
    import datasets

    table = datasets.Dataset.from_file(str(shard)).data.table
    # Wrong offsets would otherwise point outside the file. This reads no samples.
    table.validate(full=True)
    waveforms = table["waveform"]
    lengths = [n for chunk in waveforms.chunks for n in chunk.value_lengths().to_pylist()]
    digests, reasons, checksums = (
        table[name].to_pylist() for name in ("digest", "reason", "checksum")
    )
    if any((length == 0) != bool(reason) for length, reason in zip(lengths, reasons, strict=True)):
        raise ValueError("rows must have either samples or a reason for having none")
    return {
        digest: CachedClip(waveforms, row, lengths[row], reasons[row], checksums[row], shard)
        for row, digest in enumerate(digests)
    }


def checksum(digest: str, reason: str, waveform: Float32[np.ndarray, " N"]) -> int:
    return zlib.crc32(waveform.data, zlib.crc32(f"{digest} {reason}".encode()))


class LookedAt:
    """The samples that were looked at, whose pages are given back to the system once they are many.

    Pages of a mapped file are copies of what is on the disk: arrays that point to them stay valid, and
    looking at them again takes them from the system's own cache of the file, if it still has them. A page
    that is looked at may bring its whole block with it, so that blocks are counted and not samples.
    """

    def __init__(self, most_bytes: int = _RESIDENT_BYTES) -> None:
        self._most_blocks = most_bytes // _BLOCK_BYTES
        self._blocks: set[int] = set()
        self._shards: dict[Path, Any] = {}
        self._lock = threading.Lock()

    def add(self, clip: CachedClip, waveform: Float32[np.ndarray, " N"]) -> None:
        """Notes one clip and where its samples are; where that makes too many, all noted before go."""
        first = waveform.ctypes.data
        blocks = range(first // _BLOCK_BYTES, (first + waveform.nbytes) // _BLOCK_BYTES + 1)
        with self._lock:
            if len(self._blocks) > self._most_blocks:
                for waveforms in self._shards.values():
                    _give_back(waveforms)
                self._shards.clear()
                self._blocks.clear()
            self._shards[clip.shard] = clip.waveforms
            self._blocks.update(blocks)


def _give_back(waveforms: Any) -> None:
    """Tells the system that a shard's samples need not stay in memory; elsewhere than on Linux, nothing."""
    if sys.platform != "linux":
        return
    for chunk in waveforms.chunks:
        samples = chunk.values.buffers()[1]
        first = -(-samples.address // mmap.PAGESIZE) * mmap.PAGESIZE
        length = (samples.address + samples.size) // mmap.PAGESIZE * mmap.PAGESIZE - first
        if length > 0:
            # It is only advice: where the system does not take it, nothing is wrong.
            ctypes.CDLL(None).madvise(
                ctypes.c_void_p(first), ctypes.c_size_t(length), mmap.MADV_DONTNEED
            )
