"""Answers of a saved model for files that carry no labels: whole, and by windows if asked for.

Files go through a chunk at a time, so that neither sound nor features of all of them are held, and
answers come as soon as their chunk is done. A file that cannot be used is one answer with its reason.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.clip_store import ClipStore, open_clip_store
from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.corpora.folder import read_folder
from jaxemo.data.progress import Progress
from jaxemo.embedding.stream import Clips
from jaxemo.studies.config import read_audio
from jaxemo.studies.saved_models import SavedModel, predictions_of
from jaxemo.studies.sources import recognised_excerpt

# What goes through together: stem features of an hour are 400 MB.
_MOST_FILES = 256
_MOST_SECONDS = 3600.0


class Answer(NamedTuple):
    """What a model says of a stretch of sound.

    Attributes:
      start_s: Where it begins in its file.
      end_s: Where it ends.
      analysed_s: How much of it the model was given.
      predictions: Calibrated probability of each class, probability of each tag, or each rating.
    """

    start_s: float
    end_s: float
    analysed_s: float
    predictions: Float[np.ndarray, " O"]


class FileAnswer(NamedTuple):
    """What a model says of a file.

    Attributes:
      fault: Why the file cannot be used; empty where it can.
      whole: Of the file as the model takes clips; None where it cannot be used.
      windows: Of consecutive windows, the last of which ends with the file; empty if not asked for.
    """

    path: str
    fault: str
    whole: Answer | None
    windows: tuple[Answer, ...] = ()


class _Stretch(NamedTuple):
    """Samples of a file from `start` to `end`, and what of them the model is given."""

    file: int
    start: int
    end: int
    waveform: Float32[np.ndarray, " N"]


def predict_files(
    model: SavedModel,
    paths: Sequence[str],
    *,
    window_seconds: float | None,
    cache_dir: Path,
    progress: Progress,
) -> Iterator[FileAnswer]:
    """One answer per file, in order; files of a folder in order of their paths.

    Args:
      paths: Files, and folders of which every audio file at any depth is taken.
      window_seconds: Length of the windows that are answered beside the whole; None for none.

    Raises:
      FileNotFoundError: There is no such folder.
      ValueError: A folder holds no audio file, or windows are too short for the encoder; before
        anything is computed.
    """
    _check_window(model, window_seconds)
    files, faults = _expanded(paths)
    for first in range(0, len(files), _MOST_FILES):
        store = open_clip_store(
            [_unlabelled(path) for path in files[first : first + _MOST_FILES]],
            sample_rate_hz=model.source.sample_rate_hz,
            cache_dir=cache_dir,
            progress=progress.count("decoding"),
        )
        for chunk in _chunks(store):
            yield from _answers(model, store, chunk, window_seconds)
    for path, reason in faults:
        yield FileAnswer(path, reason, None)


def _check_window(model: SavedModel, window_seconds: float | None) -> None:
    shortest = _shortest_samples(model) / model.source.sample_rate_hz
    if window_seconds is not None and not shortest <= window_seconds < math.inf:
        raise ValueError(
            f"window_seconds is {window_seconds}; expected {shortest:g} (a frame of "
            f"{model.source.name}) or more."
        )


def _expanded(paths: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The files, and those in folders that only look like audio with the reason."""
    files: list[str] = []
    faults: list[tuple[str, str]] = []
    for path in paths:
        if not Path(path).expanduser().is_dir():
            files.append(path)
            continue
        folder = read_folder(path)
        files += [utterance.path for utterance in folder.utterances]
        faults += [(item.path, item.reason) for item in folder.left_out]
    return list(dict.fromkeys(files)), faults


def _unlabelled(path: str) -> Utterance:
    return Utterance(path, corpus="", domain="", emotion="", speaker="")


def _chunks(store: ClipStore) -> Iterator[list[int]]:
    """Consecutive files of at most so much sound together, or one that is longer."""
    chunk: list[int] = []
    seconds = 0.0
    for file, duration in enumerate(store.duration_s):
        if chunk and seconds + duration > _MOST_SECONDS:
            yield chunk
            chunk, seconds = [], 0.0
        chunk.append(file)
        seconds += float(duration)
    if chunk:
        yield chunk


def _answers(
    model: SavedModel, store: ClipStore, chunk: list[int], window_seconds: float | None
) -> Iterator[FileAnswer]:
    faults = dict(store.left_out)
    stretches: list[_Stretch] = []
    for file in chunk:
        path = store.utterances[file].path
        if path in faults:
            continue
        waveform = store.waveform(file)
        whole = _whole(model, file, waveform)
        if whole.waveform.size < _shortest_samples(model):
            faults[path] = "too short: its quiet edges leave less than one frame of the encoder"
            continue
        stretches.append(whole)
        if window_seconds is not None:
            length = round(window_seconds * store.sample_rate_hz)
            stretches += _windows(file, waveform, length)
    answers: dict[int, list[Answer]] = {}
    for stretch, predictions in zip(stretches, _predictions(model, store, stretches), strict=True):
        start_s, end_s, analysed_s = (
            float(samples / store.sample_rate_hz)
            for samples in (stretch.start, stretch.end, stretch.waveform.size)
        )
        answers.setdefault(stretch.file, []).append(Answer(start_s, end_s, analysed_s, predictions))
    for file in chunk:
        path = store.utterances[file].path
        if path in faults:
            yield FileAnswer(path, faults[path], None)
        else:
            whole, *windows = answers[file]
            yield FileAnswer(path, "", whole, tuple(windows))


def _whole(model: SavedModel, file: int, waveform: Float32[np.ndarray, " N"]) -> _Stretch:
    """A file as the model looks at clips: its middle, or without its quiet edges."""
    excerpt = recognised_excerpt(read_audio(model.record["audio"]))
    kept = excerpt.cut(waveform, sample_rate_hz=model.source.sample_rate_hz)
    return _Stretch(file, 0, waveform.size, kept)


def _windows(file: int, waveform: Float32[np.ndarray, " N"], length: int) -> list[_Stretch]:
    """Consecutive windows of a file, as they are; the last is moved back to end with it."""
    last = max(waveform.size - length, 0)
    return [
        _Stretch(file, start, min(start + length, waveform.size), waveform[start : start + length])
        for start in (*range(0, last, length), last)
    ]


def _predictions(
    model: SavedModel, store: ClipStore, stretches: list[_Stretch]
) -> Float[np.ndarray, "n O"]:
    if not stretches:
        return np.zeros((0, len(model.task.outputs)))
    digests = tuple(f"{store.digests[s.file]}-{row}" for row, s in enumerate(stretches))
    lengths = np.array([stretch.waveform.size for stretch in stretches], np.int64)
    clips = Clips(
        digests,
        lambda row: stretches[row].waveform,
        lengths,
        store.sample_rate_hz,
        Excerpt(Extent.WHOLE),
    )
    return predictions_of(model, clips)


def _shortest_samples(model: SavedModel) -> int:
    """Of a stretch that gives the model's encoder a frame."""
    encoder = model.source.encoder
    return 1 if encoder is None else encoder.config.shortest_clip_samples
