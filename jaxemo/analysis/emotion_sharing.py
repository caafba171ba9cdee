"""Shared emotion: does music of an emotion lie nearer to speech of it than to speech of others?

The distances of the shift between every speech emotion and every music emotion, and the advantage of
the diagonal of that matrix over the rest, with a test that exchanges music's emotions.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.design import Design, present_cells
from jaxemo.analysis.emotion_effects import (
    MIN_SPEAKERS,
    MUSIC,
    PAIRED,
    SPEECH,
    Effect,
    Effects,
    effect_of_emotion,
    mean_of_layers,
    sample_of_speakers,
    stack,
)
from jaxemo.analysis.emotion_shift import cell_means, inner_products
from jaxemo.analysis.emotion_whitening import Whitened

# Numbers per round of exchanges, which bounds memory.
_CHUNK = 2_000_000


class Advantage(NamedTuple):
    """How much nearer music of an emotion lies to speech of it than to that of other emotions.

    Attributes:
      effects: Of each emotion; NaN for one that a domain lacks.
      products: Of each music speaker's emotions (last axis) with the sum over other speakers' speech,
        each centred over the speaker's emotions, as shares of the mean advantage.
    """

    effects: Effects
    products: Float64[np.ndarray, "T e e"]


def cross_emotion_effects(whitened: Whitened, design: Design) -> list[Effects]:
    """The squared distance of each speech emotion from every music emotion, unbiased as the shift.

    distance(a, b) = sum_{s != t} d_s . d_t / (S (S - 1)),   d_s = music_s(b) - speech_s(a)

    One `Effects` over music's emotions for each emotion of speech; the diagonal is the shift.
    """
    present, means = present_cells(design), cell_means(whitened.clips, design)
    sample = sample_of_speakers(present)
    emotions = range(design.num_emotions)
    made = []
    for speech in emotions:
        effects = []
        for music in emotions:
            pair = np.stack([means[0, speech], means[1, music]])
            there = np.stack([present[0, speech], present[1, music]])
            effects.append(effect_of_emotion(inner_products(pair), there, sample))
        made.append(stack(effects, sample))
    return made


def diagonal_advantage(whitened: Whitened, design: Design) -> Advantage | None:
    """The advantage of the diagonal of the cross-emotion distances over the rest.

    advantage(e) = 2 E / (E - 1) sum_{s != t} speech_s(e) . music_t(e) / (S (S - 1))
    mean over e  = mean of distance(a, b), a != b, - mean of distance(e, e)

    speech_s(e) and music_t(e) are means of cells less the speaker's mean over the E emotions that both
    domains have. Speakers who lack one of them do not count. None where fewer than two emotions or
    three speakers (in either domain, where they are not paired) are left.
    """
    present = present_cells(design)
    shared = np.asarray(present.any(axis=2).all(axis=0))
    complete = present & present[:, shared].all(axis=1, keepdims=True)
    if not complete.any():
        return None
    sample = sample_of_speakers(complete)
    sides = _sides(sample)
    if shared.sum() < 2 or min(side.sum() for side in sides) < MIN_SPEAKERS:
        return None
    means = cell_means(whitened.clips, design)
    means -= means[:, shared].mean(axis=1, keepdims=True)
    scale = 2 * float(shared.sum()) / float(shared.sum() - 1)
    effects = [
        _advantage(means[:, emotion], complete[:, emotion], sample, scale)
        for emotion in range(design.num_emotions)
    ]
    return Advantage(stack(effects, sample), _products(means, shared, sides, scale))


def advantage_of_layers(layers: Sequence[Advantage]) -> Advantage:
    """The mean of one corpus's advantages over layers."""
    return Advantage(
        mean_of_layers([one.effects for one in layers]),
        np.mean([one.products for one in layers], axis=0),
    )


def advantage_test(
    random: np.random.Generator, found: Advantage, *, num_permutations: int
) -> tuple[float, float]:
    """The mean advantage, and p that it is as large by exchanging music's emotions within speakers.

    p = (1 + number of exchanges with a mean advantage >= the observed one) / (1 + exchanges)

    Reference: Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9(1):39 (the added one).
    """
    products = found.products
    observed = float(np.einsum("tee->", products))
    least = observed - 1e-12 * float(np.abs(products).sum())
    size = max(1, _CHUNK // products.size)
    at_least = 0
    for start in range(0, num_permutations, size):
        count = min(size, num_permutations - start)
        key = random.random((count, *products.shape[:2]), dtype=np.float32)
        order = np.argsort(key, axis=-1)[..., None]
        drawn = np.take_along_axis(products[None], order, axis=-1).sum(axis=(1, 2, 3))
        at_least += int((drawn >= least).sum())
    return observed, (1 + at_least) / (1 + num_permutations)


def _sides(sample: Int[np.ndarray, " S"]) -> list[Bool[np.ndarray, " S"]]:
    """Who counts in speech and in music."""
    if (sample > PAIRED).any():
        return [sample == SPEECH, sample == MUSIC]
    return [sample == PAIRED] * 2


def _advantage(
    means: Float64[np.ndarray, "2 S k"],
    present: Bool[np.ndarray, "2 S"],
    sample: Int[np.ndarray, " S"],
    scale: float,
) -> Effect:
    """scale sum_{s != t} speech_s . music_t / (S (S - 1)); 4 x . y = |y + x|^2 - |y - x|^2."""
    apart = effect_of_emotion(inner_products(means), present, sample)
    together = effect_of_emotion(inner_products(np.stack([-means[0], means[1]])), present, sample)
    return Effect(
        estimate=scale * (together.estimate - apart.estimate) / 4,
        influence=scale * (together.influence - apart.influence) / 4,
        interaction=scale * (together.interaction - apart.interaction) / 4,
    )


def _products(
    means: Float64[np.ndarray, "2 E S k"],
    shared: Bool[np.ndarray, " E"],
    sides: list[Bool[np.ndarray, " S"]],
    scale: float,
) -> Float64[np.ndarray, "T e e"]:
    speech, music = (means[domain][shared][:, side] for domain, side in enumerate(sides))
    products = np.einsum("esk,ftk->tefs", speech, music, optimize=True)
    if sides[0] is sides[1]:
        same = np.arange(products.shape[0])
        products[same, :, :, same] = 0.0
        pairs = len(same) * (len(same) - 1)
    else:
        pairs = speech.shape[1] * music.shape[1]
    return products.sum(axis=-1) * scale / (pairs * shared.sum())
