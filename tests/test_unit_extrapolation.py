"""Frechet distance at infinitely many speakers against that of the distributions that they are drawn from."""

import numpy as np
import pytest

from jaxemo.analysis.resampling import RowSums, sums_by_unit
from jaxemo.analysis.unit_extrapolation import infinite_units_distance

SHIFT = 1.6


def sides_of(seed, *, speakers=24, clips=4, d=16, shift=SHIFT, apart=False):
    """Clips of speakers who speak and sing, or of `apart`: half of them speak and the others sing."""
    draw = np.random.default_rng(seed)
    voice = draw.normal(size=(speakers, 1, d))
    sides = []
    for domain in range(2):
        own = voice + 0.6 * draw.normal(size=(speakers, 1, d))
        rows = own + draw.normal(size=(speakers, clips, d))
        rows[..., 0] += shift * domain
        unit = np.repeat(np.arange(speakers), clips)
        unit = np.where(unit % 2 == domain, unit, -1) if apart else unit
        sides.append(sums_by_unit(rows.reshape(-1, d), unit, num_units=speakers))
    return sides


def found_in(seed, **options):
    return infinite_units_distance(np.random.default_rng(seed), *sides_of(seed, **options))


@pytest.mark.parametrize("shift", [0.0, SHIFT])
def test_what_few_speakers_add_is_taken_off_and_the_interval_holds_the_truth(shift):
    found = [found_in(seed, shift=shift) for seed in range(40)]
    error = np.std([one.distance for one in found]) / np.sqrt(len(found))
    assert abs(np.mean([one.distance for one in found]) - shift**2) < 3 * error
    # Of 40 intervals of 95 %, 34 or more with 99 %.
    assert sum(one.low <= shift**2 <= one.high for one in found) >= 34
    assert all(one.fit_error < one.standard_error for one in found)


def test_speakers_of_one_side_alone_are_dealt_apart():
    found = [found_in(seed, speakers=48, apart=True) for seed in range(20)]
    error = np.std([one.distance for one in found]) / np.sqrt(len(found))
    assert abs(np.mean([one.distance for one in found]) - SHIFT**2) < 3 * error


def test_dimensions_are_fewer_than_the_speakers_bear():
    assert found_in(0, speakers=24, d=20).d == 16
    assert found_in(0, speakers=9, d=20).d == 6
    assert found_in(0, speakers=24, d=8).d == 8


def test_the_leading_dimensions_come_last():
    a, b = sides_of(0, d=16)
    wide = [
        RowSums(side.num_rows, np.pad(side.total, ((0, 0), (9, 0))), np.pad(side.outer, pad))
        for side, pad in ((a, ((0, 0), (9, 0), (9, 0))), (b, ((0, 0), (9, 0), (9, 0))))
    ]
    one = infinite_units_distance(np.random.default_rng(0), a, b)
    other = infinite_units_distance(np.random.default_rng(0), *wide)
    assert one == other


def test_fewer_than_six_speakers_on_a_side_are_not_extrapolated():
    assert found_in(0, speakers=5) is None
    assert found_in(0, speakers=11, apart=True) is None
    assert found_in(0, speakers=6) is not None
