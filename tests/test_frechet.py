"""The distance kernel against float64 references, its invariances, its grids and its moments."""

import jax
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemo.distances import frechet, statistics

# What the kernel promises against float64; it reaches about 1e-12, the reference itself about 1e-8.
RELATIVE_TOLERANCE = 1e-5
NUM_DIMENSIONS = 6
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20)


def reference_distance(x, y):
    """The textbook form in float64 numpy: tr sqrt(sqrt(Cx) Cy sqrt(Cx)) by two calls of eigh."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return reference_distance_of_moments(
        x.mean(0), np.atleast_2d(np.cov(x.T)), y.mean(0), np.atleast_2d(np.cov(y.T))
    )


def reference_distance_of_moments(mean_x, cov_x, mean_y, cov_y):
    eigenvalues, eigenvectors = np.linalg.eigh(cov_x)
    root = eigenvectors * np.sqrt(np.maximum(eigenvalues, 0)) @ eigenvectors.T
    product = np.linalg.eigvalsh(root @ cov_y @ root)
    cross = np.sqrt(np.maximum(product, 0)).sum()
    return np.sum((mean_x - mean_y) ** 2) + np.trace(cov_x) + np.trace(cov_y) - 2 * cross


def spectrum(kind, num_dimensions):
    return {
        "flat": np.ones(num_dimensions),
        "decaying": 1 / np.arange(1, num_dimensions + 1),
        "condition_1e12": np.logspace(0, -12, num_dimensions),
        "rank_deficient": np.arange(num_dimensions) < max(num_dimensions // 3, 1),
    }[kind].astype(np.float64)


def sample(seed, *, num_rows, num_dimensions=NUM_DIMENSIONS, kind="flat", shift=0.0):
    """Float32 Gaussian rows, the covariance spectrum in a random basis; shift in deviations."""
    random = np.random.default_rng(seed)
    basis = np.linalg.qr(random.normal(size=(num_dimensions, num_dimensions)))[0]
    rows = random.normal(size=(num_rows, num_dimensions)) * np.sqrt(spectrum(kind, num_dimensions))
    return (rows @ basis + shift).astype(np.float32)


def check_against_reference(x, y):
    expected = reference_distance(x, y)
    np.testing.assert_allclose(
        float(frechet.frechet_distance(x, y)), expected, rtol=RELATIVE_TOLERANCE
    )


REGIMES = pytest.mark.parametrize("kind", ["flat", "decaying", "condition_1e12", "rank_deficient"])


@REGIMES
@pytest.mark.parametrize("num_rows", [2, 10, 64, 640])
def test_distance_equals_the_float64_reference(kind, num_rows):
    x = sample(0, num_rows=num_rows, num_dimensions=32, kind=kind)
    y = sample(1, num_rows=num_rows + 3, num_dimensions=32, kind=kind)
    check_against_reference(x, y)


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e3), (1e-6, 1e3)])
def test_distance_holds_under_large_scales_and_shifts(scale, shift):
    x = sample(0, num_rows=100, num_dimensions=32, shift=shift) * np.float32(scale)
    y = sample(1, num_rows=90, num_dimensions=32, shift=shift) * np.float32(scale)
    check_against_reference(x, y)
    check_against_reference(x, y - np.float32(shift * scale))


@pytest.mark.slow
@REGIMES
@pytest.mark.parametrize("num_dimensions", [64, 768, 1024])
@pytest.mark.parametrize("rows_per_dimension", [0.0, 0.25, 2.0, 20.0])
def test_distance_equals_the_float64_reference_at_full_size(
    kind, num_dimensions, rows_per_dimension
):
    num_rows = max(2, int(rows_per_dimension * num_dimensions))
    x = sample(0, num_rows=num_rows, num_dimensions=num_dimensions, kind=kind, shift=1e3)
    y = sample(1, num_rows=num_rows, num_dimensions=num_dimensions, kind=kind, shift=1e3)
    check_against_reference(x, y)
    trace = np.asarray(x, np.float64).var(axis=0, ddof=1).sum()
    assert 0.0 <= float(frechet.frechet_distance(x, x)) < 1e-6 * trace


def test_commuting_gaussians_have_the_closed_form():
    """Scaled orthonormal columns have exact moments: distance = sum (sqrt l - sqrt m)^2."""
    random = np.random.default_rng(0)
    centred = random.normal(size=(40, NUM_DIMENSIONS))
    columns = np.linalg.qr(centred - centred.mean(0))[0] * np.sqrt(39)
    scale_x, scale_y = np.logspace(0, -6, NUM_DIMENSIONS), np.linspace(1, 2, NUM_DIMENSIONS)
    distance = frechet.frechet_distance(columns * scale_x + 1.0, columns[::-1] * scale_y)
    expected = NUM_DIMENSIONS + np.sum((scale_x - scale_y) ** 2)
    np.testing.assert_allclose(float(distance), expected, rtol=1e-12)


def test_close_sets_keep_their_relative_accuracy():
    """A stretch by 1 + e is at e^2 tr C; at e = 1e-4 float32 sums would be all rounding."""
    x = np.random.default_rng(0).normal(size=(50, NUM_DIMENSIONS))
    x -= x.mean(0)
    expected = 1e-8 * x.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(float(frechet.frechet_distance(x, x * 1.0001)), expected, rtol=1e-6)


@quick
@given(seeds, st.integers(2, 20), st.integers(2, 20))
def test_distance_is_symmetric_and_never_negative(seed, num_x, num_y):
    x, y = sample(seed, num_rows=num_x), sample(seed + 1, num_rows=num_y)
    forward, backward = float(frechet.frechet_distance(x, y)), float(frechet.frechet_distance(y, x))
    assert forward >= 0.0
    np.testing.assert_allclose(forward, backward, rtol=1e-10)


@quick
@given(seeds, st.integers(2, 20), st.sampled_from(["flat", "condition_1e12", "rank_deficient"]))
def test_a_set_is_at_no_distance_from_itself(seed, num_rows, kind):
    x = sample(seed, num_rows=num_rows, kind=kind)
    trace = np.asarray(x, np.float64).var(axis=0, ddof=1).sum()
    assert 0.0 <= float(frechet.frechet_distance(x, x)) <= 1e-12 * trace


@quick
@given(seeds, st.integers(2, 20), st.floats(-1e3, 1e3))
def test_distance_is_invariant_under_rotation_and_common_shift(seed, num_rows, shift):
    x = sample(seed, num_rows=num_rows).astype(np.float64)
    y = sample(seed + 1, num_rows=num_rows + 2).astype(np.float64)
    rotation = np.linalg.qr(
        np.random.default_rng(seed).normal(size=(NUM_DIMENSIONS, NUM_DIMENSIONS))
    )[0]
    moved = frechet.frechet_distance(x @ rotation + shift, y @ rotation + shift)
    np.testing.assert_allclose(float(moved), float(frechet.frechet_distance(x, y)), rtol=1e-8)


@pytest.mark.parametrize("enabled", [True, False])
def test_precision_does_not_depend_on_the_users_x64_setting(enabled):
    x, y = sample(0, num_rows=30), sample(1, num_rows=30)
    expected = float(frechet.frechet_distance(x, y))
    with jax.enable_x64(enabled):
        assert float(frechet.frechet_distance(x, y)) == expected
        assert float(jax.jit(frechet.frechet_distance)(x, y)) == pytest.approx(expected, rel=1e-12)
        assert jax.config.jax_enable_x64 == enabled
        cell = statistics.update(statistics.empty_statistics(NUM_DIMENSIONS), x, np.ones(30, bool))
        assert cell.factor.dtype == np.float64


def statistics_of(rows):
    return statistics.update(
        statistics.empty_statistics(rows.shape[-1], cells=rows.shape[:-2]),
        rows,
        np.ones(rows.shape[:-1], bool),
    )


def test_grid_equals_the_distances_of_its_pairs():
    x, y = (
        sample(0, num_rows=60).reshape(2, 3, 10, -1),
        2 * sample(1, num_rows=60).reshape(2, 3, 10, -1),
    )
    grid = frechet.distance_grid(statistics_of(x), statistics_of(y))
    expected = [[reference_distance(x[i, j], y[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(grid.distance, expected, rtol=1e-7)
    np.testing.assert_array_equal(grid.num_rows_a, np.full((2, 3), 10))
    assert np.asarray(grid.defined).all()


# Blocks of one dimension, some that divide the width or do not, and one that holds all of it.
@pytest.mark.parametrize("block", [1, 3, 4, 128])
def test_the_compiled_grid_equals_the_one_over_cores(monkeypatch, block):
    monkeypatch.setattr(frechet, "_TRIANGLE_BLOCK", block)
    a, b = (statistics_of(sample(seed, num_rows=800).reshape(4, 5, 40, -1)) for seed in (0, 1))
    with jax.enable_x64(True):
        compiled = jax.jit(frechet.distance_grid)(a, b)
    np.testing.assert_allclose(compiled.distance, frechet.distance_grid(a, b).distance, rtol=1e-12)


def test_a_cell_with_too_few_rows_is_marked_and_leaves_the_others_alone():
    rows = sample(0, num_rows=30).reshape(3, 10, -1)
    mask = np.ones((3, 10), bool)
    mask[1, 1:] = False
    sparse = statistics.update(statistics.empty_statistics(NUM_DIMENSIONS, cells=(3,)), rows, mask)
    grid = frechet.distance_grid(sparse, statistics_of(rows[::-1]))
    np.testing.assert_array_equal(grid.defined, [True, False, True])
    np.testing.assert_array_equal(np.isnan(grid.distance), [False, True, False])
    np.testing.assert_array_equal(grid.num_rows_a, [10, 1, 10])
    assert np.isnan(np.asarray(statistics.covariance(sparse))[1]).all()


def test_single_cells_agree_with_their_rows():
    x, y = sample(0, num_rows=40), sample(1, num_rows=9)
    from_cells = frechet.distance_grid(statistics_of(x), statistics_of(y)).distance
    np.testing.assert_allclose(float(from_cells), float(frechet.frechet_distance(x, y)), rtol=1e-12)


@REGIMES
def test_moments_alone_give_the_distance_of_the_samples(kind):
    x, y = (
        sample(seed, num_rows=100, num_dimensions=32, kind=kind).astype(np.float64)
        for seed in (0, 1)
    )
    from_moments = frechet.frechet_distance_from_moments(
        (x.mean(0), np.cov(x.T)), (y.mean(0), np.cov(y.T))
    )
    np.testing.assert_allclose(
        float(from_moments), float(frechet.frechet_distance(x, y)), rtol=RELATIVE_TOLERANCE
    )


@pytest.fixture
def as_installed():
    """Shape checks off, as for users, so that the library's own errors are what is seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((1, 3)), np.zeros((4, 3)), "x has shape .* n >= 2"),
        (np.zeros((4, 3)), np.zeros((4,)), "y has shape"),
        (np.zeros((4, 3)), np.zeros((4, 2)), "3 dimensions and y 2"),
        (np.zeros((4, 3)), np.full((4, 3), np.nan), "y has 4 rows with NaN or infinity"),
    ],
)
def test_invalid_rows_are_refused_before_computing(as_installed, x, y, message):
    with pytest.raises(ValueError, match=message):
        frechet.frechet_distance(x, y)


def test_invalid_statistics_are_refused(as_installed):
    good = statistics_of(np.eye(3))
    with pytest.raises(ValueError, match="3 and 4 dimensions"):
        frechet.distance_grid(good, statistics_of(np.eye(4)))
    poisoned = statistics_of(np.stack([np.eye(3), np.full((3, 3), np.nan)]))
    with pytest.raises(ValueError, match=r"not finite in 1 cells \(\(1,\)\)"):
        frechet.distance_grid(statistics_of(np.stack([np.eye(3)] * 2)), poisoned)


@pytest.mark.parametrize(
    ("mean", "cov", "message"),
    [
        (np.zeros(2), np.eye(3), "shapes"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), "not symmetric"),
        (np.zeros(2), np.diag([1.0, -0.5]), "negative eigenvalue"),
        (np.array([0.0, np.nan]), np.eye(2), "NaN"),
    ],
)
def test_invalid_moments_are_refused(as_installed, mean, cov, message):
    with pytest.raises(ValueError, match=message):
        frechet.frechet_distance_from_moments((mean, cov), (np.zeros(2), np.eye(2)))
