"""Names of what is being written, from which others can tell whether its process is still there."""

import contextlib
import os
import re
import shutil
import socket
import time
import uuid
from pathlib import Path

_HOST = re.sub(r"[^A-Za-z0-9]", "", socket.gethostname()) or "host"
_NAME = re.compile(r".+\.(?P<host>[A-Za-z0-9]+)-(?P<process>\d+)-[0-9a-f]{12}\.tmp")
_STALE_AFTER_S = 24 * 3600


def temporary_beside(path: Path) -> Path:
    """A name in the same folder for what will become `path`; nothing has it yet."""
    return path.with_name(f"{path.name}.{_HOST}-{os.getpid()}-{uuid.uuid4().hex[:12]}.tmp")


def remove_leftovers(folder: Path) -> None:
    """Removes what killed processes of this machine left in a folder half written.

    What processes of another machine write is known by its age alone: a day.
    """
    for path in folder.glob("*.tmp"):
        if not _may_go_on(path):
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _may_go_on(path: Path) -> bool:
    match = _NAME.fullmatch(path.name)
    if match is not None and match["host"] == _HOST:
        return _is_running(int(match["process"]))
    try:
        return time.time() - path.stat().st_mtime <= _STALE_AFTER_S
    except FileNotFoundError:
        return True  # It went on meanwhile.


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True  # Another user's.
    return True
