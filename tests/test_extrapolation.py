"""Extrapolation to infinitely many rows, and ranks, against simulations."""

import jax
import numpy as np
import pytest

from jaxemo.distances import extrapolation, frechet, statistics

NUM_DIMENSIONS = 16


def sample(seed, *, num_rows, shift=0.0, scale=1.0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(num_rows, NUM_DIMENSIONS)) * scale + shift).astype(np.float32)


def statistics_of(rows, row_mask=None):
    """One cell for each leading index of `rows`."""
    mask = np.ones(rows.shape[:-1], bool) if row_mask is None else row_mask
    return statistics.update(
        statistics.empty_statistics(rows.shape[-1], cells=rows.shape[:-2]), rows, mask
    )


def extrapolations(*, num_rows, repeats, shift=0.0, scale=1.0):
    """(distance at infinity, distance as measured) of pairs of samples, by seed."""
    pairs = []
    for seed in range(repeats):
        x = sample(2 * seed, num_rows=num_rows)
        y = sample(2 * seed + 1, num_rows=num_rows, shift=shift, scale=scale)
        line = extrapolation.frechet_distance_infinity(jax.random.key(seed), x, y)
        pairs.append((line.distance, float(frechet.frechet_distance(x, y))))
    return np.array(pairs).T


@pytest.mark.parametrize(
    ("shift", "scale", "expected"),
    [(0.0, 1.0, 0.0), (0.3, 1.0, NUM_DIMENSIONS * 0.09), (0.0, 1.2, NUM_DIMENSIONS * 0.04)],
)
def test_extrapolation_recovers_the_distance_that_the_samples_overstate(shift, scale, expected):
    extrapolated, measured = extrapolations(num_rows=500, repeats=6, shift=shift, scale=scale)
    standard_error = extrapolated.std(ddof=1) / np.sqrt(extrapolated.size)
    assert abs(extrapolated.mean() - expected) < 3 * standard_error
    assert measured.mean() - expected > 3 * abs(extrapolated.mean() - expected)


def test_the_line_states_its_points_and_its_fit():
    x, y = sample(0, num_rows=300), sample(1, num_rows=400)
    line = extrapolation.frechet_distance_infinity(jax.random.key(0), x, y, num_sizes=8)
    slope, intercept = np.polyfit(1 / line.sizes, line.distances, 1)
    np.testing.assert_allclose([line.slope, line.distance], [slope, intercept], rtol=1e-9)
    assert line.sizes[0] == 300
    assert line.sizes[-1] == 75
    assert line.sizes.size == 8
    assert line.slope > 0
    assert line.standard_error > 0
    assert 0.9 < line.r_squared <= 1.0
    again = extrapolation.frechet_distance_infinity(jax.random.key(0), x, y, num_sizes=8)
    np.testing.assert_array_equal(line.distances, again.distances)


def test_a_perfect_line_is_recovered_without_error():
    sizes = np.array([100, 50, 25])
    line = extrapolation.line_over_inverse(sizes, 2.0 + 30.0 / sizes)
    np.testing.assert_allclose([line.distance, line.slope, line.r_squared], [2.0, 30.0, 1.0])
    assert line.standard_error < 1e-12


@pytest.mark.parametrize(
    ("num_rows", "options", "message"),
    [
        (10, {}, "smaller set has 10 rows"),
        (100, {"num_sizes": 2}, "num_sizes is 2"),
        (100, {"smallest_share": 1.0}, "smallest_share 1.0"),
    ],
)
def test_too_few_sizes_for_a_line_are_refused(num_rows, options, message):
    x = sample(0, num_rows=num_rows)
    with pytest.raises(ValueError, match=message):
        extrapolation.frechet_distance_infinity(jax.random.key(0), x, x, **options)


@pytest.mark.parametrize("shared", [300, 150, 10])
def test_sets_that_share_rows_are_refused(shared):
    x, y = sample(0, num_rows=300), sample(1, num_rows=300)
    y[:shared] = x[:shared]
    with pytest.raises(ValueError, match=f"{shared} rows are in both sets"):
        extrapolation.frechet_distance_infinity(jax.random.key(0), x, y)


def test_rank_counts_the_directions_that_the_rows_span():
    few, many = sample(0, num_rows=5), sample(1, num_rows=40)
    flat = many.copy()
    flat[:, 10:] = 1e3
    mask = np.stack([np.arange(40) < 5, np.ones(40, bool), np.ones(40, bool), np.zeros(40, bool)])
    padded = np.concatenate([few, np.zeros((35, NUM_DIMENSIONS), np.float32)])
    cells = statistics_of(np.stack([padded, many, flat, many]), mask)
    np.testing.assert_array_equal(extrapolation.numerical_rank(cells), [4, NUM_DIMENSIONS, 10, 0])
