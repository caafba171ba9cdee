"""What a run is trained for, as one value: loss, example weights, prediction, score.

The step and the loop know outputs and targets only. A new kind of label is one more `Objective` and
changes nothing else.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

# Far below any variance of ratings; two constants that agree have a concordance of 0, not of 0 / 0.
_MINIMUM_VARIANCE = 1e-12


class Objective(NamedTuple):
    """One kind of label and what is asked of it.

    The loss of a batch is a function of weighted means over its examples, so that micro-batches and
    devices add up to the batch: loss = of_means(sum_i w_i terms_i / sum_i w_i).

    Attributes:
      name: As checkpoints call it.
      num_outputs: Values that the head gives per clip.
      terms: (outputs [B, O], targets [B, ...]) -> what each example adds, traced by JAX: its loss [B], or
        several numbers [B, ...] of which `of_means` makes the batch's loss.
      example_weights: Targets of a run's training rows -> weight of each row.
      predict: Outputs [B, O] -> what is reported, such as probabilities; traced by JAX.
      score: (targets, predictions) of the dev rows -> figure of merit, larger is better.
      of_means: Weighted means of the terms -> loss of the batch, traced by JAX; None where the mean of
        the examples' losses is the loss. With it a step of several micro-batches has two forward passes.
    """

    name: str
    num_outputs: int
    terms: Callable[[Float[Array, "B O"], Shaped[Array, "B ..."]], Float[Array, "B ..."]]
    example_weights: Callable[[Shaped[np.ndarray, "n ..."]], Float[np.ndarray, " n"]]
    predict: Callable[[Float[Array, "B O"]], Float[Array, "B ..."]]
    score: Callable[[Shaped[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]], float]
    of_means: Callable[[Float[Array, "..."]], Float[Array, ""]] | None = None


def emotion_classes(
    num_classes: int,
    *,
    score: Callable[[Any, Any], float],
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Objective:
    """One of C emotions per clip: cross entropy over balanced classes, softmax probabilities.

    Args:
      num_classes: C.
      score: (labels, probabilities) -> the figure that chooses the epoch, larger is better.
      focal_gamma: As `cross_entropy` has it, and the next.
    """
    return Objective(
        name="emotion_classes",
        num_outputs=num_classes,
        terms=partial(cross_entropy, focal_gamma=focal_gamma, label_smoothing=label_smoothing),
        example_weights=partial(balanced_weights, num_classes=num_classes),
        predict=jax.nn.softmax,
        score=score,
    )


def ratings(num_dimensions: int, *, score: Callable[[Any, Any], float]) -> Objective:
    """K ratings per clip, such as valence and arousal from -1 to 1: concordance loss, raw outputs.

    Args:
      num_dimensions: K.
      score: (ratings [n, K], predictions [n, K]) -> the figure that chooses the epoch, larger is better.
    """
    return Objective(
        name="ratings",
        num_outputs=num_dimensions,
        terms=concordance_terms,
        example_weights=_equal_weights,
        predict=lambda outputs: outputs,
        score=score,
        of_means=concordance_loss,
    )


def tags(
    num_tags: int, *, score: Callable[[Any, Any], float], focal_gamma: float = 0.0
) -> Objective:
    """Any number of G tags per clip: binary cross entropy, a probability of each by the sigmoid.

    Args:
      num_tags: G.
      score: (0 or 1 [n, G], probabilities [n, G]) -> the figure that chooses the epoch, larger is better.
      focal_gamma: As `binary_cross_entropy` has it.
    """
    return Objective(
        name="tags",
        num_outputs=num_tags,
        terms=partial(binary_cross_entropy, focal_gamma=focal_gamma),
        example_weights=_equal_weights,
        predict=jax.nn.sigmoid,
        score=score,
    )


def cross_entropy(
    logits: Float[Array, "B C"],
    labels: Int[Array, " B"],
    *,
    focal_gamma: float = 0.0,
    label_smoothing: float = 0.0,
) -> Float[Array, " B"]:
    """-sum_c q_c (1 - p_c)^gamma log p_c with p = softmax(logits), one value per example, in float32.

    q_c = 1 - e + e / C for the label and e / C for the others, e being `label_smoothing`.

    Args:
      focal_gamma: How much less an example counts that is right already; 0 for plain cross entropy.
      label_smoothing: In [0, 1).

    References: Lin et al. 2017, arXiv 1708.02002, equation 4; Szegedy et al. 2016, arXiv 1512.00567,
    section 7.
    """
    each = _focal(jax.nn.log_softmax(logits.astype(jnp.float32)), focal_gamma)
    own = jnp.take_along_axis(each, labels[:, None], axis=1)[:, 0]
    if label_smoothing == 0:
        return own
    return (1 - label_smoothing) * own + label_smoothing * each.mean(axis=1)


def binary_cross_entropy(
    logits: Float[Array, "B G"], tags: Shaped[Array, "B G"], *, focal_gamma: float = 0.0
) -> Float[Array, " B"]:
    """-mean_g (1 - p_g)^gamma log p_g, one value per example, in float32.

    p_g is the probability of what is true of tag g: sigmoid(logit), or one minus it where it is absent.

    Reference: Lin et al. 2017, arXiv 1708.02002, equation 4.
    """
    logits = logits.astype(jnp.float32)
    log_probabilities = jax.nn.log_sigmoid(jnp.where(tags > 0, logits, -logits))
    return _focal(log_probabilities, focal_gamma).mean(axis=1)


def _focal(log_probabilities: Float[Array, "B C"], gamma: float) -> Float[Array, "B C"]:
    """-(1 - p)^gamma log p."""
    if gamma == 0:
        return -log_probabilities
    # A probability of 1 would have an infinite slope where gamma is below 1.
    missing = jnp.maximum(-jnp.expm1(log_probabilities), jnp.finfo(jnp.float32).tiny)
    return -(missing**gamma) * log_probabilities


def concordance_terms(
    predictions: Float[Array, "B K"], targets: Float[Array, "B K"]
) -> Float[Array, "B 5 K"]:
    """(p, t, p^2, t^2, p t) of each example, of whose means `concordance_loss` is made."""
    p, t = predictions.astype(jnp.float32), targets.astype(jnp.float32)
    return jnp.stack([p, t, p * p, t * t, p * t], axis=1)


def concordance_loss(means: Float[Array, "5 K"]) -> Float[Array, ""]:
    """One minus Lin's concordance correlation, averaged over the K dimensions.

    ccc = 2 cov(p, t) / (var p + var t + (mean p - mean t)^2), moments of the whole batch

    Args:
      means: Of the batch's `concordance_terms`.

    References: Lin 1989, Biometrics 45(1):255-268; as a loss, Trigeorgis et al. 2016, ICASSP, equation 4.
    """
    p, t, pp, tt, pt = means
    scatter = pp - p * p + tt - t * t + (p - t) ** 2
    return jnp.mean(1 - 2 * (pt - p * t) / jnp.maximum(scatter, _MINIMUM_VARIANCE))


def balanced_weights(labels: Int[np.ndarray, " B"], *, num_classes: int) -> Float[np.ndarray, " B"]:
    """Example weights B / (C n_c), so that every class present weighs the same.

    The headline metric is unweighted accuracy, and RAVDESS has half as many neutral clips as others.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * counts[labels])).astype(np.float32)


def _equal_weights(targets: Shaped[np.ndarray, "n ..."]) -> Float[np.ndarray, " n"]:
    return np.ones(len(targets), np.float32)
