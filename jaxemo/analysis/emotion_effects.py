"""Effects of emotions that rest on speakers: estimates, how far each speaker moves them, and tests.

An effect is a squared distance from which the noise's own length is gone, because only products of
different speakers enter it; it may be negative. Where the same speakers are in both domains, each is
paired with himself or herself; where they are not, either domain is a sample of its own.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.resampling import influence_of

PAIRED, SPEECH, MUSIC = range(3)
# Fewer speakers give no jackknife of a product of two.
MIN_SPEAKERS = 3
# Numbers per round of exchanges, which bounds memory.
_CHUNK = 2_000_000
# Spread of influences, as a share of the estimate, that is rounding alone.
_ROUNDING = 1e-9


class Effects(NamedTuple):
    """One effect per emotion.

    Attributes:
      estimate: NaN where too few speakers have the emotion.
      influence: (n - 1) (mean over speakers of leave-one-out - leave-one-out) among the n speakers of
        a sample; NaN for a speaker who does not count, and for all where n is below three.
      interaction: What two speakers add to the estimate beyond what each adds; 0 where either does
        not count.
      sample: Which sample a speaker belongs to: `PAIRED` where speakers are compared with themselves,
        `SPEECH` or `MUSIC` where they are not, and -1 for those who do not count.
    """

    estimate: Float64[np.ndarray, " E"]
    influence: Float64[np.ndarray, "E S"]
    interaction: Float64[np.ndarray, "E S S"]
    sample: Int[np.ndarray, " S"]


class Effect(NamedTuple):
    """One emotion's part of `Effects`."""

    estimate: float
    influence: Float64[np.ndarray, " S"]
    interaction: Float64[np.ndarray, "S S"]


class EffectInterval(NamedTuple):
    """An effect with the limits of its interval, its error and p that it is 0; NaN where unknown."""

    mean: float
    low: float
    high: float
    standard_error: float
    p_value: float


class Contrast(NamedTuple):
    """The effect of one emotion minus that of another, by their places."""

    first: int
    second: int
    interval: EffectInterval


def sample_of_speakers(present: Bool[np.ndarray, "2 E S"]) -> Int[np.ndarray, " S"]:
    """`PAIRED` for speakers with an emotion in both domains, if they are enough; else their domain.

    Where one or two speakers are in both and the others are not, these count in the domain that has
    fewer speakers.

    Args:
      present: Whether a speaker has clips of an emotion in a domain.
    """
    paired = present.all(axis=0).any(axis=0)
    if paired.sum() >= MIN_SPEAKERS:
        return np.where(paired, PAIRED, -1)
    speech, music = present[0].any(axis=0), present[1].any(axis=0)
    if music.sum() < speech.sum():
        return np.where(music, MUSIC, np.where(speech, SPEECH, -1))
    return np.where(speech, SPEECH, np.where(music, MUSIC, -1))


def has_enough_speakers(present: Bool[np.ndarray, "2 E S"]) -> bool:
    """Whether enough speakers are in both domains, or else in each."""
    sample = sample_of_speakers(present)
    unpaired = (sample > PAIRED).any()
    kinds = (SPEECH, MUSIC) if unpaired else (PAIRED,)
    return min(int((sample == kind).sum()) for kind in kinds) >= MIN_SPEAKERS


def count_speakers(
    present: Bool[np.ndarray, "2 E S"], sample: Int[np.ndarray, " S"]
) -> Int[np.ndarray, " E"]:
    """Speakers that each emotion's effect rests on."""
    if (sample > PAIRED).any():
        sides = enumerate((SPEECH, MUSIC))
        return np.sum(
            [(present[domain] & (sample == side)).sum(axis=1) for domain, side in sides], 0
        )
    return (present.all(axis=0) & (sample == PAIRED)).sum(axis=1)


def mean_of_layers(layers: Sequence[Effects]) -> Effects:
    """The mean of one corpus's effects over layers."""
    parts = zip(*(one[:3] for one in layers), strict=True)
    return Effects(*(np.mean(part, axis=0) for part in parts), sample=layers[0].sample)


def effect_of_emotion(
    products: Float64[np.ndarray, "2 S 2 S"],
    present: Bool[np.ndarray, "2 S"],
    sample: Int[np.ndarray, " S"],
) -> Effect:
    """The effect on one emotion, from the inner products of its cells.

    paired:   sum_{s != t} d_s . d_t / (n (n - 1)),   d_s = music_s - speech_s
    unpaired: sum_{s != t} music_s . music_t / (n (n - 1)) + the same of speech
              - 2 mean of music_s . speech_t

    Args:
      products: Of what stands for each (domain, speaker), such as the mean of a cell.
    """
    if (sample > PAIRED).any():
        speech, music = (
            np.flatnonzero(present[domain] & (sample == side))
            for domain, side in enumerate((SPEECH, MUSIC))
        )
        return _unpaired(products, speech, music)
    pairs = np.flatnonzero(present.all(axis=0) & (sample == PAIRED))
    own = products[:, pairs][:, :, :, pairs]
    return _paired(own[1, :, 1] + own[0, :, 0] - own[1, :, 0] - own[0, :, 1], pairs, len(sample))


def stack(effects: Sequence[Effect], sample: Int[np.ndarray, " S"]) -> Effects:
    """The effects of all emotions."""
    estimates, influences, interactions = zip(*effects, strict=True)
    return Effects(np.array(estimates), np.stack(influences), np.stack(interactions), sample)


def effect_interval(
    effects: Effects, weights: Float64[np.ndarray, " E"], *, level: float = 0.95
) -> EffectInterval:
    """Jackknife interval of a weighted sum of effects, over speakers.

    sum_e w_e estimate_e -+ t_{df} sqrt(sum over samples of var(influence) / n)

    A speaker counts in what he or she has: influences of lacking emotions are 0 there, scaled for
    the n of each emotion. df is n - 1, and Welch's for two samples. No interval where the influences
    do not differ: no spread was measured.

    References:
      Efron & Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.
      Welch 1947, Biometrika 34(1-2):28-35.
    """
    from scipy import special

    used = weights != 0
    mean = float((weights[used] * effects.estimate[used]).sum())
    variances, degrees = [], []
    for sample in _samples(effects):
        influence = weights[used] @ _influences(effects, used, sample)
        n = len(influence)
        variances.append(influence.var(ddof=1) / n if n >= MIN_SPEAKERS else np.nan)
        degrees.append(max(n - 1, 1))
    error = float(np.sqrt(np.sum(variances)))
    if not error > _ROUNDING * abs(mean):
        return EffectInterval(mean, np.nan, np.nan, np.nan, np.nan)
    df = error**4 / np.sum(np.square(variances) / degrees)
    half_width = float(special.stdtrit(df, (1 + level) / 2)) * error
    p_value = float(2 * special.stdtr(df, -abs(mean) / error))
    return EffectInterval(mean, mean - half_width, mean + half_width, error, p_value)


def contrasts(effects: Effects) -> list[Contrast]:
    """Every pair of emotions that both have an effect."""
    defined = np.flatnonzero(np.isfinite(effects.estimate))
    unit = np.eye(len(effects.estimate))
    return [
        Contrast(int(a), int(b), effect_interval(effects, unit[a] - unit[b]))
        for a, b in itertools.combinations(defined, 2)
    ]


def exchange_test(
    random: np.random.Generator, effects: Effects, *, num_permutations: int
) -> tuple[float, float]:
    """Do the effects differ? Their spread, and its p by exchanging emotions within speakers.

    value[e, s] = estimate[e] / number of samples + influence[e, s], less the speaker's mean
    spread = sum_e (T_e - mean T)^2,   T_e = sum over samples of the mean over speakers of value[e]
    p = (1 + number of exchanges with excess * spread >= the observed one) / (1 + exchanges)
    excess = 1 - sum of centred variances of interactions / that of the jackknife, at least 1/2

    Influences hold what two speakers do together twice, which would make the test find a twentieth of
    what it may. Exchanging the vectors d_s(e) instead would ask whether shifts are of one direction:
    where six emotions are shifted as far in six directions it finds differences in more than half of
    corpora. Emotions that a speaker lacks stay where they are. NaN for both where fewer than two
    emotions have an effect.

    References:
      Efron & Stein 1981, Annals of Statistics 9(3):586-596 (the jackknife's excess).
      Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9(1):39 (the added one).
    """
    values, samples = _centred_values(effects)
    if not values.size:
        return np.nan, np.nan
    lacking = np.isnan(values)
    shares = [(part, np.maximum((~lacking[part]).sum(axis=0), 1)) for part in samples]
    values = np.nan_to_num(values)
    observed = float(_spread(values[None], shares)[0])
    least = observed * (1 - _ROUNDING) / _excess(effects)
    size = max(1, _CHUNK // values.size)
    at_least = 0
    for start in range(0, num_permutations, size):
        exchanged = _exchanged(random, values, lacking, min(size, num_permutations - start))
        at_least += int((_spread(exchanged, shares) >= least).sum())
    return observed, (1 + at_least) / (1 + num_permutations)


def _paired(gram: Float64[np.ndarray, "n n"], pairs: Int[np.ndarray, " n"], size: int) -> Effect:
    mean, left_out = _mean_product(gram)
    influence, interaction = np.full(size, np.nan), np.zeros((size, size))
    if len(pairs):
        influence[pairs] = influence_of(left_out)
    interaction[np.ix_(pairs, pairs)] = _together(gram)
    return Effect(mean, influence, interaction)


def _unpaired(
    products: Float64[np.ndarray, "2 S 2 S"],
    speech: Int[np.ndarray, " a"],
    music: Int[np.ndarray, " b"],
) -> Effect:
    size = products.shape[1]
    influence, interaction = np.full(size, np.nan), np.zeros((size, size))
    across = products[0][speech][:, 1][:, music]
    if min(across.shape) < 2:
        return Effect(np.nan, influence, interaction)
    mean, estimate = across.mean(), -2 * across.mean()
    for domain, side in enumerate((speech, music)):
        gram = products[domain][side][:, domain][:, side]
        within, left_out = _mean_product(gram)
        estimate += within
        without = (len(side) * mean - across.mean(axis=1 - domain)) / (len(side) - 1)
        influence[side] = influence_of(left_out - 2 * without)
        interaction[np.ix_(side, side)] = _together(gram)
    interaction[np.ix_(speech, music)] = -2 * _doubly_centred(across) / across.size
    interaction[np.ix_(music, speech)] = interaction[np.ix_(speech, music)].T
    return Effect(float(estimate), influence, interaction)


def _together(gram: Float64[np.ndarray, "n n"]) -> Float64[np.ndarray, "n n"]:
    n = len(gram)
    if n < 2:
        return np.zeros_like(gram)
    together = 2 * _doubly_centred(gram) / (n * (n - 1))
    np.fill_diagonal(together, 0.0)
    return together


def _doubly_centred(products: Float64[np.ndarray, "a b"]) -> Float64[np.ndarray, "a b"]:
    rows, columns = products.mean(axis=1, keepdims=True), products.mean(axis=0)
    return products - rows - columns + products.mean()


def _mean_product(gram: Float64[np.ndarray, "n n"]) -> tuple[float, Float64[np.ndarray, " n"]]:
    """Mean product of different speakers, of all and without each; NaN for too few."""
    n = len(gram)
    if n < 2:
        return np.nan, np.full(n, np.nan)
    rows = gram.sum(axis=1) - np.diag(gram)
    total = rows.sum()
    if n < MIN_SPEAKERS:
        return float(total / (n * (n - 1))), np.full(n, np.nan)
    return float(total / (n * (n - 1))), (total - 2 * rows) / ((n - 1) * (n - 2))


def _influences(effects: Effects, used: np.ndarray, sample: int) -> Float64[np.ndarray, "E n"]:
    """Influences on the used emotions of every speaker of a sample who has one of them.

    The variance of a mean over n_e of n speakers is that of values n / n_e and 0 over all n.
    """
    influence = effects.influence[used][:, effects.sample == sample]
    counts = np.isfinite(influence).sum(axis=1, keepdims=True)
    influence = influence[:, np.isfinite(influence).any(axis=0)]
    if not influence.size or counts.min() < MIN_SPEAKERS:
        return np.empty((len(counts), 0))
    return np.nan_to_num(influence) * (influence.shape[1] / counts)


def _samples(effects: Effects) -> list[int]:
    return np.unique(effects.sample[effects.sample >= 0]).tolist()


def _has_effect(effects: Effects) -> Bool[np.ndarray, " E"]:
    return np.isfinite(effects.estimate) & np.isfinite(effects.influence).any(axis=1)


def _excess(effects: Effects) -> float:
    """Variance of the effects about their mean, as a share of what the jackknife says."""
    known = _has_effect(effects)
    centring = np.eye(known.sum()) - 1 / known.sum()
    jackknife = 0.0
    for sample in _samples(effects):
        influence = _influences(effects, known, sample)
        n = influence.shape[1]
        jackknife += float((centring * (influence @ influence.T)).sum()) / (n * (n - 1))
    pairs = effects.interaction[known].reshape(known.sum(), -1)
    together = float((centring * (pairs @ pairs.T)).sum()) / 2
    return max(1 - together / jackknife, 0.5) if jackknife > 0 else 1.0


def _centred_values(effects: Effects):
    """(S, E) values of speakers with two emotions or more, and each sample's rows."""
    known = _has_effect(effects)
    values = (effects.estimate[:, None] / len(_samples(effects)) + effects.influence)[known].T
    keep = np.isfinite(values).sum(axis=1) > 1
    if known.sum() < 2 or not keep.any():
        return np.empty((0, 0)), []
    values, sample = values[keep], effects.sample[keep]
    values = values - np.nanmean(values, axis=1, keepdims=True)
    return values, [sample == number for number in np.unique(sample)]


def _exchanged(
    random: np.random.Generator,
    values: Float64[np.ndarray, "S E"],
    lacking: Bool[np.ndarray, "S E"],
    count: int,
) -> Float64[np.ndarray, "P S E"]:
    """`count` copies with the emotions that each speaker has in another order."""
    key = random.random((count, *values.shape), dtype=np.float32)
    if not lacking.any():
        return np.take_along_axis(values[None], np.argsort(key, axis=-1), axis=-1)
    key[:, lacking] = np.inf
    drawn = np.take_along_axis(values[None], np.argsort(key, axis=-1), axis=-1)
    # The k-th emotion that a speaker has takes the k-th drawn.
    place = np.argsort(np.argsort(lacking, axis=-1, kind="stable"), axis=-1)
    return np.take_along_axis(drawn, np.broadcast_to(place, drawn.shape), axis=-1)


def _spread(values: Float64[np.ndarray, "P S E"], shares) -> Float64[np.ndarray, " P"]:
    """`shares` holds each sample's rows, and how many of them have each emotion."""
    means = np.sum([values[:, rows].sum(axis=1) / count for rows, count in shares], axis=0)
    return ((means - means.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
