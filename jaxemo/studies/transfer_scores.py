"""Scores of transfer's runs on held-out speakers, and their gains over a baseline, paired by speaker."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxemo.studies.held_out import HeldOut
from jaxemo.studies.layers import interval_columns, scores_of
from jaxemo.studies.tallies import (
    Tallies,
    difference_interval,
    score_interval,
    seed_spread,
    seed_spread_of_difference,
)

# Of these a gain over a baseline is reported, under this name.
_GAINS = {"UA": "UA_gain", "recall": "recall_gain"}


def pool_by_speaker(answers: Mapping[int, Sequence[HeldOut]]) -> Tallies:
    """Adds up the folds of each seed.

    Args:
      answers: Seed -> the answers of its folds.
    """
    speakers = sorted(
        {name for folds in answers.values() for one in folds for name in one.speakers}
    )
    num_classes = len(next(iter(answers.values()))[0].confusion)
    counts = np.zeros((len(answers), 1, len(speakers), num_classes, num_classes))
    for place, folds in enumerate(answers.values()):
        for one in folds:
            counts[place, 0, [speakers.index(name) for name in one.speakers]] += one.matrices
    return Tallies(counts, tuple(speakers))


def score_figures(tallies: Tallies, emotions: tuple[str, ...]) -> list[dict[str, Any]]:
    """Columns of UA, WA, macro-F1 and the recall of each emotion that any speaker has."""
    rows = []
    for named in scores_of(emotions):
        interval = score_interval(tallies, 0, named)
        if interval is None:
            continue
        rows.append(
            {
                "metric": named.metric,
                "emotion": named.emotion,
                **interval_columns(interval),
                # That a score is 0 is no question anybody asks.
                "p_value": None,
                "seed_spread": seed_spread(tallies, 0, named.score),
            }
        )
    return rows


def gain_figures(
    tallies: Tallies, baseline: Tallies, emotions: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Columns of the changes of UA and of each emotion's recall against a baseline."""
    rows, sides = [], ((tallies, 0), (baseline, 0))
    for named in scores_of(emotions):
        if named.metric not in _GAINS:
            continue
        interval = difference_interval(*sides, named)
        if interval is None:
            continue
        rows.append(
            {
                "metric": _GAINS[named.metric],
                "emotion": named.emotion,
                **interval_columns(interval),
                "p_value": interval.p_value,
                "seed_spread": seed_spread_of_difference(*sides, named.score),
            }
        )
    return rows
