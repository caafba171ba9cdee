"""Scores of predicted numbers (ratings, tags) over speakers: what each adds to a score of all of them.

As `speaker_scores` does for confusion matrices; these scores need the rows themselves.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from jaxemo.analysis.intervals import jackknife_values

# Many speakers (artists of thousands of songs) are dealt into this many groups, which are left out whole.
MOST_GROUPS = 50

# Of some rows: one figure per output, NaN for one that they do not define.
RowScore = Callable[[Bool[np.ndarray, " N"]], Float[np.ndarray, " K"]]


def group_speakers(speaker: Int[np.ndarray, " N"]) -> Int[np.ndarray, " N"]:
    """Each row's unit: its speaker, or one of `MOST_GROUPS` groups of them, dealt in turn."""
    _, place = np.unique(speaker, return_inverse=True)
    return place % MOST_GROUPS


def leave_out_values(score: RowScore, unit: Int[np.ndarray, " N"]) -> Float64[np.ndarray, "U K"]:
    """What each unit says of a score of all rows together (`intervals.jackknife_values`).

    NaN in the columns of outputs whose score is not defined for all rows, or without some unit.
    """
    units = np.unique(unit)
    together = np.asarray(score(np.ones(len(unit), bool)), np.float64)
    if len(units) == 1:
        return together[None]
    without = np.array([score(unit != one) for one in units], np.float64)
    return jackknife_values(together, without)
