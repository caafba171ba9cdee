"""How alike two layers are over the same clips: linear CKA without bias, and RSA of emotions.

Both depend on distances between clips alone, so neither rotation nor one scale for all dimensions changes
them, and layers of different width and encoder can be compared. Every figure comes with its values as each
speaker in turn is left out. Arithmetic is float64.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from jaxemo.analysis.intervals import jackknife_values


class LeaveOneOut(NamedTuple):
    """A figure of all S speakers, and of all but each."""

    estimate: float
    without: Float64[np.ndarray, " S"]

    @property
    def speaker_values(self) -> Float64[np.ndarray, " S"]:
        """The jackknife's value of each speaker; their mean is the figure."""
        return jackknife_values(self.estimate, self.without)


class Kernel(NamedTuple):
    """Inner products of the clips of one layer, without those of a clip with itself.

    Attributes:
      products: Of the clips in the order of `order`; 0 on the diagonal.
      with_speaker: Sum of each clip's products with each speaker's clips.
      starts: First clip of each speaker.
    """

    products: Float64[np.ndarray, "n n"]
    with_speaker: Float64[np.ndarray, "n S"]
    starts: Int[np.ndarray, " S"]


def linear_kernel(rows: Float[np.ndarray, "n D"], speaker: Int[np.ndarray, " n"]) -> Kernel:
    """The kernel of one layer; clips are brought into the order of their speakers.

    Raises:
      ValueError: Fewer than four clips, for which the estimate without bias is not defined.
    """
    if len(rows) < 4:
        raise ValueError(f"{len(rows)} clips; CKA without bias needs at least 4 of the same clips.")
    order = np.argsort(speaker, kind="stable")
    starts = np.flatnonzero(np.diff(speaker[order], prepend=-1))
    ordered = np.asarray(rows[order], np.float64)
    ordered = ordered - ordered.mean(axis=0)
    products = ordered @ ordered.T
    # Numbers of any unit, so that products of kernels neither vanish nor overflow.
    scale = np.trace(products) / len(products)
    products /= scale if scale > 0 else 1.0
    np.fill_diagonal(products, 0.0)
    return Kernel(products, np.add.reduceat(products, starts, axis=1), starts)


def cka(one: Kernel, other: Kernel) -> LeaveOneOut | None:
    """Linear centred kernel alignment of two layers over the same clips; 0 on average if independent.

    cka = hsic(K, L) / sqrt(hsic(K, K) hsic(L, L))
    n (n - 3) hsic(K, L) = sum_ij K_ij L_ij + sum K sum L / ((n - 1) (n - 2)) - 2 / (n - 2) sum_i K_i. L_i.

    with the diagonals of K and L set to 0. The plain estimate of HSIC is biased upwards, the more so the
    fewer clips there are per dimension; this one is not. None where a layer does not vary, or too few
    clips are left without a speaker.

    Reference: Kornblith et al. 2019, ICML (linear CKA); Song et al. 2012, JMLR 13:1393-1434, equation 4
    (HSIC without bias); Nguyen et al. 2021, ICLR; Murphy et al. 2024, arXiv 2405.01012 (bias of CKA).
    """
    cross, own, others = (_hsic(*pair) for pair in ((one, other), (one, one), (other, other)))
    size = own * others
    if not (np.isfinite(size).all() and (size > 0).all() and (own > 0).all()):
        return None
    values = cross / np.sqrt(size)
    return LeaveOneOut(float(values[0]), values[1:])


def _hsic(one: Kernel, other: Kernel) -> Float64[np.ndarray, " _"]:
    """HSIC of all clips, then without each speaker's; NaN where fewer than four clips are left."""
    n = len(one.products)
    starts = one.starts
    by_speaker = np.add.reduceat(
        np.add.reduceat(one.products * other.products, starts, axis=0), starts, axis=1
    )
    product = by_speaker.sum() - _with_zero(2 * by_speaker.sum(axis=0) - np.diag(by_speaker))
    rows = [_rows_without(kernel) for kernel in (one, other)]  # n 1+S
    totals = rows[0].sum(axis=0) * rows[1].sum(axis=0)
    inner = (rows[0] * rows[1]).sum(axis=0)
    m = n - _with_zero(np.diff(starts, append=n))
    left = np.where(m >= 4, m, np.nan)
    unbiased = product + totals / ((left - 1) * (left - 2)) - 2 / (left - 2) * inner
    return unbiased / (left * (left - 3))


def _rows_without(kernel: Kernel) -> Float64[np.ndarray, "n _"]:
    """Sum of each clip's products with all clips, then with those of all speakers but each."""
    whole = kernel.with_speaker.sum(axis=1, keepdims=True)
    sums = np.concatenate([whole, whole - kernel.with_speaker], axis=1)
    ends = [*kernel.starts[1:], len(sums)]
    for place, (start, end) in enumerate(zip(kernel.starts, ends, strict=True), start=1):
        sums[start:end, place] = 0.0
    return sums


def _with_zero(values: np.ndarray) -> np.ndarray:
    return np.concatenate([[0.0], values])


class EmotionDistances(NamedTuple):
    """Squared distances of all pairs of emotions in one layer, and without each speaker."""

    pairs: Float64[np.ndarray, " P"]
    without: Float64[np.ndarray, "S P"]


def emotion_distances(
    rows: Float[np.ndarray, "n D"],
    emotion: Int[np.ndarray, " n"],
    speaker: Int[np.ndarray, " n"],
) -> EmotionDistances | None:
    """Squared distance between the means of two emotions, without bias, for every pair.

    distance(a, b) = mean over speakers s != t of (m_as - m_bs) . (m_at - m_bt)

    m_as is the mean of speaker s's clips of emotion a, so that differences are within speakers and what
    clips scatter adds nothing. Speakers that lack an emotion are left out. None for fewer than three
    emotions or four speakers.

    Args:
      emotion: Of each clip, in [0, E).
      speaker: Of each clip, in [0, S); those left out count in no figure.

    Reference: Walther et al. 2016, NeuroImage 137:188-200 (distances cross-validated over parts).
    """
    shape = int(speaker.max()) + 1, int(emotion.max()) + 1
    cell = np.ravel_multi_index((speaker, emotion), shape)
    counts = np.bincount(cell, minlength=shape[0] * shape[1])
    sums = np.zeros((len(counts), rows.shape[1]))
    np.add.at(sums, cell, np.asarray(rows, np.float64))
    complete = (counts.reshape(shape) > 0).all(axis=1)
    if complete.sum() < 4 or shape[1] < 3:
        return None
    means = (sums / np.maximum(counts, 1)[:, None]).reshape(*shape, -1)[complete]
    first, second = np.triu_indices(shape[1], k=1)
    differences = means[:, first] - means[:, second]  # S P D
    num_speakers = len(differences)
    total = differences.sum(axis=0)
    own = (differences**2).sum(axis=-1)  # S P
    pairs = _between_speakers(total, own.sum(axis=0), num_speakers)
    without = [
        _between_speakers(total - differences[s], own.sum(axis=0) - own[s], num_speakers - 1)
        for s in range(num_speakers)
    ]
    return EmotionDistances(pairs, np.stack(without))


def _between_speakers(
    total: Float64[np.ndarray, "P D"], own: Float64[np.ndarray, " P"], num_speakers: int
) -> Float64[np.ndarray, " P"]:
    return ((total**2).sum(axis=-1) - own) / (num_speakers * (num_speakers - 1))


def rsa(one: EmotionDistances, other: EmotionDistances) -> LeaveOneOut | None:
    """Spearman's correlation of two sets of distances between the same emotions.

    Whether emotions that lie far apart in one layer, or domain, do so in the other. Some pairs of few
    emotions make a coarse scale: 6 emotions have 15. None where distances are all alike or the two rest
    on different numbers of speakers.

    Reference: Kriegeskorte et al. 2008, Frontiers in Systems Neuroscience 2:4.
    """
    if one.without.shape != other.without.shape:
        return None
    values = np.array(
        [
            _spearman(*pair)
            for pair in [(one.pairs, other.pairs), *zip(one.without, other.without, strict=True)]
        ]
    )
    return LeaveOneOut(float(values[0]), values[1:]) if np.isfinite(values).all() else None


def _spearman(a: Float64[np.ndarray, " P"], b: Float64[np.ndarray, " P"]) -> float:
    """Pearson's correlation of ranks; NaN where all of either are alike."""
    from scipy import stats

    ranks = [stats.rankdata(values) - (len(values) + 1) / 2 for values in (a, b)]
    size = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1] / size) if size > 0 else float("nan")
