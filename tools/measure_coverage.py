"""What the printed intervals cover and the printed tests find, on simulated corpora: a Markdown table.

Command: python tools/measure_coverage.py [--corpora=200] [--seed=0]   (about two minutes)

Corpora are drawn from the variance components below. Those of scores are assumptions that give the
spread of probes over 24 RAVDESS actors in six folds: 10.6 points between speakers, and a mean over
speakers that varies 1.1 times as much as independent speakers would let it, since folds share their
training speakers. Those of embeddings are in units of the spread of clips within a cell.
"""

import argparse
import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxemo.analysis import resampling
from jaxemo.analysis.design import Design
from jaxemo.analysis.emotion_effects import (
    EffectInterval,
    Effects,
    contrasts,
    effect_interval,
    exchange_test,
)
from jaxemo.analysis.emotion_shape import shape_effects
from jaxemo.analysis.emotion_shift import shift_effects
from jaxemo.analysis.emotion_whitening import whiten
from jaxemo.analysis.intervals import holm, paired_speaker_interval, speaker_interval
from jaxemo.analysis.scores import paired_interval, student_interval

# Scores: shares of right answers.
ACCURACY, SPEAKER_SPREAD, SHARED_TRAINING, CLIPS = 0.70, 0.068, 0.010, 32
GAIN_SPREAD, GAIN_SHARED, GAIN = 0.085, 0.008, 0.06
FOLDS = 6
# Embeddings: spread between speakers, speakers in a domain and cells of a speaker.
VOICE, VOICE_IN_DOMAIN, CELL = 1.0, 0.5, 0.35
EMOTIONS, DIMENSIONS, CLIPS_PER_CELL, SHIFT, EXTRA = 6, 16, 4, 1.6, 1.25
UNEQUAL = np.linspace(0.7, 1.3, EMOTIONS)
EXCHANGES = 199
LEVEL = 0.05


class Line(NamedTuple):
    """One line of the table."""

    what: str
    corpus: str
    measure: str
    value: float
    width: float | None = None


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpora", type=int, default=200, help="simulated corpora per line")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print("| figure | corpora | measured | value | mean width |")
    print("| --- | --- | --- | --- | --- |")
    for part in (score_lines, shift_lines, test_lines, encoder_lines, distance_lines):
        for line in part(options.corpora, options.seed):
            width = "" if line.width is None else f"{line.width:.3g}"
            cells = (line.what, line.corpus, line.measure, f"{line.value:.3f}", width)
            print(f"| {' | '.join(cells)} |", flush=True)


# Scores ----------------------------------------------------------------------------------------


def score_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Intervals of UA and of gains; they are cheap, so there are ten times as many."""
    draw = np.random.default_rng(seed)
    accuracies = [drawn_accuracies(draw) for _ in range(10 * corpora)]
    corpus = "24 speakers, 6 folds"
    by_fold = [student_interval(values.reshape(FOLDS, -1).mean(axis=1)) for values in accuracies]
    yield covered("UA, t over folds", corpus, by_fold, ACCURACY)
    plain = [student_interval(values) for values in accuracies]
    yield covered("UA, t over speakers", corpus, plain, ACCURACY)
    used = [speaker_interval(values, bounds=(0.0, 1.0)) for values in accuracies]
    yield covered("**UA, t over speakers, x 1.1**", corpus, used, ACCURACY)
    for gain in (0.0, GAIN):
        pairs = [drawn_pair(draw, gain) for _ in range(10 * corpora)]
        corpus = f"24 speakers, gain {100 * gain:.0f} points"
        folds = [
            paired_interval(*(one.reshape(FOLDS, -1).mean(axis=1) for one in pair))
            for pair in pairs
        ]
        yield covered("gain, t over folds", corpus, folds, gain)
        used = [paired_speaker_interval(*pair) for pair in pairs]
        yield covered("**gain, t over speakers, x 1.1**", corpus, used, gain)
        found = [one.p_value <= LEVEL for one in used if one.p_value is not None]
        yield Line("p of a gain", corpus, "found at 5 %", float(np.mean(found)))


def drawn_accuracies(draw: np.random.Generator) -> np.ndarray:
    """The UA of 24 speakers."""
    truth = ACCURACY + SHARED_TRAINING * draw.normal() + SPEAKER_SPREAD * draw.normal(size=24)
    return draw.binomial(CLIPS, np.clip(truth, 0.0, 1.0)) / CLIPS


def drawn_pair(draw: np.random.Generator, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """The UA of 24 speakers with and without."""
    without = drawn_accuracies(draw)
    more = gain + GAIN_SHARED * draw.normal() + GAIN_SPREAD * draw.normal(size=24)
    return without + more, without


def covered(what: str, corpus: str, intervals, truth: float) -> Line:
    """How often intervals hold the truth, and how wide they are."""
    known = [one for one in intervals if one.low is not None]
    inside = [one.low <= truth <= one.high for one in known]
    width = float(np.mean([one.high - one.low for one in known]))
    return Line(what, corpus, "covered by 95 %", float(np.mean(inside)), width)


# Emotion shift ---------------------------------------------------------------------------------


def drawn_corpus(
    seed: int,
    *,
    speakers: int = 24,
    shifts: np.ndarray | None = None,
    spread: np.ndarray | float = 1.0,
    music_spread: float = 1.0,
) -> tuple[np.ndarray, Design]:
    """Clips of all cells. `shifts` (E, d): of music; `music_spread`: of emotion 0 in music."""
    draw = np.random.default_rng(seed)
    axes = (np.arange(n) for n in (2, EMOTIONS, speakers, CLIPS_PER_CELL))
    domain, emotion, speaker, _ = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
    scale = np.broadcast_to(spread, EMOTIONS)[emotion]
    scale = np.where((domain == 1) & (emotion == 0), scale * music_spread, scale)
    rows = scale[:, None] * draw.normal(size=(len(domain), DIMENSIONS))
    rows += VOICE * draw.normal(size=(speakers, DIMENSIONS))[speaker]
    rows += VOICE_IN_DOMAIN * draw.normal(size=(2, speakers, DIMENSIONS))[domain, speaker]
    cells = draw.normal(size=(2, EMOTIONS, speakers, DIMENSIONS))
    rows += CELL * cells[domain, emotion, speaker]
    rows += domain[:, None] * (equal_shifts() if shifts is None else shifts)[emotion]
    return rows, Design(domain, emotion, speaker, EMOTIONS, speakers)


def equal_shifts() -> np.ndarray:
    """One shift for all emotions, along the first dimension."""
    shifts = np.zeros((EMOTIONS, DIMENSIONS))
    shifts[:, 0] = SHIFT
    return shifts


def planted_shifts() -> np.ndarray:
    """Emotion 0 is shifted further, along another dimension."""
    shifts = equal_shifts()
    shifts[0, -1] = EXTRA
    return shifts


def turned_shifts() -> np.ndarray:
    """As long a shift for all emotions, each along a dimension of its own."""
    return SHIFT * np.eye(EMOTIONS, DIMENSIONS)


def shifts_of(seeds: range, **options) -> list[Effects]:
    """The shift of every corpus."""
    corpora = (drawn_corpus(seed, **options) for seed in seeds)
    return [shift_effects(whiten(rows, design), design) for rows, design in corpora]


def shift_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Means and intervals of shift and shape, of all emotions."""
    seeds = range(seed, seed + corpora)
    for speakers in (8, 24, 48):
        found = shifts_of(seeds, speakers=speakers)
        corpus = f"{speakers} speakers, truth {SHIFT**2:.2f}"
        yield Line("shift", corpus, "mean", float(np.mean([e.estimate for e in found])))
        yield covered("shift", corpus, intervals_of(found), SHIFT**2)
    shapes = []
    for number in seeds:
        rows, design = drawn_corpus(number)
        shapes.append(shape_effects(whiten(rows, design), design))
    yield covered("shape", "24 speakers, truth 0", intervals_of(shapes), 0.0)


def intervals_of(found: list[Effects]) -> list[EffectInterval]:
    """The interval of every emotion in every corpus."""
    return [effect_interval(effects, one) for effects in found for one in np.eye(EMOTIONS)]


# Tests -----------------------------------------------------------------------------------------


def test_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Level and power of the omnibus tests and of the corrected contrasts."""
    seeds = range(seed, seed + corpora)
    kinds = {
        "all alike": {},
        "all alike, no shift": {"shifts": np.zeros((EMOTIONS, DIMENSIONS))},
        "all alike, unequal spread": {"spread": UNEQUAL},
        "as far in other directions": {"shifts": turned_shifts()},
        f"one shifted by {EXTRA}": {"shifts": planted_shifts()},
    }
    for name, options in kinds.items():
        found = shifts_of(seeds, **options)
        share = found_share(found, lambda one: exchange_p(one) <= LEVEL)
        yield Line("emotions differ in shift", f"24 speakers, {name}", "found at 5 %", share)
        share = found_share(found, any_contrast)
        yield Line("any contrast, Holm", f"24 speakers, {name}", "found at 5 %", share)
    for name, wider in (("all alike", 1.0), ("one 1.3 times as wide in music", 1.3)):
        shapes = []
        for number in seeds:
            rows, design = drawn_corpus(number, music_spread=wider)
            shapes.append(shape_effects(whiten(rows, design), design))
        share = found_share(shapes, lambda one: exchange_p(one) <= LEVEL)
        yield Line("emotions differ in shape", f"24 speakers, {name}", "found at 5 %", share)


def exchange_p(effects: Effects) -> float:
    """p that the emotions are alike."""
    return exchange_test(np.random.default_rng(0), effects, num_permutations=EXCHANGES)[1]


def any_contrast(effects: Effects) -> bool:
    """Whether any pair of emotions differs after correction."""
    return min(holm([one.interval.p_value for one in contrasts(effects)])) <= LEVEL


def found_share(found: list[Effects], rule: Callable[[Effects], bool]) -> float:
    """How often a rule holds."""
    return float(np.mean([rule(one) for one in found]))


# Encoders --------------------------------------------------------------------------------------


def encoder_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Two encoders of one corpus: the second is noisier and of another scale of shift, or of another order."""
    from jaxemo.analysis.emotion_profiles import difference_of_profiles

    steps = np.zeros((EMOTIONS, DIMENSIONS))
    steps[:, 0] = np.linspace(1.0, 2.2, EMOTIONS)
    for name, other in (("one profile", steps), ("reversed profiles", steps[::-1])):
        found = []
        for one, two in zip(
            shifts_of(range(seed, seed + corpora), shifts=steps),
            shifts_of(range(seed + corpora, seed + 2 * corpora), shifts=0.8 * other),
            strict=True,
        ):
            difference = difference_of_profiles(one, two)
            found.append(difference is not None and exchange_p(difference) <= LEVEL)
        yield Line("profiles differ", f"24 speakers, {name}", "found at 5 %", float(np.mean(found)))


# Distances -------------------------------------------------------------------------------------


def distance_lines(corpora: int, seed: int) -> Iterator[Line]:
    """The jackknife interval of FAD; its truth is the distance at that number of clips."""
    found = []
    for number in range(seed, seed + 2 * corpora):
        rows, design = drawn_corpus(number)
        sides = []
        for domain in range(2):
            clips = (design.emotion == 0) & (design.domain == domain)
            units = design.speaker[clips]
            sides.append(resampling.sums_by_unit(rows[clips], units, num_units=design.num_speakers))
        found.append(resampling.jackknife_distance(*sides))
    truth = float(np.mean([one.distance for one in itertools.islice(found, corpora, None)]))
    intervals = [
        resampling.jackknife_interval(one.distance, one.influence) for one in found[:corpora]
    ]
    yield covered("FAD, jackknife", "24 speakers, FAD at that n", intervals, truth)


if __name__ == "__main__":
    main()
