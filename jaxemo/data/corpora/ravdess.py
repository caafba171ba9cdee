"""RAVDESS speech and song from any folder layout that keeps its file names."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from jaxemo.data.audio import LeftOut
from jaxemo.data.corpora.audio_files import audio_files, files_below
from jaxemo.data.corpora.corpus import (
    DOMAINS,
    SHARED_EMOTIONS,
    SPEECH_EMOTIONS,
    CalmPolicy,
    Corpus,
    Utterance,
    check_names,
    check_present,
    choose_emotions,
)
from jaxemo.data.corpora.published import Names, PublishedCorpus

_RAVDESS_NAME = re.compile(r"\d\d(-\d\d){6}")
_RAVDESS_EXAMPLE = "03-01-06-01-02-01-12.wav"
# The seven fields of a name in order, with the codes of each.
# Reference: Livingstone & Russo 2018, PLoS ONE 13(5):e0196391.
_RAVDESS_FIELDS = {
    "modality": {"01": "audio and video", "02": "video", "03": "audio"},
    "channel": {"01": "speech", "02": "music"},
    "emotion": {
        "01": "neutral",
        "02": "calm",
        "03": "happy",
        "04": "sad",
        "05": "angry",
        "06": "fearful",
        "07": "disgust",
        "08": "surprised",
    },
    "intensity": {"01": "normal", "02": "strong"},
    "statement": {"01": "kids", "02": "dogs"},
    "repetition": {"01": "1", "02": "2"},
    "actor": {f"{actor:02d}": f"{actor:02d}" for actor in range(1, 25)},
}

# The description says what is read; `read_ravdess` reads it, since a name says its domain.
RAVDESS = PublishedCorpus(
    name="ravdess",
    title="RAVDESS, speech and song",
    domain=DOMAINS,
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone & Russo 2018, PLoS ONE 13(5):e0196391",
    obtain="zenodo.org, record 1188976",
    layout=Names(
        r"(?P<modality>0[13])-(?P<channel>0[12])-(?P<label>0[1-8])-(?P<intensity>0[12])-"
        r"(?P<statement>0[12])-(?P<repetition>0[12])-(?P<speaker>\d\d)",
        example=f"Actor_12/{_RAVDESS_EXAMPLE}",
    ),
    checked="the corpus itself",
    emotions=_RAVDESS_FIELDS["emotion"],
    unit="speaker",
    partition_words="EmoBox's six folds of actors (Ma et al. 2024, arXiv 2406.07162)",
)
RAVDESS_SPEECH = RAVDESS._replace(
    name="ravdess_speech", title="RAVDESS, speech", domain="speech", corpus="ravdess"
)
RAVDESS_SONG = RAVDESS._replace(
    name="ravdess_song", title="RAVDESS, song", domain="music", corpus="ravdess"
)


def read_ravdess(
    audio_dir: str | os.PathLike[str],
    *,
    emotions: Sequence[str] = SHARED_EMOTIONS,
    calm: CalmPolicy = CalmPolicy.KEEP_APART,
    domains: Sequence[str] = DOMAINS,
) -> Corpus:
    """Reads RAVDESS speech and song from any layout of folders that keeps the file names.

    A take counts once: of several files of the same name (the copy on Kaggle holds every file
    twice), and of an audio-only file beside the sound of its video, the first is kept and the
    others are listed in `left_out`, as are audio files whose names are not RAVDESS's.

    Args:
      audio_dir: Folder at the top; links are followed, each real folder once.
      emotions: Classes to read, in class order.
      calm: What becomes of "calm"; unless kept apart it is no class of the result.
      domains: Domains to read ("speech", "music"); each must have a clip.

    Raises:
      FileNotFoundError, NotADirectoryError: There is no such folder.
      ValueError: An emotion or domain unknown or without a clip, or no file with a RAVDESS name.
    """
    check_names("emotion", emotions, known=SPEECH_EMOTIONS)
    check_names("domain", domains, known=DOMAINS)
    root = _existing_folder(audio_dir)
    takes, left_out = _ravdess_takes(root)
    rows = [row for take in sorted(takes) if (row := _ravdess_row(takes[take])).domain in domains]
    utterances, classes, others = choose_emotions(rows, emotions=emotions, calm=calm)
    check_present(utterances, emotions=classes, domains=domains, where=root)
    return Corpus("ravdess", utterances, classes, left_out, others)


def _ravdess_takes(root: Path) -> tuple[dict[tuple[str, ...], Path], tuple[LeftOut, ...]]:
    """The file of each take, keyed by its name's codes after the modality; and the rest."""
    paths = files_below(root)
    found = audio_files(paths)
    # Audio-only files come first, then those nearest to the top.
    audio = sorted(
        map(Path, found.paths),
        key=lambda path: (not path.stem.startswith("03-"), len(path.parts), path),
    )
    takes: dict[tuple[str, ...], Path] = {}
    left_out = list(found.left_out)
    for path in audio:
        codes = tuple(path.stem.split("-"))
        if fault := _ravdess_name_fault(path.stem):
            left_out.append(LeftOut(str(path), fault))
        elif (kept := takes.setdefault(codes[1:], path)) is not path:
            left_out.append(LeftOut(str(path), f"another file of the same take is used: {kept}"))
    if not takes:
        raise ValueError(_no_ravdess_file(root, paths, audio))
    return takes, tuple(sorted(left_out))


def _ravdess_name_fault(stem: str) -> str:
    """Why a file name is not one of RAVDESS's audio files, or "" if it is."""
    if not _RAVDESS_NAME.fullmatch(stem):
        return f"not a RAVDESS name: expected seven two-digit codes as in {_RAVDESS_EXAMPLE}"
    codes = zip(_RAVDESS_FIELDS.items(), stem.split("-"), strict=True)
    unknown = [f"{field} {code}" for (field, known), code in codes if code not in known]
    if unknown:
        return f"not a RAVDESS name: no such {', '.join(unknown)}"
    return "video without sound (modality 02)" if stem.startswith("02-") else ""


def _ravdess_row(path: Path) -> Utterance:
    codes = zip(_RAVDESS_FIELDS.items(), path.stem.split("-"), strict=True)
    labels = {field: known[code] for (field, known), code in codes}
    return Utterance(
        path=str(path),
        corpus="ravdess",
        domain=labels["channel"],
        emotion=labels["emotion"],
        speaker=f"ravdess/{labels['actor']}",
        intensity=labels["intensity"],
        statement=labels["statement"],
        repetition=labels["repetition"],
        # Actors of odd number are men (Livingstone & Russo 2018).
        sex="male" if int(labels["actor"]) % 2 else "female",
    )


def _no_ravdess_file(root: Path, paths: Sequence[str], audio: Sequence[Path]) -> str:
    content = f"{len(audio)} audio files with other names" if audio else "no audio file"
    if num_videos := sum(path.lower().endswith(".mp4") for path in paths):
        content += f" and {num_videos} videos (extract their sound first)"
    return (
        f"no RAVDESS file below {root}: found {content}. Expected names such as {_RAVDESS_EXAMPLE} "
        f"({'-'.join(_RAVDESS_FIELDS)}), in any folders, as wav, flac, mp3, ogg or the like."
    )


def _existing_folder(audio_dir: str | os.PathLike[str]) -> Path:
    if not os.fspath(audio_dir):
        raise ValueError(
            "config.corpus.audio_dir is empty; give the folder of RAVDESS, "
            "--config.corpus.audio_dir=DIR."
        )
    root = Path(audio_dir).expanduser()
    if not root.exists():
        raise FileNotFoundError(f"audio folder {root} does not exist. Give the folder of RAVDESS.")
    if not root.is_dir():
        raise NotADirectoryError(f"{root} is a file. Give the folder that holds the audio files.")
    return root
