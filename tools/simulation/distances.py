"""FAD with its jackknife, FAD at infinitely many speakers and KAD with its p, of one emotion."""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from jaxemo.analysis import resampling
from jaxemo.analysis.resampling import RowSums
from jaxemo.analysis.unit_extrapolation import UnitExtrapolation, infinite_units_distance
from jaxemo.distances.kernel import (
    KernelSums,
    distances_of_unions,
    exchange_test,
    kernel_sums,
)
from simulation.corpora import (
    CLIPS_PER_CELL,
    DIMENSIONS,
    SPEAKERS,
    Components,
    Planted,
    drawn_corpus,
    equal_shifts,
    no_shifts,
    read_components,
)
from simulation.table import Line, covered, found, mean

_BANDWIDTH = 8.0
_EXCHANGES = 199


class _Sides(NamedTuple):
    """Speech and music of emotion 0: clips (S, K, d)."""

    speech: np.ndarray
    music: np.ndarray


def distance_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Without a shift, and with one; the truth of figures at one n is their mean over other corpora."""
    for name, components in read_components().items():
        for words, shifts in (("no shift", no_shifts()), ("one shift", equal_shifts())):
            numbers = range(seed, seed + 2 * corpora)
            sides = [_sides(components, Planted(shifts), number) for number in numbers]
            corpus = f"{name}, 24 speakers, {words}"
            yield from _frechet_lines(sides, corpus, truth=float((shifts[0] ** 2).sum()))
            yield from _kernel_lines(sides, corpus)


def _sides(components: Components, planted: Planted, number: int) -> _Sides:
    rows, design = drawn_corpus(number, components, planted)
    shape = (SPEAKERS, CLIPS_PER_CELL, DIMENSIONS)
    of = design.emotion == 0
    return _Sides(*(rows[of & (design.domain == domain)].reshape(shape) for domain in range(2)))


def _frechet_lines(sides: list[_Sides], corpus: str, *, truth: float) -> Iterator[Line]:
    used, others = np.split(np.arange(len(sides)), 2)
    jackknives = [resampling.jackknife_distance(*map(_sums, one)) for one in sides]
    at_n = float(np.mean([jackknives[number].distance for number in others]))
    intervals = [
        resampling.jackknife_interval(jackknives[number].distance, jackknives[number].influence)
        for number in used
    ]
    yield mean("FAD", f"{corpus}, truth {truth:.2f}", [one.distance for one in jackknives])
    yield covered("FAD, jackknife", f"{corpus}, FAD at that n", intervals, at_n)
    lines = [_line_over_clips(sides[number]) for number in used]
    yield mean("FAD, line over clips", f"{corpus}, truth {truth:.2f}", lines)
    infinite = [_infinite(sides[number], number) for number in used]
    corpus = f"{corpus}, truth {truth:.2f}"
    yield mean("**FAD, infinite speakers**", corpus, [one.distance for one in infinite])
    yield covered("**FAD, infinite speakers**", corpus, infinite, truth)


def _sums(clips: np.ndarray) -> RowSums:
    """Sums over the clips of each speaker."""
    num_rows = np.full(len(clips), float(clips.shape[1]))
    return RowSums(num_rows, clips.sum(axis=1), np.einsum("skd,ske->sde", clips, clips))


def _infinite(sides: _Sides, number: int) -> UnitExtrapolation:
    made = infinite_units_distance(np.random.default_rng(number), *map(_sums, sides))
    assert made is not None  # There are 24 speakers.
    return made


def _line_over_clips(sides: _Sides) -> float:
    """What is not printed any more: fewer clips of the same speakers, along a line over 1 / n."""
    counts = np.arange(1, CLIPS_PER_CELL + 1)
    distances = [
        resampling.jackknife_distance(*(_sums(side[:, :count]) for side in sides)).distance
        for count in counts
    ]
    return float(np.polyfit(1 / counts, distances, 1)[1])


def _kernel_lines(sides: list[_Sides], corpus: str) -> Iterator[Line]:
    used, others = np.split(np.arange(len(sides)), 2)
    sums = [_kernel(one) for one in sides]
    distances = [_with_left_out(one) for one in sums]
    at_n = float(np.mean([distances[number][0] for number in others]))
    intervals = [
        resampling.jackknife_interval(
            distances[number][0], resampling.influence_of(distances[number][1:])
        )
        for number in used
    ]
    yield mean("KAD", corpus, [one[0] for one in distances])
    yield covered("KAD, jackknife", f"{corpus}, KAD at that n", intervals, at_n)
    key = jax.random.key(0)
    p_values = [
        exchange_test(key, sums[number], num_permutations=_EXCHANGES).p_value for number in used
    ]
    yield found("p of KAD", corpus, p_values)


def _kernel(sides: _Sides) -> KernelSums:
    rows = np.concatenate([side.reshape(-1, DIMENSIONS) for side in sides])
    units = np.repeat(np.arange(2 * SPEAKERS), CLIPS_PER_CELL)
    return kernel_sums(rows, units, num_units=2 * SPEAKERS, bandwidth=_BANDWIDTH)


def _with_left_out(sums: KernelSums) -> np.ndarray:
    """The distance of all speakers, and without each."""
    kept = np.concatenate([np.ones((1, SPEAKERS), bool), ~np.eye(SPEAKERS, dtype=bool)])
    none = np.zeros_like(kept)
    return distances_of_unions(
        sums, np.concatenate([kept, none], axis=1), np.concatenate([none, kept], axis=1)
    )
