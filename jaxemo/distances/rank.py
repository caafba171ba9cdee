"""The rank beneath a Frechet distance: how many directions its rows span."""

import numpy as np
from jaxtyping import Float64, Int

from jaxemo.distances.arrays import over_cores
from jaxemo.distances.statistics import FrechetStatistics

# Singular values below this share of the largest are the rounding of float32 rows.
RANK_TOLERANCE = 1e-6


def numerical_rank(statistics: FrechetStatistics) -> Int[np.ndarray, "*cells"]:
    """Rank of each cell's covariance: singular values of its factor above a share of the largest.

    At most min(n - 1, d). A cell of rank below d says nothing of the directions it does not span; one
    that is not finite has rank 0, and a distance to it is refused by name.
    """
    factor = np.asarray(statistics.factor)
    ranks = over_cores(_rank, factor.reshape(-1, *factor.shape[-2:]))
    return np.array(ranks, np.int32).reshape(factor.shape[:-2])


def _rank(factor: Float64[np.ndarray, "D D"]) -> int:
    if not np.isfinite(factor).all():
        return 0
    # Eigenvalues of the scatter matrix, in half the time of singular values; their rounding is about
    # 1e-15 of the largest, the share that is asked for 1e-12.
    eigenvalues = np.linalg.eigvalsh(factor.T @ factor)
    # Not ">=", so that a cell without rows has rank 0.
    return int((eigenvalues > RANK_TOLERANCE**2 * eigenvalues[-1]).sum())
