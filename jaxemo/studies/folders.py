"""Distances between two sets of audio that carry no labels: a reference and a candidate.

Either is a folder; the reference may also be a file of means and covariances as fadtk publishes
them. Clips are taken whole unless a crop is asked for. A reference file has no frames, so what
needs frames of both sides (extrapolation, kernel distance) stays unknown there.
"""

import functools
import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxemo.analysis.resampling import principal_rows, sums_by_unit
from jaxemo.analysis.unit_extrapolation import infinite_units_distance
from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.clip_store import ClipStore, UnusablePolicy, apply_policy, open_clip_store
from jaxemo.data.corpora.folder import read_folder
from jaxemo.data.files import writing
from jaxemo.data.progress import Progress
from jaxemo.distances.frechet import distance_grid, frechet_distance_from_moments
from jaxemo.distances.kernel import kernel_distance
from jaxemo.distances.moments_file import (
    Moments,
    layer_names,
    moments_of,
    names_in,
    read_layer_moments,
    write_layer_moments,
)
from jaxemo.distances.outliers import make_reference
from jaxemo.distances.rank import numerical_rank
from jaxemo.embedding.sets import ClipSet, embed_clip_set
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.results.contents import FolderSets
from jaxemo.results.schema import FolderRow, LeftOutRow
from jaxemo.studies.sources import describe_source, encoder_source
from jaxemo.training.processes import is_first

# Frames a set kept for extrapolation and kernel distance: 5 d for the base size, 160 MB for its 13
# layers.
MAX_FRAMES = 4096
# Each is left out once: more files than these are pooled by chance.
MAX_UNITS = 200
# Of the extrapolation, at most.
NUM_DIMENSIONS = 64


class FolderQuestion(NamedTuple):
    """What to compare.

    Attributes:
      reference: A folder of audio, or an `.npz` file of moments.
      candidate: A folder of audio.
      encoder: As `load_encoder` takes it.
      crop_seconds: Longer clips are cut to their middle; None takes all clips whole.
      reference_model: Name of the encoder in a moments file; None for the encoder's own.
      save_moments: Where to keep the moments of a reference folder; None to not keep them.
    """

    reference: Path
    candidate: Path
    encoder: str
    crop_seconds: float | None = None
    reference_model: str | None = None
    save_moments: Path | None = None


class Comparison(NamedTuple):
    """What was found.

    Attributes:
      results: The sections `folders` (one row per layer), `sets`, `left_out` and `provenance`.
      file_scores: A row for each candidate file and layer: path, layer, score.
    """

    results: dict[str, Any]
    file_scores: list[dict[str, Any]]


class _Folder(NamedTuple):
    store: ClipStore
    clip_set: ClipSet


def compare_folders(question: FolderQuestion, *, cache_dir: Path, progress: Progress) -> Comparison:
    """One encoder pass over each folder, then every distance at every layer.

    Raises:
      FileNotFoundError: A folder or file is missing.
      ValueError: An encoder, a folder without a usable file, or a moments file that cannot be used.
    """
    if question.crop_seconds is not None and not question.crop_seconds > 0:
        raise ValueError(f"crop_seconds is {question.crop_seconds}; expected more than 0.")
    if question.reference.is_file() and question.save_moments is not None:
        raise ValueError("The reference is a moments file already: there is nothing to save.")
    encoder = load_encoder(question.encoder)

    opened = functools.partial(
        _open_folder, sample_rate_hz=encoder.sample_rate_hz, cache_dir=cache_dir, progress=progress
    )
    candidate_store = opened(question.candidate)
    if question.reference.is_file():
        reference = None
        moments = _read_reference(question, encoder)
    else:
        reference_store = opened(question.reference)
        found = _embed(reference_store, encoder, question, progress=progress, scored_by=None)
        reference = _Folder(reference_store, found)
        moments = moments_of(found.statistics)
    found = _embed(candidate_store, encoder, question, progress=progress, scored_by=moments)
    candidate = _Folder(candidate_store, found)
    if question.save_moments is not None and is_first():
        transformer_layers = Moments(*(leaf[1:] for leaf in moments))
        with writing(question.save_moments):
            write_layer_moments(question.save_moments, encoder.name, moments=transformer_layers)
    first_layer = len(found.frames) - len(moments.mean)
    layers = range(first_layer, len(found.frames))
    sets = _describe_sets(reference, candidate)
    rows = [
        {"layer": layer}
        | _distances(
            layer,
            moments,
            reference=reference,
            candidate=candidate,
            first_layer=first_layer,
            share_files=sets.files_in_both > 0,
        )
        for layer in progress.track(layers, "distances", len(layers))
    ]
    results = {
        "folders": [FolderRow(**_identity(question, encoder), **row) for row in rows],
        "sets": sets,
        "left_out": [
            LeftOutRow(**item._asdict())
            for folder in (reference, candidate)
            if folder is not None
            for item in folder.store.left_out
        ],
        "provenance": {"encoders": [describe_source(encoder_source(encoder, question.encoder))]},
    }
    return Comparison(results, list(_file_scores(candidate, first_layer)))


def _open_folder(
    path: Path, *, sample_rate_hz: int, cache_dir: Path, progress: Progress
) -> ClipStore:
    """The usable clips of a folder; what is left out is listed with its reasons."""
    folder = read_folder(path)
    store = open_clip_store(
        folder.utterances,
        sample_rate_hz=sample_rate_hz,
        cache_dir=cache_dir,
        progress=progress.count(f"decoding {path}"),
    )
    usable = apply_policy(store, policy=UnusablePolicy.LEAVE_OUT)
    return replace(usable, left_out=(*folder.left_out, *usable.left_out))


def _read_reference(question: FolderQuestion, encoder: Encoder) -> Moments:
    """Layers 1 on of the encoder in a moments file, under the last part of its name or the one given."""
    num_layers, width = encoder.config.num_hidden_layers, encoder.config.hidden_size
    present = names_in(question.reference)
    whole = [n for n in present if set(layer_names(n, num_layers=num_layers)) <= set(present)]
    wanted = [question.reference_model] if question.reference_model else [encoder.name]
    if not question.reference_model:
        wanted.append(encoder.name.rpartition("/")[2])
    model = next((name for name in wanted if name in whole), None)
    if model is None:
        raise ValueError(
            f"'{question.reference}' has no {num_layers} layers of {wanted[-1]!r}. Models of as "
            f"many layers in it: {', '.join(map(repr, whole)) or 'none'}. If one of them is the "
            "same encoder, say so by --reference_model=NAME."
        )
    moments = read_layer_moments(question.reference, model, num_layers=num_layers)
    if moments.mean.shape[-1] != width:
        raise ValueError(
            f"'{question.reference}': {model!r} has width {moments.mean.shape[-1]}; "
            f"{encoder.name} has {width}."
        )
    return moments


def _embed(
    store: ClipStore,
    encoder: Encoder,
    question: FolderQuestion,
    *,
    progress: Progress,
    scored_by: Moments | None,
) -> ClipSet:
    excerpt = Excerpt(Extent.WHOLE)
    if question.crop_seconds is not None:
        excerpt = Excerpt(Extent.MIDDLE, question.crop_seconds)
    rate = encoder.sample_rate_hz
    longest = excerpt.longest_samples(rate)
    num_samples = store.num_samples
    return embed_clip_set(
        encoder,
        lambda clip: excerpt.cut(store.waveform(clip), sample_rate_hz=rate),
        num_samples=num_samples if longest is None else np.minimum(num_samples, longest),
        longest_samples=longest,
        max_frames=MAX_FRAMES,
        reference=None if scored_by is None else make_reference(*scored_by),
        track=progress.track,
    )


def _distances(
    layer: int,
    moments: Moments,
    *,
    reference: _Folder | None,
    candidate: _Folder,
    first_layer: int,
    share_files: bool,
) -> dict[str, Any]:
    """Every figure of one layer; None where it cannot be known, never a number made up.

    Args:
      share_files: Whether files are in both sets: the premise of an extrapolation is gone then.
    """
    cell = jax.tree.map(lambda leaf: np.asarray(leaf)[layer], candidate.clip_set.statistics)
    width = cell.mean.size
    row = {
        "FAD": None,
        "FAD_infinite_files": None,
        "FAD_infinite_files_error": None,
        "KAD": None,
        "frames_reference": None,
        "frames_candidate": int(cell.num_rows),
        "d": width,
        "rank_reference": None,
        "rank_candidate": int(numerical_rank(cell)),
        "small_sample": int(cell.num_rows) < 2 * width,
    }
    if reference is None:
        theirs = Moments(*(leaf[layer - first_layer] for leaf in moments))
        return row | {"FAD": float(frechet_distance_from_moments(theirs, moments_of(cell)))}
    other = jax.tree.map(lambda leaf: np.asarray(leaf)[layer], reference.clip_set.statistics)
    grid = distance_grid(other, cell)
    smaller = min(int(other.num_rows), int(cell.num_rows))
    frames = reference.clip_set.frames[layer], candidate.clip_set.frames[layer]
    return row | {
        "FAD": float(grid.distance) if grid.defined else None,
        **({} if share_files else _extrapolated(layer, reference, candidate)),
        "KAD": float(kernel_distance(*frames)) if smaller > 1 else None,
        "frames_reference": int(other.num_rows),
        "rank_reference": int(numerical_rank(other)),
        "small_sample": smaller < 2 * width,
    }


def _extrapolated(layer: int, reference: _Folder, candidate: _Folder) -> dict[str, Any]:
    """To infinitely many files: frames of one file are not independent."""
    random = np.random.default_rng(0)
    units, first = [], 0
    for folder in (reference, candidate):
        num_units = min(len(folder.store), MAX_UNITS)
        pooled = random.permutation(len(folder.store)) % num_units
        units.append(first + pooled[folder.clip_set.clip_of_frame])
        first += num_units
    frames = [folder.clip_set.frames[layer] for folder in (reference, candidate)]
    rows = principal_rows(np.concatenate(frames), num_dimensions=NUM_DIMENSIONS).rows
    sides = np.split(rows, [len(frames[0])])
    sums = (
        sums_by_unit(side, of_rows, num_units=first)
        for side, of_rows in zip(sides, units, strict=True)
    )
    found = infinite_units_distance(random, *sums)
    if found is None:
        return {}
    return {
        "FAD_infinite_files": found.distance,
        "FAD_infinite_files_error": found.standard_error,
    }


def _identity(question: FolderQuestion, encoder: Encoder) -> dict[str, Any]:
    return {
        "encoder": encoder.name,
        "reference": str(question.reference),
        "candidate": str(question.candidate),
    }


def _describe_sets(reference: _Folder | None, candidate: _Folder) -> FolderSets:
    """Size of either set, and how many candidate files have the sound of one of the reference."""
    seconds = {
        name: round(float(folder.store.duration_s.sum()), 1)
        for name, folder in (("reference", reference), ("candidate", candidate))
        if folder is not None
    }
    shared = set() if reference is None else set(_sounds(reference.store))
    return FolderSets(
        clips_reference=None if reference is None else len(reference.store),
        clips_candidate=len(candidate.store),
        seconds=seconds,
        files_in_both=sum(sound in shared for sound in _sounds(candidate.store)) if shared else 0,
    )


def _sounds(store: ClipStore) -> Iterator[bytes]:
    """A digest of each clip's samples: a copy in another container is a copy."""
    for clip in range(len(store)):
        yield hashlib.blake2b(store.waveform(clip).data).digest()


def _file_scores(candidate: _Folder, first_layer: int) -> Iterator[dict[str, Any]]:
    scores = candidate.clip_set.scores
    assert scores is not None  # The candidate was scored against the reference.
    for utterance, of_layers in zip(candidate.store.utterances, scores.tolist(), strict=True):
        for index, score in enumerate(of_layers):
            yield {"path": utterance.path, "layer": first_layer + index, "score": score}
