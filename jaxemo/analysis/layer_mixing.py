"""A learnt mixture of layers under a linear map, as SUPERB probes an encoder, without a learning rate.

Map and mixture take turns: for a given mixture the map is a convex problem that `regression_path` solves, and
for a given map so is the mixture. Each turn lowers the one loss of both.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float32, Int

from jaxemo.analysis.probe_targets import Kind, Rows, outputs_loss
from jaxemo.analysis.regression_path import Link, Problem, Stop, minimise

LINKS = {Kind.CLASSES: Link.SOFTMAX, Kind.RATINGS: Link.IDENTITY, Kind.TAGS: Link.LOGISTIC}
# A mixture has converged once a round of both turns lowers its loss by less than this share of the loss of
# knowing nothing.
TOLERANCE = 1e-4
# Of one round: the map is solved about as far as one preconditioner carries.
_MAP_STOP = (3e-3, 20)
# The mixture moves by little in each round: far from it, a map that was made for the old one misleads.
_MIXTURE_STEPS = 4
_FARTHEST_STEP = 0.5


class Mixtures(NamedTuple):
    """Mixtures at S strengths.

    Attributes:
      outputs: Of every row.
      layer_weights: 0 or more, 1 in sum.
      converged: Whether the rounds lowered the loss no further.
    """

    outputs: Float32[Array, "S N O"]
    layer_weights: Float32[Array, "S L"]
    converged: Bool[Array, " S"]


class _Turn(NamedTuple):
    """Where a mixture stands: `score` is a of softmax(a), `weight` the map with the bias in its last row."""

    score: Float32[Array, " L"]
    weight: Float32[Array, "K O"]
    loss: Float32[Array, ""]
    gain: Float32[Array, ""]
    round: Int[Array, ""]


class _MixtureSearch(NamedTuple):
    score: Float32[Array, " L"]
    loss: Float32[Array, ""]
    slope: Float32[Array, " L"]
    step: Float32[Array, ""]


def fit_mixtures(
    rows: Rows, l2: Float32[Array, " S"], kind: Kind, max_rounds: Int[Array, ""]
) -> Mixtures:
    """From the strongest penalty to the weakest: each mixture begins equal, each map at the last.

    o_i = W sum_l s_l z_il + b,   s = softmax(a)
    loss = `outputs_loss` + l2 / 2 |W|^2

    Reference: Yang et al. 2021, arXiv 2105.01051, section 3 (there by Adam).
    """
    num_layers, _, width = rows.features.shape
    num_outputs = rows.targets.shape[1]
    nothing = jnp.zeros_like(rows.targets)
    scale = outputs_loss(kind, nothing, rows.targets, term_weight=rows.term_weight)

    # Strong penalties choose one layer; a mixture that begins there would never leave it.
    equal = jnp.zeros(num_layers)

    def solve(weight, strength):
        def unfinished(at: _Turn):
            return (at.round < max_rounds) & (at.gain > TOLERANCE * scale)

        begun = _Turn(equal, weight, jnp.float32(jnp.inf), jnp.float32(jnp.inf), jnp.int32(0))
        at = lax.while_loop(unfinished, lambda at: _take_turns(at, rows, strength, kind), begun)
        share = jax.nn.softmax(at.score)
        outputs = _mixed(rows, share) @ at.weight[:-1] + at.weight[-1]
        done = at.gain <= TOLERANCE * scale
        return at.weight, Mixtures(outputs, share, done)

    start = jnp.zeros((width + 1, num_outputs))
    return lax.scan(solve, start, l2)[1]


def _take_turns(at: _Turn, rows: Rows, l2, kind: Kind) -> _Turn:
    weight = _solved_map(at, rows, l2, kind)
    by_layer = jnp.einsum("lnd,do->lno", rows.features, weight[:-1])

    def fit(score):
        outputs = jnp.tensordot(jax.nn.softmax(score), by_layer, axes=1) + weight[-1]
        return outputs_loss(kind, outputs, rows.targets, term_weight=rows.term_weight)

    score, loss = _descended(fit, at.score)
    loss += l2 / 2 * jnp.sum(weight[:-1] ** 2)
    return _Turn(score, weight, loss, at.loss - loss, at.round + 1)


def _solved_map(at: _Turn, rows: Rows, l2, kind: Kind) -> Float32[Array, "K O"]:
    mixed = _mixed(rows, jax.nn.softmax(at.score))
    design = jnp.pad(mixed, ((0, 0), (0, 1)), constant_values=1.0)
    penalised = jnp.ones((design.shape[1], 1, 1)).at[-1].set(0.0)
    problem = Problem(
        design, rows.targets[..., None], rows.term_weight[..., None], penalised, LINKS[kind]
    )
    stop = Stop(jnp.float32(_MAP_STOP[0]), jnp.int32(_MAP_STOP[1]))
    search = minimise(problem, l2, at.weight[..., None], asked=jnp.ones(1, bool), stop=stop)
    return search.weight[..., 0]


def _mixed(rows: Rows, share: Float32[Array, " L"]) -> Float32[Array, "N D"]:
    return jnp.tensordot(share, rows.features, axes=1)


def _descended(fit, score: Float32[Array, " L"]):
    """Exponentiated gradients: a <- a - step * dloss/ds, a longer step after each gain, else a shorter.

    Reference: Kivinen & Warmuth 1997, Information and Computation 132(1):1-63.
    """

    def slope_at(score):
        loss, by_score = jax.value_and_grad(fit)(score)
        # da_l = s_l (g_l - sum s g) of the softmax, back to g_l up to a constant, which it does not see.
        return loss, by_score / jnp.maximum(jax.nn.softmax(score), 1e-6)

    def attempt(_, at: _MixtureSearch):
        length = jnp.minimum(at.step, _FARTHEST_STEP / (jnp.max(jnp.abs(at.slope)) + 1e-12))
        score = at.score - length * at.slope
        loss, slope = slope_at(score)
        better = loss < at.loss
        found = _MixtureSearch(score, loss, slope, length * 2)
        return jax.tree.map(
            lambda new, old: jnp.where(better, new, old), found, at._replace(step=length / 4)
        )

    loss, slope = slope_at(score)
    begun = _MixtureSearch(score, loss, slope, jnp.float32(jnp.inf))
    found = lax.fori_loop(0, _MIXTURE_STEPS, attempt, begun)
    return found.score - jnp.max(found.score), found.loss
