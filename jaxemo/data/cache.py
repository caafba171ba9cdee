"""What the cache folder holds, and removing the part of it that was not used for longest.

An entry is the smallest thing that may go alone: one shard of decoded audio, the embeddings of one
stream, one compiled program, one synthetic corpus, the audio of one archive. Other processes may read
and write the folder meanwhile. Links are neither followed nor removed, and nothing outside the folder is touched.
"""

import contextlib
import enum
import json
import os
import re
import stat
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_DOOMED = ".removed-"
_ABOUT = "about.json"


class Kind(enum.StrEnum):
    """What an entry is.

    All but `OTHER`, which is not ours, can be made again. `INDEX` says what was seen where, and is
    never worth pruning; `LEFTOVERS` is what a killed removal did not finish.
    """

    AUDIO = "audio"
    EMBEDDINGS = "embeddings"
    PROGRAMS = "programs"
    SYNTHETIC = "synthetic"
    UNPACKED = "unpacked"
    INDEX = "index"
    LEFTOVERS = "leftovers"
    OTHER = "other"


# Folders and files at the top of the cache; the first pattern that matches decides.
_KINDS = (
    (re.compile(r"clips-v\d+-\d+hz"), Kind.AUDIO),
    (re.compile(r"embeddings-v\d+"), Kind.EMBEDDINGS),
    (re.compile(r"xla|numba"), Kind.PROGRAMS),
    (re.compile(r"synthetic-.+"), Kind.SYNTHETIC),
    (re.compile(r"unpacked-.+"), Kind.UNPACKED),
    (re.compile(rf"{re.escape(_DOOMED)}.+"), Kind.LEFTOVERS),
    (re.compile(r".*index.*"), Kind.INDEX),
)
# Kinds whose folder holds many entries.
_SHELVES = (Kind.AUDIO, Kind.EMBEDDINGS, Kind.PROGRAMS)


class Entry(NamedTuple):
    """One thing in the cache.

    Attributes:
      kind: What it is.
      name: For people.
      paths: Its file or folder; several files where they belong together.
      num_bytes: Of all its files.
      num_files: How many files.
      last_use: The latest time that one of its files was read or written, in seconds since 1970.
        Many file systems note a reading once per day at most.
    """

    kind: Kind
    name: str
    paths: tuple[Path, ...]
    num_bytes: int
    num_files: int
    last_use: float


class _File(NamedTuple):
    num_bytes: int
    last_use: float


def list_entries(cache_dir: Path) -> list[Entry]:
    """Every entry of a cache folder, the one that was used last at the end; none if it is absent."""
    entries = []
    for item in _scan(cache_dir):
        kind = _kind_of(item.name)
        if kind in _SHELVES and item.is_dir(follow_symlinks=False):
            entries += _shelf(Path(item.path), kind)
        else:
            entries.append(_entry(kind, item.name, (Path(item.path),)))
    found = [entry for entry in entries if entry.num_files]
    return sorted(found, key=lambda entry: (entry.last_use, entry.name))


def prune(entries: Iterable[Entry], *, max_bytes: int, cache_dir: Path) -> list[Entry]:
    """Removes what was not used for longest until the rest is at most `max_bytes`.

    Args:
      entries: As `list_entries` gives them. The kinds `INDEX` and `OTHER` count and stay.

    Returns:
      What was removed.
    """
    entries = sorted(entries, key=lambda entry: entry.last_use)
    total = sum(entry.num_bytes for entry in entries)
    removed = []
    for entry in entries:
        if total <= max_bytes:
            break
        if entry.kind not in (Kind.INDEX, Kind.OTHER):
            remove(entry, cache_dir=cache_dir)
            removed.append(entry)
            total -= entry.num_bytes
    return removed


def remove(entry: Entry, *, cache_dir: Path) -> None:
    """Removes one entry: at once for other processes, which see all of it or nothing.

    A file that another process has removed meanwhile is no error.

    Raises:
      ValueError: The entry does not lie in the cache folder.
    """
    for path in entry.paths:
        _check_inside(path, cache_dir)
        doomed = cache_dir / f"{_DOOMED}{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, doomed)
            _delete(doomed)


def _kind_of(name: str) -> Kind:
    return next((kind for pattern, kind in _KINDS if pattern.fullmatch(name)), Kind.OTHER)


def _shelf(folder: Path, kind: Kind) -> Iterator[Entry]:
    """The entries of one folder; a compiled program's files share the name before the last dash."""
    groups: dict[str, list[Path]] = {}
    for item in _scan(folder):
        name = item.name.rpartition("-")[0] if kind is Kind.PROGRAMS else item.name
        groups.setdefault(name or item.name, []).append(Path(item.path))
    for name, paths in groups.items():
        label = _stream_name(paths[0]) if kind is Kind.EMBEDDINGS else ""
        yield _entry(kind, label or f"{folder.name}/{name}", tuple(sorted(paths)))


def _stream_name(folder: Path) -> str:
    """The name that a folder of embeddings gives itself in about.json; "" where it has none."""
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    name = about.get("name") if isinstance(about, dict) else None
    return name if isinstance(name, str) else ""


def _entry(kind: Kind, name: str, paths: tuple[Path, ...]) -> Entry:
    files = [file for path in paths for file in _files(path)]
    return Entry(
        kind,
        name,
        paths,
        num_bytes=sum(file.num_bytes for file in files),
        num_files=len(files),
        last_use=max((file.last_use for file in files), default=0.0),
    )


def _files(path: Path) -> Iterator[_File]:
    """Size and last use of every real file at or below a path; vanished ones are passed over."""
    try:
        status = path.lstat()
    except OSError:
        return
    if stat.S_ISREG(status.st_mode):
        # Listing reads about.json itself, which is no use of the embeddings.
        read = 0.0 if path.name == _ABOUT else status.st_atime
        yield _File(status.st_size, max(read, status.st_mtime))
    elif stat.S_ISDIR(status.st_mode):
        for item in _scan(path):
            yield from _files(Path(item.path))


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in a folder but links, sorted; nothing if the folder is not there or no longer."""
    try:
        with os.scandir(folder) as items:
            return sorted((i for i in items if not i.is_symlink()), key=lambda item: item.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _check_inside(path: Path, cache_dir: Path) -> None:
    """The folder that holds the path must be in the cache, links resolved."""
    root, parent = cache_dir.resolve(), path.parent.resolve()
    if path.is_symlink() or not (parent == root or root in parent.parents) or path.name == "..":
        raise ValueError(f"{path} does not lie in the cache folder {cache_dir}; it is not removed.")


def _delete(path: Path) -> None:
    """A file, or a folder with all below it; links in it go, what they point to stays."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    with os.scandir(path) as items:
        inside = [Path(item.path) for item in items]
    for item in inside:
        _delete(item)
    path.rmdir()
