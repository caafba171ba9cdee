"""A cheap stream of random bits for dropout masks.

Dropout in a transformer takes a random number for every activation and every attention weight: with
threefry, jax's default, these were a quarter of a LoRA step on a CPU. Keys are still split and folded by
threefry; only the bits themselves come from a hash of their position:

    bits_i = mix((k_0 | 1) i + k_1)    mod 2^32,  k the key's two words

Integer arithmetic alone: the same bits on every backend, under `vmap` and for every sharding (jax's rbg
has none of these three). Good enough for masks; nothing that needs a generator of tested quality may use it.

Reference: `mix` is the 32-bit finaliser lowbias32 of Wellons 2018, "Prospecting for Hash Functions".
"""

import math

import jax
import jax.numpy as jnp
from jax.extend.random import define_prng_impl
from jaxtyping import Array, Key, UInt


def hashed_key(key: Key[Array, ""]) -> Key[Array, ""]:
    """The key whose bits are those of this module; what is derived from it is too."""
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_HASHED)


def _mix(word: UInt[Array, "..."]) -> UInt[Array, "..."]:
    word = (word ^ (word >> 16)) * jnp.uint32(0x7FEB352D)
    word = (word ^ (word >> 15)) * jnp.uint32(0x846CA68B)
    return word ^ (word >> 16)


def _random_bits(words: UInt[Array, "2"], bit_width: int, shape: tuple[int, ...]) -> Array:
    if bit_width != 32:
        raise NotImplementedError(f"dropout masks are drawn from 32 bits each, not {bit_width}.")
    # Modulo 2^32 like everything here; one axis at a time, so that a sharded mask is made in its shards.
    position = jnp.zeros(shape, jnp.uint32)
    for axis in range(len(shape)):
        step = jnp.uint32(math.prod(shape[axis + 1 :]) % 2**32)
        position += step * jax.lax.broadcasted_iota(jnp.uint32, shape, axis)
    return _mix((words[0] | 1) * position + words[1])


def _threefry(words: UInt[Array, "..."]) -> Key[Array, "..."]:
    return jax.random.wrap_key_data(words, impl="threefry2x32")


_HASHED = define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=lambda words, shape: jax.random.key_data(jax.random.split(_threefry(words), shape)),
    random_bits=_random_bits,
    fold_in=lambda words, data: jax.random.key_data(jax.random.fold_in(_threefry(words), data)),
    name="jaxemo_hashed",
    tag="jh",
)
