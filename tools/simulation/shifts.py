"""Emotion shift, shape, advantage and profiles: their intervals and tests."""

from collections.abc import Iterator

import numpy as np

from jaxemo.analysis.controls import without_cues
from jaxemo.analysis.emotion_effects import (
    EffectInterval,
    Effects,
    contrasts,
    effect_interval,
    exchange_test,
)
from jaxemo.analysis.emotion_profiles import difference_of_profiles
from jaxemo.analysis.emotion_shape import shape_effects
from jaxemo.analysis.emotion_sharing import Advantage, advantage_test, diagonal_advantage
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import whiten
from jaxemo.analysis.intervals import holm
from simulation.corpora import (
    DIMENSIONS,
    EMOTIONS,
    EXTRA,
    SHIFT,
    UNEQUAL,
    Components,
    Planted,
    drawn_corpus,
    equal_shifts,
    no_shifts,
    planted_shifts,
    read_components,
    turned_shifts,
)
from simulation.table import Line, covered, found, mean

_EXCHANGES = 199
_PATTERN = 0.4


def shift_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Means and intervals of the shift, by number of speakers and by encoder."""
    seeds = range(seed, seed + corpora)
    alike = Planted(equal_shifts())
    for name, components in read_components().items():
        for speakers in (8, 24, 48):
            made = [_shift(components, alike, one, speakers=speakers) for one in seeds]
            corpus = f"{name}, {speakers} speakers, truth {SHIFT**2:.2f}"
            yield mean("shift", corpus, np.concatenate([one.estimate for one in made]))
            yield covered("shift", corpus, _intervals(made), SHIFT**2)


def test_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Level and power of the omnibus tests and of the corrected contrasts, of one encoder's components."""
    name, components = list(read_components().items())[-1]
    seeds = range(seed, seed + corpora)
    kinds = {
        "all alike": Planted(equal_shifts()),
        "all alike, no shift": Planted(no_shifts()),
        "all alike, unequal spread": Planted(equal_shifts(), spread=UNEQUAL),
        "as far in other directions": Planted(turned_shifts()),
        f"one shifted by {EXTRA}": Planted(planted_shifts()),
        f"one shifted by {2 * EXTRA}": Planted(2 * planted_shifts() - equal_shifts()),
    }
    for words, planted in kinds.items():
        made = [_shift(components, planted, one) for one in seeds]
        corpus = f"{name}, 24 speakers, {words}"
        yield found("emotions differ in shift", corpus, map(_exchange_p, made))
        yield found("any contrast, Holm", corpus, map(_least_contrast, made))
    yield from _shape_lines(components, seeds, f"{name}, 24 speakers")
    yield from _cue_lines(components, seeds, f"{name}, 24 speakers")


def advantage_lines(corpora: int, seed: int) -> Iterator[Line]:
    """The advantage of the same emotion where domains share no pattern of emotions, and where they do."""
    name, components = list(read_components().items())[-1]
    pattern = _PATTERN * np.random.default_rng(0).normal(size=(EMOTIONS, DIMENSIONS))
    pattern -= pattern.mean(axis=0)
    for words, shared in (("nothing shared", no_shifts()), ("a shared pattern", pattern)):
        # Where nothing is shared, speech has the pattern and music has not.
        own = equal_shifts() if shared.any() else equal_shifts() - pattern
        planted = Planted(own, pattern)
        truth = 2 / (EMOTIONS - 1) * float((shared**2).sum())
        made = [_advantage(components, planted, one) for one in range(seed, seed + corpora)]
        everything = np.full(EMOTIONS, 1 / EMOTIONS)
        intervals = [effect_interval(one.effects, everything) for one in made]
        corpus = f"{name}, 24 speakers, {words}, truth {truth:.2f}"
        yield mean("advantage", corpus, [one.mean for one in intervals])
        yield covered("advantage", corpus, intervals, truth)
        yield found("same emotion is nearer", corpus, map(_advantage_p, made))


def encoder_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Two encoders of one corpus: the second is noisier and of another scale of shift, or of another order."""
    name, components = list(read_components().items())[-1]
    steps = no_shifts()
    steps[:, 0] = np.linspace(1.0, 2.2, EMOTIONS)
    for words, other in (("one profile", steps), ("reversed profiles", steps[::-1])):
        p_values = []
        for number in range(seed, seed + corpora):
            one = _shift(components, Planted(steps), number)
            two = _shift(components, Planted(0.8 * other), number + corpora)
            difference = difference_of_profiles(one, two)
            p_values.append(1.0 if difference is None else _exchange_p(difference))
        yield found("profiles differ", f"{name}, 24 speakers, {words}", p_values)


def _shape_lines(components: Components, seeds: range, corpus: str) -> Iterator[Line]:
    for words, wider in (("all alike", 1.0), ("one 1.3 times as wide in music", 1.3)):
        planted = Planted(equal_shifts(), music_spread=wider)
        shapes = []
        for number in seeds:
            rows, design = drawn_corpus(number, components, planted)
            shapes.append(shape_effects(whiten(rows, design), design))
        if wider == 1.0:
            yield covered("shape", f"{corpus}, truth 0", _intervals(shapes), 0.0)
        yield found("emotions differ in shape", f"{corpus}, {words}", map(_exchange_p, shapes))


def _cue_lines(components: Components, seeds: range, corpus: str) -> Iterator[Line]:
    """A shift of one emotion that is a cue's alone, once the cue is regressed out."""
    made = []
    for number in seeds:
        rows, design = drawn_corpus(number, components, Planted(no_shifts()))
        draw = np.random.default_rng((number, 1))
        louder = 3.0 * ((design.emotion == 0) & (design.domain == 1))
        cue = draw.normal(size=len(louder)) + louder
        rows = without_cues(rows + cue[:, None] * np.eye(DIMENSIONS)[0], cue[:, None], design)
        made.append(shift_effects(whiten(rows, design), design))
    yield covered("shift, cues regressed out", f"{corpus}, truth 0", _intervals(made), 0.0)
    yield found(
        "emotions differ in shift, cues regressed out",
        f"{corpus}, one shifted in a cue alone",
        map(_exchange_p, made),
    )


def _shift(components: Components, planted: Planted, number: int, *, speakers: int = 24) -> Effects:
    rows, design = drawn_corpus(number, components, planted, speakers=speakers)
    return shift_effects(whiten(rows, design), design)


def _advantage(components: Components, planted: Planted, number: int) -> Advantage:
    rows, design = drawn_corpus(number, components, planted)
    made = diagonal_advantage(whiten(rows, design), design)
    assert made is not None  # All speakers have all emotions.
    return made


def _intervals(made: list[Effects]) -> list[EffectInterval]:
    """The interval of every emotion in every corpus."""
    return [effect_interval(effects, one) for effects in made for one in np.eye(EMOTIONS)]


def _exchange_p(effects: Effects) -> float:
    return exchange_test(np.random.default_rng(0), effects, num_permutations=_EXCHANGES)[1]


def _advantage_p(made: Advantage) -> float:
    return advantage_test(np.random.default_rng(0), made, num_permutations=_EXCHANGES)[1]


def _least_contrast(effects: Effects) -> float:
    """Of the pairs of emotions, after correction."""
    return min(holm([one.interval.p_value for one in contrasts(effects)]))
