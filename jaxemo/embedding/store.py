"""What a stream gives, kept by content, so that no clip goes through an encoder twice.

    CACHE/embeddings-v1/<key>/about.json                 which encoder, which excerpt, which dtype
    CACHE/embeddings-v1/<key>/pooled-<id>.safetensors    rows of some clips: arrays of one kind
    CACHE/embeddings-v1/<key>/statistics-<id>.safetensors  one cell's Frechet statistics

A stream's key is the hash of everything that decides its numbers; a row's key is the digest of the
clip's file. Files are written whole and never changed, so several processes may share a folder; each
carries a checksum, and one that is damaged is named, removed and made again. `jaxemo cache` lists and
prunes the folders.
"""

import hashlib
import json
import logging
import os
import uuid
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from jaxemo.data.files import make_folder, write_whole, written_whole
from jaxemo.data.temporary import remove_leftovers
from jaxemo.distances.statistics import PackedStatistics

logger = logging.getLogger("jaxemo")

# Raise it when the same identity gives other numbers than before.
STORE_VERSION = 1
ABOUT = "about.json"


def stream_folder(cache_dir: Path, identity: Mapping[str, Any], *, name: str) -> Path:
    """The folder of one stream, made if need be.

    Args:
      cache_dir: Folder of all caches.
      identity: Everything that decides the stream's numbers but the clips, flat.
      name: For people who look at the cache.
    """
    text = json.dumps(identity, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:24]
    folder = cache_dir / f"embeddings-v{STORE_VERSION}" / key
    make_folder(folder)
    remove_leftovers(folder)
    if not (folder / ABOUT).is_file():
        about = {"name": name, "identity": dict(identity)}
        write_whole(folder / ABOUT, json.dumps(about, indent=1) + "\n")
    return folder


class RowStore(Mapping[str, np.ndarray]):
    """Rows of one kind by the clip's digest: arrays that differ in their first axis alone.

    Reading gives a view of the memory-mapped file.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder = folder
        self._kind = kind
        self._places: dict[str, tuple[np.ndarray, int, int]] = {}
        for path in sorted(folder.glob(f"{kind}-*.safetensors")):
            self._open(path)

    def __getitem__(self, digest: str) -> np.ndarray:
        values, first, last = self._places[digest]
        return values[first:last]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def update(self, rows: Mapping[str, np.ndarray]) -> None:
        """Writes rows; they are safe when this returns.

        Raises:
          ValueError: A row is not finite.
        """
        fresh = {digest: row for digest, row in rows.items() if digest not in self._places}
        if not fresh:
            return
        if bad := [digest for digest, row in fresh.items() if not np.isfinite(row).all()]:
            raise ValueError(
                f"{self._kind} of {len(bad)} clips are NaN or infinite (content {bad[0][:16]}...); "
                "check the encoder's weights and, in 16-bit, its range."
            )
        path = self._folder / f"{self._kind}-{uuid.uuid4().hex}.safetensors"
        tensors = {
            "values": np.concatenate([np.asarray(row) for row in fresh.values()]),
            "lengths": np.array([len(row) for row in fresh.values()], np.int64),
        }
        _write(path, tensors, digests=list(fresh))
        self._open(path)

    def _open(self, path: Path) -> None:
        part = _read(path)
        if part is None:
            return
        ends = np.cumsum(part.tensors["lengths"]).tolist()
        for digest, first, last in zip(part.digests, [0, *ends[:-1]], ends, strict=True):
            self._places.setdefault(digest, (part.tensors["values"], first, last))


def held(rows: Mapping[str, Any], digests: Sequence[str]) -> Bool[np.ndarray, " n"]:
    """Which clips have a row."""
    return np.array([digest in rows for digest in digests], bool)


# Names of `PackedStatistics` in a file.
_STATISTICS = ("num_rows", "mean", "factor")


class KeptStatistics(NamedTuple):
    """Frechet statistics of some clips.

    Attributes:
      digests: Of the clips, in the order in which they were counted; twice where a content was.
      statistics: Leading axes (device, layer), or (layer,) where they were merged.
    """

    digests: tuple[str, ...]
    statistics: PackedStatistics


class StatisticsStore:
    """Frechet statistics by the clips that they were made of.

    Statistics grow by clips and cannot lose one: what can be used for a cell are those of any part
    of its clips.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._contents: dict[Path, Counter] = {}
        for path in sorted(folder.glob("statistics-*.safetensors")):
            if (digests := _read_digests(path)) is not None:
                self._contents[path] = Counter(digests)

    def largest_part(self, digests: Iterable[str]) -> KeptStatistics | None:
        """Statistics of as many of the clips as possible and of no other; None where there are none."""
        wanted = Counter(digests)
        fitting = [path for path, content in self._contents.items() if content <= wanted]
        for path in sorted(fitting, key=lambda path: (-self._contents[path].total(), path.name)):
            if (part := _read(path)) is not None:
                # Copied: a cell's file is replaced as the cell grows.
                leaves = (np.array(part.tensors[name]) for name in _STATISTICS)
                return KeptStatistics(tuple(part.digests), PackedStatistics(*leaves))
            del self._contents[path]
        return None

    def write(self, kept: KeptStatistics, *, replaces: Sequence[str] = ()) -> None:
        """Keeps statistics; those of `replaces`, a part of the same cell, are removed."""
        path = self._path(kept.digests)
        _write(
            path, dict(zip(_STATISTICS, kept.statistics, strict=True)), digests=list(kept.digests)
        )
        self._contents[path] = Counter(kept.digests)
        old = self._path(replaces)
        if replaces and old != path:
            old.unlink(missing_ok=True)
            self._contents.pop(old, None)

    def _path(self, digests: Sequence[str]) -> Path:
        key = hashlib.sha256(" ".join(sorted(digests)).encode()).hexdigest()[:32]
        return self._folder / f"statistics-{key}.safetensors"


# Files ---------------------------------------------------------------------------------------


class _Part(NamedTuple):
    digests: list[str]
    tensors: dict[str, np.ndarray]


def _write(path: Path, tensors: dict[str, np.ndarray], *, digests: list[str]) -> None:
    from safetensors.numpy import save_file

    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    metadata = {"digests": json.dumps(digests), "checksum": _checksum(digests, tensors)}
    num_bytes = sum(tensor.nbytes for tensor in tensors.values())
    with written_whole(path, num_bytes=num_bytes) as unfinished:
        save_file(tensors, unfinished, metadata=metadata)


def _read(path: Path) -> _Part | None:
    """A file's content, memory-mapped, once it has been checked; None (and no file) if damaged."""
    try:
        metadata, tensors = _map_safetensors(path)
        digests = json.loads(metadata["digests"])
        if _checksum(digests, tensors) != metadata["checksum"]:
            raise ValueError("its content has changed since it was written")
        os.utime(path)  # Pruning goes by the last use.
    except FileNotFoundError:
        return None  # Another process has pruned it.
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged and will be made again: %s", path, error)
        path.unlink(missing_ok=True)
        return None
    return _Part(digests, tensors)


def _read_digests(path: Path) -> list[str] | None:
    """The clips of a file whose content is not looked at yet; None where it cannot be read."""
    try:
        metadata, _ = _map_safetensors(path)
        return json.loads(metadata["digests"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged and will be made again: %s", path, error)
        path.unlink(missing_ok=True)
        return None


_DTYPES = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}


def _map_safetensors(path: Path) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and memory-mapped tensors of a file of ours; ValueError for anything else.

    The safetensors package copies what it reads; training reads rows of large files at random.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            raise ValueError(f"a header of {length} bytes in a file of {size}")
        header = json.loads(file.read(length))
    metadata = header.pop("__metadata__")
    content = np.memmap(path, np.uint8, mode="r", offset=8 + length) if size > 8 + length else None
    tensors = {}
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        if content is None or not 0 <= first <= last <= content.size:
            raise ValueError(f"{name} lies outside the file")
        tensors[name] = content[first:last].view(_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return metadata, tensors


def _checksum(digests: list[str], tensors: dict[str, np.ndarray]) -> str:
    value = zlib.crc32(" ".join(digests).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        value = zlib.crc32(f"{name} {tensor.dtype.name} {tensor.shape}".encode(), value)
        value = zlib.crc32(tensor.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
