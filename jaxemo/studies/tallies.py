"""Held-out predictions of all runs, pooled by speaker: what every figure of studies 1 and 2 is made of."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.intervals import (
    SpeakerInterval,
    paired_speaker_interval,
    speaker_interval,
)
from jaxemo.analysis.scores import unweighted_accuracy
from jaxemo.analysis.speaker_scores import Score, confusions_by_speaker, speaker_values


class Tallies(NamedTuple):
    """Confusion matrices (true class, predicted class) of L sets of predictions, by seed and speaker."""

    counts: Float64[np.ndarray, "G L S C C"]
    speakers: tuple[str, ...]

    @property
    def num_clips(self) -> int:
        """Clips of all speakers, each counted once whatever the number of seeds."""
        return int(self.counts[:, 0].sum(axis=(-2, -1)).max(axis=0).sum())

    def of_speakers(self, place: int) -> Float64[np.ndarray, "S C C"]:
        """One set's matrices, each the mean over the seeds that the speaker was held out in."""
        counts = self.counts[:, place]
        times = (counts.sum(axis=(-2, -1)) > 0).sum(axis=0)
        return counts.sum(axis=0) / np.maximum(times, 1)[:, None, None]


def tally(
    predictions: Int[np.ndarray, "L F N"],
    labels: Int[np.ndarray, " N"],
    *,
    speakers: Sequence[str],
    held_out: Bool[np.ndarray, "F N"],
    seeds: Sequence[int],
    num_classes: int,
) -> Tallies:
    """Counts of every run's held-out rows; speakers that no run holds out do not appear.

    Args:
      predictions: Of all rows, by each of L sets and F runs.
      speakers: Of each row.
      held_out: The rows that a run is scored on.
      seeds: Of each run.
    """
    names, speaker = np.unique(np.asarray(speakers), return_inverse=True)
    tested = np.unique(speaker[held_out.any(axis=0)])
    known = np.unique(np.asarray(seeds))
    counts = np.zeros((len(known), len(predictions), len(tested), num_classes, num_classes))
    for run, rows in enumerate(held_out):
        counts[np.searchsorted(known, seeds[run])] += confusions_by_speaker(
            labels[rows],
            predictions[:, run, rows],
            np.searchsorted(tested, speaker[rows]),
            num_speakers=len(tested),
            num_classes=num_classes,
        )
    return Tallies(counts, tuple(names[tested].tolist()))


class NamedScore(NamedTuple):
    """A score under its name.

    Attributes:
      metric: As results have it.
      emotion: Whose recall it is; `all` for every other score.
      score: Of confusion matrices.
      of_class: The class that a speaker must have to count; None for all speakers.
    """

    metric: str
    emotion: str
    score: Score
    of_class: int | None = None


UA = NamedScore("UA", "all", unweighted_accuracy)


def score_interval(tallies: Tallies, place: int, named: NamedScore) -> SpeakerInterval | None:
    """A score of one set of predictions over the speakers that have it; None where nobody has."""
    matrices = tallies.of_speakers(place)
    matrices = matrices[_has(matrices, named)]
    if not len(matrices):
        return None
    found = speaker_interval(speaker_values(named.score, matrices), bounds=(0.0, 1.0))
    # As it is: the mean of speakers' values is the score up to rounding.
    return found._replace(mean=named.score(matrices.sum(axis=0)))


def difference_interval(
    first: tuple[Tallies, int], second: tuple[Tallies, int], named: NamedScore
) -> SpeakerInterval | None:
    """A score of one set of predictions minus that of another, paired by the speakers that both have.

    None where they share no speaker who has the score.
    """
    common = sorted(set(first[0].speakers) & set(second[0].speakers))
    sides = [
        tallies.of_speakers(place)[[tallies.speakers.index(name) for name in common]]
        for tallies, place in (first, second)
    ]
    both = np.logical_and(*(_has(side, named) for side in sides))
    if not both.any():
        return None
    found = paired_speaker_interval(*(speaker_values(named.score, side[both]) for side in sides))
    one, other = (named.score(side[both].sum(axis=0)) for side in sides)
    return found._replace(mean=one - other)


def _has(matrices: Float64[np.ndarray, "S C C"], named: NamedScore) -> Bool[np.ndarray, " S"]:
    """Which speakers count for a score."""
    if named.of_class is None:
        return np.ones(len(matrices), bool)
    return matrices[:, named.of_class].sum(axis=-1) > 0


def seed_spread(tallies: Tallies, place: int, score: Score) -> float | None:
    """Standard deviation over seeds of a score of all speakers; None for one seed, or where one has none."""
    return _spread(_of_seeds(tallies, place, score))


def seed_spread_of_difference(
    first: tuple[Tallies, int], second: tuple[Tallies, int], score: Score
) -> float | None:
    """That of a score minus another's, seed by seed; None too where they have not as many seeds."""
    sides = [_of_seeds(*side, score) for side in (first, second)]
    if len(sides[0]) != len(sides[1]):
        return None
    return _spread(sides[0] - sides[1])


def _of_seeds(tallies: Tallies, place: int, score: Score) -> Float64[np.ndarray, " G"]:
    return np.array([score(one) for one in tallies.counts[:, place].sum(axis=1)], np.float64)


def _spread(values: Float64[np.ndarray, " G"]) -> float | None:
    if len(values) == 1 or not np.isfinite(values).all():
        return None
    return float(values.std(ddof=1))


def chance_of(tallies: Tallies) -> float:
    """One over the classes that were scored."""
    per_class = tallies.counts[:, 0].sum(axis=(0, 1, 3))
    return 1.0 / int((per_class > 0).sum())
