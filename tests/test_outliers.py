"""Scores of single clips: their equation, what they must not depend on, and a planted outlier."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.distances.outliers import RIDGE, clip_scores, make_reference

NUM_LAYERS, WIDTH = 2, 5


@pytest.fixture(scope="module")
def reference_rows():
    random = np.random.default_rng(0)
    return random.normal(size=(NUM_LAYERS, 400, WIDTH)) @ random.normal(size=(WIDTH, WIDTH)) + 3.0


@pytest.fixture(scope="module")
def reference(reference_rows):
    covariances = np.stack([np.cov(rows.T) for rows in reference_rows])
    return make_reference(reference_rows.mean(1), covariances)


def as_batch(rows):
    """(L, n, D) frames as one clip, with its mask."""
    return jnp.asarray(rows[:, None], jnp.float32), np.ones((1, rows.shape[1]), bool)


def test_score_is_the_ridged_mahalanobis_distance(reference_rows, reference):
    frames = np.random.default_rng(1).normal(size=(NUM_LAYERS, 30, WIDTH))
    expected = []
    for rows, clip in zip(reference_rows, frames, strict=True):
        cov = np.cov(rows.T)
        ridge = RIDGE * np.trace(cov) / WIDTH
        inverse = np.linalg.inv(cov + ridge * np.eye(WIDTH))
        centred = clip - rows.mean(0)
        expected.append(
            np.einsum("ti,ij,tj->t", centred, inverse, centred).mean() / np.trace(cov @ inverse)
        )
    np.testing.assert_allclose(clip_scores(reference, *as_batch(frames))[0], expected, rtol=1e-5)


def test_the_references_own_frames_score_one_on_average(reference_rows, reference):
    np.testing.assert_allclose(clip_scores(reference, *as_batch(reference_rows))[0], 1.0, atol=0.01)


def test_score_depends_on_neither_length_nor_padding(reference_rows, reference):
    once = reference_rows[:, :40]
    twice = np.concatenate([once, once], axis=1)
    padded = np.concatenate([once, np.full_like(once, np.nan)], axis=1)
    states = jnp.asarray(np.stack([twice, padded], axis=1), jnp.float32)
    mask = np.stack([np.ones(80, bool), np.arange(80) < 40])
    expected = clip_scores(reference, *as_batch(once))[0]
    np.testing.assert_allclose(clip_scores(reference, states, mask), [expected] * 2, rtol=1e-6)


def test_a_rank_deficient_reference_still_scores():
    rows = np.random.default_rng(0).normal(size=(1, 3, WIDTH))
    reference = make_reference(rows.mean(1), np.cov(rows[0].T)[None])
    scores = [clip_scores(reference, *as_batch(clip)) for clip in (rows, rows + 2.0)]
    inside, outside = (float(score[0, 0]) for score in scores)
    assert 0.0 < inside < outside < np.inf


def test_a_reference_that_does_not_vary_is_refused_by_layer():
    covariances = np.stack([np.eye(WIDTH), np.zeros((WIDTH, WIDTH))])
    with pytest.raises(ValueError, match=r"do not vary.*layers \[1\]"):
        make_reference(np.zeros((2, WIDTH)), covariances)
