"""Emotion bias: which emotions an encoder places nearer across the domains, on equal footing.

The speakers are split into disjoint halves A and B. For each emotion
  cross = mean of FAD(speech of A, music of B), FAD(speech of B, music of A)
  null  = mean of FAD(speech of A, speech of B), FAD(music of A, music of B)
  bias  = log(cross / null),   cross and null averaged over several halvings first
Above and below the line there are other speakers on either side, and as many clips, so that
small-sample bias, speaker identity and the scale of a layer weigh on both alike. Everything else, the
interval and the tests, is over speakers: each is left out once (jackknife).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from jaxemo.analysis.design import NUM_DOMAINS, Design
from jaxemo.analysis.resampling import (
    RowSums,
    draw_clips,
    influence_of,
    pair_distances,
    sums_by_unit,
)

_HALVES = 2
# Fewer leave no half of two speakers from which one can be left out.
MIN_SPEAKERS = 4
# Permutations at a time, which bounds memory.
_CHUNK = 1000


class Halving(NamedTuple):
    """A split of the speakers, and the clips that make all its sets equally large."""

    half_of_speaker: Int[np.ndarray, " S"]
    clips: Int[np.ndarray, " m"]


class EmotionBias(NamedTuple):
    """Log ratios of one layer, NaN for an emotion that a half lacks in a domain.

    Attributes:
      estimate: bias of each emotion, above 0 where crossing the domains costs distance.
      influence: (S - 1) (mean over speakers of leave-one-out - leave-one-out): how far each speaker
        moves the estimate. Its standard error is std(influence) / sqrt S. (Jackknife pseudo-values
        about the estimate itself: their own mean would take 1 / S terms off, and a null that is all
        1 / S has a logarithm that this shifts by a constant.)
    """

    estimate: Float64[np.ndarray, " E"]
    influence: Float64[np.ndarray, "E S"]


class LabelTest(NamedTuple):
    """Spread of the emotions' means, and the share of relabellings that give as much or more."""

    statistic: float
    p_value: float
    num_permutations: int


def draw_halvings(
    random: np.random.Generator, design: Design, *, num_halvings: int
) -> list[Halving]:
    """Random halvings of the speakers with clips drawn for each, to be used for every layer.

    Neighbouring pairs of speakers stay together as far as they can: corpora that number their
    speakers by alternating sex (RAVDESS) then have as many women in either half.
    Each set (domain, emotion, half) is drawn down to the clips of the smallest set that has any.
    """
    return [_draw_halving(random, design) for _ in range(num_halvings)]


def emotion_bias(
    rows: Float64[np.ndarray, "n K k"],
    row_mask: Bool[np.ndarray, "n K"],
    design: Design,
    halvings: list[Halving],
) -> EmotionBias:
    """The bias of each emotion at one layer, and each speaker's influence on it.

    Costs 4 E (S + 1) singular value decompositions of (k, k) per halving.

    Args:
      rows: K frames of each clip, in few dimensions (`resampling.principal_rows`).
      row_mask: False where a clip has fewer frames.
      halvings: From `draw_halvings`.
    """
    terms = np.mean([_terms(rows, row_mask, design, halving) for halving in halvings], axis=0)
    cross, null = terms[..., :2].mean(axis=-1), terms[..., 2:].mean(axis=-1)  # E 1+S
    with np.errstate(divide="ignore", invalid="ignore"):
        bias = np.log(cross) - np.log(null)
    bias = np.where(np.isfinite(bias).all(axis=1, keepdims=True), bias, np.nan)
    return EmotionBias(bias[:, 0], influence_of(bias[:, 1:]))


def emotions_differ(
    random: np.random.Generator,
    estimate: Float[np.ndarray, " E"],
    influence: Float[np.ndarray, "E S"],
    *,
    num_permutations: int,
) -> LabelTest:
    """Tests whether the emotions' biases differ at all, by exchanging emotions within each speaker.

    value[e, s] = estimate[e] + influence[e, s]
    statistic = sum_e (mean_s value[e, s] - mean_{e, s} value)^2
    p_value = (1 + number of relabellings with a statistic >= the observed one) / (1 + permutations)

    Differences between the speakers cancel, and so does any constant: the difference of two encoders'
    estimates and influences tests whether they order or space the emotions differently.

    Reference: Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9(1):39 (the added one).
    """
    values = estimate[:, None] + influence
    values = (values - values.mean(axis=0)).T  # S E
    observed = _spread(values[None])[0]
    at_least = 0
    for start in range(0, num_permutations, _CHUNK):
        size = (min(_CHUNK, num_permutations - start), *values.shape)
        order = np.argsort(random.random(size), axis=-1)
        exchanged = _spread(np.take_along_axis(values[None], order, axis=-1))
        at_least += int((exchanged >= observed * (1 - 1e-12)).sum())
    return LabelTest(float(observed), (1 + at_least) / (1 + num_permutations), num_permutations)


def _spread(values: Float64[np.ndarray, "P S E"]) -> Float64[np.ndarray, " P"]:
    means = values.mean(axis=1)
    return ((means - means.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)


def _draw_halving(random: np.random.Generator, design: Design) -> Halving:
    half = _balanced_halves(random, design.num_speakers)
    sets = _set_of_clip(design, half)
    members = [np.flatnonzero(sets == index) for index in np.unique(sets)]
    smallest = min(len(clips) for clips in members)
    drawn = [
        clips[draw_clips(random, design.speaker[clips], num_clips=smallest)] for clips in members
    ]
    return Halving(half, np.sort(np.concatenate(drawn)))


def _balanced_halves(random: np.random.Generator, num_speakers: int) -> Int[np.ndarray, " S"]:
    num_pairs = num_speakers // 2
    half_of_pair = np.arange(num_pairs) % _HALVES
    half = np.repeat(random.permutation(half_of_pair), 2)
    if num_pairs % _HALVES:  # The pair too many is split.
        split = random.choice(np.flatnonzero(half[::2] == 0))
        half[2 * split + random.integers(2)] = 1
    rest = num_speakers - half.size
    return np.concatenate([half, random.integers(_HALVES, size=rest)])


def _set_of_clip(design: Design, half: Int[np.ndarray, " S"]) -> Int[np.ndarray, " n"]:
    shape = (NUM_DOMAINS, design.num_emotions, _HALVES)
    return np.ravel_multi_index((design.domain, design.emotion, half[design.speaker]), shape)


def _terms(rows, row_mask, design: Design, halving: Halving) -> Float64[np.ndarray, "E V 4"]:
    """The four distances of each emotion with all speakers (V = 0), and without speaker V - 1."""
    half = halving.half_of_speaker
    table = _sets_of_halving(rows, row_mask, design, halving)
    shape = (NUM_DOMAINS, design.num_emotions, _HALVES + design.num_speakers)
    place = np.arange(np.prod(shape)).reshape(shape)
    # Without speaker s, the set of their half is the one that lacks them: place[:, :, 2 + s].
    whole = [place[:, :, side, None] for side in range(_HALVES)]
    lacking = place[:, :, _HALVES:]
    a, b = (
        np.concatenate([whole[side], np.where(half == side, lacking, whole[side])], axis=-1)
        for side in range(_HALVES)
    )
    (speech_a, music_a), (speech_b, music_b) = a, b  # each E 1+S
    first = np.stack([speech_a, speech_b, speech_a, music_a], axis=-1)
    second = np.stack([music_b, music_a, speech_b, music_b], axis=-1)
    return pair_distances(table, first.ravel(), second.ravel()).reshape(first.shape)


def _sets_of_halving(rows, row_mask, design: Design, halving: Halving) -> RowSums:
    """Sums per (domain, emotion, set), the sets being A, B and each speaker's half without them."""
    clips = halving.clips
    shape = (NUM_DOMAINS, design.num_emotions, design.num_speakers)
    unit_of_clip = np.ravel_multi_index(
        (design.domain[clips], design.emotion[clips], design.speaker[clips]), shape
    )
    mask = row_mask[clips]
    unit_of_row = np.broadcast_to(unit_of_clip[:, None], mask.shape)[mask]
    units = sums_by_unit(rows[clips][mask], unit_of_row, num_units=int(np.prod(shape)))
    return RowSums(*(_halves_and_lacking(leaf, shape, halving.half_of_speaker) for leaf in units))


def _halves_and_lacking(leaf, shape: tuple[int, int, int], half) -> np.ndarray:
    by_speaker = leaf.reshape(*shape, *leaf.shape[1:])
    halves = np.stack([by_speaker[:, :, half == side].sum(axis=2) for side in range(_HALVES)], 2)
    sets = np.concatenate([halves, halves[:, :, half] - by_speaker], axis=2)
    return sets.reshape(-1, *leaf.shape[1:])
