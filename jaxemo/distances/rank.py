"""The rank beneath a Frechet distance: how many directions its rows span."""

import numpy as np
from jaxtyping import Float64, Int

from jaxemo.distances.arrays import over_cores
from jaxemo.distances.statistics import FrechetStatistics

# Singular values below this share of the largest are the rounding of float32 rows.
RANK_TOLERANCE = 1e-6


def numerical_rank(
    statistics: FrechetStatistics, *, relative_tolerance: float = RANK_TOLERANCE
) -> Int[np.ndarray, "*cells"]:
    """Rank of each cell's covariance: singular values of its factor above a share of the largest.

    At most min(n - 1, d). A cell of rank below d says nothing of the directions it does not span.

    Args:
      relative_tolerance: At least 1e-7: eigenvalues of the scatter matrix are counted, whose rounding
        is about 1e-15 of the largest, in half the time of singular values.
    """
    factor = np.asarray(statistics.factor)
    cells = factor.reshape(-1, *factor.shape[-2:])
    ranks = over_cores(lambda cell: _rank(cell, relative_tolerance), cells)
    return np.array(ranks, np.int32).reshape(factor.shape[:-2])


def _rank(factor: Float64[np.ndarray, "D D"], relative_tolerance: float) -> int:
    eigenvalues = np.linalg.eigvalsh(factor.T @ factor)
    # Not ">=", so that a cell without rows has rank 0.
    return int((eigenvalues > relative_tolerance**2 * eigenvalues[-1]).sum())
