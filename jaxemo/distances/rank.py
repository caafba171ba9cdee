"""The rank beneath a Frechet distance: how many directions its rows span."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Int

from jaxemo.distances.statistics import FrechetStatistics

# Singular values below this share of the largest are the rounding of float32 rows.
RANK_TOLERANCE = 1e-6


def numerical_rank(
    statistics: FrechetStatistics, *, relative_tolerance: float = RANK_TOLERANCE
) -> Int[np.ndarray, "*cells"]:
    """Rank of each cell's covariance: singular values of its factor above a share of the largest.

    At most min(n - 1, d). A cell of rank below d says nothing of the directions it does not span.
    """
    with jax.enable_x64(True):
        return np.asarray(_rank(statistics.factor, relative_tolerance))


@jax.jit
def _rank(factor, relative_tolerance):
    def rank_of_cell(cell):
        # sigma_min >= 1 / |R^-1| and sigma_max <= |R| (Frobenius norms) prove most cells of full rank
        # without singular values, which take 20 times as long at 768 dimensions.
        inverse = jax.scipy.linalg.solve_triangular(cell, jnp.eye(cell.shape[0]))
        bound = 1.0 / (jnp.linalg.norm(cell) * jnp.linalg.norm(inverse))
        proven = (bound > relative_tolerance) & jnp.all(cell == jnp.triu(cell))
        return lax.cond(proven, lambda cell: jnp.int32(cell.shape[0]), count_above, cell)

    def count_above(cell):
        values = jnp.linalg.svd(cell, compute_uv=False)
        above = (values > relative_tolerance * values[0]) & (values > 0.0)
        return jnp.sum(above, dtype=jnp.int32)

    cells = factor.reshape(-1, *factor.shape[-2:])
    # One after another, as in `distance_grid`: a batched SVD would hold every cell's workspace.
    return lax.map(rank_of_cell, cells).reshape(factor.shape[:-2])
