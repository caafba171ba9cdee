"""Extrapolation, equal-n draws, intervals over speakers and ranks, against simulations."""

import jax
import numpy as np
import pytest

from jaxemo.distances import extrapolation as small_samples
from jaxemo.distances import frechet

NUM_DIMENSIONS = 16


def sample(seed, *, num_rows, shift=0.0, scale=1.0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(num_rows, NUM_DIMENSIONS)) * scale + shift).astype(np.float32)


def statistics_of(rows, row_mask=None):
    """One cell for each leading index of `rows`."""
    mask = np.ones(rows.shape[:-1], bool) if row_mask is None else row_mask
    return frechet.update(
        frechet.empty_statistics(rows.shape[-1], cells=rows.shape[:-2]), rows, mask
    )


def extrapolations(*, num_rows, repeats, shift=0.0, scale=1.0):
    """(distance at infinity, distance as measured) of pairs of samples, by seed."""
    pairs = []
    for seed in range(repeats):
        x = sample(2 * seed, num_rows=num_rows)
        y = sample(2 * seed + 1, num_rows=num_rows, shift=shift, scale=scale)
        line = small_samples.frechet_distance_infinity(jax.random.key(seed), x, y)
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
    line = small_samples.frechet_distance_infinity(jax.random.key(0), x, y, num_sizes=8)
    slope, intercept = np.polyfit(1 / line.sizes, line.distances, 1)
    np.testing.assert_allclose([line.slope, line.distance], [slope, intercept], rtol=1e-9)
    assert line.sizes[0] == 300 and line.sizes[-1] == 75 and line.sizes.size == 8
    assert line.slope > 0 and line.standard_error > 0 and 0.9 < line.r_squared <= 1.0
    again = small_samples.frechet_distance_infinity(jax.random.key(0), x, y, num_sizes=8)
    np.testing.assert_array_equal(line.distances, again.distances)


def test_a_perfect_line_is_recovered_without_error():
    sizes = np.array([100, 50, 25])
    line = small_samples.line_over_inverse(sizes, 2.0 + 30.0 / sizes)
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
        small_samples.frechet_distance_infinity(jax.random.key(0), x, x, **options)


def test_a_subsample_takes_valid_rows_alone_each_equally_often():
    row_mask = np.arange(20) % 2 == 0
    masks = np.array(
        [
            small_samples.subsample_mask(jax.random.key(seed), row_mask, num_rows=4)
            for seed in range(100)
        ]
    )
    np.testing.assert_array_equal(masks.sum(axis=1), 4)
    assert not masks[:, ~row_mask].any()
    # Each of 10 rows has a chance of 0.4, with a standard error of 0.05 over 100 draws.
    np.testing.assert_allclose(masks[:, row_mask].mean(axis=0), 0.4, atol=0.2)
    with pytest.raises(ValueError, match="expected 0 to 10"):
        small_samples.subsample_mask(jax.random.key(0), row_mask, num_rows=11)


def test_repeated_cells_equal_rows_written_out_as_often():
    rows = sample(0, num_rows=30).reshape(3, 10, NUM_DIMENSIONS)
    counts = np.array([2, 0, 3])
    statistics = statistics_of(rows)
    with jax.enable_x64(True):
        ours = small_samples._repeated(statistics, small_samples._scatters(statistics), counts)
    written = np.repeat(rows, counts, axis=0).reshape(-1, NUM_DIMENSIONS).astype(np.float64)
    assert int(ours.num_rows) == 50
    np.testing.assert_allclose(ours.mean, written.mean(0), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(frechet.covariance(ours), np.cov(written.T), rtol=1e-10, atol=1e-12)


def speaker_cells(random, *, num_speakers, shift=0.0):
    """Four dimensions; a third of the variance lies between speakers."""
    own = random.normal(size=(num_speakers, 1, 4)) * np.sqrt(1 / 3)
    rows = own + random.normal(size=(num_speakers, 8, 4)) * np.sqrt(2 / 3) + shift
    return statistics_of(rows)


def with_absent(a, b):
    """The two sets' speakers one after another, each set empty where the other's stand."""
    empty = frechet.empty_statistics(4, cells=a.num_rows.shape)

    def joined(*parts):
        return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

    return joined(a, empty), joined(empty, b)


@pytest.mark.parametrize("same_speakers", [True, False])
def test_intervals_cover_the_distance_between_the_distributions(same_speakers):
    """Nominally 90 %; 83 to 85 % in longer simulations, the usual shortfall over few speakers."""
    covered, num_runs = 0, 40
    for seed in range(num_runs):
        random = np.random.default_rng(seed)
        a, b = (speaker_cells(random, num_speakers=16, shift=shift) for shift in (0.0, 0.5))
        if not same_speakers:
            a, b = with_absent(a, b)
        interval = small_samples.bootstrap_interval(
            jax.random.key(seed), a, b, level=0.9, num_resamples=60
        )
        assert interval.num_speakers == (16 if same_speakers else 32)
        covered += interval.low <= 4 * 0.25 <= interval.high
    assert 0.7 < covered / num_runs <= 1.0


def test_speakers_not_rows_set_the_width_of_an_interval():
    """The same rows, dealt out to speakers at random, would seem to say much more."""
    own = np.random.default_rng(0).normal(size=(2, 12, 1, 4))
    rows = np.repeat(own, 20, axis=2) + np.random.default_rng(1).normal(size=(2, 12, 20, 4)) * 0.1
    dealt = np.random.default_rng(2).permutation(rows.reshape(2, -1, 4), axis=1)
    widths = []
    for sets in (rows + np.array([[[[0.0]]], [[[2.0]]]]), dealt.reshape(rows.shape)):
        a, b = statistics_of(sets[0]), statistics_of(sets[1])
        interval = small_samples.bootstrap_interval(jax.random.key(0), a, b, num_resamples=50)
        widths.append(interval.high - interval.low)
    assert widths[0] > 3 * widths[1]


def test_resamples_draw_speakers_among_their_own_kind():
    in_a = np.array([True, True, True, True, False, False])
    in_b = np.array([True, True, False, False, True, True])
    random = np.random.default_rng(0)
    counts = np.array([small_samples._resample(random, in_a, in_b) for _ in range(50)])
    for kind in (slice(0, 2), slice(2, 4), slice(4, 6)):
        np.testing.assert_array_equal(counts[:, kind].sum(axis=1), 2)
        assert counts[:, kind].std() > 0


def test_cells_that_are_not_speakers_are_refused():
    cells = statistics_of(np.random.default_rng(0).normal(size=(3, 5, 4)))
    single = jax.tree.map(lambda leaf: leaf[0], cells)
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="same speakers in both"):
        small_samples.bootstrap_interval(key, single, single)
    fewer = jax.tree.map(lambda leaf: leaf[:2], cells)
    with pytest.raises(ValueError, match="same speakers in both"):
        small_samples.bootstrap_interval(key, cells, fewer)
    with pytest.raises(ValueError, match="0 speakers with rows"):
        small_samples.bootstrap_interval(key, cells, frechet.empty_statistics(4, cells=(3,)))
    with pytest.raises(ValueError, match="level is 1"):
        small_samples.bootstrap_interval(key, cells, cells, level=1.0)


def test_rank_counts_the_directions_that_the_rows_span():
    few, many = sample(0, num_rows=5), sample(1, num_rows=40)
    flat = many.copy()
    flat[:, 10:] = 1e3
    mask = np.stack([np.arange(40) < 5, np.ones(40, bool), np.ones(40, bool), np.zeros(40, bool)])
    padded = np.concatenate([few, np.zeros((35, NUM_DIMENSIONS), np.float32)])
    statistics = statistics_of(np.stack([padded, many, flat, many]), mask)
    np.testing.assert_array_equal(
        small_samples.numerical_rank(statistics), [4, NUM_DIMENSIONS, 10, 0]
    )
