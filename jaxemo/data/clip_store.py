"""Decoded clips in a memory-mapped Arrow cache, so that a second run decodes nothing.

A clip is keyed by the SHA-256 of its file's bytes, the sample rate and the decoder's version: moved
or renamed files stay cached, changed ones are decoded again. Faults are cached as well. The cache
is a folder of shards that `datasets.Dataset.from_file` opens, each written under another name and
then renamed: a run that is killed loses at most one shard, and runs at the same time do no harm.
"""

import enum
import functools
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, Int64

from jaxemo.data.audio import (
    DECODER_VERSION,
    LeftOut,
    UnusableAudio,
    decode_at_rates,
    read_content,
)
from jaxemo.data.clip_shards import (
    CachedClip,
    DecodedClip,
    LookedAt,
    checksum,
    fills_a_shard,
    read_shard,
    read_shards,
    write_shard,
)
from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.files import DigestIndex, FileState, file_state, make_folder
from jaxemo.data.temporary import remove_leftovers

# libsndfile, soxr and hashlib work outside the interpreter lock, so threads are enough.
_NUM_THREADS = min(8, os.cpu_count() or 1)


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
    _clips: dict[str, CachedClip]
    _verified: set[str]
    _looked_at: LookedAt

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
        self._looked_at.add(clip, waveform)
        if digest not in self._verified:
            if checksum(digest, clip.reason, waveform) != clip.checksum:
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
    """`open_clip_stores` at a single rate."""
    stores = open_clip_stores(
        utterances, sample_rates_hz=(sample_rate_hz,), cache_dir=cache_dir, progress=progress
    )
    return stores[sample_rate_hz]


def open_clip_stores(
    utterances: Sequence[Utterance],
    *,
    sample_rates_hz: Sequence[int],
    cache_dir: str | os.PathLike,
    progress: Callable[[int, int], None] | None = None,
) -> dict[int, ClipStore]:
    """Decodes what the cache lacks and opens the stores of all clips, unusable ones included.

    A file is read once for all rates, and not at all where its size, time of change and inode are
    those of the last time and its content is in the cache at every rate.

    Args:
      utterances: The clips.
      sample_rates_hz: Rates to resample to; each has a cache folder of its own.
      cache_dir: Folder for caches, made if need be. Shards that are found damaged are replaced.
      progress: Called with (read, to read) after each file; not at all if none is read.

    Returns:
      For each rate a store with one entry per clip, of which `usable` have a waveform; see
      `apply_policy`.
    """
    if wrong := [rate for rate in sample_rates_hz if rate <= 0]:
        raise ValueError(f"sample_rate_hz is {wrong[0]}; expected a rate such as 16000.")
    cache_dir = Path(cache_dir).expanduser()
    caches = {rate: _open_cache(cache_dir, rate) for rate in sample_rates_hz}
    index = DigestIndex(cache_dir / "files.sqlite")
    paths = list(dict.fromkeys(row.path for row in utterances))
    digest_of = index.lookup(paths)
    cached = {rate: set(cache.clips) for rate, cache in caches.items()}
    to_read = [
        path
        for path in paths
        if any(digest_of.get(path, "") not in digests for digests in cached.values())
    ]
    unreadable: dict[str, str] = {}
    for files in _read_files(to_read, caches, progress=progress):
        digest_of |= {file.path: file.digest for file in files}
        unreadable |= {file.path: file.reason for file in files if file.reason}
        index.record((file.path, file.state, file.digest) for file in files if file.state)
    digests = tuple(digest_of[row.path] for row in utterances)
    return {
        rate: _store(utterances, digests, unreadable, cache, cached=cached[rate])
        for rate, cache in caches.items()
    }


def _store(
    utterances: Sequence[Utterance],
    digests: tuple[str, ...],
    unreadable: dict[str, str],
    cache: "_Cache",
    *,
    cached: set[str],
) -> ClipStore:
    clips = {digest: cache.clips[digest] for digest in digests if digest}
    found = [clips.get(digest) for digest in digests]
    reasons = {
        row.path: unreadable[row.path] if clip is None else clip.reason
        for row, clip in zip(utterances, found, strict=True)
    }
    return ClipStore(
        utterances=tuple(utterances),
        sample_rate_hz=cache.sample_rate_hz,
        digests=digests,
        num_samples=np.array([clip.num_samples if clip else 0 for clip in found], np.int64),
        left_out=tuple(LeftOut(path, reason) for path, reason in reasons.items() if reason),
        num_decoded=len(clips.keys() - cached),
        num_cached=len(clips.keys() & cached),
        _clips=clips,
        _verified=set(),
        _looked_at=LookedAt(),
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


# Reading and decoding ------------------------------------------------------------------------


class _File(NamedTuple):
    """A file that was read; `state` is None where it may have changed while it was."""

    path: str
    state: FileState | None
    digest: str
    reason: str
    decoded: dict[int, DecodedClip]


@dataclass(frozen=True, eq=False)
class _Cache:
    """The cached clips at one rate, and those that this process is about to add."""

    folder: Path
    sample_rate_hz: int
    clips: dict[str, CachedClip]
    claimed: set[str]
    lock: threading.Lock

    def claim(self, digest: str) -> bool:
        """Whether the caller is the first to decode this content."""
        with self.lock:
            first = digest not in self.clips and digest not in self.claimed
            self.claimed.add(digest)
        return first


def _open_cache(cache_dir: Path, sample_rate_hz: int) -> _Cache:
    folder = cache_dir / f"clips-v{DECODER_VERSION}-{sample_rate_hz}hz"
    make_folder(folder)
    remove_leftovers(folder)
    return _Cache(folder, sample_rate_hz, read_shards(folder), set(), threading.Lock())


def _read_files(
    paths: Sequence[str],
    caches: dict[int, _Cache],
    *,
    progress: Callable[[int, int], None] | None,
) -> Iterator[list[_File]]:
    """Reads files in order; gives them in groups whose contents are in the caches by then."""
    waiting: list[_File] = []
    rows: dict[int, list[DecodedClip]] = {rate: [] for rate in caches}
    with ThreadPoolExecutor(_NUM_THREADS) as pool:
        files = _in_order(pool, functools.partial(_read_file, caches=caches), paths)
        for done, file in enumerate(files, start=1):
            if progress:
                progress(done, len(paths))
            waiting.append(file)
            for rate, decoded in file.decoded.items():
                if fills_a_shard([decoded]):
                    _write_rows({rate: rows[rate]}, caches)  # A long clip has one of its own.
                rows[rate].append(decoded)
            if any(map(fills_a_shard, rows.values())):
                _write_rows(rows, caches)
                yield waiting
                waiting = []
    _write_rows(rows, caches)
    yield waiting


def _read_file(path: str, caches: dict[int, _Cache]) -> _File:
    """Digest of a file, and its waveform at the rates whose cache lacks it; read once for all."""
    before = file_state(path)
    try:
        content = read_content(path)
    except UnusableAudio as fault:
        return _File(path, None, "", fault.reason, {})
    digest = hashlib.sha256(content).hexdigest()
    wanted = [rate for rate, cache in caches.items() if cache.claim(digest)]
    state = before if before == file_state(path) else None
    return _File(path, state, digest, "", _decode_at(content, path, digest, wanted))


def _decode_at(
    content: bytes, path: str, digest: str, sample_rates_hz: Sequence[int]
) -> dict[int, DecodedClip]:
    """The content at each rate; a fault gives its reason and no samples."""
    if not sample_rates_hz:
        return {}
    waveforms = decode_at_rates(content, path, sample_rates_hz=sample_rates_hz)
    return {
        rate: DecodedClip(digest, waveform.reason, np.zeros(0, np.float32))
        if isinstance(waveform, UnusableAudio)
        else DecodedClip(digest, "", waveform)
        for rate, waveform in waveforms.items()
    }


def _in_order(pool: Executor, function: Callable, items: Iterable) -> Iterator:
    """`pool.map` that runs only a few items ahead of its reader, which bounds memory."""
    pending: deque = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= 4 * _NUM_THREADS:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def _write_rows(rows: dict[int, list[DecodedClip]], caches: dict[int, _Cache]) -> None:
    """Moves what was decoded into the caches."""
    for rate, decoded in rows.items():
        if decoded:
            shard = write_shard(caches[rate].folder, decoded)
            caches[rate].clips.update(read_shard(shard))
            decoded.clear()
