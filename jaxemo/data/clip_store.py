"""Decoded clips in a memory-mapped Arrow cache, so that a second run decodes nothing.

A clip is keyed by the SHA-256 of its file's bytes, the sample rate and the decoder's version: moved
or renamed files stay cached, changed ones are decoded again. Faults are cached as well. The cache
is a folder of shards that `datasets.Dataset.from_file` opens, each written under another name and
then renamed: a run that is killed loses at most one shard, and runs at the same time do no harm.
"""

import enum
import hashlib
import logging
import os
import time
import uuid
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from jaxemo.data.audio import LeftOut, UnusableAudio, read_content, read_waveform
from jaxemo.data.corpora.corpus import Utterance

# Raise it whenever `read_waveform` returns other samples or finds other faults than before.
DECODER_VERSION = 1
# A shard is written when it has either; the second bounds memory where clips are long.
SHARD_CLIPS = 256
SHARD_BYTES = 128 << 20
# libsndfile, soxr and hashlib work outside the interpreter lock, so threads are enough.
_NUM_THREADS = min(8, os.cpu_count() or 1)
_STALE_AFTER_S = 24 * 3600

_log = logging.getLogger(__name__)


class UnusablePolicy(enum.Enum):
    """What a run does about files that cannot be used."""

    STOP = "stop"
    LEAVE_OUT = "leave_out"


class UnusableFiles(ValueError):
    """Files that cannot be used, all of them with reasons, where that stops the run."""

    def __init__(self, left_out: Sequence[LeftOut], *, num_clips: int) -> None:
        lines = "\n".join(f"  {path}: {reason}" for path, reason in left_out)
        super().__init__(
            f"{len(left_out)} of {num_clips} audio files cannot be used:\n{lines}\n"
            f"Repair or remove them, or choose the policy {UnusablePolicy.LEAVE_OUT.value!r} "
            "if others remain."
        )
        self.left_out = tuple(left_out)


class CorruptCacheError(RuntimeError):
    """A cached clip is not what was written."""


class _Clip(NamedTuple):
    """One row of a shard; `waveforms[row]` stays on disk until it is asked for."""

    waveforms: Any  # pyarrow.ChunkedArray; pyarrow is imported late
    row: int
    num_samples: int
    reason: str
    checksum: int
    shard: Path


@dataclass(frozen=True, eq=False)
class ClipStore:
    """The audio of a list of clips, at one rate.

    Attributes:
      utterances: The clips; every index below refers to their order.
      sample_rate_hz: Rate of all waveforms.
      digests: SHA-256 of each file's bytes; "" where it could not be read.
      num_samples: Length of each waveform; 0 where the file is unusable.
      left_out: The unusable files, each with its reason.
      num_decoded: Different contents that were decoded when the store was opened.
      num_cached: Different contents that were in the cache already.
    """

    utterances: tuple[Utterance, ...]
    sample_rate_hz: int
    digests: tuple[str, ...]
    num_samples: Int64[np.ndarray, " clips"]
    left_out: tuple[LeftOut, ...]
    num_decoded: int
    num_cached: int
    _clips: dict[str, _Clip]
    _verified: set[str]

    def __len__(self) -> int:
        return len(self.utterances)

    @property
    def duration_s(self) -> Float64[np.ndarray, " clips"]:
        """Length of each clip; 0 where the file is unusable."""
        return self.num_samples / self.sample_rate_hz

    @property
    def usable(self) -> Int64[np.ndarray, " usable"]:
        """Positions of the clips that have a waveform, ascending."""
        return np.flatnonzero(self.num_samples).astype(np.int64)

    def waveform(self, index: int) -> Float32[np.ndarray, " N"]:
        """The samples of one clip: a read-only view of the memory-mapped cache, no copy.

        Raises:
          UnusableAudio: The clip is one of those left out.
          CorruptCacheError: The cached samples are not those that were written.
        """
        if not self.num_samples[index]:
            path = self.utterances[index].path
            raise UnusableAudio(path, dict(self.left_out)[path])
        digest = self.digests[index]
        clip = self._clips[digest]
        waveform = clip.waveforms[clip.row].values.to_numpy(zero_copy_only=True)
        if digest not in self._verified:
            if _checksum(digest, clip.reason, waveform) != clip.checksum:
                raise CorruptCacheError(
                    f"{clip.shard} is damaged (found at {self.utterances[index].path}). "
                    "Delete it; the next run decodes its clips again."
                )
            self._verified.add(digest)
        return waveform

    def select(self, positions: Int64[np.ndarray, " n"]) -> "ClipStore":
        """The store of some of the clips, in the given order; `left_out` stays as it is."""
        return replace(
            self,
            utterances=tuple(self.utterances[position] for position in positions),
            digests=tuple(self.digests[position] for position in positions),
            num_samples=self.num_samples[positions],
        )


def open_clip_store(
    utterances: Sequence[Utterance],
    *,
    sample_rate_hz: int,
    cache_dir: str | os.PathLike,
    progress: Callable[[int, int], None] | None = None,
) -> ClipStore:
    """Decodes what the cache lacks and opens the store of all clips, unusable ones included.

    Args:
      utterances: The clips.
      sample_rate_hz: Rate to resample to; each rate has a cache folder of its own.
      cache_dir: Folder for caches, made if need be. Shards that are found damaged are replaced.
      progress: Called with (decoded, to decode) after each file; not at all if none is decoded.

    Returns:
      A store with one entry a clip, of which `usable` have a waveform; see `apply_policy`.
    """
    if sample_rate_hz <= 0:
        raise ValueError(f"sample_rate_hz is {sample_rate_hz}; expected a rate such as 16000.")
    folder = Path(cache_dir).expanduser() / f"clips-v{DECODER_VERSION}-{sample_rate_hz}hz"
    folder.mkdir(parents=True, exist_ok=True)
    _remove_stale_files(folder)
    digests, unreadable = _digest_files([row.path for row in utterances])
    clips = _read_shards(folder)
    path_of = {digest: row.path for row, digest in zip(utterances, digests, strict=True) if digest}
    missing = [(digest, path) for digest, path in path_of.items() if digest not in clips]
    for shard in _write_shards(
        folder, _decode_files(missing, sample_rate_hz=sample_rate_hz, progress=progress)
    ):
        clips |= _read_shard(shard)

    found = [clips.get(digest) for digest in digests]
    reasons = {
        row.path: unreadable[row.path] if clip is None else clip.reason
        for row, clip in zip(utterances, found, strict=True)
    }
    return ClipStore(
        utterances=tuple(utterances),
        sample_rate_hz=sample_rate_hz,
        digests=digests,
        num_samples=np.array([clip.num_samples if clip else 0 for clip in found], np.int64),
        left_out=tuple(LeftOut(path, reason) for path, reason in reasons.items() if reason),
        num_decoded=len(missing),
        num_cached=len(path_of) - len(missing),
        _clips={digest: clips[digest] for digest in path_of},
        _verified=set(),
    )


def apply_policy(store: ClipStore, *, policy: UnusablePolicy) -> ClipStore:
    """The store of the usable clips alone; `left_out` keeps the others with their reasons.

    Raises:
      UnusableFiles: There are unusable files and the policy is STOP, or no usable file remains.
    """
    usable = store.usable
    if store.left_out and (policy is UnusablePolicy.STOP or not usable.size):
        raise UnusableFiles(store.left_out, num_clips=len(store))
    return store.select(usable)


# Decoding ------------------------------------------------------------------------------------


class _Decoded(NamedTuple):
    digest: str
    reason: str
    waveform: Float32[np.ndarray, " N"]


def _digest_files(paths: Sequence[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """SHA-256 of each file, "" if unreadable; and the reasons of the unreadable, by path."""

    def digest(path: str) -> tuple[str, str]:
        try:
            return hashlib.sha256(read_content(path)).hexdigest(), ""
        except UnusableAudio as fault:
            return "", fault.reason

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        results = list(_in_order(pool, digest, paths))
    unreadable = {path: reason for path, (_, reason) in zip(paths, results, strict=True) if reason}
    return tuple(digest for digest, _ in results), unreadable


def _decode_files(
    missing: Sequence[tuple[str, str]],
    *,
    sample_rate_hz: int,
    progress: Callable[[int, int], None] | None,
) -> Iterator[_Decoded]:
    """Decodes (digest, path) pairs in order; a fault gives its reason and no samples."""

    def decode(item: tuple[str, str]) -> _Decoded:
        digest, path = item
        try:
            return _Decoded(digest, "", read_waveform(path, sample_rate_hz=sample_rate_hz))
        except UnusableAudio as fault:
            return _Decoded(digest, fault.reason, np.zeros(0, np.float32))

    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        for done, decoded in enumerate(_in_order(pool, decode, missing), start=1):
            if progress:
                progress(done, len(missing))
            yield decoded


def _in_order(pool: Executor, function: Callable, items: Iterable) -> Iterator:
    """`pool.map` that runs only a few items ahead of its reader, which bounds memory."""
    pending: deque = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= 4 * _NUM_THREADS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


# Shards --------------------------------------------------------------------------------------


def _write_shards(folder: Path, clips: Iterable[_Decoded]) -> Iterator[Path]:
    rows: list[_Decoded] = []
    for clip in clips:
        rows.append(clip)
        if len(rows) >= SHARD_CLIPS or sum(row.waveform.nbytes for row in rows) >= SHARD_BYTES:
            yield _write_shard(folder, rows)
            rows = []
    if rows:
        yield _write_shard(folder, rows)


def _write_shard(folder: Path, rows: Sequence[_Decoded]) -> Path:
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
            np.concatenate([row.waveform for row in rows]),
        ),
        "checksum": [_checksum(*row) for row in rows],
    }
    name = hashlib.sha256("".join(row.digest for row in rows).encode()).hexdigest()[:16]
    shard = folder / f"{name}.arrow"
    unfinished = folder / f"{name}.{uuid.uuid4().hex}.tmp"
    try:
        table = pyarrow.table(columns, schema=features.arrow_schema)
        with (
            pyarrow.OSFile(str(unfinished), "wb") as file,
            pyarrow.ipc.new_stream(file, table.schema) as writer,
        ):
            writer.write_table(table)
        os.replace(unfinished, shard)
    finally:
        unfinished.unlink(missing_ok=True)
    return shard


def _read_shards(folder: Path) -> dict[str, _Clip]:
    """Everything in the cache by digest. Damaged shards are deleted, to be made again."""
    clips: dict[str, _Clip] = {}
    for shard in sorted(folder.glob("*.arrow")):
        try:
            clips |= _read_shard(shard)
        except Exception as error:
            # Bytes out of place in the header make pyarrow and datasets raise errors of any type.
            _log.warning("cache shard %s is damaged and will be made again: %s", shard, error)
            shard.unlink(missing_ok=True)
    return clips


def _read_shard(shard: Path) -> dict[str, _Clip]:
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
        digest: _Clip(waveforms, row, lengths[row], reasons[row], checksums[row], shard)
        for row, digest in enumerate(digests)
    }


def _checksum(digest: str, reason: str, waveform: Float32[np.ndarray, " N"]) -> int:
    return zlib.crc32(waveform, zlib.crc32(f"{digest} {reason}".encode()))


def _remove_stale_files(folder: Path) -> None:
    # What a killed run was writing. Younger ones may belong to a run that is going on.
    for unfinished in folder.glob("*.tmp"):
        if time.time() - unfinished.stat().st_mtime > _STALE_AFTER_S:
            unfinished.unlink(missing_ok=True)
