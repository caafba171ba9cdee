"""Audio files below a folder, by the endings of their names; none is opened."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from jaxemo.data.audio import LeftOut

# Formats that libsndfile reads and `data/formats/` checks.
AUDIO_EXTENSIONS = (
    *(".wav", ".wave", ".rf64", ".bw64", ".w64", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf"),
    *(".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2", ".sph"),
)
# Formats of sound that it does not read.
_OTHER_EXTENSIONS = (
    *(".m4a", ".m4b", ".m4r", ".aac", ".mp4a", ".alac", ".wma", ".asf", ".webm", ".weba", ".mka"),
    *(".amr", ".3gp", ".3ga", ".ape", ".wv", ".tta", ".tak", ".ac3", ".eac3", ".dts", ".dsf"),
    *(".dff", ".ra", ".ram", ".rm", ".mpc", ".mp+", ".spx", ".voc", ".gsm", ".shn", ".ofr", ".qcp"),
    *(".mpga", ".mp1", ".pcm", ".raw", ".sf", ".ircam", ".paf", ".svx", ".8svx", ".xi", ".avr"),
)


_KNOWN_EXTENSIONS = frozenset((*AUDIO_EXTENSIONS, *_OTHER_EXTENSIONS))


class AudioFiles(NamedTuple):
    """What looks like audio.

    Attributes:
      paths: Files to read, in the given order.
      left_out: Those that are not read, each with its reason.
    """

    paths: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def audio_files(paths: Iterable[str]) -> AudioFiles:
    """Parts the audio among some files from what only looks like it."""
    readable, left_out = [], []
    for path in paths:
        name = os.path.basename(path)
        extension = os.path.splitext(name)[1].lower()
        if extension not in _KNOWN_EXTENSIONS:
            continue
        if name.startswith("._"):
            reason = "hidden: what macOS keeps beside a file, without sound"
        elif name.startswith("."):
            reason = "hidden: its name begins with a dot"
        elif extension in _OTHER_EXTENSIONS:
            reason = f"not read: {extension} is no format of libsndfile; convert it to wav or flac"
        else:
            readable.append(path)
            continue
        left_out.append(LeftOut(path, reason))
    return AudioFiles(tuple(readable), tuple(left_out))


def files_below(root: Path) -> list[str]:
    """All files below a folder. Links are followed, each real folder once, so loops end.

    Text, since making 100,000 `Path`s takes longer than finding the files.
    """
    files, entered = [], set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=_raise):
        real = os.path.realpath(folder)
        if real in entered:
            subfolders.clear()
            continue
        entered.add(real)
        subfolders.sort()
        files += [os.path.join(folder, name) for name in sorted(names)]
    return files


def _raise(error: OSError) -> None:
    # os.walk's own way is to pass over a folder that it may not open.
    raise error
