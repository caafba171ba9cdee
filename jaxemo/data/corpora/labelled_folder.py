"""A folder per emotion: labels stand in the names of folders, and no table is needed.

    ROOT/speech/happy/SPEAKER/any/name.wav        or        ROOT/speech/happy/name.wav

with `speech` and `music` side by side, or either as the name of ROOT itself. No audio is opened.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.audio import LeftOut
from jaxemo.data.corpora.audio_files import audio_files, files_below
from jaxemo.data.corpora.corpus import DOMAINS

_EXPECTED = "DOMAIN/EMOTION/SPEAKER/FILE or DOMAIN/EMOTION/FILE with DOMAIN speech or music"
# Before the digest that stands for a speaker whom no folder names.
_UNNAMED = "unnamed "


class FolderRows(NamedTuple):
    """Cells of every file by the columns of a manifest; files at other places; what a reader must know."""

    cells: list[dict[str, str]]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]


def folder_rows(root: Path) -> FolderRows:
    """The audio files below a folder whose places say domain and emotion.

    A file without a folder of a speaker counts as a speaker of its own, which is noted: clips of one person
    may then be on both sides of a fold.

    Raises:
      ValueError: No file lies as expected.
    """
    found = audio_files(files_below(root))
    cells, left_out = [], list(found.left_out)
    for path in found.paths:
        if labels := _labels(root, path):
            cells.append({"path": os.path.relpath(path, root.parent), **labels})
        else:
            left_out.append(LeftOut(path, f"its place is not {_EXPECTED}"))
    if not cells:
        raise ValueError(
            f"{root} is a folder of neither `datasets`, tar shards nor emotions: of its {len(found.paths)} audio "
            f"files none lies at {_EXPECTED}."
        )
    return FolderRows(cells, tuple(sorted(left_out)), _notes(root, cells))


def _labels(root: Path, path: str) -> dict[str, str]:
    """Domain, emotion and speaker of a file; nothing where its place says too little."""
    folders = Path(os.path.relpath(path, root)).parts[:-1]
    top = root.absolute().name
    if top.lower() in DOMAINS and (not folders or folders[0].lower() not in DOMAINS):
        folders = (top, *folders)
    if len(folders) < 2 or folders[0].lower() not in DOMAINS:
        return {}
    domain, emotion, *inner = folders
    speaker = inner[0] if inner else _unnamed(root, path)
    return {"domain": domain, "emotion": emotion, "speaker": speaker}


def _unnamed(root: Path, path: str) -> str:
    """The same wherever the folder lies."""
    place = os.fsencode(os.path.relpath(path, root))
    return f"{_UNNAMED}{hashlib.blake2b(place, digest_size=6).hexdigest()}"


def _notes(root: Path, cells: list[dict[str, str]]) -> tuple[str, ...]:
    unnamed = sum(row["speaker"].startswith(_UNNAMED) for row in cells)
    if not unnamed:
        return ()
    return (
        f"{root.absolute().name}: {unnamed} of {len(cells)} clips lie in no folder of a speaker, and count as "
        "a speaker each. One person may be on both sides of a fold: scores may be too high, and intervals "
        "too narrow.",
    )
