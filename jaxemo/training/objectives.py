"""Per-example losses and example weights; sums are divided once, at the end of a step."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def cross_entropy(logits: Float[Array, "B C"], labels: Int[Array, " B"]) -> Float[Array, " B"]:
    """-log softmax(logits)[label], one value an example, computed in float32."""
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]


def balanced_weights(labels: Int[np.ndarray, " B"], *, num_classes: int) -> Float[np.ndarray, " B"]:
    """Example weights B / (C n_c), so that every class present weighs the same.

    The headline metric is unweighted accuracy, and RAVDESS has half as many neutral clips as others.
    """
    counts = np.bincount(labels, minlength=num_classes)
    present = np.count_nonzero(counts)
    return (len(labels) / (present * counts[labels])).astype(np.float32)
