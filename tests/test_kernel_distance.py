"""The kernel distance against float64 numpy, its invariances, and the test by speaker."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemo.distances import kernel as kd

# kadtk prints the kernel distance times this.
KADTK_SCALE = 100.0

# Ours reaches 1e-10 on distances of 1e-5, where the reference itself stops.
TOLERANCE = {"rtol": 1e-9, "atol": 1e-14}
NUM_DIMENSIONS = 5
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=15)


def sample(seed, *, num_rows, num_dimensions=NUM_DIMENSIONS, shift=0.0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(num_rows, num_dimensions)) + shift).astype(np.float32)


def squared_distances(x, y):
    difference = np.asarray(x, np.float64)[:, None] - np.asarray(y, np.float64)
    return (difference**2).sum(-1)


def reference_distance(x, y, bandwidth):
    def kernel(a, b):
        return np.exp(-squared_distances(a, b) / (2 * bandwidth**2))

    def within(rows):
        return kernel(rows, rows)[~np.eye(len(rows), dtype=bool)].mean()

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def reference_bandwidth(rows):
    return np.median(np.sqrt(squared_distances(rows, rows)[np.triu_indices(len(rows), k=1)]))


@pytest.mark.parametrize("shift", [0.0, 0.3, 1e3])
@pytest.mark.parametrize(("num_x", "num_y"), [(2, 9), (33, 20)])
def test_distance_equals_the_float64_reference(num_x, num_y, shift):
    x = sample(0, num_rows=num_x, shift=shift)
    y = sample(1, num_rows=num_y, shift=shift + 0.5)
    distance = kd.kernel_distance(x, y, bandwidth=1.7)
    np.testing.assert_allclose(float(distance), reference_distance(x, y, 1.7), **TOLERANCE)


def test_the_default_bandwidth_is_the_median_within_both_sets():
    x, y = sample(0, num_rows=20), sample(1, num_rows=31, shift=1.0)
    bandwidth = reference_bandwidth(np.concatenate([x, y]))
    np.testing.assert_allclose(
        float(kd.kernel_distance(x, y)), reference_distance(x, y, bandwidth), **TOLERANCE
    )


def test_kadtks_figure_is_the_scaled_distance_at_the_first_sets_bandwidth():
    x, y = sample(0, num_rows=20), sample(1, num_rows=31, shift=1.0)
    bandwidth = kd.median_bandwidth(jax.random.key(0), x)
    ours = KADTK_SCALE * float(kd.kernel_distance(x, y, bandwidth=bandwidth))
    expected = 100.0 * reference_distance(x, y, reference_bandwidth(x))
    np.testing.assert_allclose(ours, expected, **TOLERANCE)


def test_distance_is_unbiased():
    """Mean over draws of the same distribution, in units of its standard error."""
    random = np.random.default_rng(0)
    draws = random.normal(size=(400, 2, 8, NUM_DIMENSIONS)).astype(np.float32)
    distances = np.array([float(kd.kernel_distance(x, y, bandwidth=3.0)) for x, y in draws])
    assert abs(distances.mean()) < 3 * distances.std() / np.sqrt(len(distances))
    assert (distances < 0).mean() > 0.3


@quick
@given(seeds, st.sampled_from([2, 20]), st.sampled_from([2, 9]))
def test_distance_is_symmetric(seed, num_x, num_y):
    x, y = sample(seed, num_rows=num_x), sample(seed + 1, num_rows=num_y, shift=0.5)
    np.testing.assert_allclose(
        float(kd.kernel_distance(x, y)), float(kd.kernel_distance(y, x)), **TOLERANCE
    )


def test_symmetry_survives_subsampling_for_the_bandwidth():
    x, y = sample(0, num_rows=900), sample(1, num_rows=400, shift=0.5)
    forward, backward = (float(kd.kernel_distance(*pair)) for pair in ((x, y), (y, x)))
    np.testing.assert_allclose(forward, backward, **TOLERANCE)


@quick
@given(seeds, st.floats(-1e3, 1e3))
def test_distance_is_invariant_under_rotation_and_common_shift(seed, shift):
    x, y = (sample(seed + i, num_rows=12 + i).astype(np.float64) for i in range(2))
    rotation = np.linalg.qr(np.random.default_rng(seed).normal(size=(NUM_DIMENSIONS,) * 2))[0]
    moved = kd.kernel_distance(x @ rotation + shift, y @ rotation + shift)
    np.testing.assert_allclose(float(moved), float(kd.kernel_distance(x, y)), rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("block_size", [1, 7, 16, 53, 1000])
def test_blocks_do_not_change_the_distance(block_size):
    x, y = sample(0, num_rows=33), sample(1, num_rows=20, shift=0.5)
    distance = kd.kernel_distance(x, y, bandwidth=2.0, block_size=block_size)
    np.testing.assert_allclose(float(distance), reference_distance(x, y, 2.0), **TOLERANCE)


def test_masked_rows_contribute_nothing_even_when_nan():
    x, y = sample(0, num_rows=20), sample(1, num_rows=9, shift=0.5)
    padding = np.full((6, NUM_DIMENSIONS), np.nan, np.float32)
    order = np.random.default_rng(0).permutation(26)
    distance = kd.kernel_distance(
        np.concatenate([x, padding])[order],
        np.concatenate([padding, y]),
        x_mask=(np.arange(26) < 20)[order],
        y_mask=np.arange(15) >= 6,
        block_size=8,
    )
    np.testing.assert_allclose(float(distance), float(kd.kernel_distance(x, y)), **TOLERANCE)


@pytest.mark.parametrize("enabled", [True, False])
def test_precision_does_not_depend_on_the_users_x64_setting(enabled):
    x, y = sample(0, num_rows=20), sample(1, num_rows=20)
    with jax.enable_x64(enabled):
        for distance in (kd.kernel_distance(x, y), jax.jit(kd.kernel_distance)(x, y)):
            assert distance.dtype == jnp.float64
            expected = reference_distance(x, y, reference_bandwidth(np.concatenate([x, y])))
            np.testing.assert_allclose(float(distance), expected, **TOLERANCE)
        assert jax.config.jax_enable_x64 == enabled


def test_a_bandwidth_from_many_rows_is_near_that_of_all():
    rows = sample(0, num_rows=600)
    drawn = kd.median_bandwidth(jax.random.key(0), rows, max_rows=150)
    np.testing.assert_allclose(float(drawn), reference_bandwidth(rows), rtol=0.05)
    again, other = (
        kd.median_bandwidth(jax.random.key(seed), rows, max_rows=150) for seed in (0, 1)
    )
    assert float(again) == float(drawn) != float(other)


def test_a_bandwidth_drawn_from_a_masked_set_takes_valid_rows_alone():
    rows = sample(0, num_rows=300)
    mask = np.arange(300) % 3 == 0
    masked = kd.median_bandwidth(
        jax.random.key(0), np.where(mask[:, None], rows, np.nan), row_mask=mask, max_rows=100
    )
    np.testing.assert_allclose(float(masked), reference_bandwidth(rows[mask]), rtol=1e-12)


def test_kernel_sums_are_those_of_each_pair_of_units():
    rows, units = sample(0, num_rows=12), np.array([0, 1, 2, -1] * 3)
    sums = kd.kernel_sums(rows, units, num_units=4, bandwidth=2.0, block_size=5)
    kernel = np.exp(-squared_distances(rows, rows) / 8.0)
    np.fill_diagonal(kernel, 0.0)
    expected = [[kernel[units == u][:, units == v].sum() for v in range(4)] for u in range(4)]
    np.testing.assert_array_equal(sums.num_rows, [3, 3, 3, 0])
    np.testing.assert_allclose(sums.total, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("rows", "units", "message"),
    [
        (np.eye(3), [0, 1, 2], r"unit_of_row holds \[2\]; expected -1 to 1"),
        (np.eye(3) * np.nan, [0, 1, -1], "rows has 2 valid rows with NaN"),
    ],
)
def test_units_and_rows_that_do_not_fit_are_refused(rows, units, message):
    with pytest.raises(ValueError, match=message):
        kd.kernel_sums(rows, np.array(units), num_units=2, bandwidth=1.0)


def speakers_and_rows(seed, *, num_speakers, rows_each, difference, spread=1.0):
    """Two sets whose rows cluster by speaker; `difference` moves the second set."""
    random = np.random.default_rng(seed)
    speakers = np.repeat([f"s{i}" for i in range(num_speakers)], rows_each)
    own = np.repeat(random.normal(size=(num_speakers, 2, 3)) * spread, rows_each, axis=0)
    x, y = (own + random.normal(size=own.shape) * 0.1).transpose(1, 0, 2)
    return x, y + difference, speakers


def p_value(x, y, x_speakers, y_speakers, *, key=0, num_permutations=199):
    """The test under the median bandwidth, from sums over (set, speaker)."""
    names, speaker = np.unique(np.concatenate([x_speakers, y_speakers]), return_inverse=True)
    rows = np.concatenate([x, y])
    sums = kd.kernel_sums(
        rows,
        np.where(np.arange(len(rows)) < len(x), speaker, len(names) + speaker),
        num_units=2 * len(names),
        bandwidth=reference_bandwidth(rows),
    )
    return kd.exchange_test(jax.random.key(key), sums, num_permutations=num_permutations)


@pytest.mark.parametrize("paired", [True, False])
def test_p_values_are_near_uniform_where_only_speakers_differ(paired):
    """Rows cluster by speaker, so shuffled rows, not speakers, would reject nearly always."""
    p_values = []
    for seed in range(24):
        x, y, speakers = speakers_and_rows(seed, num_speakers=8, rows_each=4, difference=0.0)
        others = speakers if paired else np.char.add("t", speakers)
        p_values.append(p_value(x, y, speakers, others, key=seed).p_value)
    assert 0.3 < np.mean(p_values) < 0.7
    assert np.mean(np.array(p_values) <= 0.1) < 0.25


@pytest.mark.parametrize("paired", [True, False])
def test_a_real_difference_has_a_small_p_value(paired):
    x, y, speakers = speakers_and_rows(0, num_speakers=10, rows_each=3, difference=2.0)
    others = speakers if paired else np.char.add("t", speakers)
    result = p_value(x, y, speakers, others)
    assert result.p_value <= 0.02
    assert result.num_speakers == (10 if paired else 20)
    np.testing.assert_allclose(result.distance, float(kd.kernel_distance(x, y)), **TOLERANCE)


def test_few_speakers_cannot_give_a_small_p_value():
    """Two speakers have two exchanges that differ; the observed one is at least as large as half."""
    x, y, speakers = speakers_and_rows(0, num_speakers=2, rows_each=10, difference=50.0)
    assert 0.35 < p_value(x, y, speakers, speakers).p_value < 0.65


def test_exchanges_swap_paired_speakers_and_shuffle_the_others():
    in_x = np.array([True, True, True, False, False, False])
    in_y = np.array([True, True, False, True, True, False])
    labels = kd._exchanges(jax.random.key(0), in_x, in_y, 200)
    in_first, in_second = labels[:, :6], labels[:, 6:]
    np.testing.assert_array_equal(in_first[:, :2], ~in_second[:, :2])
    assert 0.4 < in_first[:, :2].mean() < 0.6
    np.testing.assert_array_equal(in_first[:, 2:5].sum(axis=1), 1)
    np.testing.assert_array_equal(in_first[:, 2:5], in_second[:, 2:5])
    np.testing.assert_allclose(in_first[:, 2:5].mean(axis=0), 1 / 3, atol=0.1)


@pytest.fixture
def as_installed():
    """Shape checks off, as for users, so that the library's own errors are what is seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ROWS = np.eye(3)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (ROWS[:1], ROWS, {}, "x has 1 valid rows"),
        (ROWS, ROWS[0], {}, "y has shape"),
        (ROWS, np.eye(4), {}, "3 dimensions and y 4"),
        (ROWS, ROWS * np.nan, {}, "y has 3 valid rows with NaN"),
        (ROWS, ROWS, {"x_mask": np.ones(4, bool)}, r"its mask \(4,\)"),
        (ROWS, ROWS, {"y_mask": np.arange(3) < 1}, "y has 1 valid rows"),
        (ROWS, ROWS, {"bandwidth": 0.0}, "bandwidth is 0.0"),
        (ROWS, ROWS, {"bandwidth": np.nan}, "bandwidth is nan"),
        (ROWS, ROWS, {"block_size": 0}, "block_size is 0"),
        (np.ones((4, 3)), np.ones((4, 3)), {}, "median distance between rows is 0"),
    ],
)
def test_invalid_sets_are_refused_before_computing(as_installed, x, y, options, message):
    with pytest.raises(ValueError, match=message):
        kd.kernel_distance(x, y, **options)


def test_speakers_that_cannot_be_exchanged_are_refused():
    with pytest.raises(ValueError, match="y has 1 speakers"):
        p_value(ROWS, ROWS, ["a", "b", "b"], ["a", "a", "a"])
    odd = kd.kernel_sums(ROWS, np.arange(3), num_units=3, bandwidth=1.0)
    with pytest.raises(ValueError, match="There are 3 units"):
        kd.exchange_test(jax.random.key(0), odd)
    with pytest.raises(ValueError, match="num_permutations is 0"):
        p_value(ROWS, ROWS, ["a", "b", "b"], ["a", "b", "b"], num_permutations=0)
