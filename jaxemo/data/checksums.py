"""Folders whose files are what was written: SHA256SUMS in them, as `sha256sum --check` reads it."""

import hashlib
import re
from pathlib import Path

SUMS_NAME = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


def write_checksums(folder: Path) -> None:
    """Notes the content of every file below a folder, in a file of its own beside them."""
    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != SUMS_NAME
    )
    lines = [f"{_digest(folder / name)}  {name}\n" for name in names]
    (folder / SUMS_NAME).write_text("".join(lines), encoding="utf-8")


def damaged_files(folder: Path) -> list[str]:
    """What is wrong with a folder, one line per file; empty if all is as it was written."""
    sums = folder / SUMS_NAME
    try:
        *lines, after_last = sums.read_bytes().decode("utf-8").split("\n")
    except FileNotFoundError:
        return [f"{sums} is missing"]
    except UnicodeDecodeError:
        return [f"{sums} is damaged"]
    if not lines or after_last:
        return [f"{sums} is cut short"]
    faults = []
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None or ".." in Path(match[2]).parts or Path(match[2]).is_absolute():
            return [f"{sums} is damaged"]
        path = folder / match[2]
        if not path.is_file():
            faults.append(f"{path} is missing")
        elif _digest(path) != match[1]:
            faults.append(f"{path} is not what was written")
    return faults


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
