"""The optimiser: AdamW with one learning rate for the head and one for the encoder's adaptation.

The learning-rate schedule is a function of progress in [0, 1] and is applied by the training step, not
baked into the optimiser: runs of different lengths then share one compiled step.
"""

from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def make_optimiser(
    *, head_rate: float, adaptation_rate: float, weight_decay: float, clip_norm: float
) -> optax.GradientTransformation:
    """Global-norm clipping, then AdamW for the subtrees `head` and `adaptation`, each at its own rate.

    Biases, norms' scales and the layer weights are not decayed: only leaves of two or more axes are.

    Args:
      head_rate: Peak learning rate of the head.
      adaptation_rate: Peak learning rate of what the method trains in the encoder.
      weight_decay: Decoupled decay a unit of learning rate.
      clip_norm: Largest global norm of a gradient.

    Reference: Loshchilov & Hutter 2019, arXiv 1711.05101.
    """

    def adamw(rate: float) -> optax.GradientTransformation:
        return optax.adamw(rate, weight_decay=weight_decay, mask=_is_matrix)

    groups: dict[Hashable, optax.GradientTransformation] = {
        "head": adamw(head_rate),
        "adaptation": adamw(adaptation_rate),
    }
    return optax.chain(
        optax.clip_by_global_norm(clip_norm), optax.multi_transform(groups, _group_labels)
    )


def warmup_cosine(*, warmup: float) -> Callable[[Float[Array, ""]], Float[Array, ""]]:
    """Schedule over progress: linear from 0 to 1 over the share `warmup`, then half a cosine to 0."""

    def schedule(progress: Float[Array, ""]) -> Float[Array, ""]:
        rising = progress / max(warmup, 1e-8)
        falling = (progress - warmup) / max(1 - warmup, 1e-8)
        decayed = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(falling, 0, 1)))
        return jnp.where(progress < warmup, rising, decayed)

    return schedule


def _group_labels(trainable: dict[str, Any]) -> dict[str, Any]:
    return {
        group: jax.tree.map(lambda _, label=group: label, tree) for group, tree in trainable.items()
    }


def _is_matrix(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, tree)
