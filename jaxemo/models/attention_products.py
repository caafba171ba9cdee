"""The products of attention: how queries, keys and values become outputs, and on which kernels."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray


def dot_product_attention(
    query: Float[Array, "B T H K"],
    key: Float[Array, "B S H K"],
    value: Float[Array, "B S H K"],
    *,
    bias: Float[Array, "B H T S"] | None,
    mask: Bool[Array, "B 1 1 S"],
) -> Float[Array, "B T H K"]:
    """softmax(q k^T / sqrt K + bias, over the keys in `mask`) v for each head; softmax in float32.

    It is JAX's fused attention: cuDNN's flash attention on a CUDA device where its limits allow it
    (a 16-bit compute dtype, see `_cudnn_takes`), XLA's elsewhere. On CPU the plain products with the
    heads in front took 19 ms against 34 ms (8 clips of 4 s, base size, two cores), 4 % of an
    encoder's time. Keys in `mask` come first.
    """
    branches: dict[str, Callable[..., Array]] = {"cpu": plain_attention}
    if _cudnn_takes(query, key, bias):
        branches["cuda"] = _cudnn_attention
    return jax.lax.platform_dependent(
        query, key, value, bias, mask, **branches, default=fused_attention
    )


def _cudnn_takes(query: Array, key: Array, bias: Array | None) -> bool:
    """Whether cuDNN's kernels are there (Ampere or later) and compute this shape and dtype.

    The gradient of a bias asks for an even number of queries and of keys.
    """
    device = jax.devices()[0]
    capability = getattr(device, "compute_capability", None)
    if device.platform != "gpu" or capability is None or float(capability) < 8.0:
        return False
    if query.dtype not in (jnp.bfloat16, jnp.float16) or query.shape[-1] % 8:
        return False
    even = query.shape[1] % 2 == 0 and key.shape[1] % 2 == 0
    return query.shape[-1] <= 128 and (bias is None or even)


def _cudnn_attention(query, key, value, bias, mask):
    # Lengths instead of a mask, which cuDNN would want as one more bias of (T, T) numbers. A clip
    # without a valid frame attends to one: finite, as elsewhere.
    lengths = jnp.maximum(jnp.sum(mask, axis=(1, 2, 3), dtype=jnp.int32), 1)
    bias = None if bias is None else bias.astype(query.dtype)
    return jax.nn.dot_product_attention(
        query, key, value, bias=bias, key_value_seq_lengths=lengths, implementation="cudnn"
    )


def fused_attention(query, key, value, bias, mask):
    """As `dot_product_attention`, by XLA."""
    return jax.nn.dot_product_attention(
        query, key, value, bias=bias, mask=mask, implementation="xla"
    )


def plain_attention(query, key, value, bias, mask, *, drop=lambda weights: weights):
    """As `dot_product_attention`, product by product; `drop` changes the weights after the softmax."""
    query, key, value = (heads.transpose(0, 2, 1, 3) for heads in (query, key, value))
    logits = jnp.matmul(query, key.swapaxes(2, 3), preferred_element_type=jnp.float32)  # B H T S
    logits = logits / math.sqrt(query.shape[-1])
    if bias is not None:
        logits = logits + bias
    # Finite, so that a clip without a valid frame gives no NaN.
    logits = jnp.where(mask, logits, jnp.finfo(jnp.float32).min)
    weights = drop(jax.nn.softmax(logits)).astype(value.dtype)
    return jnp.matmul(weights, value).transpose(0, 2, 1, 3)


def dropped_weights(
    dropout_key: PRNGKeyArray, rate: float, weights: Float[Array, "B H T S"]
) -> Float[Array, "B H T S"]:
    """Weights of attention of which a share `rate` is zero, the others larger by as much."""
    keep = jax.random.bernoulli(dropout_key, 1.0 - rate, weights.shape)
    return jnp.where(keep, weights / (1.0 - rate), 0.0)
