"""Bucket lengths for clips of many lengths: few shapes to compile, little padding.

A compiled program takes one shape. Every clip is padded to the smallest bucket that holds it; the
buckets are chosen from the lengths that are there, so that the padding in all is the least possible.
"""

import numpy as np
from jaxtyping import Int

MAX_BUCKETS = 8


def choose_buckets(
    lengths: Int[np.ndarray, " n"], *, max_buckets: int = MAX_BUCKETS, step: int = 1
) -> Int[np.ndarray, " K"]:
    """At most `max_buckets` ascending lengths that hold all clips with the least total padding.

    Minimises sum_i (bucket(i) - length(i)) exactly over all sets of multiples of `step`. With the
    distinct lengths x_1 < ... < x_u and c_j clips no longer than x_j, the least sum for the first j
    under k buckets, the last of them x_j, is
    best[k, j] = min_{i < j} best[k - 1, i] + x_j (c_j - c_i).

    Args:
      lengths: Of the clips, in samples.
      max_buckets: K at most; fewer where there are fewer distinct lengths.
      step: Grid of the buckets. Time grows with the square of the distinct lengths on it: 100,000
        clips of up to 30 s on a grid of 20 ms take well under a second.

    Raises:
      ValueError: There is no clip, or a number below 1.
    """
    lengths = np.asarray(lengths, np.int64)
    if not lengths.size or lengths.min() < 1 or max_buckets < 1 or step < 1:
        shortest = lengths.min() if lengths.size else "none"
        raise ValueError(
            f"expected at least one clip and lengths, max_buckets and step of at least 1; got "
            f"{lengths.size} clips, shortest {shortest}, max_buckets {max_buckets}, step {step}."
        )
    candidates, clips = np.unique(-(-lengths // step) * step, return_counts=True)
    last = _least_padding_cuts(candidates, clips, min(max_buckets, candidates.size))
    chosen = []
    place = candidates.size
    for row in last[::-1]:
        chosen.append(candidates[place - 1])
        place = row[place]
    return np.array(chosen[::-1])


def assign_buckets(
    lengths: Int[np.ndarray, " n"], buckets: Int[np.ndarray, " K"]
) -> Int[np.ndarray, " n"]:
    """The number of the smallest bucket that holds each clip.

    Raises:
      ValueError: A clip is longer than every bucket.
    """
    if lengths.size and lengths.max() > buckets[-1]:
        raise ValueError(
            f"the longest clip has {lengths.max()} samples, the largest bucket {buckets[-1]}."
        )
    return np.searchsorted(buckets, lengths)


def padding_share(lengths: Int[np.ndarray, " n"], padded: Int[np.ndarray, " m"]) -> float:
    """What part of all computed samples is padding: 1 - sum(lengths) / sum(padded).

    Args:
      lengths: Of the clips.
      padded: Width of every computed row, rows that only fill up a batch included.
    """
    return float(1 - lengths.sum(dtype=np.float64) / padded.sum(dtype=np.float64))


def _least_padding_cuts(
    candidates: Int[np.ndarray, " u"], clips: Int[np.ndarray, " u"], num_buckets: int
) -> Int[np.ndarray, "K u+1"]:
    """For each (k, j): how many of the first j lengths are left to buckets before the k-th."""
    clips_before = np.concatenate([[0], np.cumsum(clips)])
    # A total of padded samples stays far below 2^53, so float64 holds it exactly.
    best = np.full((num_buckets + 1, candidates.size + 1), np.inf)
    best[0, 0] = 0
    cuts = np.zeros((num_buckets, candidates.size + 1), np.int64)
    for j, length in enumerate(candidates, start=1):
        totals = best[:-1, :j] + length * (clips_before[j] - clips_before[:j])  # K j
        cuts[:, j] = totals.argmin(axis=1)
        best[1:, j] = totals.min(axis=1)
    return cuts
