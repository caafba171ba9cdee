"""Clips in units of the spread within a cell: one speaker, one emotion, one domain.

What a speaker's clips of one emotion in one domain do beside each other is the noise that a shift is
measured against. Where clips are few for the dimensions its covariance is shrunk towards its own
diagonal, so that the units of a dimension do not matter. Its scale is set by clips that it has not seen:
an inverse of few clips makes every distance too long, by m / (m - d - 1) without shrinkage.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from jaxemo.analysis.design import NUM_DOMAINS, Design, cell_of_clips

# Contrasts within cells below which speaker-by-emotion residuals stand in for them.
_FEWEST_CONTRASTS = 10
_FEWEST_DEGREES = 2
# The least shrinkage: duplicate dimensions then still have an inverse.
_LEAST_SHRINKAGE = 1e-10
# Noise rows per dimension from which nothing is shrunk: a distance's noise is then three times as wide
# as under the true covariance, and its mean still right.
_ENOUGH_ROWS = 1.5
# Spread of a dimension, as a share of its largest value, that is rounding alone.
_ROUNDING = 1e-10


class Noise(NamedTuple):
    """Rows of mean zero whose covariance is that within a cell, and the cell that each is of.

    `cell` is None where cells have a single clip: the rows are then what speaker and emotion leave over
    within a domain, and include how speakers differ in their emotions.
    """

    rows: Float64[np.ndarray, "m d"]
    cell: Int[np.ndarray, " m"] | None


class Whitened(NamedTuple):
    """All clips, and the noise rows, where the noise has variance one in every direction.

    The noise rows are as if the covariance had seen neither of the two in a product of them.
    """

    clips: Float64[np.ndarray, "n k"]
    noise: Noise
    shrinkage: float


def whiten(embeddings: Float64[np.ndarray, "n d"], design: Design) -> Whitened:
    """Clips and noise in units of within-cell standard deviations.

    C = D ((1 - shrinkage) R + shrinkage I) D,   R the noise's correlations, D its deviations
    x -> c^{-1/2} C^{-1/2} x,   c = mean of z^T C_z^{-1} z / d over noise rows z, C_z without z

    From three noise rows for two dimensions on, nothing is shrunk, and the division by c makes distances
    unbiased. From there to one row per dimension and fewer, shrinkage rises to what makes the expected
    squared error of the correlations least; distances are then right on average over directions, too
    short along those in which clips vary little and too long along those in which they vary much.

    Raises:
      ValueError: If a dimension varies between cells and not within them, or nothing varies.

    References:
      Ledoit & Wolf 2004, J. Multivariate Anal. 88(2):365-411.
      Schäfer & Strimmer 2005, Stat. Appl. Genet. Mol. Biol. 4(1):32 (diagonal target).
    """
    varying = _varying(embeddings)
    rows = embeddings[:, varying] - embeddings[:, varying].mean(axis=0)
    noise = _noise(rows, design)
    deviation = np.sqrt((noise.rows**2).mean(axis=0))
    _check_within(deviation, rows, varying)
    rows, standard = rows / deviation, noise.rows / deviation
    shrinkage = _shrinkage(standard)
    m, d = standard.shape
    both = np.concatenate([rows, standard])
    if d > len(both):  # Rotated into the span of the rows, where the target is still the identity.
        both = np.asarray(np.linalg.qr(both.T, mode="r")).T
    both = _unit_covariance(both, len(rows), shrinkage)
    rows, standard = both[: len(rows)], both[len(rows) :]
    length = (standard**2).sum(axis=1)
    # Sherman & Morrison: x^T C_z^{-1} z = x^T C^{-1} z / rest, for any x that C has not seen either.
    rest = 1 - (1 - shrinkage) / m * length
    # The deviations have seen z as well, which weighs where little but they is left.
    scale = float(np.sqrt((length / rest).mean() / d * (1 + 2 * shrinkage / m)))
    noise = Noise(standard / (scale * rest[:, None]), noise.cell)
    return Whitened(rows / scale, noise, shrinkage)


def has_spread(design: Design) -> bool:
    """Whether clips leave a spread within cells, or beside speakers and emotions, to measure against."""
    if num_contrasts(design) >= _FEWEST_CONTRASTS:
        return True
    means = [_speaker_and_emotion(design, domain) for domain in range(NUM_DOMAINS)]
    degrees = sum(len(one) - np.linalg.matrix_rank(one) for one in means if len(one))
    return bool(degrees >= _FEWEST_DEGREES)


def num_contrasts(design: Design) -> int:
    """Clips beside others of their cell: rows of `contrasts_within`."""
    return len(design.domain) - len(np.unique(cell_of_clips(design)))


def contrasts_within(
    rows: Float64[np.ndarray, "n d"], cell: Int[np.ndarray, " n"]
) -> tuple[Float64[np.ndarray, "m d"], Int[np.ndarray, " m"]]:
    """(x_k - mean of the k - 1 clips before it) sqrt((k - 1) / k), for all but the first of a cell.

    Uncorrelated where clips are, and of the covariance of one clip within its cell.

    Reference: Helmert 1876, Astronomische Nachrichten 88:113-132.
    """
    order = np.argsort(cell, kind="stable")
    rows, cell = rows[order], cell[order]
    first = np.searchsorted(cell, cell)
    before = (np.arange(len(cell)) - first)[:, None]
    sums = np.cumsum(rows, axis=0) - rows
    sums -= sums[first]
    later = before[:, 0] > 0
    k = before[later] + 1
    return (rows[later] - sums[later] / (k - 1)) * np.sqrt((k - 1) / k), cell[later]


def _varying(embeddings: Float64[np.ndarray, "n d"]) -> np.ndarray:
    varying = np.ptp(embeddings, axis=0) > _ROUNDING * np.abs(embeddings).max(axis=0)
    if not varying.any():
        raise ValueError("All embeddings are the same; check what they were computed from.")
    return varying


def _noise(rows: Float64[np.ndarray, "n d"], design: Design) -> Noise:
    contrasts, cell = contrasts_within(rows, cell_of_clips(design))
    if len(contrasts) >= _FEWEST_CONTRASTS:
        return Noise(contrasts, cell)
    return Noise(_left_over(rows, design), None)


def _left_over(rows: Float64[np.ndarray, "n d"], design: Design) -> Float64[np.ndarray, "n d"]:
    """What the sum of a speaker's and an emotion's mean leaves, scaled for what it took."""
    left, degrees = np.empty_like(rows), 0
    for domain in range(NUM_DOMAINS):
        clips = design.domain == domain
        means = _speaker_and_emotion(design, domain)
        fitted, _, rank, _ = np.linalg.lstsq(means, rows[clips], rcond=None)
        left[clips] = rows[clips] - means @ fitted
        degrees += int(clips.sum() - rank)
    if degrees < _FEWEST_DEGREES:
        raise ValueError(
            f"{len(rows)} clips leave no spread to measure against: cells hold one clip, and "
            "speakers too few emotions. Add clips or speakers."
        )
    return left * np.sqrt(len(rows) / degrees)


def _speaker_and_emotion(design: Design, domain: int) -> Float64[np.ndarray, "m k"]:
    """Which speaker and which emotion each clip of a domain is of, as zeros and ones."""
    clips = design.domain == domain
    speakers = np.eye(design.num_speakers)[design.speaker[clips]]
    emotions = np.eye(design.num_emotions)[design.emotion[clips]]
    return np.concatenate([speakers, emotions], axis=1)


def _check_within(deviation: np.ndarray, rows: np.ndarray, varying: np.ndarray) -> None:
    flat = np.flatnonzero(varying)[deviation <= _ROUNDING * np.abs(rows).max(axis=0)]
    if flat.size:
        raise ValueError(
            f"Dimensions {flat[:8].tolist()} of the embeddings do not vary between clips of one "
            "speaker, emotion and domain, only between those; leave such dimensions out, and count "
            "no clip twice."
        )


def _shrinkage(standard: Float64[np.ndarray, "m d"]) -> float:
    """sum of variances of the off-diagonal correlations / sum of their squares, where rows are few."""
    m, d = standard.shape
    if m >= _ENOUGH_ROWS * d:
        return _LEAST_SHRINKAGE
    share = min((_ENOUGH_ROWS - m / d) / (_ENOUGH_ROWS - 1.0), 1.0)
    square = standard**2
    products = (square.sum(axis=1) ** 2 - (square**2).sum(axis=1)).mean()
    gram = standard @ standard.T if m < d else standard.T @ standard
    correlations = ((gram / m) ** 2).sum() - d
    if correlations <= _ROUNDING * d:
        return share
    variances = (products - correlations) / (m - 1)
    return float(np.clip(share * variances / correlations, _LEAST_SHRINKAGE, 1.0))


def _unit_covariance(
    both: Float64[np.ndarray, "b k"], num_clips: int, shrinkage: float
) -> Float64[np.ndarray, "b k"]:
    """Clips and noise rows after them, where the noise's shrunk covariance is the identity."""
    # Here, because scipy.linalg takes a while to import.
    from scipy import linalg

    noise = both[num_clips:]
    covariance = (1 - shrinkage) / len(noise) * (noise.T @ noise)
    covariance += shrinkage * np.eye(both.shape[1])
    factor = linalg.cholesky(covariance, lower=True)
    return linalg.solve_triangular(factor, both.T, lower=True).T
