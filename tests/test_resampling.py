"""Distances from sums over rows against those of the rows themselves."""

import numpy as np
import pytest

from jaxemo.analysis.resampling import (
    ClipRows,
    draw_clips,
    equal_clips_distance,
    jackknife_distance,
    pair_distances,
    principal_rows,
    sums_by_unit,
)
from jaxemo.distances.frechet import frechet_distance

# Squared rows and the diagonal added to them; worst where the covariance is rank-deficient.
TOLERANCE = 1e-4


def cloud(seed, n, d, *, spread=1.0, shift=0.0):
    return np.random.default_rng(seed).normal(size=(n, d)) * spread + shift


@pytest.mark.parametrize("n", [5, 12, 200])
def test_pair_distances_are_those_of_the_rows(n):
    x, y = cloud(0, n, 12), cloud(1, n, 12, spread=2.0, shift=0.5)
    units = np.repeat([0, 1], n)
    sums = sums_by_unit(np.concatenate([x, y]), units, num_units=3)
    found = pair_distances(sums, np.array([0, 0, 1]), np.array([1, 0, 2]))
    assert found[0] == pytest.approx(float(frechet_distance(x, y)), rel=TOLERANCE)
    assert found[1] < 1e-5
    assert np.isnan(found[2])


def test_each_speaker_is_left_out_of_both_sets_once():
    x, y = cloud(0, 60, 4), cloud(1, 60, 4, shift=1.0)
    speaker = np.arange(60) % 3
    a, b = (sums_by_unit(rows, speaker, num_units=4) for rows in (x, y))
    found = jackknife_distance(a, b)
    assert found.distance == pytest.approx(float(frechet_distance(x, y)), rel=1e-6)
    kept = [speaker != s for s in range(3)]
    without = np.array([float(frechet_distance(x[k], y[k])) for k in kept])
    np.testing.assert_allclose(found.influence, 2 * (without.mean() - without), rtol=1e-5)


def test_the_jackknife_error_is_the_spread_over_new_speakers():
    distances, errors = [], []
    for seed in range(40):
        draw = np.random.default_rng(seed)
        voice = 0.5 * draw.normal(size=(24, 1, 8))
        x, y = (
            (voice + 0.5 * draw.normal(size=(24, 1, 8)) + draw.normal(size=(24, 20, 8)) + shift)
            for shift in (0.0, 0.5)
        )
        speaker = np.repeat(np.arange(24), 20)
        sides = (sums_by_unit(rows.reshape(-1, 8), speaker, num_units=24) for rows in (x, y))
        found = jackknife_distance(*sides)
        distances.append(found.distance)
        errors.append(found.standard_error)
    assert np.mean(errors) == pytest.approx(np.std(distances), rel=0.35)


def test_principal_rows_keep_all_distances_where_dimensions_suffice_and_most_otherwise():
    spread = 0.5 ** np.arange(8)
    x, y = cloud(0, 300, 8) * spread, cloud(1, 300, 8) * spread + spread
    for k, exact in ((8, True), (20, True), (3, False)):
        found = principal_rows(np.concatenate([x, y]).astype(np.float32), num_dimensions=k)
        distance = float(frechet_distance(*np.split(found.rows, 2)))
        whole = float(frechet_distance(x, y))
        if exact:
            assert distance == pytest.approx(whole, rel=1e-5)
            assert found.variance_kept == 1.0
        else:
            assert 0.9 * whole < distance <= whole
            assert 0.97 < found.variance_kept < 1.0


def test_clips_are_drawn_evenly_over_speakers_and_never_twice():
    speaker = np.repeat([0, 1, 2], [10, 4, 2])
    random = np.random.default_rng(0)
    for size, least in ((6, [2, 2, 2]), (11, [4, 4, 2]), (16, [10, 4, 2])):
        drawn = draw_clips(random, speaker, num_clips=size)
        assert len(set(drawn.tolist())) == size
        assert (np.bincount(speaker[drawn], minlength=3) >= least).all()


def _clips(seed, clips, *, shift=0.0, frames=4, width=6):
    """Clips whose frames share most of what they are."""
    rows = cloud(seed, clips, width)[:, None] + 0.2 * cloud(
        seed + 1, clips * frames, width
    ).reshape(clips, frames, width)
    return ClipRows(rows + shift, np.ones((clips, frames), bool), np.arange(clips) % 8)


def test_equal_clips_make_an_uneven_pair_as_biased_as_an_even_one():
    random = np.random.default_rng(0)
    few, many, more = _clips(0, 40), _clips(2, 400), _clips(4, 400)
    uneven = equal_clips_distance(random, many, more, num_clips=40, num_draws=10)
    whole = equal_clips_distance(random, many, more, num_clips=400, num_draws=1)
    even = equal_clips_distance(random, few, many, num_clips=40, num_draws=10)
    assert whole < 0.3 * uneven
    assert uneven == pytest.approx(even, rel=0.5)
