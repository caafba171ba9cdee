"""DoRA: LoRA's update gives the direction of each output's kernel column, a learnt magnitude its length.

W' = m (W + scale A B) / |W + scale A B|, with the norm of each column (one per output) and
m = |W| at init, so that training starts at the base. The norm is a constant to the gradient, as the
paper proposes. With dropout the whole change of the output is computed from dropped inputs:

y = x W + b + (m / norm - 1) (dropout(x) W) + (m / norm) scale (dropout(x) A) B.

Reference: Liu et al. 2024, DoRA, arXiv 2402.09353, equations 5 and 6 and section 4.3; dropout as in
Hugging Face's peft.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.peft.lora import (
    factored_paths,
    low_rank_kernel,
    low_rank_product,
    make_factors_init,
    make_scale,
)
from jaxemo.peft.method import Call, Method, Params, dropped, flatten, intercepted, unflatten
from jaxemo.peft.targets import Targets

# A column of zeros has no direction; its magnitude is 0 too.
_SMALLEST_NORM = 1e-30


def dora(
    *,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Targets = ("q", "v"),
    layer_ranks: tuple[int, ...] | list[int] = (),
    scaling: str = "rank",
    dropout: float = 0.0,
) -> Method:
    """Weight-decomposed low-rank adaptation; the arguments are those of `lora`.

    Raises:
      ValueError: As `lora`.
    """
    init_factors = make_factors_init("dora", rank=rank, targets=targets, layer_ranks=layer_ranks)
    scale = make_scale("dora", alpha=alpha, scaling=scaling, dropout=dropout)

    def init(key: jax.Array, base: Params) -> Params:
        factors, kernels = init_factors(key, base), flatten(base)
        for path in factored_paths(factors):
            factors[f"{path}/magnitude"] = column_norms(kernels[f"{path}/kernel"])
        return unflatten(factors)

    def apply(
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any:
        flat = flatten(trainable)

        def turn(call: Call) -> Float[Array, "*B O"]:
            output, kernel = call.output(), call.module.variables["params"]["kernel"]
            inputs = call.arguments[0].astype(output.dtype)
            inputs = dropped(inputs, rate=dropout, key=dropout_key, path=call.path)
            factor = scale(flat, call.path)
            gain = _gain(kernel, flat, call.path, factor=factor)
            straight = jnp.dot(inputs, kernel.astype(output.dtype), precision="highest")
            update = factor * low_rank_product(inputs, flat, call.path)
            # The difference from 1 is lost where 16 bits hold the gain itself.
            change = (gain - 1).astype(output.dtype) * straight
            return output + change + gain.astype(output.dtype) * update

        with intercepted(factored_paths(flat), turn):
            return forward(base)

    def merge(base: Params, trainable: Params) -> Params:
        merged, flat = flatten(base), flatten(trainable)
        for path in factored_paths(flat):
            kernel, factor = merged[f"{path}/kernel"], scale(flat, path)
            gain = _gain(kernel, flat, path, factor=factor)
            merged[f"{path}/kernel"] = gain * (kernel + factor * low_rank_kernel(flat, path))
        return unflatten(merged)

    return Method("dora", 0, init=init, apply=apply, merge=merge)


def column_norms(kernel: Float[Array, "I O"]) -> Float[Array, " O"]:
    """Euclidean norm of the weights of each output."""
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=0))


def _gain(
    kernel: Float[Array, "I O"], flat: dict[str, Array], path: str, *, factor: float
) -> Float[Array, " O"]:
    """m / |W + scale A B|, where only m has a gradient."""
    factors = jax.lax.stop_gradient({name: flat[f"{path}/{name}"] for name in "ab"})
    update = low_rank_kernel({f"{path}/{name}": leaf for name, leaf in factors.items()}, path)
    norm = column_norms(jax.lax.stop_gradient(kernel) + factor * update)
    return flat[f"{path}/magnitude"] / jnp.maximum(norm, _SMALLEST_NORM)
