"""Files written whole or not at all, and what is known of files by their size, time and inode."""

import contextlib
import logging
import os
import shutil
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.temporary import temporary_beside

logger = logging.getLogger("jaxemo")

# What libraries in other languages say when the disk does not take their bytes.
_DISK_WORDS = (
    "no space left",
    "file too large",
    "quota exceeded",
    "read-only file system",
    "permission denied",
    "system error",
    "os error",
    "resource_exhausted",
)
_SECONDS_TO_WAIT_FOR_ANOTHER_PROCESS = 30.0


class WriteError(OSError):
    """A file could not be written: which, how large it was to be, and what to do."""


@contextlib.contextmanager
def writing(path: Path, *, num_bytes: int | None = None) -> Iterator[None]:
    """Names the file in whatever the disk says against a block that writes it.

    Libraries raise errors of their own types for a full disk; what is not about the disk passes.

    Args:
      path: The file or folder.
      num_bytes: Its size, where that is known.

    Raises:
      WriteError: The disk is full or not writable, or a limit of the system stands in the way.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        if not _is_of_the_disk(error):
            raise
        size = "" if num_bytes is None else f" of {num_bytes / 1e6:.3g} MB"
        raise WriteError(
            f"{path}{size} could not be written: {error}. Its folder has {_free_space(path)} free. "
            "Make room or take another place: --workdir for results, $JAXEMO_CACHE or "
            "--config.cache_dir for the cache."
        ) from error


def _is_of_the_disk(error: Exception) -> bool:
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return True
    return any(words in str(error).lower() for words in _DISK_WORDS)


def _free_space(path: Path) -> str:
    existing = next((folder for folder in path.absolute().parents if folder.is_dir()), None)
    try:
        return f"{shutil.disk_usage(existing or '/').free / 1e9:.3g} GB"
    except OSError:
        return "unknown space"


def make_folder(path: Path) -> None:
    """Makes a folder and those above it.

    Raises:
      WriteError: It cannot be made.
    """
    with writing(path):
        path.mkdir(parents=True, exist_ok=True)


@contextlib.contextmanager
def written_whole(path: Path, *, num_bytes: int | None = None) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it into place when the block ends well.

    Whoever opens `path` sees the old content or the new, never a part; a block that raises leaves no
    file behind. The content is on the disk before the name changes.

    Raises:
      WriteError: As `writing`.
    """
    unfinished = temporary_beside(path)
    try:
        with writing(path, num_bytes=num_bytes):
            yield unfinished
            with unfinished.open("rb") as file:
                os.fsync(file.fileno())
            os.replace(unfinished, path)
    finally:
        # A folder that may not be written to has no such file, and may say so by another error.
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file whole or not at all; see `written_whole`."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with written_whole(path, num_bytes=len(data)) as unfinished:
        unfinished.write_bytes(data)


class FileState(NamedTuple):
    """What tells that a file has not been touched."""

    size: int
    mtime_ns: int
    inode: int


def file_state(path: str) -> FileState | None:
    """The state of a file; None where there is none that can be looked at."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return FileState(status.st_size, status.st_mtime_ns, status.st_ino)


class DigestIndex:
    """Content digests of files by path, size, time of change and inode, in one SQLite file.

    It saves reading; losing it costs nothing else. A damaged index is set aside with a warning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def lookup(self, paths: Sequence[str]) -> dict[str, str]:
        """Digest of every path whose file is in the state that was recorded."""
        if not self.path.is_file():
            return {}
        try:
            with contextlib.closing(self._connect()) as connection:
                rows = connection.execute("SELECT path, state, digest FROM files")
                recorded = {path: (state, digest) for path, state, digest in rows}
        except sqlite3.DatabaseError as error:
            logger.warning("%s is damaged and will be made again: %s", self.path, error)
            self.path.unlink(missing_ok=True)
            return {}
        digests = {}
        for path in paths:
            state, digest = recorded.get(_key(path), ("", ""))
            if state and state == _as_text(file_state(path)):
                digests[path] = digest
        return digests

    def record(self, entries: Iterable[tuple[str, FileState, str]]) -> None:
        """Keeps (path, state before it was read, digest)."""
        rows = [(_key(path), _as_text(state), digest) for path, state, digest in entries]
        if not rows:
            return
        try:
            with contextlib.closing(self._connect()) as connection, connection:
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS files "
                    "(path TEXT PRIMARY KEY, state TEXT, digest TEXT)"
                )
                connection.executemany("REPLACE INTO files VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            logger.warning("%s cannot be written (%s): files are read again", self.path, error)

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT_FOR_ANOTHER_PROCESS)


def _key(path: str) -> str:
    """The absolute path; bytes of it that are no UTF-8, which SQLite would refuse, as escapes."""
    return os.fsencode(os.path.abspath(path)).decode("utf-8", "backslashreplace")


def _as_text(state: FileState | None) -> str:
    # As text: an inode may have 64 bits, and SQLite's integers have a sign.
    return "" if state is None else " ".join(map(str, state))
