"""Linear probes of ratings: ridge regression of every layer and run, in closed form.

As `probing` does for classes: standardised features, the L2 strength chosen on dev rows, all layers,
runs and strengths in one program. In float64, since the normal equations square the condition.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Float64

from jaxemo.analysis.probe_targets import Kind, dev_score
from jaxemo.analysis.probing import (
    CONSTANT_FEATURE,
    L2_STRENGTHS,
    SCORE_TIE,
    FinalFit,
    faults_of_rows,
    faults_of_strengths,
)
from jaxemo.distances.arrays import in_float64


class RatingProbes(NamedTuple):
    """Ridge regressions at the strength chosen for each layer and run, applied to every row."""

    outputs: Float64[np.ndarray | Array, "L F N K"]
    chosen_l2: Float64[np.ndarray | Array, "L F"]
    dev_score: Float64[np.ndarray | Array, "L F"]


def fit_rating_probes(
    features: Float[np.ndarray, "L N D"],
    ratings: Float[np.ndarray, "N K"],
    *,
    train_weight: Float[np.ndarray, "F N"],
    dev_weight: Float[np.ndarray, "F N"],
    l2_strengths: tuple[float, ...] = L2_STRENGTHS,
    final_fit: FinalFit = FinalFit.TRAIN,
) -> RatingProbes:
    """Fits one ridge regression per layer and run, with the strength chosen by mean CCC on dev rows.

    loss(W, b) = 1/2 sum_i c_i |W z_i + b - y_i|^2 + l2 / 2 |W|^2,   c_i = weight_i / total weight

    so that W = (Z^T diag(c) Z + l2 I)^-1 Z^T diag(c) (Y - mean Y) and b = mean Y, with z standardised by
    the moments of the fitted rows. The strongest among ties wins. scikit-learn's `Ridge` has alpha = n l2.

    Args:
      features: One pooled embedding per layer and clip.
      ratings: Such as valence and arousal, in any unit.
      train_weight: Weight >= 0 of each row in each run's training part, 0 for rows outside it.
      dev_weight: Likewise for the part that chooses the strength.
      l2_strengths: Candidates, > 0.
      final_fit: Whether dev rows join the training rows once they have chosen the strength.

    Raises:
      ValueError: For non-finite features or ratings, a strength <= 0, or an empty part.

    Reference: Hoerl & Kennard 1970, Technometrics 12(1):55-67, equation 2.1.
    """
    check_values(features, ratings, train_weight, dev_weight, l2_strengths)
    both = train_weight + dev_weight
    final = train_weight if final_fit is FinalFit.TRAIN else both
    strengths = np.array(sorted(l2_strengths, reverse=True), np.float64)
    arrays = (features, ratings, train_weight, dev_weight, final)
    found = _fit_layers(*(np.asarray(array, np.float64) for array in arrays), strengths)
    return RatingProbes(*(np.asarray(leaf) for leaf in found))


def check_values(features, targets, train_weight, dev_weight, l2_strengths) -> None:
    """Refuses what no probe of numbers can be fitted on."""
    faults = []
    for name, values in (("features", features), ("targets", targets)):
        axes = tuple(axis for axis in range(values.ndim) if axis != values.ndim - 2)
        faults += faults_of_rows(name, np.isfinite(values).all(axis=axes))
    for name, weight in (("train_weight", train_weight), ("dev_weight", dev_weight)):
        if empty := np.flatnonzero(np.asarray(weight).sum(axis=1) <= 0).tolist():
            faults.append(f"runs {empty} have no row in {name}")
    faults += faults_of_strengths(l2_strengths)
    if faults:
        raise ValueError("Cannot fit probes: " + "; ".join(faults) + ".")


@in_float64
def _fit_layers(features, ratings, train_weight, dev_weight, final_weight, l2):
    def fit_run(x, train, dev, final):
        outputs = _ridge(x, ratings, train, l2)
        scores = jax.vmap(lambda o: dev_score(Kind.RATINGS, o, ratings, dev))(outputs)
        best = jnp.argmax(scores >= jnp.max(scores) - SCORE_TIE)
        return RatingProbes(_ridge(x, ratings, final, l2[best][None])[0], l2[best], scores[best])

    def fit_layer(x):
        return lax.map(lambda run: fit_run(x, *run), (train_weight, dev_weight, final_weight))

    return lax.map(fit_layer, features)


def _ridge(
    x: Float[Array, "N D"],
    y: Float[Array, "N K"],
    weight: Float[Array, " N"],
    l2: Float[Array, " S"],
) -> Float[Array, "S N K"]:
    """The regressions of all strengths, applied to all rows."""
    share = weight / jnp.sum(weight)
    z = standardised(x, weight)
    mean = share @ y
    weighted = share[:, None] * z
    gram, target = weighted.T @ z, weighted.T @ (y - mean)

    def solve(strength):
        factor = jax.scipy.linalg.cho_factor(gram + strength * jnp.eye(len(gram)))
        return z @ jax.scipy.linalg.cho_solve(factor, target) + mean

    return lax.map(solve, l2)


def standardised(x: Float[Array, "... N D"], weight: Float[Array, " N"]) -> Float[Array, "... N D"]:
    """(x - mean) / std over the weighted rows; 0 for a feature that is constant over them."""
    share = weight / jnp.sum(weight)
    size = jnp.einsum("n,...nd->...d", share, jnp.abs(x))
    centred = x - jnp.einsum("n,...nd->...d", share, x)[..., None, :]
    # Again: the first mean of features far from zero is itself rounded.
    centred = centred - jnp.einsum("n,...nd->...d", share, centred)[..., None, :]
    std = jnp.sqrt(jnp.einsum("n,...nd->...d", share, centred**2))
    varies = std > CONSTANT_FEATURE * size
    scaled = centred / jnp.where(varies, std, 1.0)[..., None, :]
    return jnp.where(varies[..., None, :], scaled, 0.0)
