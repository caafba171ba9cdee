"""The rank of the rows behind statistics."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from jaxemo.distances import rank, statistics

NUM_DIMENSIONS = 16


def sample(seed, *, num_rows):
    return np.random.default_rng(seed).normal(size=(num_rows, NUM_DIMENSIONS)).astype(np.float32)


def statistics_of(rows, row_mask=None):
    """One cell for each leading index of `rows`."""
    mask = np.ones(rows.shape[:-1], bool) if row_mask is None else row_mask
    return statistics.update(
        statistics.empty_statistics(rows.shape[-1], cells=rows.shape[:-2]), rows, mask
    )


def test_rank_counts_the_directions_that_the_rows_span():
    few, many = sample(0, num_rows=5), sample(1, num_rows=40)
    flat = many.copy()
    flat[:, 10:] = 1e3
    mask = np.stack([np.arange(40) < 5, np.ones(40, bool), np.ones(40, bool), np.zeros(40, bool)])
    padded = np.concatenate([few, np.zeros((35, NUM_DIMENSIONS), np.float32)])
    cells = statistics_of(np.stack([padded, many, flat, many]), mask)
    np.testing.assert_array_equal(rank.numerical_rank(cells), [4, NUM_DIMENSIONS, 10, 0])


def test_a_cell_that_is_not_finite_has_no_rank_and_leaves_the_others_alone():
    rows = np.stack([sample(seed, num_rows=40) for seed in range(2)])
    rows[0, 3, 5] = np.nan
    np.testing.assert_array_equal(rank.numerical_rank(statistics_of(rows)), [0, NUM_DIMENSIONS])


@pytest.mark.parametrize(("share", "counted"), [(5e-7, False), (2e-6, True), (1e-4, True)])
def test_a_direction_counts_from_a_millionth_of_the_widest_on(share, counted):
    axes, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(NUM_DIMENSIONS,) * 2))
    widths = np.where(np.arange(NUM_DIMENSIONS) == 3, share, 1.0)
    factor = np.linalg.qr(widths[:, None] * axes, mode="r")
    cell = statistics.FrechetStatistics(np.array(100), np.zeros(NUM_DIMENSIONS), factor)
    assert rank.numerical_rank(cell) == NUM_DIMENSIONS - (not counted)


@pytest.mark.parametrize("missing", [1, 2])
def test_rows_in_a_hyperplane_lack_its_normal_alone(missing):
    """So they are behind a layer norm."""
    rows = np.random.default_rng(3).normal(size=(60, NUM_DIMENSIONS))
    rows[:, :missing] = rows[:, missing : 2 * missing]
    rows = rows.astype(np.float32)
    assert rank.numerical_rank(statistics_of(rows)) == NUM_DIMENSIONS - missing
    assert np.linalg.matrix_rank(rows - rows.mean(axis=0), rtol=1e-6) == NUM_DIMENSIONS - missing


@settings(max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(0, 4), st.floats(-9, 0))
def test_rank_is_the_count_of_singular_values(seed, small, exponent):
    random = np.random.default_rng(seed)
    axes, _ = np.linalg.qr(random.normal(size=(NUM_DIMENSIONS,) * 2))
    widths = np.exp(random.uniform(-2, 2, NUM_DIMENSIONS))
    widths[:small] *= 10.0 ** (exponent * random.random(small))
    shares = widths / widths.max()
    # At the limit itself rounding decides.
    assume(not ((shares > 0.9e-6) & (shares < 1.1e-6)).any())
    factor = np.linalg.qr(widths[:, None] * axes, mode="r")
    cell = statistics.FrechetStatistics(np.array(100), np.zeros(NUM_DIMENSIONS), factor)
    assert rank.numerical_rank(cell) == (shares > 1e-6).sum()
