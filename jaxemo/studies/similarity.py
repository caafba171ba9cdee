"""Study 3, similarity: Frechet distance between emotional speech and music, by emotion and layer."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxemo.analysis.frechet import (
    DistanceGrid,
    FrechetStatistics,
    distance_grid,
    distance_matrix,
    merge,
)
from jaxemo.data.corpora import DOMAINS
from jaxemo.studies.experiment import (
    HALVES,
    Embedded,
    Experiment,
    cell_of_clip,
    num_cells,
)


def study_similarity(
    experiment: Experiment, embedded: Embedded, config: Any
) -> list[dict[str, Any]]:
    """Rows of `results["similarity"]`.

    Per layer and emotion: speech against music (`cross_domain`), and each domain against itself, one
    half of its speakers against the other (`null_speech`, `null_music`): what distance there is without
    a change of domain. At one layer: every speech emotion against every music emotion (`cross_emotion`).
    """
    halves = _by_axes(embedded.embedding.statistics, len(experiment.emotions))
    whole = merge(_pick(halves, 0, axis=-1), _pick(halves, 1, axis=-1))
    speech, music = (_pick(whole, domain, axis=1) for domain in range(len(DOMAINS)))
    clips = np.bincount(cell_of_clip(experiment), minlength=num_cells(experiment))
    clips = clips.reshape(len(DOMAINS), len(experiment.emotions), HALVES)

    rows = list(
        _layer_rows("cross_domain", distance_grid(speech, music), clips.sum(-1), experiment)
    )
    for index, domain in enumerate(DOMAINS):
        first, second = (
            _pick(_pick(halves, index, axis=1), half, axis=-1) for half in range(HALVES)
        )
        grid = distance_grid(first, second)
        rows += _layer_rows(f"null_{domain}", grid, clips[index].T, experiment)
    num_layers = speech.num_rows.shape[0]
    layer = round(config.similarity.matrix_depth * (num_layers - 1))
    matrix = distance_matrix(_pick(speech, layer, axis=0), _pick(music, layer, axis=0))
    rows += _matrix_rows(matrix, layer, clips.sum(-1), experiment)

    identity = {"encoder": embedded.source.name, "origin": embedded.source.origin}
    width = int(speech.mean.shape[-1])
    return [{**identity, **row, **_size(row, width)} for row in rows]


def _by_axes(statistics: FrechetStatistics, num_emotions: int) -> FrechetStatistics:
    """(layer, cell) -> (layer, domain, emotion, half)."""
    axes = (len(DOMAINS), num_emotions, HALVES)
    return jax.tree.map(
        lambda leaf: np.reshape(leaf, (leaf.shape[0], *axes, *leaf.shape[2:])), statistics
    )


def _pick(statistics: FrechetStatistics, index: int, *, axis: int) -> FrechetStatistics:
    """One position of a leading axis; negative axes count from the last leading one."""
    leading = statistics.num_rows.ndim
    axis = axis % leading
    # numpy, because jax would cut the float64 statistics to float32 here.
    return jax.tree.map(lambda leaf: np.take(np.asarray(leaf), index, axis=axis), statistics)


def _layer_rows(
    comparison: str, grid: DistanceGrid, clips: np.ndarray, experiment: Experiment
) -> Iterator[dict[str, Any]]:
    """Rows of a (layer, emotion) grid; `clips` is (side, emotion)."""
    for layer, emotion in np.ndindex(*grid.distance.shape):
        name = experiment.emotions[emotion]
        yield {
            "comparison": comparison,
            "layer": layer,
            "emotion": name,
            "other_emotion": name,
            **_distance(grid, (layer, emotion)),
            "clips_a": int(clips[0, emotion]),
            "clips_b": int(clips[1, emotion]),
        }


def _matrix_rows(
    grid: DistanceGrid, layer: int, clips: np.ndarray, experiment: Experiment
) -> Iterator[dict[str, Any]]:
    """Rows of a (speech emotion, music emotion) grid at one layer."""
    for row, column in np.ndindex(*grid.distance.shape):
        yield {
            "comparison": "cross_emotion",
            "layer": layer,
            "emotion": experiment.emotions[row],
            "other_emotion": experiment.emotions[column],
            **_distance(grid, (row, column)),
            "clips_a": int(clips[0, row]),
            "clips_b": int(clips[1, column]),
        }


def _distance(grid: DistanceGrid, cell: tuple[int, int]) -> dict[str, Any]:
    """The figure; None where a side has too few frames, never a number made up."""
    defined = bool(grid.defined[cell])
    return {
        "metric": "FAD",
        "mean": float(grid.distance[cell]) if defined else None,
        "low": None,
        "high": None,
        "n_a": int(grid.num_rows_a[cell]),
        "n_b": int(grid.num_rows_b[cell]),
    }


def _size(row: dict[str, Any], width: int) -> dict[str, Any]:
    return {"d": width, "small_sample": min(row["n_a"], row["n_b"]) < 2 * width}
