"""Study 3, emotion shift and shape: their rows, contrasts between emotions, and tests.

Of one pooled vector per clip, in the leading principal directions of each layer.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from jaxemo.analysis.controls import without_cues
from jaxemo.analysis.design import Design, present_cells
from jaxemo.analysis.emotion_effects import (
    PAIRED,
    Effects,
    contrasts,
    count_speakers,
    effect_interval,
    exchange_test,
    has_enough_speakers,
    mean_of_layers,
)
from jaxemo.analysis.emotion_profiles import difference_of_profiles, kendall_tau
from jaxemo.analysis.emotion_shape import shape_effects
from jaxemo.analysis.emotion_sharing import (
    Advantage,
    advantage_of_layers,
    advantage_test,
    cross_emotion_effects,
    diagonal_advantage,
)
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import has_spread, whiten
from jaxemo.analysis.intervals import holm
from jaxemo.analysis.resampling import principal_rows
from jaxemo.results.shift_rows import (
    CrossEmotionRow,
    EmotionContrastRow,
    EmotionShiftRow,
    EmotionShiftTestRow,
)
from jaxemo.studies.config import Settings
from jaxemo.studies.similarity.cells import finite

# Of the results, as `ShiftRows` has them.
SECTIONS = ("emotion_shifts", "cross_emotion", "emotion_contrasts", "emotion_shift_tests")
_EXCHANGES = 11  # the purpose of a seed; the same draws for every layer and encoder
# Deviation along a direction, as a share of the largest, that is rounding alone.
_ROUNDING = 1e-6


class Space(NamedTuple):
    """The directions that a layer is compared in: how many, and their share of its variance."""

    d: int
    variance_kept: float


class EncoderShift(NamedTuple):
    """What one encoder says of the emotions, layer by layer.

    Attributes:
      identity: Columns `encoder`, `origin` and `control`.
      spaces: Of each layer.
      effects: Measure (`shift`, `shape`) -> of each layer, and their mean last; `shape` is absent
        where cells hold one clip.
      speakers: That each emotion rests on.
      cross: Of each layer, the distances of each speech emotion from every music emotion.
      advantage: Of the diagonal of these over the rest, at each layer, and their mean last; empty
        where too few speakers have all emotions.
    """

    identity: dict[str, str]
    emotions: tuple[str, ...]
    spaces: list[Space]
    effects: dict[str, list[Effects]]
    speakers: Int[np.ndarray, " E"]
    cross: list[list[Effects]]
    advantage: list[Advantage]

    def at_layers(self) -> Iterator[tuple[str, int | None, Effects]]:
        """(measure, layer or None for the mean, effects)."""
        for measure, found in self.effects.items():
            yield from zip(
                (measure,) * len(found), (*range(len(self.spaces)), None), found, strict=True
            )


class ShiftRows(NamedTuple):
    """Rows of `SECTIONS`, in their order."""

    shifts: list[EmotionShiftRow]
    cross: list[CrossEmotionRow]
    contrasts: list[EmotionContrastRow]
    tests: list[EmotionShiftTestRow]


def can_shift(design: Design) -> bool:
    """Whether there are speakers and clips enough for a shift of any emotion."""
    return has_enough_speakers(present_cells(design)) and has_spread(design)


def encoder_shift(
    identity: dict[str, str],
    emotions: tuple[str, ...],
    design: Design,
    pooled: Float[np.ndarray, "n L D"],
    *,
    num_dimensions: int,
) -> EncoderShift:
    """Shift and shape of every emotion at every layer, and their means over layers.

    Args:
      identity: Columns `encoder`, `origin` and `control`.
      pooled: Mean over the frames of each clip and layer.
      num_dimensions: Leading principal directions of each layer, at most.
    """
    spaces, cross, advantage = [], [], []
    effects: dict[str, list[Effects]] = {"shift": [], "shape": []}
    for layer in range(pooled.shape[1]):
        rows, space = _leading(pooled[:, layer], num_dimensions)
        whitened = whiten(rows, design)
        effects["shift"].append(shift_effects(whitened, design))
        shape = shape_effects(whitened, design)
        effects["shape"] += [] if shape is None else [shape]
        shared = diagonal_advantage(whitened, design)
        advantage += [] if shared is None else [shared]
        cross.append(cross_emotion_effects(whitened, design))
        spaces.append(space)
    advantage += [advantage_of_layers(advantage)] if advantage else []
    known = {
        measure: [*found, mean_of_layers(found)] for measure, found in effects.items() if found
    }
    speakers = count_speakers(present_cells(design), known["shift"][0].sample)
    return EncoderShift(identity, emotions, spaces, known, speakers, cross, advantage)


def controlled_shift(
    identity: dict[str, str],
    emotions: tuple[str, ...],
    design: Design,
    pooled: Float[np.ndarray, "n L D"],
    *,
    num_dimensions: int,
    cues: Float64[np.ndarray, "n c"] | None,
) -> EncoderShift:
    """The shift alone; `cues` are taken off each layer first. Otherwise as `encoder_shift`."""
    spaces, effects = [], []
    for layer in range(pooled.shape[1]):
        rows, space = _leading(pooled[:, layer], num_dimensions)
        if cues is not None:
            rows = without_cues(rows, cues, design)
        effects.append(shift_effects(whiten(rows, design), design))
        spaces.append(space)
    known = {"shift": [*effects, mean_of_layers(effects)]}
    speakers = count_speakers(present_cells(design), effects[0].sample)
    return EncoderShift(identity, emotions, spaces, known, speakers, [], [])


def shift_rows(found: EncoderShift, others: Sequence[EncoderShift], config: Settings) -> ShiftRows:
    """Rows of one encoder at every layer and of the mean over layers (`layer` None).

    Contrasts of what is controlled for are those of the mean alone.

    Args:
      others: The encoders whose profile of shifts its own is compared with.
    """
    rows = ShiftRows([], [], [], [])
    for measure, layer, effects in found.at_layers():
        place = {**found.identity, "layer": layer, "measure": measure}
        rows.shifts.extend(_figures(found, effects, place))
        if layer is None or found.identity["control"] == "none":
            rows.contrasts.extend(_contrasts(found, effects, place))
        rows.tests.append(_test_row(effects, {**place, "other_encoder": None}, config))
    for layer, shared in zip((*range(len(found.spaces)), None), found.advantage, strict=False):
        place = {**found.identity, "layer": layer, "measure": "advantage"}
        rows.shifts.extend(_figures(found, shared.effects, place))
        rows.tests.append(_advantage_test(shared, place, config))
    for layer, effects in enumerate(found.cross):
        of_encoder = {name: found.identity[name] for name in ("encoder", "origin")}
        rows.cross.extend(_cross_rows(found, effects, {**of_encoder, "layer": layer}))
    rows.tests.extend(_profile_test(found, other, config) for other in others)
    return rows


def _leading(
    rows: Float[np.ndarray, "n D"], num_dimensions: int
) -> tuple[Float64[np.ndarray, "n k"], Space]:
    found = principal_rows(rows, num_dimensions=num_dimensions)
    deviation = found.rows.std(axis=0)
    # Clips fewer than directions leave some that hold nothing.
    kept = found.rows[:, deviation > _ROUNDING * deviation.max()]
    return kept, Space(kept.shape[1], found.variance_kept)


def _figures(
    found: EncoderShift, effects: Effects, place: dict[str, Any]
) -> Iterator[EmotionShiftRow]:
    space: dict[str, Any] = {"d": None, "variance_kept": None}
    if place["layer"] is not None:
        space = found.spaces[place["layer"]]._asdict()
    paired = not (effects.sample > PAIRED).any()
    weights = {emotion: np.eye(len(found.emotions))[n] for n, emotion in enumerate(found.emotions)}
    speakers = dict(zip(found.emotions, found.speakers.tolist(), strict=True))
    if place["measure"] == "advantage":
        known = np.isfinite(effects.estimate)
        count = int((effects.sample >= 0).sum())
        weights["all"], speakers = known / known.sum(), dict.fromkeys((*speakers, "all"), count)
    for emotion, weight in weights.items():
        row = {"emotion": emotion, "speakers": speakers[emotion], "paired": paired}
        yield EmotionShiftRow(**place, **row, **_ends(effects, weight), **space)


def _ends(effects: Effects, weights: Float64[np.ndarray, " E"]) -> dict[str, Any]:
    interval = effect_interval(effects, weights)
    return {name: finite(getattr(interval, name)) for name in ("mean", "low", "high")}


def _cross_rows(
    found: EncoderShift, effects: list[Effects], place: dict[str, Any]
) -> Iterator[CrossEmotionRow]:
    for speech, music in np.ndindex(len(found.emotions), len(found.emotions)):
        names = {"emotion": found.emotions[speech], "other_emotion": found.emotions[music]}
        weights = np.eye(len(found.emotions))[music]
        yield CrossEmotionRow(**place, **names, **_ends(effects[speech], weights))


def _contrasts(
    found: EncoderShift, effects: Effects, place: dict[str, Any]
) -> Iterator[EmotionContrastRow]:
    made = contrasts(effects)
    p_values = [finite(one.interval.p_value) for one in made]
    corrected = iter(holm([p for p in p_values if p is not None]))
    for one, p_value in zip(made, p_values, strict=True):
        first, second = (found.emotions[number] for number in one[:2])
        yield EmotionContrastRow(
            **place,
            emotion=first,
            other_emotion=second,
            mean=one.interval.mean,
            low=finite(one.interval.low),
            high=finite(one.interval.high),
            p_value=p_value,
            p_holm=None if p_value is None else next(corrected),
            speakers=int(found.speakers[list(one[:2])].min()),
        )


def _profile_test(
    found: EncoderShift, other: EncoderShift, config: Settings
) -> EmotionShiftTestRow:
    """The mean shifts of two encoders, each over its mean; nothing where either has no profile."""
    ours, theirs = (one.effects["shift"][-1] for one in (found, other))
    place: dict[str, Any] = {**other.identity, "layer": None, "measure": "shift"}
    place["other_encoder"] = found.identity["encoder"]
    defined = np.isfinite(ours.estimate) & np.isfinite(theirs.estimate)
    tau = None
    if defined.sum() > 1:
        tau = finite(kendall_tau(ours.estimate[defined], theirs.estimate[defined]))
    return _test_row(difference_of_profiles(ours, theirs), place, config, tau=tau)


def _advantage_test(
    shared: Advantage, place: dict[str, Any], config: Settings
) -> EmotionShiftTestRow:
    permutations = config.similarity.permutations
    random = np.random.default_rng((config.seed, _EXCHANGES))
    statistic, p_value = advantage_test(random, shared, num_permutations=permutations)
    return EmotionShiftTestRow(
        **place,
        test="diagonal_nearer",
        other_encoder=None,
        statistic=statistic,
        p_value=p_value,
        tau=None,
        emotions=shared.products.shape[1],
        speakers=int((shared.effects.sample >= 0).sum()),
        permutations=permutations,
    )


def _test_row(
    effects: Effects | None, place: dict[str, Any], config: Settings, *, tau: float | None = None
) -> EmotionShiftTestRow:
    permutations, statistic, p_value = config.similarity.permutations, np.nan, np.nan
    if effects is not None:
        random = np.random.default_rng((config.seed, _EXCHANGES))
        statistic, p_value = exchange_test(random, effects, num_permutations=permutations)
    return EmotionShiftTestRow(
        **place,
        test="emotions_differ" if place["other_encoder"] is None else "encoders_differ",
        statistic=finite(statistic),
        p_value=finite(p_value),
        tau=tau,
        emotions=0 if effects is None else int(np.isfinite(effects.estimate).sum()),
        speakers=0 if effects is None else int((effects.sample >= 0).sum()),
        permutations=permutations,
    )
