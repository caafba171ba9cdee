"""Emotion shape: how differently clips of an emotion spread about their means in speech and in music.

The shift's companion: the same products of different speakers, of covariances instead of means. A
speaker's covariance is that of his or her clips within a cell, so that no clip is on both sides of a
product and the length of the noise does not enter.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.design import Design
from jaxemo.analysis.emotion_effects import Effects, effect_of_emotion, sample_of_speakers, stack
from jaxemo.analysis.emotion_whitening import Whitened

# Noise rows per block of squared products, which bounds memory.
_BLOCK = 1024


def shape_effects(whitened: Whitened, design: Design) -> Effects | None:
    """The difference in shape of each emotion, and each speaker's influence on it.

    D_s(e) = covariance of speaker s's music clips of emotion e - that of his or her speech clips
    shape(e) = sum_{s != t} tr(D_s(e) D_t(e)) / (4 S (S - 1))

    Estimates a quarter of the squared Frobenius norm of E D(e), in squared within-cell standard
    deviations, as the shift does: near the identity it is what covariances add to a Frechet distance,
    to second order. Unbiased where there is no difference; a difference of d dimensions comes out too
    large by a share of about 2 d over the noise rows, since those set the units as well. Clips are
    split by speaker, and means do not enter. Where speakers are not paired, products are as those of
    the shift (`emotion_effects.effect_of_emotion`). None where cells hold one clip.
    """
    if whitened.noise.cell is None:
        return None
    rows, cell = whitened.noise.rows, whitened.noise.cell
    shape = design.shape
    domain, emotion, speaker = np.unravel_index(cell, shape)
    present = np.bincount(cell, minlength=int(np.prod(shape))).reshape(shape) > 0
    sample = sample_of_speakers(present)
    effects = []
    for number in range(design.num_emotions):
        of_emotion = emotion == number
        unit = (domain * design.num_speakers + speaker)[of_emotion]
        products = _covariance_products(rows[of_emotion], unit, present[:, number])
        effects.append(effect_of_emotion(products, present[:, number], sample))
    return stack(effects, sample)


def _covariance_products(
    rows: Float64[np.ndarray, "m k"], unit: Int[np.ndarray, " m"], present: Bool[np.ndarray, "2 S"]
) -> Float64[np.ndarray, "2 S 2 S"]:
    """tr(C_i C_j) / 4 of units' covariances, as the mean of squared products of their rows."""
    order = np.argsort(unit, kind="stable")
    rows, unit = rows[order], unit[order]
    size = present.size
    sums = np.zeros((size, size))
    units, first, counts = np.unique(unit, return_index=True, return_counts=True)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        squares = np.add.reduceat((rows[block] @ rows.T) ** 2, first, axis=1)
        here, begin = np.unique(unit[block], return_index=True)
        sums[np.ix_(here, units)] += np.add.reduceat(squares, begin, axis=0)
    sums[np.ix_(units, units)] /= 4.0 * np.outer(counts, counts)
    return sums.reshape(*present.shape, *present.shape)
