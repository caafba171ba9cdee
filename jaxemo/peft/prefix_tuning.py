"""Prefix tuning: learnt keys and values in every layer, which every frame of every clip attends to.

Plain (`gate="none"`): out = softmax([q Pk^T, q k^T + bias] / sqrt K) [Pv; v]. The prefix has no place in
time, so that a position bias (WavLM) is zero there; padding masks leave it alone. A softmax over more
keys is another one, whatever they hold: plain prefix tuning cannot start at the base.

Gated (`gate="zero"`, the default): out = softmax(q k^T + bias) v + tanh(g) softmax(q Pk^T) Pv, with one g
per layer, zero at init, so that training starts at the base.

Reference: Li & Liang 2021, arXiv 2101.00190, without the reparametrisation; the gate: Zhang et al. 2023,
LLaMA-Adapter, arXiv 2303.16199, equations 5 to 8.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.peft.method import Call, Method, Params, flatten, intercepted, unflatten
from jaxemo.peft.targets import dense_kernels, target_pattern

# As the published encoders' own kernels are initialised.
_INITIAL_STD = 0.02


def prefix_tuning(*, prefix_length: int = 16, gate: str = "zero") -> Method:
    """Learnt keys and values beside those of the frames.

    Args:
      prefix_length: P, keys per layer.
      gate: `zero` for a gate that is born closed; `none` for the plain method, the one exception from
        the identity at birth.

    Raises:
      ValueError: For options out of range.
    """
    if prefix_length < 1 or gate not in _PLACES:
        raise ValueError(
            f"'prefix_tuning' has prefix_length {prefix_length} and gate {gate!r}; expected 1 or more, "
            f"and {' or '.join(_PLACES)}."
        )

    def init(key: jax.Array, base: Params) -> Params:
        kernels = dense_kernels(
            base, target_pattern(("v",), name="prefix_tuning"), name="prefix_tuning"
        )
        make = jax.nn.initializers.normal(_INITIAL_STD)
        trainable = {}
        for own_key, (path, kernel) in zip(
            jax.random.split(key, len(kernels)), kernels.items(), strict=True
        ):
            block, shape = path.removesuffix("/v_proj"), (prefix_length, kernel.shape[1])
            key_key, value_key = jax.random.split(own_key)
            trainable[f"{block}/prefix_key"] = make(key_key, shape)
            trainable[f"{block}/prefix_value"] = make(value_key, shape)
            if gate == "zero":
                trainable[f"{block}/prefix_gate"] = jnp.zeros(())
        return unflatten(trainable)

    def apply(
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any:
        del dropout_key
        flat = flatten(trainable)
        blocks = [path.removesuffix("/prefix_key") for path in flat if path.endswith("prefix_key")]

        def attend(call: Call) -> Float[Array, "B T H K"]:
            return _PLACES[gate](call, flat)

        with intercepted(blocks, attend, method_name="mix"):
            return forward(base)

    return Method("prefix_tuning", 0, init=init, apply=apply, merge=None)


def _beside(call: Call, flat: dict[str, Array]) -> Float[Array, "B T H K"]:
    """A softmax of its own for the prefix, through the gate."""
    query = call.arguments[0]
    key, value = _heads(query, flat, call.path)
    logits = jnp.einsum("bthk,bphk->bhtp", query, key, preferred_element_type=jnp.float32)
    weights = jax.nn.softmax(logits / math.sqrt(query.shape[-1])).astype(query.dtype)
    gate = jnp.tanh(flat[f"{call.path}/prefix_gate"]).astype(query.dtype)
    return call.output() + gate * jnp.einsum("bhtp,bphk->bthk", weights, value)


def _joined(call: Call, flat: dict[str, Array]) -> Float[Array, "B T H K"]:
    """One softmax over the prefix and the frames; the prefix comes first, as valid keys must."""
    query, key, value = call.arguments
    prefix_key, prefix_value = _heads(query, flat, call.path)
    bias, mask = call.keywords["bias"], call.keywords["mask"]
    before = ((0, 0), (0, 0), (0, 0), (prefix_key.shape[1], 0))
    changed = {
        "bias": None if bias is None else jnp.pad(bias, before),
        "mask": jnp.pad(mask, before, constant_values=True),
    }
    return call.run(
        query,
        jnp.concatenate([prefix_key, key], axis=1),
        jnp.concatenate([prefix_value, value], axis=1),
        **{**call.keywords, **changed},
    )


_PLACES = {"zero": _beside, "none": _joined}


def _heads(
    query: Float[Array, "B T H K"], flat: dict[str, Array], path: str
) -> list[Float[Array, "B P H K"]]:
    """The prefix's keys and values, the same for every clip, in the dtype of the queries."""
    num_clips, _, num_heads, width = query.shape
    leaves = (flat[f"{path}/prefix_{name}"].astype(query.dtype) for name in ("key", "value"))
    return [
        jnp.broadcast_to(
            leaf.reshape(1, -1, num_heads, width), (num_clips, len(leaf), num_heads, width)
        )
        for leaf in leaves
    ]
