"""Files written whole or not at all, and what is known of files by their size, time and inode."""

import contextlib
import logging
import os
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger("jaxemo")

_SECONDS_TO_WAIT_FOR_ANOTHER_PROCESS = 30.0


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` to write to, and renames it into place when the block ends well.

    Whoever opens `path` sees the old content or the new, never a part; a block that raises leaves no
    file behind. The content is on the disk before the name changes.
    """
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


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
            state, digest = recorded.get(os.path.abspath(path), ("", ""))
            if state and state == _as_text(file_state(path)):
                digests[path] = digest
        return digests

    def record(self, entries: Iterable[tuple[str, FileState, str]]) -> None:
        """Keeps (path, state before it was read, digest)."""
        rows = [(os.path.abspath(path), _as_text(state), digest) for path, state, digest in entries]
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


def _as_text(state: FileState | None) -> str:
    # As text: an inode may have 64 bits, and SQLite's integers have a sign.
    return "" if state is None else " ".join(map(str, state))
