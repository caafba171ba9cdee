"""Scores of held-out speakers: one value each, seeds averaged within a speaker, intervals over speakers."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from jaxemo.analysis.intervals import SpeakerInterval, paired_speaker_interval, speaker_interval
from jaxemo.analysis.scores import macro_f1, recalls, unweighted_accuracy, weighted_accuracy
from jaxemo.studies.held_out import HeldOut

Score = Callable[[Int[np.ndarray, "C C"]], float]

_POOLED = "of all clips together; a speaker has too few for it"


class SpeakerConfusions(NamedTuple):
    """Confusion matrices of all held-out speakers, the folds of one seed added up.

    Attributes:
      speakers: Sorted.
      matrices: By seed and speaker; empty where a seed did not hold the speaker out.
    """

    speakers: tuple[str, ...]
    matrices: Int[np.ndarray, "Z S C C"]

    @property
    def confusion(self) -> Int[np.ndarray, "C C"]:
        """Of all speakers and seeds."""
        return self.matrices.sum(axis=(0, 1))

    @property
    def num_clips(self) -> int:
        """Clips of all speakers, each counted once whatever the number of seeds."""
        return int(self.matrices.sum(axis=(2, 3)).max(axis=0).sum())


def pool_by_speaker(answers: Mapping[int, Sequence[HeldOut]]) -> SpeakerConfusions:
    """Adds up the folds of each seed.

    Args:
      answers: Seed -> the answers of its folds.
    """
    speakers = sorted(
        {name for folds in answers.values() for one in folds for name in one.speakers}
    )
    first = next(iter(answers.values()))[0]
    pooled = np.zeros((len(answers), len(speakers), *first.confusion.shape), np.int64)
    for place, folds in enumerate(answers.values()):
        for one in folds:
            pooled[place, [speakers.index(name) for name in one.speakers]] += one.matrices
    return SpeakerConfusions(tuple(speakers), pooled)


def score_figures(pooled: SpeakerConfusions, emotions: tuple[str, ...]) -> list[dict[str, Any]]:
    """Mean, interval over speakers and spread over seeds of UA, WA and each emotion's recall; macro-F1.

    Macro-F1 is no mean over speakers: it is that of all clips, without an interval.
    """
    rows = []
    for metric, score in (("UA", unweighted_accuracy), ("WA", weighted_accuracy)):
        rows.append({"metric": metric, "emotion": "all", **_figure(_values(pooled, score))})
    rows.append({"metric": "macro_F1", "emotion": "all", **_pooled_figure(pooled)})
    for emotion, values in _recall_values(pooled, emotions):
        rows.append({"metric": "recall", "emotion": emotion, **_figure(values)})
    return rows


def gain_figures(
    pooled: SpeakerConfusions, baseline: SpeakerConfusions, emotions: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Changes of UA and of each emotion's recall against a baseline, paired by speaker."""
    both = tuple(name for name in pooled.speakers if name in baseline.speakers)
    ours, theirs = (_only(one, both) for one in (pooled, baseline))
    pairs = [_values(one, unweighted_accuracy) for one in (ours, theirs)]
    rows = [{"metric": "UA_gain", "emotion": "all", **_gain(*pairs)}]
    without = dict(_recall_values(theirs, emotions))
    for emotion, values in _recall_values(ours, emotions):
        if emotion in without:
            rows.append(
                {"metric": "recall_gain", "emotion": emotion, **_gain(values, without[emotion])}
            )
    return rows


def _only(pooled: SpeakerConfusions, speakers: tuple[str, ...]) -> SpeakerConfusions:
    places = [pooled.speakers.index(name) for name in speakers]
    return SpeakerConfusions(speakers, pooled.matrices[:, places])


def _values(pooled: SpeakerConfusions, score: Score) -> Float[np.ndarray, "Z S"]:
    """The score of each seed and speaker; NaN where it has no clip."""
    return np.array(
        [[score(matrix) if matrix.any() else np.nan for matrix in seed] for seed in pooled.matrices]
    )


def _recall_values(
    pooled: SpeakerConfusions, emotions: tuple[str, ...]
) -> list[tuple[str, Float[np.ndarray, "Z S"]]]:
    """Of the emotions that any speaker has."""
    values = np.array([[recalls(matrix) for matrix in seed] for seed in pooled.matrices])
    return [
        (emotion, values[..., place])
        for place, emotion in enumerate(emotions)
        if np.isfinite(values[..., place]).any()
    ]


def _figure(values: Float[np.ndarray, "Z S"]) -> dict[str, Any]:
    per_speaker = _seed_means(values)
    interval = speaker_interval(per_speaker[np.isfinite(per_speaker)], bounds=(0.0, 1.0))
    # That a score is 0 is no question anybody asks.
    return _columns(interval._replace(p_value=None), values)


def _gain(ours: Float[np.ndarray, "Z S"], theirs: Float[np.ndarray, "Z S"]) -> dict[str, Any]:
    means = np.stack([_seed_means(ours), _seed_means(theirs)])
    known = np.isfinite(means).all(axis=0)
    interval = paired_speaker_interval(means[0, known], means[1, known])
    # Seeds pair only where both have as many; else their spread is not that of a difference.
    differences = ours - theirs if ours.shape == theirs.shape else ours[:1] * np.nan
    return _columns(interval, differences)


def _columns(interval: SpeakerInterval, values: Float[np.ndarray, "Z S"]) -> dict[str, Any]:
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "speakers": interval.n,
        "p_value": interval.p_value,
        "seed_spread": _seed_spread(values),
        "reason": interval.reason,
    }


def _pooled_figure(pooled: SpeakerConfusions) -> dict[str, Any]:
    values = [macro_f1(seed.sum(axis=0)) for seed in pooled.matrices]
    interval = SpeakerInterval(
        float(np.mean(values)), None, None, len(pooled.speakers), None, _POOLED
    )
    return _columns(interval, np.array(values)[:, None])


def _seed_means(values: Float[np.ndarray, "Z S"]) -> Float[np.ndarray, " S"]:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=0)
    count = known.sum(axis=0)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def _seed_spread(values: Float[np.ndarray, "Z S"]) -> float | None:
    """Standard deviation over seeds of the mean over speakers; None with one seed."""
    means = _seed_means(values.T)
    means = means[np.isfinite(means)]
    return float(means.std(ddof=1)) if len(means) > 1 else None
