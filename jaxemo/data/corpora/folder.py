"""Any folder of audio as rows without labels, to compare sets of sound rather than emotions.

As for the other corpora, files are found and named here and opened elsewhere.
"""

import os
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.audio import LeftOut
from jaxemo.data.corpora.audio_files import AUDIO_EXTENSIONS, audio_files, files_below
from jaxemo.data.corpora.corpus import Utterance


class Folder(NamedTuple):
    """Its audio files, and those that only look like some."""

    utterances: tuple[Utterance, ...]
    left_out: tuple[LeftOut, ...]


def read_folder(folder: str | os.PathLike[str]) -> Folder:
    """Every audio file below a folder, in order of path; labels are empty.

    Links are followed, each real folder once.

    Raises:
      FileNotFoundError: There is no such folder.
      ValueError: It holds no audio file that can be read, at any depth.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'; expected one that holds audio.")
    found = audio_files(sorted(files_below(root), key=Path))
    if not found.paths:
        others = f"; {len(found.left_out)} files are left out" if found.left_out else ""
        raise ValueError(
            f"'{folder}' holds no {', '.join(AUDIO_EXTENSIONS)} file, at any depth{others}."
        )
    return Folder(
        tuple(
            Utterance(path=path, corpus=root.name, domain="", emotion="", speaker="")
            for path in found.paths
        ),
        found.left_out,
    )
