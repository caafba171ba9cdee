"""Any folder of audio as rows without labels, to compare sets of sound rather than emotions.

As for the other corpora, files are found and named here and opened elsewhere.
"""

import os
from pathlib import Path

from jaxemo.data.corpora.corpus import AUDIO_EXTENSIONS, Utterance


def read_folder(folder: str | os.PathLike[str]) -> tuple[Utterance, ...]:
    """Every audio file below a folder, in order of path; labels are empty.

    Raises:
      FileNotFoundError: There is no such folder.
      ValueError: It holds no file with one of `AUDIO_EXTENSIONS`, at any depth.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder '{folder}'; expected one that holds audio.")
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_EXTENSIONS and path.is_file()
    )
    if not files:
        raise ValueError(
            f"'{folder}' holds no {', '.join(AUDIO_EXTENSIONS[:-1])} or {AUDIO_EXTENSIONS[-1]} "
            "file, at any depth."
        )
    return tuple(
        Utterance(path=str(path), corpus=root.name, domain="", emotion="", speaker="")
        for path in files
    )
