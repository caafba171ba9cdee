"""Our distances against fadtk 1.1.0 and kadtk 1.1.0, by their own functions.

Where they agree, to what precision; and every known disagreement as a test of its own:
fadtk's Frechet distance
  - takes the root of the product of covariances by `eig`, which loses half the digits where the
    product is singular: wrong in the fourth digit, below 0 or an error, where ours is exact;
  - falls back to covariances with 1e-6 on their diagonals only where the root is not finite, an
    amount that is nothing to embeddings of size 100 and everything to those of size 1e-3.
fadtk's FAD-infinity
  - draws the evaluated set alone, with replacement: the reference keeps its small-sample bias, and
    repeated frames are counted as if they were new ones. Ours draws both, without.
fadtk's and kadtk's scores of single files
  - are distances of a few hundred frames, so they measure the file's length first of all;
    kadtk's also has a bandwidth of its own for each file. See `jaxemo/distances/outliers.py` for ours.
kadtk's kernel distance
  - is ours times 100, with its bandwidth from the second set alone, the lower of two middle pairs as
    the median, float32, and sets that are not centred: a common shift of 1000 deviations costs all
    its digits.
Needs PyTorch, and fadtk and kadtk installed with --no-deps: both pin old versions of what jaxemo stands on, and
neither is imported.
"""

import numpy as np
import pytest
from benchmarks.published import fadtk_distance, is_installed, load_functions

from jaxemo.analysis.resampling import sums_by_unit
from jaxemo.analysis.unit_extrapolation import infinite_units_distance
from jaxemo.distances.frechet import frechet_distance, frechet_distance_from_moments
from jaxemo.distances.kernel import kernel_distance

pytestmark = [
    pytest.mark.reference,
    # What the peers' own code is warned of is no finding about this package.
    pytest.mark.filterwarnings("ignore:To copy construct:UserWarning"),
]
needs_fadtk = pytest.mark.skipif(
    not is_installed("fadtk"), reason="needs fadtk, installed with --no-deps"
)
needs_kadtk = pytest.mark.skipif(
    not (is_installed("kadtk") and is_installed("torch")),
    reason="needs kadtk, installed with --no-deps, and PyTorch",
)

# kadtk prints the kernel distance times this.
KADTK_SCALE = 100.0

# What the project promises; fadtk in float64 reaches 1e-8 where covariances have full rank.
RELATIVE_TOLERANCE = 1e-5
# kadtk sums float32 kernels and prints them times 100.
KADTK_TOLERANCE = 2e-4


def sample(seed, *, num_rows, num_dimensions=24, shift=0.0, scale=1.0):
    random = np.random.default_rng(seed)
    deviations = 1 / np.sqrt(np.arange(1, num_dimensions + 1))
    return scale * random.normal(size=(num_rows, num_dimensions)) * deviations + shift


def moments(rows):
    return rows.mean(0), np.cov(rows, rowvar=False)


@pytest.fixture(scope="module")
def fadtk():
    # scipy announces that sqrtm will lose an argument that fadtk gives it.
    import warnings

    function = fadtk_distance()

    def distance(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*arguments)

    return distance


@pytest.fixture(scope="module")
def kadtk():
    from pathlib import Path

    import torch

    found = load_functions(
        "kadtk",
        "kad",
        names=("calc_kernel_audio_distance", "median_pairwise_distance"),
        namespace={"np": np, "torch": torch, "Path": Path, "SCALE_FACTOR": KADTK_SCALE},
    )
    distance = found["calc_kernel_audio_distance"]
    median = found["median_pairwise_distance"]
    as_tensor = torch.from_numpy
    return (
        lambda x, y, **options: distance(
            as_tensor(x), as_tensor(y), (None, None), "cpu", **options
        ).item(),
        lambda rows: median(rows.tolist()),
    )


@needs_fadtk
@pytest.mark.parametrize("shift", [0.0, 0.3, 30.0])
def test_fadtk_agrees_where_covariances_have_full_rank(fadtk, shift):
    x, y = sample(0, num_rows=300), sample(1, num_rows=200, shift=shift)
    expected = fadtk(*moments(x), *moments(y))
    assert float(frechet_distance(x, y)) == pytest.approx(expected, rel=RELATIVE_TOLERANCE)
    ours = frechet_distance_from_moments(moments(x), moments(y))
    assert float(ours) == pytest.approx(expected, rel=RELATIVE_TOLERANCE)


@needs_fadtk
def test_fadtk_loses_digits_or_fails_where_a_covariance_is_singular(fadtk):
    """10 rows of 24 dimensions: the distance of a set from itself is 0, which fadtk cannot say."""
    x = sample(0, num_rows=10)
    trace = np.trace(np.cov(x.T))
    assert float(frechet_distance(x, x)) < 1e-12 * trace
    try:
        theirs = fadtk(*moments(x), *moments(x))
    except (ValueError, np.linalg.LinAlgError):
        return
    assert abs(theirs) > 1e-12 * trace


@needs_fadtk
def test_scale_is_squared_in_ours_and_in_fadtk(fadtk):
    x, y = sample(0, num_rows=300), sample(1, num_rows=200, shift=0.1)
    once = float(frechet_distance(x, y))
    for scale in (1e-3, 1e3):
        assert float(frechet_distance(scale * x, scale * y)) == pytest.approx(scale**2 * once)
        theirs = fadtk(*moments(scale * x), *moments(scale * y))
        assert theirs == pytest.approx(scale**2 * once, rel=RELATIVE_TOLERANCE)


@needs_fadtk
def test_drawing_one_set_alone_keeps_the_other_sets_bias(fadtk):
    """fadtk's FAD-infinity, its loop written out: of two samples of one Gaussian ours is near 0."""
    x, y = sample(0, num_rows=400), sample(1, num_rows=400)
    random = np.random.default_rng(0)
    sizes = np.linspace(100, len(y), 25).astype(int)
    theirs = [fadtk(*moments(x), *moments(y[random.choice(len(y), size=n)])) for n in sizes]
    _, their_limit = np.polyfit(1 / sizes, theirs, 1)
    biased = float(frechet_distance(x, y))
    assert their_limit > 0.3 * biased
    # Ten pairs: how rows are dealt out moves a single one by a seventh of the bias (its fit_error).
    ours = [
        distance_of_all_rows(sample(2 * n, num_rows=400), sample(2 * n + 1, num_rows=400))
        for n in range(10)
    ]
    assert abs(np.mean(ours)) < 0.1 * biased


def distance_of_all_rows(x, y):
    """At infinitely many units, each row a unit of its own."""
    sides = (x, np.arange(len(x))), (y, len(x) + np.arange(len(y)))
    sums = [sums_by_unit(rows.astype(float), units, num_units=800) for rows, units in sides]
    return infinite_units_distance(np.random.default_rng(0), *sums).distance


@needs_kadtk
@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_kadtk_agrees_under_its_bandwidth(kadtk, shift):
    distance, median = kadtk
    x, y = sample(0, num_rows=80), sample(1, num_rows=61, shift=shift)
    ours = KADTK_SCALE * float(kernel_distance(x, y, bandwidth=median(y)))
    assert distance(x, y) == pytest.approx(ours, abs=KADTK_TOLERANCE)


@needs_kadtk
def test_kadtk_depends_on_the_order_of_the_sets_and_ours_does_not(kadtk):
    distance, _ = kadtk
    x, y = sample(0, num_rows=80), sample(1, num_rows=60, scale=2.0)
    assert float(kernel_distance(x, y)) == pytest.approx(float(kernel_distance(y, x)), rel=1e-9)
    assert abs(distance(x, y) / distance(y, x) - 1) > 0.05


@needs_kadtk
def test_kadtk_takes_the_lower_of_two_middle_pairs(kadtk):
    """Rows at 0, 1, 3, 7: pairs 1 2 3 4 6 7, whose median is 3.5."""
    _, median = kadtk
    assert median(np.array([[0.0], [1.0], [3.0], [7.0]])) == 3.0


@needs_kadtk
def test_a_common_shift_costs_kadtk_its_digits(kadtk):
    distance, median = kadtk
    x, y = sample(0, num_rows=80), sample(1, num_rows=60, shift=0.1)
    bandwidth = median(y)
    here, moved = (
        KADTK_SCALE * float(kernel_distance(x + far, y + far, bandwidth=bandwidth))
        for far in (0.0, 1e3)
    )
    assert moved == pytest.approx(here, rel=1e-6)
    theirs = distance(x + 1e3, y + 1e3, bandwidth=bandwidth)
    assert abs(theirs - here) > 10 * KADTK_TOLERANCE
