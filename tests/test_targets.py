"""Clusters and random-projection codes, against plain numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.pretraining.targets import (
    KMeansSettings,
    RandomProjectionSettings,
    fit_kmeans,
    fit_random_projection,
    fit_scaling,
    squared_distances,
)

SETTINGS = KMeansSettings(num_clusters=12, num_seeding=512, batch_size=256, num_rounds=6)
FIT = jax.jit(fit_kmeans, static_argnums=3)
CODES = RandomProjectionSettings(num_codebooks=3, num_codes=64, width=8)


@pytest.fixture(scope="module")
def blobs():
    """1,200 rows about 12 far centres, and their blob's number."""
    random = np.random.default_rng(0)
    label = np.arange(1200) % 12
    centres = 10 * random.standard_normal((12, 5))
    return jnp.asarray(centres[label] + random.standard_normal((1200, 5)), jnp.float32), label


@pytest.fixture(scope="module")
def fitted(blobs):
    return FIT(jax.random.key(0), blobs[0], jnp.ones(1200), SETTINGS)


def test_separate_blobs_are_found(fitted, blobs):
    codes = np.asarray(fitted.codes(blobs[0]))
    pairs = set(zip(codes.tolist(), blobs[1].tolist(), strict=True))
    assert len(pairs) == 12


def test_centres_lie_at_the_means_of_their_rows(fitted, blobs):
    scaled = np.asarray(fitted.scaling(blobs[0]))
    codes = np.asarray(fitted.codes(blobs[0]))
    means = np.stack([scaled[codes == code].mean(axis=0) for code in range(12)])
    # A round leaves out the last 176 of 1,200 rows.
    np.testing.assert_allclose(fitted.centres, means, atol=0.05)


def test_equal_keys_give_equal_clusters(fitted, blobs):
    again = FIT(jax.random.key(0), blobs[0], jnp.ones(1200), SETTINGS)
    np.testing.assert_array_equal(fitted.centres, again.centres)


def test_rows_of_no_weight_change_nothing_whatever_they_hold(blobs):
    weight = jnp.where(jnp.arange(1200) < 900, 1.0, 0.0)
    spoilt = jnp.where(weight[:, None] > 0, blobs[0], jnp.nan)
    one, other = (
        FIT(jax.random.key(0), rows, weight, SETTINGS).centres for rows in (blobs[0], spoilt)
    )
    np.testing.assert_array_equal(one, other)


def test_no_cluster_stays_empty_where_seeding_saw_but_one_row(blobs):
    blind = SETTINGS._replace(num_seeding=1)
    codes = FIT(jax.random.key(0), blobs[0], jnp.ones(1200), blind).codes(blobs[0])
    assert np.bincount(codes, minlength=12).min() > 0


def test_distances_are_those_of_differences():
    random = np.random.default_rng(1)
    rows, centres = random.standard_normal((7, 4)), random.standard_normal((3, 4))
    expected = ((rows[:, None] - centres) ** 2).sum(axis=2)
    found = squared_distances(jnp.asarray(rows, jnp.float32), jnp.asarray(centres, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scaling_gives_mean_0_and_variance_1(blobs):
    scaled = np.asarray(fit_scaling(blobs[0], jnp.ones(1200))(blobs[0]))
    moments = np.stack([scaled.mean(axis=0), scaled.std(axis=0)])
    np.testing.assert_allclose(moments, [[0] * 5, [1] * 5], atol=1e-4)


@pytest.fixture(scope="module")
def projected(blobs):
    return fit_random_projection(jax.random.key(1), blobs[0], jnp.ones(1200), CODES)


def test_random_projection_codes_are_the_nearest_on_the_unit_sphere(projected, blobs):
    scaled = np.asarray(projected.scaling(blobs[0]), np.float64)[:, None, None]
    sent = (scaled @ np.asarray(projected.projection, np.float64))[:, :, 0]
    sent /= np.linalg.norm(sent, axis=-1, keepdims=True)
    distance = np.linalg.norm(sent[:, :, None] - np.asarray(projected.codebooks), axis=-1)
    np.testing.assert_array_equal(projected.codes(blobs[0]), distance.argmin(axis=-1))


def test_codebooks_differ(projected, blobs):
    codes = np.asarray(projected.codes(blobs[0]))
    assert (codes[:, 0] != codes[:, 1]).mean() > 0.8


def test_codes_have_unit_length(projected):
    np.testing.assert_allclose(jnp.linalg.norm(projected.codebooks, axis=-1), 1.0, atol=1e-6)
