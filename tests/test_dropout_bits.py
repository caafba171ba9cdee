"""The cheap bits of dropout masks: what a mask needs of them, and where they must not change."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxemo.training.dropout_bits import hashed_key

SIZE = 2**18


def bits(key, shape=(SIZE,)):
    return np.asarray(jax.random.bits(hashed_key(key), shape))


@pytest.mark.parametrize("seed", range(4))
def test_every_byte_is_uniform(seed):
    for byte in bits(jax.random.key(seed)).view(np.uint8).reshape(-1, 4).T:
        counts = np.bincount(byte, minlength=256)
        assert stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize("lag", [1, 2, 64, 199, 768])
def test_neighbours_are_uncorrelated(lag):
    values = bits(jax.random.key(7)) / 2**32 - 0.5
    correlation = np.corrcoef(values[:-lag], values[lag:])[0, 1]
    assert abs(correlation) < 4 / np.sqrt(SIZE)


def test_masks_of_different_steps_and_layers_are_uncorrelated():
    steps = [jax.random.fold_in(hashed_key(jax.random.key(0)), step) for step in range(4)]
    keys = [key for step in steps for key in jax.random.split(step, 3)]
    kept = np.stack([np.ravel(jax.random.bernoulli(key, 0.9, (SIZE,))) for key in keys])
    correlations = np.corrcoef(kept)[np.triu_indices(len(keys), 1)]
    assert np.abs(correlations).max() < 5 / np.sqrt(SIZE)
    np.testing.assert_allclose(kept.mean(axis=1), 0.9, atol=5 * 0.3 / np.sqrt(SIZE))


def test_a_mask_is_the_same_alone_under_vmap_and_flat():
    keys = jax.vmap(hashed_key)(jax.random.split(jax.random.key(1), 3))
    together = jax.vmap(lambda key: jax.random.bits(key, (8, 5)))(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_array_equal(found, jax.random.bits(key, (8, 5)))
        np.testing.assert_array_equal(found.ravel(), jax.random.bits(key, (40,)))


def test_the_equation_in_plain_numbers():
    words = [int(word) for word in jax.random.key_data(jax.random.key(5))]
    for position, found in enumerate(bits(jax.random.key(5), (4,))):
        word = ((words[0] | 1) * position + words[1]) % 2**32
        word = (word ^ (word >> 16)) * 0x7FEB352D % 2**32
        word = (word ^ (word >> 15)) * 0x846CA68B % 2**32
        assert int(found) == word ^ (word >> 16)


def test_other_widths_are_refused():
    with pytest.raises(NotImplementedError, match="32 bits"):
        jax.random.bits(hashed_key(jax.random.key(0)), (4,), jnp.uint8)
