"""How unusual a clip is beside a reference set: one score per clip and layer, for finding outliers.

The Frechet distance of a single clip, as fadtk gives it, is mostly a measure of the clip's length: a
few hundred frames span few of the 768 dimensions, and the bias of so small a sample outweighs what
is being looked for. The score here is a mean over frames, so length does not enter it, and it needs
nothing of the reference but mean and covariance, so a published moments file will do.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float64

from jaxemo.distances.arrays import AnyArray

# Added to every variance, as a share of their mean: directions in which the reference hardly varies
# would otherwise decide alone, and a rank-deficient reference would have none to divide by.
RIDGE = 0.01


class Reference(NamedTuple):
    """What scoring needs of a reference set, layer by layer.

    |(x - mean) whitening|^2 is the score of a frame x; its mean over the reference's own frames is 1.
    """

    mean: Float64[np.ndarray, "L D"]
    whitening: Float64[np.ndarray, "L D D"]


def make_reference(mean: Float[AnyArray, "L D"], covariance: Float[AnyArray, "L D D"]) -> Reference:
    """Whitens a reference set.

    C = V diag(l) V^T,  r = RIDGE tr C / d,  e = sum_i l_i / (l_i + r)
    whitening = V diag(1 / sqrt(e (l + r)))

    Raises:
      ValueError: If a layer's covariance is not finite, or is zero: its frames are all alike.
    """
    mean, covariance = np.asarray(mean, np.float64), np.asarray(covariance, np.float64)
    traces = np.trace(covariance, axis1=-2, axis2=-1)
    bad = [layer for layer, trace in enumerate(traces) if not (np.isfinite(trace) and trace > 0.0)]
    if bad:
        raise ValueError(
            f"The reference's frames do not vary, or are not finite, in the layers {bad}: "
            "there is nothing to measure by. Give a larger reference."
        )
    with jax.enable_x64(True):
        return Reference(mean, np.asarray(_whitening(covariance)))


def clip_scores(
    reference: Reference,
    hidden_states: Float[Array, "L B T D"],
    frame_mask: Bool[AnyArray, "B T"],
) -> Float64[Array, "B L"]:
    """Mean over a clip's valid frames of the frames' scores: a squared Mahalanobis distance.

    score = sum_t (x_t - mean)^T (C + r I)^-1 (x_t - mean) / (T e),   r and e as in `make_reference`

    1 is what the reference's own frames have on average; NaN where a clip has no valid frame.

    Reference: Lee et al. 2018, NeurIPS, arXiv 1807.03888 (Mahalanobis distance of hidden features
      for finding what does not belong).
    """
    with jax.enable_x64(True):
        return _clip_scores(reference, hidden_states, frame_mask)


@jax.jit
def _whitening(covariance):
    def one_layer(cov):
        eigenvalues, eigenvectors = jnp.linalg.eigh(cov)
        eigenvalues = jnp.maximum(eigenvalues, 0.0)
        raised = eigenvalues + RIDGE * jnp.mean(eigenvalues)
        return eigenvectors / jnp.sqrt(jnp.sum(eigenvalues / raised) * raised)

    return lax.map(one_layer, covariance)


@jax.jit
def _clip_scores(reference, hidden_states, frame_mask):
    # One layer after another: in float64 all layers of a batch would take twice its memory.
    def one_layer(layer):
        mean, whitening, frames = layer
        valid = jnp.where(frame_mask[..., None], frames.astype(jnp.float64) - mean, 0.0)
        total = jnp.sum((valid @ whitening) ** 2, axis=(-1, -2))
        return total / jnp.sum(frame_mask, axis=-1)

    return lax.map(one_layer, (*reference, hidden_states)).T
