"""Emotion shift: how far music of an emotion lies from speech of it, in units of clips' own spread.

The figure does not depend on how many speakers and clips there are, since products of a speaker with
himself or herself, which hold the noise, do not enter. Shift and shape (how differently clips spread
about their means) are told apart; FAD adds them up, small-sample bias included.
"""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.design import NUM_DOMAINS, Design, cell_of_clips, present_cells
from jaxemo.analysis.emotion_effects import (
    MIN_SPEAKERS,
    MUSIC,
    PAIRED,
    SPEECH,
    Effects,
    count_speakers,
    effect_interval,
    effect_of_emotion,
    exchange_test,
    has_enough_speakers,
    sample_of_speakers,
    stack,
)
from jaxemo.analysis.emotion_shape import shape_effects
from jaxemo.analysis.emotion_whitening import Whitened, whiten
from jaxemo.distances.arrays import AnyArray

_DOMAIN_NAMES = ("speech", "music")
_PERMUTATIONS = 999


class EmotionShift(NamedTuple):
    """Shift of each emotion between the domains, with 95 % intervals over speakers.

    Attributes:
      emotions: The labels, sorted.
      shift: Squared distance of the domains' means, in squared within-cell standard deviations;
        unbiased, so that it may be negative. NaN where fewer than two speakers (of either domain,
        where they are not paired) have the emotion.
      low: Lower limits; NaN where fewer than three speakers have the emotion or no spread was measured.
      high: Upper limits.
      p_value: That the emotions' shifts are alike.
      speakers: Speakers that each shift rests on.
      shape: Difference of the clips' covariances about their means, in the same units
        (`emotion_shape.shape_effects`); NaN where cells hold one clip.
      shape_low: Its lower limits.
      shape_high: Its upper limits.
      shape_p_value: That the emotions' shapes differ between the domains alike.
      paired: Whether each speaker is compared with himself or herself. Where not, what speakers of
        one domain are and what the domain is cannot be told apart.
    """

    emotions: tuple[Any, ...]
    shift: Float64[np.ndarray, " E"]
    low: Float64[np.ndarray, " E"]
    high: Float64[np.ndarray, " E"]
    p_value: float
    speakers: Int[np.ndarray, " E"]
    shape: Float64[np.ndarray, " E"]
    shape_low: Float64[np.ndarray, " E"]
    shape_high: Float64[np.ndarray, " E"]
    shape_p_value: float
    paired: bool


def emotion_shift(
    embeddings: AnyArray, *, domain: Any, emotion: Any, speaker: Any, seed: int = 0
) -> EmotionShift:
    """How far speech and music of each emotion lie apart, and whether the emotions differ in it.

    d_s(e) = mean of speaker s's music clips of emotion e - mean of his or her speech clips
    shift(e) = sum_{s != t} d_s(e)^T C^{-1} d_t(e) / (S (S - 1))

    C is the covariance of clips within a speaker, emotion and domain, shrunk towards its diagonal and
    scaled by clips that it has not seen (`emotion_whitening.whiten`). The shift is unbiased for the
    squared Mahalanobis distance of the domains' means, whatever S, the number of clips and the spread
    of an emotion. Its interval is a jackknife over speakers; p exchanges emotions within speakers.

    Where fewer than three speakers are in both domains, the domains are independent samples, and
    shift(e) is the mean product of different speakers within music, plus that within speech, less
    twice that across. Where (nearly) all cells hold one clip, C is what speaker and emotion leave
    over within a domain, and holds how speakers differ in their emotions as well.

    Args:
      embeddings: (n, d), one row per clip; any number of dimensions.
      domain: n labels, 0 for speech and 1 for music.
      emotion: n labels, numbers or names.
      speaker: n labels, numbers or names; a speaker has the same label in both domains.
      seed: Of the exchanges.

    Returns:
      Shifts in squared within-cell standard deviations, see `EmotionShift`.

    Raises:
      ValueError: If lengths differ, a value is not finite, a label is missing, a domain is neither 0
        nor 1, a domain or a second emotion that both have is lacking, there are fewer than three
        speakers (in each domain, where they are not paired), or clips do not vary.

    Reference: Walther et al. 2016, NeuroImage 137:188-200 (crossnobis; there over runs).
    """
    rows = _checked_rows(embeddings)
    design, emotions = _checked_design(len(rows), domain, emotion, speaker)
    present = present_cells(design)
    _check_speakers(present, emotions)
    whitened = whiten(rows, design)
    effects = shift_effects(whitened, design)
    shift, shift_p_value = _summary(effects, seed)
    shape, shape_p_value = _summary(shape_effects(whitened, design), seed, len(emotions))
    return EmotionShift(
        emotions,
        *shift,
        p_value=shift_p_value,
        speakers=count_speakers(present, effects.sample),
        shape=shape[0],
        shape_low=shape[1],
        shape_high=shape[2],
        shape_p_value=shape_p_value,
        paired=not (effects.sample > PAIRED).any(),
    )


def shift_effects(whitened: Whitened, design: Design) -> Effects:
    """The shift of each emotion and each speaker's influence on it."""
    present = present_cells(design)
    sample = sample_of_speakers(present)
    means = cell_means(whitened.clips, design)
    effects = [
        effect_of_emotion(inner_products(means[:, emotion]), present[:, emotion], sample)
        for emotion in range(design.num_emotions)
    ]
    return stack(effects, sample)


def inner_products(means: Float64[np.ndarray, "2 S k"]) -> Float64[np.ndarray, "2 S 2 S"]:
    """Of what stands for each (domain, speaker), as `effect_of_emotion` takes them."""
    return np.einsum("asd,btd->asbt", means, means, optimize=True)


def cell_means(clips: Float64[np.ndarray, "n k"], design: Design) -> Float64[np.ndarray, "2 E S k"]:
    """Means of cells, zeros for those without clips."""
    cell = cell_of_clips(design)
    order = np.argsort(cell, kind="stable")
    cells, first, counts = np.unique(cell[order], return_index=True, return_counts=True)
    means = np.zeros((int(np.prod(design.shape)), clips.shape[1]))
    means[cells] = np.add.reduceat(clips[order], first, axis=0) / counts[:, None]
    return means.reshape(*design.shape, -1)


def _summary(
    effects: Effects | None, seed: int, num_emotions: int = 0
) -> tuple[Float64[np.ndarray, "3 E"], float]:
    """Estimates and limits, and p that the effects are alike."""
    if effects is None:
        return np.full((3, num_emotions), np.nan), np.nan
    intervals = [effect_interval(effects, one) for one in np.eye(len(effects.estimate))]
    random = np.random.default_rng(seed)
    _, p_value = exchange_test(random, effects, num_permutations=_PERMUTATIONS)
    ends = [[interval.low, interval.high] for interval in intervals]
    return np.stack([effects.estimate, *np.transpose(ends)]), p_value


def _checked_rows(embeddings: AnyArray) -> Float64[np.ndarray, "n d"]:
    rows = np.asarray(embeddings)
    if rows.ndim != 2 or rows.dtype.kind not in "fiu":
        raise ValueError(
            f"embeddings are of shape {rows.shape} and type {rows.dtype}; expected numbers of shape "
            "(n, d), one row per clip."
        )
    rows = rows.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if bad.size:
        raise ValueError(
            f"{bad.size} of {len(rows)} embeddings hold NaN or infinity, the first at row {bad[0]}; "
            "leave those clips out."
        )
    # By a power of two, which no digit knows of: squares of any size then fit.
    return np.ldexp(rows, -np.frexp(np.abs(rows).max(initial=0.0))[1])


def _checked_design(
    n: int, domain: Any, emotion: Any, speaker: Any
) -> tuple[Design, tuple[Any, ...]]:
    labels = {"domain": domain, "emotion": emotion, "speaker": speaker}
    labels = {name: np.asarray(values) for name, values in labels.items()}
    wrong = {name: values.shape for name, values in labels.items() if values.shape != (n,)}
    if wrong:
        said = ", ".join(f"{name} of shape {shape}" for name, shape in wrong.items())
        raise ValueError(f"{said}; expected one label for each of the {n} embeddings.")
    labels = {name: _checked_labels(name, values) for name, values in labels.items()}
    sides = np.unique(labels["domain"])
    if not np.isin(sides, (0, 1)).all():
        raise ValueError(f"domain holds {sides[:8].tolist()}; expected 0 (speech) and 1 (music).")
    if len(sides) < NUM_DOMAINS:
        lacking = [name for number, name in enumerate(_DOMAIN_NAMES) if number not in sides]
        raise ValueError(f"There is no clip of {' or '.join(lacking)}; a shift needs both domains.")
    emotions, emotion_number = np.unique(labels["emotion"], return_inverse=True)
    speakers, speaker_number = np.unique(labels["speaker"], return_inverse=True)
    design = Design(
        domain=labels["domain"].astype(np.int64),
        emotion=emotion_number,
        speaker=speaker_number,
        num_emotions=len(emotions),
        num_speakers=len(speakers),
    )
    return design, tuple(emotions.tolist())


def _checked_labels(name: str, labels: np.ndarray) -> np.ndarray:
    """Numbers or names, whatever array they come in."""
    kinds = {
        "names" if isinstance(one, str) else "numbers" if isinstance(one, Real) else repr(type(one))
        for one in labels.tolist()
    }
    if not (kinds <= {"names"} or kinds <= {"numbers"}):
        raise ValueError(
            f"{name} holds {' and '.join(sorted(kinds))}; expected numbers or names, one for every clip."
        )
    labels = np.array(labels.tolist())
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise ValueError(f"{name} holds NaN or infinity; label every clip or leave it out.")
    return labels


def _check_speakers(present: Bool[np.ndarray, "2 E S"], emotions: tuple[Any, ...]) -> None:
    if not has_enough_speakers(present):
        sample = sample_of_speakers(present)
        counts = [int((sample == side).sum()) for side in (SPEECH, MUSIC)]
        raise ValueError(
            f"{counts[0]} speakers in speech and {counts[1]} in music, of whom fewer than "
            f"{MIN_SPEAKERS} are in both; expected {MIN_SPEAKERS} in both, or in each domain."
        )
    shared = np.flatnonzero(present.any(axis=2).all(axis=0))
    if len(shared) < 2:
        names = [emotions[emotion] for emotion in shared]
        raise ValueError(
            f"Emotions in both domains: {names}; expected at least two, since their shifts are "
            "compared."
        )
