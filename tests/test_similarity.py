"""Study 3 on a made-up frame sample, against the library's distances one pair at a time."""

import jax
import numpy as np
import pytest

from jaxemo.analysis.design import Design
from jaxemo.distances.frechet import frechet_distance
from jaxemo.distances.kernel import exchange_test, kernel_distance, kernel_sums
from jaxemo.embedding.frames import FrameSample
from jaxemo.studies.config import Settings
from jaxemo.studies.similarity import samples as similarity_samples
from jaxemo.studies.similarity.cells import Cells
from jaxemo.studies.similarity.samples import interval_of, sample_layer
from jaxemo.studies.study_settings import SimilaritySettings

EMOTIONS = ("neutral", "happy", "sad")
SPEAKERS, CLIPS, FRAMES, WIDTH = 6, 3, 4, 5
HALVES = np.array([0, 0, 1, 1, 0, 0])


def config(**changed):
    settings = {"resampling_dimensions": 8, "permutations": 99}
    return Settings(similarity=SimilaritySettings(**settings | changed))


@pytest.fixture(scope="module")
def cells():
    """Three emotions, of which music lacks `sad` and speaker 5 does not sing; neutral has one clip."""
    axes = (range(2), range(len(EMOTIONS)), range(SPEAKERS), range(CLIPS))
    rows = np.array(np.meshgrid(*axes, indexing="ij")).reshape(4, -1).T
    domain, emotion, speaker, clip = rows.T
    keep = ~((domain == 1) & ((emotion == 2) | (speaker == 5))) & ~((emotion == 0) & (clip > 0))
    design = Design(domain[keep], emotion[keep], speaker[keep], len(EMOTIONS), SPEAKERS)
    return Cells(design, (clip[keep] + HALVES[speaker[keep]]) % 2, EMOTIONS)


@pytest.fixture(scope="module")
def frames(cells):
    draw = np.random.default_rng(0)
    design = cells.design
    values = draw.normal(size=(2, len(design.domain), FRAMES, WIDTH)) + 2.0
    values += (design.domain * (1 + design.emotion))[:, None, None] * [1.0, 0, 0, 0, 0]
    mask = np.ones(values.shape[1:3], bool)
    mask[::4, -1] = False
    clips = values.astype(np.float32).transpose(1, 2, 0, 3)  # n K L D
    return FrameSample(
        [clip[kept] for clip, kept in zip(clips, mask, strict=True)], per_clip=FRAMES
    )


def rows_of(frames, clips, layer=0):
    return frames.layer(layer)[clips][frames.mask[clips]]


@pytest.fixture(scope="module")
def found(cells, frames):
    settings = config()
    return [sample_layer(frames, layer, cells, config=settings) for layer in range(2)]


def one(found, **wanted):
    [row] = [
        row
        for row in found.rows
        if all(getattr(row, key) == value for key, value in wanted.items())
    ]
    return row


def test_kernel_rows_are_kernel_distances_under_one_bandwidth(found, cells, frames):
    everything = frames.layer(0)[frames.mask]
    key = jax.random.fold_in(jax.random.key(0), similarity_samples._KERNEL)
    bandwidth = similarity_samples.median_bandwidth(key, everything, max_rows=500)
    for comparison in ("cross_domain", "null_speech", "null_music"):
        pair = cells.pairs(comparison)[1]
        x, y = (rows_of(frames, side.clips) for side in pair)
        row = one(found[0], metric="KAD", comparison=comparison, emotion="happy")
        distance = float(kernel_distance(x, y, bandwidth=bandwidth))
        assert row.mean == pytest.approx(distance, rel=1e-9, abs=1e-12)
        assert (row.n_a, row.n_b) == (len(x), len(y)) and row.low < row.high
        assert (row.p_value is not None) == (comparison == "cross_domain")


def test_p_values_are_those_of_the_permutation_test_of_the_rows(found, cells, frames):
    pair = cells.pairs("cross_domain")[1]
    x, y = (rows_of(frames, side.clips) for side in pair)
    units = [
        np.repeat(cells.design.speaker[side.clips] + first, frames.mask[side.clips].sum(axis=1))
        for side, first in zip(pair, (0, SPEAKERS), strict=True)
    ]
    sums = kernel_sums(
        np.concatenate([x, y]), np.concatenate(units), num_units=2 * SPEAKERS, bandwidth=3.0
    )
    test = exchange_test(jax.random.key(1), sums)
    row = one(found[0], metric="KAD", comparison="cross_domain", emotion="happy")
    # Other draws, another bandwidth: the same to the noise of a thousand exchanges of 6 speakers.
    assert row.p_value == pytest.approx(test.p_value, abs=0.05)


def test_intervals_hold_the_distance_of_all_frames_and_rest_on_speakers(found, cells, frames):
    pair = cells.pairs("cross_domain")[1]
    x, y = (rows_of(frames, side.clips) for side in pair)
    estimate = float(frechet_distance(x, y))
    jackknife = found[0].jackknives[1]
    assert jackknife.distance == pytest.approx(estimate, rel=1e-5)
    interval = interval_of(estimate, jackknife)
    assert interval["low"] < estimate < interval["high"]
    assert interval_of(estimate, None) == {} and found[0].jackknives[2] is None


def test_equal_n_draws_every_emotion_down_to_the_smallest(found):
    for emotion in ("neutral", "happy"):
        row = one(found[0], metric="FAD_equal_n", comparison="cross_domain", emotion=emotion)
        # Of five singers' one neutral clip each, the smaller half; some clips have three frames.
        assert 3 * 2 <= row.n_a <= 4 * 2 and 3 * 2 <= row.n_b <= 4 * 2
        assert row.mean > 0 and row.clips_b == (5 if emotion == "neutral" else 15)


def test_what_a_side_lacks_is_unknown_in_every_row_and_never_made_up(found):
    for layer in found:
        for row in layer.rows:
            lacking = row.emotion == "sad" and row.comparison != "null_speech"
            # Music has five speakers, and a third of them is fewer than two.
            few = row.metric == "FAD_infinite_speakers" and min(row.speakers_a, row.speakers_b) < 6
            assert (row.mean is None) == (lacking or few), row
            assert row.small_sample == (min(row.n_a, row.n_b) < 2 * row.d)


def test_too_many_rows_for_kernels_are_thinned_by_clip(cells, frames, monkeypatch):
    sides = tuple(domain[1] for domain in cells.sides)
    everything = np.concatenate([side.clips for side in sides])
    assert set(similarity_samples._kernel_clips(sides, frames.mask, cells, 0)) == set(everything)
    monkeypatch.setattr(similarity_samples, "_MAX_KERNEL_ROWS", 60)
    kept = similarity_samples._kernel_clips(sides, frames.mask, cells, 0)
    assert 30 < frames.mask[kept].sum() <= 66 and set(kept) < set(everything)
    assert set(cells.design.speaker[kept]) == set(range(SPEAKERS))
