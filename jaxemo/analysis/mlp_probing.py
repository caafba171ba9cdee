"""A small MLP as a probe: one hidden layer of rectified units, trained until its loss falls no longer."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Bool, Float32, Int, Key

from jaxemo.analysis.probe_targets import Kind, Rows, outputs_loss

# Our choice: enough to bend a layer, few enough for a thousand clips.
HIDDEN_UNITS = 64
RATE = 0.05
# An MLP has converged once this many steps in a row fail to beat its lowest loss by this share of the loss
# of knowing nothing: scikit-learn's rule for its MLPClassifier.
TOLERANCE = 1e-4
PATIENCE = 10


class _Parameters(NamedTuple):
    hidden_weight: Float32[Array, "... D H"]
    hidden_bias: Float32[Array, "... H"]
    weight: Float32[Array, "... H O"]
    bias: Float32[Array, "... O"]


class _Descent(NamedTuple):
    """Where the MLPs of all strengths stand; a leading axis S throughout but for `step`.

    Attributes:
      best: Parameters of the lowest loss so far.
      stalled: Steps since that loss was last beaten by enough.
    """

    parameters: _Parameters
    state: optax.OptState
    best: _Parameters
    lowest: Float32[Array, " S"]
    stalled: Int[Array, " S"]
    step: Int[Array, ""]


def fit_mlps(
    key: Key[Array, ""],
    rows: Rows,
    l2: Float32[Array, " S"],
    *,
    kind: Kind,
    max_steps: Int[Array, ""],
) -> tuple[Float32[Array, "S N O"], Bool[Array, " S"]]:
    """Outputs of every row at S strengths, all begun alike, and whether each had converged.

    o_i = W max(0, V z_i + v) + b,   V drawn with std sqrt(2 / D), W = 0 at first
    loss = `outputs_loss` + l2 / 2 (|W|^2 + |V|^2), by Adam on all rows at once

    Args:
      rows: Of one layer.

    References: Hewitt & Liang 2019, arXiv 1909.03368 (MLP probes); Kingma & Ba 2015, arXiv 1412.6980,
    algorithm 1.
    """
    adam = optax.scale_by_adam()
    start = _start(key, rows.features.shape[-1], rows.targets.shape[-1])
    rates = _rates(start)
    nothing = jnp.zeros_like(rows.targets)
    scale = outputs_loss(kind, nothing, rows.targets, term_weight=rows.term_weight)
    of_all = jax.vmap(jax.value_and_grad(functools.partial(_loss, rows=rows, kind=kind)))

    def step(at: _Descent) -> _Descent:
        loss, gradient = of_all(at.parameters, l2)
        active = at.stalled < PATIENCE
        lower, beaten = loss < at.lowest, loss < at.lowest - TOLERANCE * scale
        change, state = adam.update(gradient, at.state)
        return _Descent(
            jax.tree.map(lambda p, c, rate: p - rate * c, at.parameters, change, rates),
            state,
            _where(active & lower, at.parameters, at.best),
            jnp.where(active & lower, loss, at.lowest),
            jnp.where(active, jnp.where(beaten, 0, at.stalled + 1), at.stalled),
            at.step + 1,
        )

    def unfinished(at: _Descent):
        return (at.step < max_steps) & jnp.any(at.stalled < PATIENCE)

    parameters = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], len(l2), axis=0), start)
    zero, infinite = jnp.zeros(len(l2), jnp.int32), jnp.full(len(l2), jnp.inf)
    begun = _Descent(parameters, adam.init(parameters), parameters, infinite, zero, jnp.int32(0))
    found = lax.while_loop(unfinished, step, begun)
    outputs = jax.vmap(lambda one: _outputs(one, rows.features[0]))(found.best)
    return outputs, found.stalled >= PATIENCE


def _start(key: Key[Array, ""], width: int, num_outputs: int) -> _Parameters:
    """Outputs are 0 at first."""
    drawn = jax.random.normal(key, (width, HIDDEN_UNITS), jnp.float32)
    return _Parameters(
        drawn * jnp.sqrt(2.0 / width),
        jnp.zeros(HIDDEN_UNITS, jnp.float32),
        jnp.zeros((HIDDEN_UNITS, num_outputs), jnp.float32),
        jnp.zeros(num_outputs, jnp.float32),
    )


def _rates(start: _Parameters) -> _Parameters:
    """Step sizes: a first step moves every output by about as much, however wide the layer is."""
    return jax.tree.map(lambda leaf: RATE / np.sqrt(len(leaf)) if leaf.ndim == 2 else RATE, start)


def _outputs(parameters: _Parameters, x: Float32[Array, "N D"]) -> Float32[Array, "N O"]:
    hidden = jax.nn.relu(x @ parameters.hidden_weight + parameters.hidden_bias)
    return hidden @ parameters.weight + parameters.bias


def _loss(parameters: _Parameters, l2, *, rows: Rows, kind: Kind) -> Float32[Array, ""]:
    outputs = _outputs(parameters, rows.features[0])
    fit = outputs_loss(kind, outputs, rows.targets, term_weight=rows.term_weight)
    squares = jnp.sum(parameters.weight**2) + jnp.sum(parameters.hidden_weight**2)
    return fit + l2 / 2 * squares


def _where(chosen: Bool[Array, " S"], a: _Parameters, b: _Parameters) -> _Parameters:
    def pick(one, other):
        return jnp.where(jnp.expand_dims(chosen, tuple(range(1, one.ndim))), one, other)

    return jax.tree.map(pick, a, b)
