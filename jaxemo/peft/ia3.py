"""(IA)^3: learnt scales of keys, values and the inner activations of the feed-forward blocks.

y = l (x W + b) for projections of attention, y = (l x) W + b for dense layers of a feed-forward block,
with one scale per channel and l = 1 at init, so that training starts at the base. Merged: the columns
of W and b are scaled, or the rows of W.

Reference: Liu et al. 2022, arXiv 2205.05638, section 3.3; which side is scaled as in Hugging Face's
peft.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.peft.method import Call, Method, Params, flatten, intercepted, unflatten
from jaxemo.peft.targets import Targets, dense_kernels, target_pattern


def ia3(*, targets: Targets = ("k", "v", "ff_out")) -> Method:
    """Scales of dense layers' channels.

    Args:
      targets: As of `lora`. Those of a feed-forward block are scaled in their input, others in their
        output.

    Raises:
      ValueError: For names that there are not; from `init`, when no dense kernel of the base matches.
    """
    pattern = target_pattern(targets, name="ia3")

    def init(key: jax.Array, base: Params) -> Params:
        del key  # Nothing is drawn.
        kernels = dense_kernels(base, pattern, name="ia3")
        return unflatten(
            {
                f"{path}/scale": jnp.ones(kernel.shape[0 if scales_input(path) else 1])
                for path, kernel in kernels.items()
            }
        )

    return Method("ia3", 0, init=init, apply=_apply, merge=_merge)


def _apply(
    forward: Callable[[Params], Any],
    base: Params,
    trainable: Params,
    *,
    dropout_key: PRNGKeyArray | None = None,
) -> Any:
    del dropout_key
    flat = flatten(trainable)

    def scaled(call: Call) -> Float[Array, "*B O"]:
        scale = flat[f"{call.path}/scale"]
        if not scales_input(call.path):
            output = call.output()
            # Multiplied in float32: 16 bits would hold scales near 1 too coarsely.
            return (output * scale).astype(output.dtype)
        inputs, *others = call.arguments
        return call.run((inputs * scale).astype(inputs.dtype), *others, **call.keywords)

    with intercepted([path.removesuffix("/scale") for path in flat], scaled):
        return forward(base)


def _merge(base: Params, trainable: Params) -> Params:
    merged = flatten(base)
    for name, scale in flatten(trainable).items():
        path = name.removesuffix("/scale")
        kernel, bias = merged[f"{path}/kernel"], merged.get(f"{path}/bias")
        by_input = scales_input(path)
        merged[f"{path}/kernel"] = kernel * (scale[:, None] if by_input else scale)
        if bias is not None and not by_input:
            merged[f"{path}/bias"] = bias * scale
    return unflatten(merged)


def scales_input(path: str) -> bool:
    """Whether the layer's input is scaled, and not its output."""
    return "feed_forward" in path.split("/")
