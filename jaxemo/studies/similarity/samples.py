"""Study 3 on the frame sample: what needs clips drawn down and speakers left out or exchanged.

One layer at a time: intervals over speakers for the Frechet distance of all frames, the distance at
equal n and at infinitely many speakers, and the kernel distance with its permutation test. Everything
Frechet is resampled in the leading principal directions of the layer; the kernel distance is computed
in all directions under one bandwidth for the layer.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from jaxemo.analysis.resampling import (
    ClipRows,
    Jackknife,
    PrincipalRows,
    RowSums,
    draw_clips,
    equal_clips_distance,
    influence_of,
    jackknife_distance,
    jackknife_interval,
    principal_rows,
    sums_by_unit,
)
from jaxemo.analysis.unit_extrapolation import infinite_units_distance
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.distances.kernel import (
    KernelSums,
    distances_of_unions,
    exchange_test,
    kernel_sums,
    median_bandwidth,
)
from jaxemo.embedding.frames import FrameSample
from jaxemo.results.schema import Distance
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import HALVES
from jaxemo.studies.similarity.cells import CROSS_DOMAIN, NULLS, Cells, Side, result_row

# Draws down to the smallest emotion that the equal-n figure is the mean of.
_EQUAL_DRAWS = 8
# Of an emotion's sample, both domains together. Cost grows with the square; RAVDESS has 3000.
_MAX_KERNEL_ROWS = 6000
# The number of speakers is rounded up to a multiple of it.
_ROUNDED_TO = 8
# A median of 125 000 distances; 1000 rows take four times as long for the third digit.
_BANDWIDTH_ROWS = 500
# One seed for each purpose, and the same for every layer and encoder, so that draws are common to what
# is compared.
_DRAW, _KERNEL, _DEAL = range(3)


class LayerSample(NamedTuple):
    """What the frame sample says of one layer.

    Attributes:
      rows: Rows at equal n, at infinitely many speakers, and of the kernel distance.
      jackknives: Of each emotion's cross-domain distance over speakers; None where undefined.
      variance_kept: Share of the layer's variance that it was resampled in.
    """

    rows: list[Distance]
    jackknives: list[Jackknife | None]
    variance_kept: float


class _Layer(NamedTuple):
    """One layer's sample: all its valid rows, and the same clip by clip in few dimensions."""

    number: int
    valid: Float[np.ndarray, "N D"]
    clips: Float64[np.ndarray, "n K k"]
    variance_kept: float


def sample_layer(frames: FrameSample, layer: int, cells: Cells, *, config: Settings) -> LayerSample:
    """Everything of one layer."""
    settings = config.similarity
    valid = frames.layer(layer)[frames.mask]
    found = principal_rows(valid, num_dimensions=settings.resampling_dimensions)
    at = _Layer(layer, valid, _by_clip(found, frames.mask), found.variance_kept)
    units = _unit_sums(at, frames.mask, cells)
    speech, music = _domains(units)
    jackknives = [
        _jackknife(_of_emotion(speech, emotion), _of_emotion(music, emotion))
        for emotion in range(cells.design.num_emotions)
    ]
    rows = [*_equal_rows(at, frames.mask, cells, config.seed)]
    rows += _infinite_rows(at, units, cells, config.seed)
    rows += _kernel_rows(at, frames.mask, cells, config)
    return LayerSample(rows, jackknives, found.variance_kept)


def interval_of(estimate: float | None, jackknife: Jackknife | None) -> dict[str, Any]:
    """Columns `low`, `high` and `standard_error` of a Frechet distance of all frames."""
    if estimate is None or jackknife is None:
        return {}
    interval = jackknife_interval(estimate, jackknife.influence)
    low = None if interval.low is None else max(interval.low, 0.0)
    return {"low": low, "high": interval.high, "standard_error": jackknife.standard_error}


def _by_clip(found: PrincipalRows, mask: np.ndarray) -> Float64[np.ndarray, "n K k"]:
    clips = np.zeros((*mask.shape, found.rows.shape[1]))
    clips[mask] = found.rows
    return clips


def _unit_sums(at: _Layer, mask: np.ndarray, cells: Cells) -> RowSums:
    """Sums over the units (domain, half, emotion, speaker)."""
    design = cells.design
    shape = (len(DOMAINS), HALVES, design.num_emotions, design.num_speakers)
    place = (design.domain, cells.half_of_clip, design.emotion, design.speaker)
    unit = np.ravel_multi_index(place, shape)
    of_row = np.broadcast_to(unit[:, None], mask.shape)[mask]
    units = sums_by_unit(at.clips[mask], of_row, num_units=int(np.prod(shape)))
    return RowSums(*(leaf.reshape(*shape, *leaf.shape[1:]) for leaf in units))


def _domains(units: RowSums) -> list[RowSums]:
    """Sums over (emotion, speaker) of each domain, its halves together."""
    return [RowSums(*(leaf[domain].sum(axis=0) for leaf in units)) for domain in range(2)]


def _of_emotion(sums: RowSums, emotion: int) -> RowSums:
    return RowSums(*(leaf[emotion] for leaf in sums))


def _jackknife(speech: RowSums, music: RowSums) -> Jackknife | None:
    if min((side.num_rows > 0).sum() for side in (speech, music)) < 2:
        return None
    found = jackknife_distance(speech, music)
    return found if np.isfinite(found.influence).all() else None


def _equal_rows(at: _Layer, mask: np.ndarray, cells: Cells, seed: int) -> Iterator[Distance]:
    """FAD at equal n for every comparison and emotion.

    One n for all: the nulls are of half as many clips as their domain has.
    """
    compared = {comparison: cells.pairs(comparison) for comparison in (CROSS_DOMAIN, *NULLS)}
    counts = [len(side.clips) for pairs in compared.values() for pair in pairs for side in pair]
    smallest = min((count for count in counts if count > 1), default=0)
    for comparison, pairs in compared.items():
        for emotion, pair in enumerate(pairs):
            random = np.random.default_rng((seed, _DRAW, emotion))
            a, b = (_clip_rows(side, at, mask, cells) for side in pair)
            known = {"mean": None, "num_rows": (int(a.mask.sum()), int(b.mask.sum()))}
            if min(len(side.clips) for side in pair) > 1:
                known = _equal(random, a, b, num_clips=smallest)
            yield result_row(
                comparison,
                cells.emotions[emotion],
                pair,
                metric="FAD_equal_n",
                level="frame",
                layer=at.number,
                d=at.clips.shape[-1],
                variance_kept=at.variance_kept,
                **known,
            )


def _equal(random, a: ClipRows, b: ClipRows, *, num_clips: int) -> dict[str, Any]:
    distance = equal_clips_distance(random, a, b, num_clips=num_clips, num_draws=_EQUAL_DRAWS)
    # Short clips have fewer frames than others: the mean number in a draw.
    drawn = (round(num_clips * side.mask.sum() / len(side.mask)) for side in (a, b))
    return {"mean": distance, "num_rows": tuple(int(count) for count in drawn)}


def _infinite_rows(at: _Layer, units: RowSums, cells: Cells, seed: int) -> Iterator[Distance]:
    """FAD at infinitely many speakers for every comparison and emotion."""
    sides = {CROSS_DOMAIN: _domains(units)}
    for domain, comparison in enumerate(NULLS):
        sides[comparison] = [RowSums(*(leaf[domain, h] for leaf in units)) for h in range(HALVES)]
    spread = np.einsum("dhesii->i", units.outer)
    for comparison, (a, b) in sides.items():
        for emotion, pair in enumerate(cells.pairs(comparison)):
            first, second = _of_emotion(a, emotion), _of_emotion(b, emotion)
            random = np.random.default_rng((seed, _DEAL))
            found = infinite_units_distance(random, first, second)
            d = at.clips.shape[-1] if found is None else found.d
            known: dict[str, Any] = {"mean": None}
            if found is not None:
                known = {"mean": found.distance, "low": found.low, "high": found.high}
                known |= {"standard_error": found.standard_error, "fit_error": found.fit_error}
            yield result_row(
                comparison,
                cells.emotions[emotion],
                pair,
                metric="FAD_infinite_speakers",
                level="frame",
                layer=at.number,
                d=d,
                variance_kept=at.variance_kept * float(spread[-d:].sum() / spread.sum()),
                num_rows=(int(first.num_rows.sum()), int(second.num_rows.sum())),
                **known,
            )


def _clip_rows(side: Side, at: _Layer, mask: np.ndarray, cells: Cells) -> ClipRows:
    return ClipRows(at.clips[side.clips], mask[side.clips], cells.design.speaker[side.clips])


def _kernel_rows(
    at: _Layer, mask: np.ndarray, cells: Cells, config: Settings
) -> Iterator[Distance]:
    """Kernel distance of every comparison: one pass of kernels an emotion serves them all."""
    key = jax.random.fold_in(jax.random.key(config.seed), _KERNEL)
    bandwidth = float(median_bandwidth(key, at.valid, max_rows=_BANDWIDTH_ROWS))
    row_of = np.full(mask.shape, -1)
    row_of[mask] = np.arange(len(at.valid))
    kept = [
        _kernel_clips(sides, mask, cells, config.seed) for sides in zip(*cells.sides, strict=True)
    ]
    most = max(int(mask[clips].sum()) for clips in kept)
    pairs = {comparison: cells.pairs(comparison) for comparison in (CROSS_DOMAIN, *NULLS)}
    permutations = config.similarity.permutations
    for emotion, clips in enumerate(kept):
        sums = _kernel_sums(at, row_of, cells, clips, (bandwidth, most))
        name = cells.emotions[emotion]
        for comparison, of_emotion in pairs.items():
            yield result_row(
                comparison,
                name,
                of_emotion[emotion],
                metric="KAD",
                level="frame",
                layer=at.number,
                d=at.valid.shape[1],
                **_kernel_figures(key, sums, comparison, num_permutations=permutations),
            )


def _kernel_clips(
    sides: tuple[Side, Side], mask: np.ndarray, cells: Cells, seed: int
) -> Int[np.ndarray, " C"]:
    """The clips of an emotion, thinned evenly over speakers where kernels would be too many."""
    clips = np.concatenate([side.clips for side in sides])
    share = min(1.0, _MAX_KERNEL_ROWS / max(int(mask[clips].sum()), 1))
    if share == 1.0:
        return clips
    random = np.random.default_rng((seed, _KERNEL))
    speaker = cells.design.speaker
    drawn = [
        side.clips[draw_clips(random, speaker[side.clips], num_clips=int(share * len(side.clips)))]
        for side in sides
    ]
    return np.concatenate(drawn)


def _kernel_sums(
    at: _Layer,
    row_of: np.ndarray,
    cells: Cells,
    clips: Int[np.ndarray, " C"],
    options: tuple[float, int],
) -> KernelSums:
    """Sums over units (domain, half, speaker of these clips).

    Filled up to one number of rows, and speakers to a round one, so that few programs are compiled.
    """
    bandwidth, most = options
    half = HALVES * cells.design.domain[clips] + cells.half_of_clip[clips]
    speakers, speaker = np.unique(cells.design.speaker[clips], return_inverse=True)
    num_speakers = -(-len(speakers) // _ROUNDED_TO) * _ROUNDED_TO
    unit = half * num_speakers + speaker
    present = row_of[clips] >= 0
    rows = np.zeros((most, at.valid.shape[1]), np.float32)
    units = np.full(most, -1)
    rows[: present.sum()] = at.valid[row_of[clips][present]]
    units[: present.sum()] = np.broadcast_to(unit[:, None], present.shape)[present]
    return kernel_sums(
        rows, units, num_units=len(DOMAINS) * HALVES * num_speakers, bandwidth=bandwidth
    )


def _kernel_figures(
    key, sums: KernelSums, comparison: str, *, num_permutations: int
) -> dict[str, Any]:
    """The distance, its jackknife interval over speakers and, across domains, its p-value."""
    num_rows = np.asarray(sums.num_rows)
    domain, half, speaker = np.unravel_index(
        np.arange(len(num_rows)), (len(DOMAINS), HALVES, len(num_rows) // (len(DOMAINS) * HALVES))
    )
    in_a, in_b = _unions(comparison, domain, half)
    sizes = tuple(int(num_rows[union].sum()) for union in (in_a, in_b))
    members = np.unique(speaker[(in_a | in_b) & (num_rows > 0)])
    without = speaker != members[:, None]
    distances = distances_of_unions(
        sums, np.vstack([in_a, in_a & without]), np.vstack([in_b, in_b & without])
    )
    if min(sizes) < 2:
        return {"mean": None, "num_rows": sizes}
    known = {"mean": float(distances[0]), "num_rows": sizes}
    if len(members) > 2 and np.isfinite(distances).all():
        known |= _limits(distances[0], distances[1:])
        if comparison == CROSS_DOMAIN:
            test = exchange_test(key, _of_domains(sums), num_permutations=num_permutations)
            known["p_value"] = test.p_value
    return known


def _unions(
    comparison: str, domain: Int[np.ndarray, " U"], half: Int[np.ndarray, " U"]
) -> tuple[Bool[np.ndarray, " U"], Bool[np.ndarray, " U"]]:
    """Which units make either side."""
    if comparison == CROSS_DOMAIN:
        return domain == 0, domain == 1
    ours = domain == NULLS.index(comparison)
    return ours & (half == 0), ours & (half == 1)


def _of_domains(sums: KernelSums) -> KernelSums:
    """The sums of units (domain, speaker), their halves together."""
    num_rows, total = np.asarray(sums.num_rows), np.asarray(sums.total)
    shape = (len(DOMAINS), HALVES, -1)
    num_rows = num_rows.reshape(shape).sum(axis=1).ravel()
    num_speakers = len(num_rows) // len(DOMAINS)
    total = total.reshape(*shape[:2], num_speakers, *shape[:2], num_speakers).sum(axis=(1, 4))
    return KernelSums(num_rows, total.reshape(len(num_rows), len(num_rows)))


def _limits(distance: float, without: Float64[np.ndarray, " S"]) -> dict[str, float | None]:
    jackknife = Jackknife(float(distance), influence_of(without))
    interval = jackknife_interval(distance, jackknife.influence)
    limits = {"low": interval.low, "high": interval.high}
    return {**limits, "standard_error": jackknife.standard_error}
