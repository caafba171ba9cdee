"""Probes that have no closed or convex problem: the learnt weighted sum of layers, and a small MLP.

They stand beside the linear probe of every layer, on the same rows and runs, with the strength chosen on
the same dev rows. All layers, runs and strengths are one program; each is trained until its loss
falls no longer.
"""

import enum
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int, Shaped

from jaxemo.analysis.layer_mixing import Mixtures, fit_mixtures
from jaxemo.analysis.mlp_probing import fit_mlps
from jaxemo.analysis.probe_targets import Kind, Rows, columns_of, dev_score, term_weights
from jaxemo.analysis.probing import L2_STRENGTHS, SCORE_TIE, FinalFit
from jaxemo.analysis.rating_probing import check_values, standardised

MAX_ITERATIONS = {"weighted_sum": 100, "mlp": 500}


class Form(enum.Enum):
    """What is trained.

    WEIGHTED_SUM: softmax(a) over layers, then a linear map: one probe of all layers together.
    MLP: one hidden layer of rectified units, then a linear map: one probe per layer.
    """

    WEIGHTED_SUM = "weighted_sum"
    MLP = "mlp"


class TrainedProbes(NamedTuple):
    """Probes at the strength chosen for each run; P is 1 for the weighted sum and L for the MLP.

    Attributes:
      outputs: Logits of classes or tags, or ratings, of every row.
      layer_weights: softmax(a) of each run; all 1 for the MLP, which has one layer.
      converged: Whether the loss had stopped falling at every strength, and in the final fit.
    """

    outputs: Float32[Array, "P F N O"]
    layer_weights: Float32[Array, "P F _"]
    chosen_l2: Float32[Array, "P F"]
    dev_score: Float32[Array, "P F"]
    converged: Bool[Array, "P F"]


def fit_trained_probes(
    features: Float[np.ndarray, "L N D"],
    targets: Shaped[np.ndarray, "N ..."],
    *,
    kind: Kind,
    form: Form,
    train_weight: Float[np.ndarray, "F N"],
    dev_weight: Float[np.ndarray, "F N"],
    seeds: Int[np.ndarray, " F"],
    l2_strengths: tuple[float, ...] = L2_STRENGTHS,
    final_fit: FinalFit = FinalFit.TRAIN,
    max_iterations: int | None = None,
) -> TrainedProbes:
    """Trains one probe per run (weighted sum), or one per layer and run (MLP).

    The weighted sum is `layer_mixing.fit_mixtures`, the MLP `mlp_probing.fit_mlps`, with z standardised over
    the fitted rows layer by layer, as the linear probe has it. The strength with the best
    `probe_targets.dev_score` wins, the strongest among ties. Neither loss is convex: what is found depends on
    the start.

    Args:
      features: One pooled embedding per layer and clip.
      targets: Class numbers [N], ratings [N, K], or 1 for each tag [N, G].
      train_weight: Weight >= 0 of each row in each run's training part, 0 for rows outside it.
      dev_weight: Likewise for the part that chooses the strength.
      seeds: Of each run, which draws the MLP's start.
      l2_strengths: Candidates, > 0.
      final_fit: Whether dev rows join the training rows once they have chosen the strength.
      max_iterations: Rounds of the mixture or steps of the MLP; a probe that uses them up has `converged`
        False. None for `MAX_ITERATIONS`.

    Raises:
      ValueError: For non-finite features or targets, a strength <= 0, or an empty part.
    """
    columns = columns_of(kind, targets)
    check_values(features, columns, train_weight, dev_weight, l2_strengths)
    grouped = features[None] if form is Form.WEIGHTED_SUM else features[:, None]
    both = train_weight + dev_weight
    return _fit_groups(
        jnp.asarray(grouped, jnp.float32),
        jnp.asarray(columns),
        parts=tuple(jnp.asarray(w, jnp.float32) for w in (train_weight, dev_weight, both)),
        seeds=jnp.asarray(seeds, jnp.uint32),
        l2=jnp.asarray(sorted(l2_strengths, reverse=True), jnp.float32),
        max_iterations=jnp.int32(
            MAX_ITERATIONS[form.value] if max_iterations is None else max_iterations
        ),
        kind=kind,
        form=form,
        final_fit=final_fit,
    )


@functools.partial(jax.jit, static_argnames=("kind", "form", "final_fit"))
@jax.default_matmul_precision("highest")
def _fit_groups(groups, targets, *, parts, seeds, l2, max_iterations, kind, form, final_fit):
    def trained(x, weight, seed, strengths) -> Mixtures:
        rows = Rows(standardised(x, weight), targets, term_weights(kind, targets, weight))
        if form is Form.WEIGHTED_SUM:
            return fit_mixtures(rows, strengths, kind, max_iterations)
        key = jax.random.key(seed)
        outputs, done = fit_mlps(key, rows, strengths, kind=kind, max_steps=max_iterations)
        return Mixtures(outputs, jnp.ones((len(strengths), 1)), done)

    def fit_run(x, train, dev, both, seed):
        found = trained(x, train, seed, l2)
        scores = jax.vmap(lambda o: dev_score(kind, o, targets, dev))(found.outputs)
        best = jnp.argmax(scores >= jnp.max(scores) - SCORE_TIE)
        done = jnp.all(found.converged)
        if final_fit is FinalFit.TRAIN_AND_DEV:
            found = trained(x, both, seed, l2[best][None])
            done &= found.converged[0]
        at = 0 if final_fit is FinalFit.TRAIN_AND_DEV else best
        return TrainedProbes(
            found.outputs[at], found.layer_weights[at], l2[best], scores[best], done
        )

    # One run at a time: its strengths share every pass over the features.
    def fit_group(x):
        return lax.map(lambda run: fit_run(x, *run), (*parts, seeds))

    return lax.map(fit_group, groups)
