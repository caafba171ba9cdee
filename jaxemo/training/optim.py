"""The optimiser: AdamW with one learning rate for the head and one for the encoder's adaptation.

The rates and their schedule, a function of progress in [0, 1], are applied by the training step, not baked
into the optimiser: runs of different rates and lengths then share one compiled step.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxemo.peft.method import LayerRates
from jaxemo.peft.targets import layer_index


class Rates(NamedTuple):
    """Peak learning rates of a run.

    Attributes:
      head_rate: Of the head.
      adaptation_rate: Of what the method trains in the encoder.
    """

    head_rate: Float[Array, "..."] | float
    adaptation_rate: Float[Array, "..."] | float

    def scale(
        self, updates: dict[str, Any], factor: Float[Array, ""] | float = 1.0
    ) -> dict[str, Any]:
        """Updates at a rate of 1, times the rate of their subtree and a factor."""
        rates = {"head": self.head_rate, "adaptation": self.adaptation_rate}
        return {
            part: jax.tree.map(lambda leaf, rate=factor * rates[part]: rate * leaf, tree)
            for part, tree in updates.items()
        }


def make_optimiser(
    *,
    weight_decay: float,
    clip_norm: float,
    layer_rates: LayerRates | None = None,
) -> optax.GradientTransformation:
    """Global-norm clipping, then AdamW at a rate of 1; `Rates.scale` takes its updates to theirs.

    Biases, norms' scales and the layer weights are not decayed: only leaves of two or more axes are.

    Args:
      weight_decay: Decoupled decay a unit of learning rate.
      clip_norm: Largest global norm of a gradient.
      layer_rates: How the adaptation's rate goes down the layers; None for one rate.

    Reference: Loshchilov & Hutter 2019, arXiv 1711.05101.
    """
    optimiser = optax.chain(
        optax.clip_by_global_norm(clip_norm),
        optax.adamw(1.0, weight_decay=weight_decay, mask=_is_matrix),
    )
    return optimiser if layer_rates is None else by_layer(optimiser, layer_rates)


class ByLayerState(NamedTuple):
    """Steps done, and the state of the optimiser within."""

    count: Int[Array, ""]
    inner: Any


def by_layer(
    optimiser: optax.GradientTransformation, rates: LayerRates
) -> optax.GradientTransformation:
    """The optimiser with rates that fall from layer to layer, and layers that wait for their release.

    A layer i of L lies d = L - 1 - i below the uppermost; what belongs to no layer lies d = L below it.
    Its updates are those of the optimiser times decay^d from step (d + 1) unfreeze_steps on; before,
    its gradient counts for nothing and it stays as it is, bit for bit. The head has no such wait.

    Reference: Howard & Ruder 2018, arXiv 1801.06146, sections 3.2 and 3.3.
    """

    def init(params: Any) -> ByLayerState:
        return ByLayerState(jnp.zeros((), jnp.int32), optimiser.init(params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        distances = _distances(updates["adaptation"])

        def scaled(tree: Any, decay: float) -> Any:
            def leaf_scaled(leaf: Array, distance: int) -> Array:
                released = state.count >= (distance + 1) * rates.unfreeze_steps
                return jnp.where(released, decay**distance * leaf, 0)

            adaptation = jax.tree.map(leaf_scaled, tree["adaptation"], distances)
            return tree | {"adaptation": adaptation}

        moves, inner = optimiser.update(scaled(updates, 1.0), state.inner, params)
        return scaled(moves, rates.decay), ByLayerState(state.count + 1, inner)

    return optax.GradientTransformation(init, update)


def _distances(adaptation: dict[str, Any]) -> dict[str, Any]:
    """How far below the uppermost layer each leaf lies."""

    def index(key_path: tuple) -> int | None:
        return layer_index(jax.tree_util.keystr(key_path, simple=True, separator="/"))

    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(adaptation)]
    top = max((number for path in paths if (number := index(path)) is not None), default=-1)

    def distance(key_path: tuple, _leaf: Any) -> int:
        number = index(key_path)
        return top + 1 if number is None else top - number

    return jax.tree_util.tree_map_with_path(distance, adaptation)


def warmup_cosine(*, warmup: float) -> Callable[[Float[Array, ""]], Float[Array, ""]]:
    """Schedule over progress: linear from 0 to 1 over the share `warmup`, then half a cosine to 0."""

    def schedule(progress: Float[Array, ""]) -> Float[Array, ""]:
        rising = progress / max(warmup, 1e-8)
        falling = (progress - warmup) / max(1 - warmup, 1e-8)
        decayed = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip(falling, 0, 1)))
        return jnp.where(progress < warmup, rising, decayed)

    return schedule


def _is_matrix(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim >= 2, tree)
