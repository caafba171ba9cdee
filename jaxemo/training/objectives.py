"""What a run is trained for, as one value: loss, example weights, prediction, score.

The step and the loop know outputs and targets only. A new kind of label (valence and arousal, several
tags per clip) is one more `Objective` and changes nothing else.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped


class Objective(NamedTuple):
    """One kind of label and what is asked of it.

    Attributes:
      name: As checkpoints call it.
      num_outputs: Values that the head gives per clip.
      loss: (outputs [B, O], targets [B, ...]) -> one loss per example, traced by JAX.
      example_weights: Targets of a run's training rows -> weight of each row.
      predict: Outputs [B, O] -> what is reported, such as probabilities; traced by JAX.
      score: (targets, predictions) of the dev rows -> figure of merit, larger is better.
    """

    name: str
    num_outputs: int
    loss: Callable[[Float[Array, "B O"], Shaped[Array, "B ..."]], Float[Array, " B"]]
    example_weights: Callable[[Shaped[np.ndarray, "n ..."]], Float[np.ndarray, " n"]]
    predict: Callable[[Float[Array, "B O"]], Float[Array, "B ..."]]
    score: Callable[[Shaped[np.ndarray, "n ..."], Float[np.ndarray, "n ..."]], float]


def emotion_classes(num_classes: int, *, score: Callable[[Any, Any], float]) -> Objective:
    """One of C emotions per clip: cross entropy over balanced classes, softmax probabilities.

    Args:
      num_classes: C.
      score: (labels, probabilities) -> the figure that chooses the epoch, larger is better.
    """
    return Objective(
        name="emotion_classes",
        num_outputs=num_classes,
        loss=cross_entropy,
        example_weights=partial(balanced_weights, num_classes=num_classes),
        predict=jax.nn.softmax,
        score=score,
    )


def cross_entropy(logits: Float[Array, "B C"], labels: Int[Array, " B"]) -> Float[Array, " B"]:
    """-log softmax(logits)[label], one value per example, computed in float32."""
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def balanced_weights(labels: Int[np.ndarray, " B"], *, num_classes: int) -> Float[np.ndarray, " B"]:
    """Example weights B / (C n_c), so that every class present weighs the same.

    The headline metric is unweighted accuracy, and RAVDESS has half as many neutral clips as others.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * counts[labels])).astype(np.float32)
