"""LoRA: a low-rank update beside chosen dense kernels.

y = x W + (alpha / rank) (x A) B, with W frozen, A ~ LeCun normal and B = 0 at init, so that training
starts at the base. Merged: W' = W + (alpha / rank) A B.

Reference: Hu et al. 2021, LoRA, arXiv 2106.09685, equation 3.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxemo.peft.method import Method, Params, flatten, unflatten

# Query and value projections: the paper's choice (its table 5).
DEFAULT_TARGETS = r"encoder/layers/\d+/attention/(q_proj|v_proj)"


def lora(*, rank: int = 8, alpha: float = 16.0, targets: str = DEFAULT_TARGETS) -> Method:
    """Low-rank adaptation of the dense layers whose path matches `targets` in full.

    Args:
      rank: R, columns of A and rows of B.
      alpha: Numerator of the scale alpha / rank.
      targets: Regular expression over module paths such as `encoder/layers/0/attention/q_proj`.

    Raises:
      ValueError: From `init`, when no dense kernel of the base matches `targets`.
    """
    if rank < 1:
        raise ValueError(f"LoRA needs a rank of at least 1; got {rank}.")
    scale = alpha / rank

    def init(key: jax.Array, base: Params) -> Params:
        kernels = _target_kernels(base, targets)
        make = jax.nn.initializers.lecun_normal()
        trainable = {}
        for sub_key, (path, kernel) in zip(
            jax.random.split(key, len(kernels)), kernels.items(), strict=True
        ):
            inputs, outputs = kernel.shape
            trainable[f"{path}/a"] = make(sub_key, (inputs, rank))
            trainable[f"{path}/b"] = jnp.zeros((rank, outputs))
        return unflatten(trainable)

    def apply(forward: Callable[[Params], Any], base: Params, trainable: Params) -> Any:
        flat = flatten(trainable)

        def add_update(next_function, arguments, keywords, context):
            output = next_function(*arguments, **keywords)
            path = "/".join(context.module.path)
            if context.method_name != "__call__" or f"{path}/a" not in flat:
                return output
            a, b = (flat[f"{path}/{name}"].astype(output.dtype) for name in "ab")
            inputs = arguments[0].astype(output.dtype)
            # Highest precision costs nothing at these ranks and keeps merged and unmerged equal.
            low = jnp.dot(inputs, a, precision="highest")
            return output + scale * jnp.dot(low, b, precision="highest")

        with nn.intercept_methods(add_update):
            return forward(base)

    def merge(base: Params, trainable: Params) -> Params:
        merged, flat = flatten(base), flatten(trainable)
        for path in _target_kernels(base, targets):
            update = jnp.dot(flat[f"{path}/a"], flat[f"{path}/b"], precision="highest")
            merged[f"{path}/kernel"] = merged[f"{path}/kernel"] + scale * update
        return unflatten(merged)

    return Method("lora", 0, init=init, apply=apply, merge=merge)


def _target_kernels(base: Params, targets: str) -> dict[str, Any]:
    pattern = re.compile(rf"({targets})/kernel")
    found = {
        path.removesuffix("/kernel"): leaf
        for path, leaf in flatten(base).items()
        if pattern.fullmatch(path) and leaf.ndim == 2
    }
    if not found:
        raise ValueError(
            f"LoRA target {targets!r} matches no dense kernel of this encoder; "
            "paths look like 'encoder/layers/0/attention/q_proj'."
        )
    return found
