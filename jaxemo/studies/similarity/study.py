"""Study 3, similarity: distances between emotional speech and music, by emotion and layer.

The Frechet distance of all frames (`FAD`) and of one pooled vector per clip (`FAD_clip`) stand here;
what is drawn, resampled or tested on a sample of frames in `samples.py`.
"""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.distances.frechet import DistanceGrid, distance_grid, frechet_distance
from jaxemo.distances.rank import RANK_TOLERANCE, numerical_rank
from jaxemo.distances.statistics import FrechetStatistics, PackedStatistics, merge, unpack
from jaxemo.results.schema import Distance, SimilarityRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import HALVES, Experiment
from jaxemo.studies.similarity.cells import (
    CROSS_DOMAIN,
    NULLS,
    Cells,
    Pair,
    make_cells,
    result_row,
)
from jaxemo.studies.similarity.controls import controls
from jaxemo.studies.similarity.samples import LayerSample, interval_of, sample_layer
from jaxemo.studies.similarity.shift import (
    EncoderShift,
    can_shift,
    controlled_shift,
    encoder_shift,
)
from jaxemo.studies.sources import Embedded


class SimilarityResults(NamedTuple):
    """Rows of `results["similarity"]`, and shifts.

    Attributes:
      shift: None where there are too few speakers or clips.
      controlled: The shift with something held still, as far as the corpus says it.
    """

    rows: list[SimilarityRow]
    shift: EncoderShift | None
    controlled: list[EncoderShift]


def study_similarity(
    experiment: Experiment, embedded: Embedded, config: Settings
) -> SimilarityResults:
    """Distances by layer and emotion, and how far each emotion shifts between the domains.

    Speech against music (`cross_domain`), and each domain against itself, half of each speaker's clips
    against the other half (`null_speech`, `null_music`): what distance there is between the same people
    without a change of domain.
    """
    source, compared = embedded.source, embedded.compared
    cells = make_cells(experiment)
    layers = [
        sample_layer(compared.frames, layer, cells, config=config)
        for layer in experiment.progress.track(
            range(compared.frames.num_layers),
            f"similarity: {source.name}",
            compared.frames.num_layers,
        )
    ]
    rows = _frame_rows(compared.statistics, cells, layers)
    pooled = compared.pooled
    pooled = _standardised(pooled) if source.origin == "hand-made" else pooled
    rows += _clip_rows(pooled, cells)
    rows += [row for layer in layers for row in layer.rows]
    identity = {"encoder": source.name, "origin": source.origin}
    rows = [SimilarityRow(**identity, **vars(row)) for row in rows]
    if not can_shift(cells.design):
        return SimilarityResults(rows, None, [])
    width = config.similarity.resampling_dimensions
    shift = encoder_shift(
        {**identity, "control": "none"},
        cells.emotions,
        cells.design,
        pooled,
        num_dimensions=width,
    )
    controlled = []
    for control in controls(experiment, cells.design, config):
        named = {**identity, "control": control.name}
        of = (named, cells.emotions, control.design, pooled[control.clips])
        controlled.append(controlled_shift(*of, num_dimensions=width, cues=control.cues))
    return SimilarityResults(rows, shift, controlled)


def _frame_rows(
    statistics: PackedStatistics, cells: Cells, layers: list[LayerSample]
) -> list[Distance]:
    """Rows of all frames: layer by emotion.

    One layer at a time: all factors of 25 layers of 1024 dimensions are 5 GB.
    """
    rows: dict[str, list[Distance]] = {comparison: [] for comparison in (CROSS_DOMAIN, *NULLS)}
    for layer, sample in enumerate(layers):
        of_layer = unpack(PackedStatistics(*(leaf[layer] for leaf in statistics)))
        halves = _by_axes(of_layer, len(cells.emotions))
        speech, music = _domains(merge(_pick(halves, 0, axis=-1), _pick(halves, 1, axis=-1)))
        for row in _layer_rows(CROSS_DOMAIN, speech, music, cells, layer=layer):
            emotion = cells.emotions.index(row.emotion)
            interval = interval_of(row.mean, sample.jackknives[emotion])
            row = replace(row, **interval, variance_kept=sample.variance_kept)
            rows[CROSS_DOMAIN].append(row)
        for comparison, of_domain in zip(NULLS, _domains(halves), strict=True):
            first, second = (_pick(of_domain, half, axis=-1) for half in range(HALVES))
            rows[comparison] += _layer_rows(comparison, first, second, cells, layer=layer)
    return list(itertools.chain.from_iterable(rows.values()))


def _by_axes(statistics: FrechetStatistics, num_emotions: int) -> FrechetStatistics:
    """(cell,) -> (domain, emotion, half)."""
    axes = (len(DOMAINS), num_emotions, HALVES)
    return jax.tree.map(lambda leaf: np.reshape(leaf, (*axes, *leaf.shape[1:])), statistics)


def _domains(statistics: FrechetStatistics) -> tuple[FrechetStatistics, ...]:
    return tuple(_pick(statistics, domain, axis=0) for domain in range(len(DOMAINS)))


def _pick(statistics: FrechetStatistics, index: int, *, axis: int) -> FrechetStatistics:
    """One position of a leading axis; negative axes count from the last leading one."""
    axis = axis % statistics.num_rows.ndim
    place = (*(slice(None),) * axis, index)
    # numpy, because jax would cut the float64 statistics to float32 here.
    return jax.tree.map(lambda leaf: np.asarray(leaf)[place], statistics)


def _layer_rows(
    comparison: str, a: FrechetStatistics, b: FrechetStatistics, cells: Cells, *, layer: int
) -> Iterator[Distance]:
    """Rows of the emotions of one layer."""
    grid = distance_grid(a, b)
    ranks = numerical_rank(a), numerical_rank(b)
    pairs = cells.pairs(comparison)
    for emotion, name in enumerate(cells.emotions):
        place = (comparison, name, pairs[emotion])
        rank = (int(ranks[0][emotion]), int(ranks[1][emotion]))
        yield _frame_row(place, grid, (emotion,), rank, layer=layer, d=a.mean.shape[-1])


def _frame_row(
    place: tuple[str, str, Pair],
    grid: DistanceGrid,
    cell: tuple[int, ...],
    rank: tuple[int, int],
    *,
    layer: int,
    d: int,
) -> Distance:
    """The figure; None where a side has too few frames, never a number made up."""
    return result_row(
        *place,
        metric="FAD",
        level="frame",
        layer=layer,
        d=d,
        num_rows=(int(grid.num_rows_a[cell]), int(grid.num_rows_b[cell])),
        mean=float(grid.distance[cell]) if bool(grid.defined[cell]) else None,
        rank_a=rank[0],
        rank_b=rank[1],
    )


def _clip_rows(pooled: Float[np.ndarray, "n L D"], cells: Cells) -> list[Distance]:
    """Rows of one pooled vector per clip: what studies with clip embeddings report, mostly bias here."""
    rows = []
    for comparison in (CROSS_DOMAIN, *NULLS):
        for emotion, pair in enumerate(cells.pairs(comparison)):
            name = cells.emotions[emotion]
            counts = (len(pair.a.clips), len(pair.b.clips))
            for layer in range(pooled.shape[1]):
                x, y = (pooled[side.clips, layer] for side in pair)
                rows.append(
                    result_row(
                        comparison,
                        name,
                        pair,
                        metric="FAD_clip",
                        level="clip",
                        layer=layer,
                        d=pooled.shape[2],
                        num_rows=counts,
                        mean=float(frechet_distance(x, y)) if min(counts) > 1 else None,
                        rank_a=_rank(x),
                        rank_b=_rank(y),
                    )
                )
    return rows


def _rank(rows: Float[np.ndarray, "n D"]) -> int:
    """Rank of the rows' covariance, by the tolerance of `numerical_rank`; 0 for no rows."""
    if len(rows) < 2:
        return 0
    return int(np.linalg.matrix_rank(rows - rows.mean(axis=0), rtol=RANK_TOLERANCE))


def _standardised(pooled: Float[np.ndarray, "n L D"]) -> Float[np.ndarray, "n L D"]:
    """Hand-made summaries have units as different as dB and Hz."""
    return (pooled - pooled.mean(axis=0)) / np.maximum(pooled.std(axis=0), 1e-6)
