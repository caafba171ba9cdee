"""LoRA: a low-rank update beside chosen dense kernels.

y = x W + scale (dropout(x) A) B, with W frozen, A ~ LeCun normal and B = 0 at init, so that training
starts at the base. scale = alpha / rank, or alpha / sqrt(rank), which keeps the size of the update
from shrinking with the rank (rsLoRA). Merged: W' = W + scale A B.

Reference: Hu et al. 2021, LoRA, arXiv 2106.09685, equation 3; Kalajdzievski 2023, arXiv 2312.03732.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.models.kernel_products import product
from jaxemo.peft.method import Call, Method, Params, dropped, flatten, intercepted, unflatten
from jaxemo.peft.targets import Targets, dense_kernels, layer_index, num_layers, target_pattern

# Rank -> what alpha is divided by.
SCALINGS: dict[str, Callable[[int], float]] = {"rank": float, "sqrt_rank": math.sqrt}


def lora(
    *,
    rank: int = 8,
    alpha: float = 16.0,
    # Query and value projections: the paper's choice (its table 5).
    targets: Targets = ("q", "v"),
    layer_ranks: tuple[int, ...] | list[int] = (),
    scaling: str = "rank",
    dropout: float = 0.0,
) -> Method:
    """Low-rank adaptation of dense layers.

    Args:
      rank: R, columns of A and rows of B.
      alpha: Numerator of the scale.
      targets: Names (q, k, v, o, ff_in, ff_out), or a regular expression over module paths such as
        `encoder/layers/0/attention/q_proj`.
      layer_ranks: A rank for each layer from the lowest on, instead of `rank`; 0 leaves a layer out.
      scaling: `rank` for alpha / rank, `sqrt_rank` for alpha / sqrt(rank).
      dropout: Share of the inputs of A that is dropped in training.

    Raises:
      ValueError: For options out of range; from `init`, when no dense kernel of the base matches, or
        `layer_ranks` are not as many as its layers.
    """
    init = make_factors_init("lora", rank=rank, targets=targets, layer_ranks=layer_ranks)
    scale = make_scale("lora", alpha=alpha, scaling=scaling, dropout=dropout)

    def apply(
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any:
        flat = flatten(trainable)

        def add_update(call: Call) -> Float[Array, "*B O"]:
            output = call.output()
            inputs = call.arguments[0].astype(output.dtype)
            inputs = dropped(inputs, rate=dropout, key=dropout_key, path=call.path)
            return output + scale(flat, call.path) * low_rank_product(inputs, flat, call.path)

        with intercepted(factored_paths(flat), add_update):
            return forward(base)

    def merge(base: Params, trainable: Params) -> Params:
        merged, flat = flatten(base), flatten(trainable)
        for path in factored_paths(flat):
            update = scale(flat, path) * low_rank_kernel(flat, path)
            merged[f"{path}/kernel"] = merged[f"{path}/kernel"] + update
        return unflatten(merged)

    def init_tree(key: jax.Array, base: Params) -> Params:
        return unflatten(init(key, base))

    return Method("lora", 0, init=init_tree, apply=apply, merge=merge)


def make_factors_init(
    name: str, *, rank: int, targets: Targets, layer_ranks: tuple[int, ...] | list[int]
) -> Callable[[jax.Array, Params], dict[str, Array]]:
    """(key, base) -> {path/a: [I, R], path/b: [R, O]}; see `lora` for the rest."""
    pattern = target_pattern(targets, name=name)
    if rank < 1 or min(layer_ranks, default=1) < 0:
        raise ValueError(
            f"{name!r} needs a rank of at least 1, and per layer 0 or more; got rank {rank}, "
            f"layer_ranks {list(layer_ranks)}."
        )

    def init(key: jax.Array, base: Params) -> dict[str, Array]:
        kernels = dense_kernels(base, pattern, name=name)
        ranks = _ranks(name, kernels, base, rank=rank, layer_ranks=layer_ranks)
        make = jax.nn.initializers.lecun_normal()
        factors = {}
        for own_key, (path, own_rank) in zip(
            jax.random.split(key, len(ranks)), ranks.items(), strict=True
        ):
            inputs, outputs = kernels[path].shape
            factors[f"{path}/a"] = make(own_key, (inputs, own_rank))
            factors[f"{path}/b"] = jnp.zeros((own_rank, outputs))
        return factors

    return init


def _ranks(
    name: str,
    kernels: dict[str, Any],
    base: Params,
    *,
    rank: int,
    layer_ranks: tuple[int, ...] | list[int],
) -> dict[str, int]:
    """The rank of each kernel that has one."""
    if not layer_ranks:
        return dict.fromkeys(kernels, rank)
    if len(layer_ranks) != num_layers(base):
        raise ValueError(
            f"{name!r} has {len(layer_ranks)} layer_ranks; this encoder has {num_layers(base)} layers. "
            "Give one rank per layer, 0 where there is to be none."
        )
    layers = {path: layer_index(path) for path in kernels}
    ranks = {path: rank if layer is None else layer_ranks[layer] for path, layer in layers.items()}
    ranks = {path: own_rank for path, own_rank in ranks.items() if own_rank}
    if not ranks:
        raise ValueError(f"{name!r} has layer_ranks of 0 only; give one layer a rank at least.")
    return ranks


def make_scale(
    name: str, *, alpha: float, scaling: str, dropout: float
) -> Callable[[dict[str, Array], str], float]:
    """(factors, path) -> what the update there is multiplied by."""
    if scaling not in SCALINGS:
        raise ValueError(f"{name!r} has scaling {scaling!r}; expected {' or '.join(SCALINGS)}.")
    if not 0 <= dropout < 1:
        raise ValueError(f"{name!r} has dropout {dropout}; expected 0 or more and less than 1.")
    return lambda flat, path: alpha / SCALINGS[scaling](flat[f"{path}/b"].shape[0])


def factored_paths(flat: dict[str, Array]) -> list[str]:
    """Paths of the dense layers that have factors."""
    return [path.removesuffix("/b") for path in flat if path.endswith("/b")]


def low_rank_product(
    inputs: Float[Array, "*B I"], flat: dict[str, Array], path: str
) -> Float[Array, "*B O"]:
    """(x A) B, in the dtype of the inputs."""
    a, b = (flat[f"{path}/{name}"].astype(inputs.dtype) for name in "ab")
    # Highest precision costs nothing at these ranks and keeps merged and unmerged equal.
    return product(product(inputs, a, precision="highest"), b, precision="highest")


def low_rank_kernel(flat: dict[str, Array], path: str) -> Float[Array, "I O"]:
    """A B."""
    return jnp.dot(flat[f"{path}/a"], flat[f"{path}/b"], precision="highest")
