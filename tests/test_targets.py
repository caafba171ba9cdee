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


def key(seed):
    """Of a generator that compiles in a tenth of the usual one's time."""
    return jax.random.key(seed, impl="unsafe_rbg")


SETTINGS = KMeansSettings(num_clusters=12, num_seeding=512, batch_size=256, num_rounds=6)
FIT = jax.jit(fit_kmeans, static_argnums=3)
CODES = RandomProjectionSettings(num_codebooks=3, num_codes=64, width=8)


@pytest.fixture(scope="module")
def blobs():
    """1,200 rows about 12 far centres, their blob's number, and 100 rows of padding that hold NaN."""
    random = np.random.default_rng(0)
    label = np.arange(1200) % 12
    rows = 10 * random.standard_normal((12, 5))[label] + 0.2 * random.standard_normal((1200, 5))
    return jnp.asarray(np.concatenate([rows, np.full((100, 5), np.nan)]), jnp.float32), label


@pytest.fixture(scope="module")
def weight():
    return jnp.asarray(np.arange(1300) < 1200, jnp.float32)


@pytest.fixture(scope="module")
def fitted(blobs, weight):
    return FIT(key(0), blobs[0], weight, SETTINGS)


def test_separate_blobs_are_found(fitted, blobs):
    codes = np.asarray(fitted.codes(blobs[0][:1200]))
    pairs = set(zip(codes.tolist(), blobs[1].tolist(), strict=True))
    assert len(pairs) == 12


def test_centres_lie_at_the_means_of_their_rows(fitted, blobs):
    scaled = np.asarray(fitted.scaling(blobs[0][:1200]))
    codes = np.asarray(fitted.codes(blobs[0][:1200]))
    means = np.stack([scaled[codes == code].mean(axis=0) for code in range(12)])
    # A round leaves out the rows that fill no batch.
    np.testing.assert_allclose(fitted.centres, means, atol=0.01)


def test_equal_keys_give_equal_clusters(fitted, blobs, weight):
    again = FIT(key(0), blobs[0], weight, SETTINGS)
    np.testing.assert_array_equal(fitted.centres, again.centres)


@pytest.mark.slow
def test_no_cluster_stays_empty_where_seeding_saw_but_one_row(blobs, weight):
    blind = SETTINGS._replace(num_seeding=1)
    codes = FIT(key(0), blobs[0], weight, blind).codes(blobs[0][:1200])
    assert np.bincount(codes, minlength=12).min() > 0


@pytest.fixture(scope="module")
def sample(blobs):
    return blobs[0][:300], jnp.ones(300)


def test_distances_are_those_of_differences():
    random = np.random.default_rng(1)
    rows, centres = random.standard_normal((7, 4)), random.standard_normal((3, 4))
    expected = ((rows[:, None] - centres) ** 2).sum(axis=2)
    found = squared_distances(jnp.asarray(rows, jnp.float32), jnp.asarray(centres, jnp.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scaling_gives_mean_0_and_variance_1(sample):
    scaled = np.asarray(fit_scaling(*sample)(sample[0]))
    moments = np.stack([scaled.mean(axis=0), scaled.std(axis=0)])
    np.testing.assert_allclose(moments, [[0] * 5, [1] * 5], atol=1e-4)


@pytest.fixture(scope="module")
def projected(sample):
    return fit_random_projection(key(1), *sample, CODES)


def test_random_projection_codes_are_the_nearest_on_the_unit_sphere(projected, sample):
    scaled = np.asarray(projected.scaling(sample[0]), np.float64)[:, None, None]
    sent = (scaled @ np.asarray(projected.projection, np.float64))[:, :, 0]
    sent /= np.linalg.norm(sent, axis=-1, keepdims=True)
    distance = np.linalg.norm(sent[:, :, None] - np.asarray(projected.codebooks), axis=-1)
    np.testing.assert_array_equal(projected.codes(sample[0]), distance.argmin(axis=-1))


def test_codebooks_differ(projected, sample):
    codes = np.asarray(projected.codes(sample[0]))
    assert (codes[:, 0] != codes[:, 1]).mean() > 0.8


def test_codes_have_unit_length(projected):
    np.testing.assert_allclose(jnp.linalg.norm(projected.codebooks, axis=-1), 1.0, atol=1e-6)
