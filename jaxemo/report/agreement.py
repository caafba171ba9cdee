"""Do two distances order the emotions alike? Computed from the rows, pair by pair of emotions."""

import itertools
import math
from typing import Any, NamedTuple

import pandas as pd

from jaxemo.report import rows as r
from jaxemo.report.contents import drawable, groups, records, select

_METRICS = ("FAD_infinity", "KAD")
_BEYOND = 2.0  # standard errors of the difference of two emotions


class Agreement(NamedTuple):
    """How extrapolated FAD and KAD order the emotions at one layer of one encoder.

    Attributes:
      tau: Kendall's: (pairs ordered alike - pairs ordered differently) / pairs.
      swapped: Pairs in another order, named nearest first by extrapolated FAD.
      clear: Those of them whose difference is beyond twice its error in both distances.
    """

    encoder: str
    layer: int
    tau: float
    num_pairs: int
    swapped: list[str]
    clear: list[str]


def agreements(similarity: pd.DataFrame) -> list[Agreement]:
    """One for each encoder and layer where two emotions or more have both distances.

    The error of a difference is sqrt(error_1^2 + error_2^2): emotions share their speakers, so that
    it is rather too large.
    """
    cross = drawable(select(similarity, comparison="cross_domain"))
    found = []
    for (encoder, layer), of in groups(cross, "encoder", "layer"):
        by = [{row["emotion"]: row for row in records(select(of, metric=m))} for m in _METRICS]
        emotions = [
            emotion for (emotion,), _ in groups(of, "emotion") if all(emotion in b for b in by)
        ]
        if len(emotions) > 1:
            found.append(_agreement(encoder, layer, emotions, by))
    return found


def _agreement(
    encoder: str, layer: int, emotions: list[str], by: list[dict[str, dict[str, Any]]]
) -> Agreement:
    signs, swapped, clear = 0, [], []
    pairs = list(itertools.combinations(emotions, 2))
    for pair in pairs:
        first, second = ([found[emotion] for emotion in pair] for found in by)
        here, there = (_difference(two) for two in (first, second))
        product = (here > 0) * (there > 0) + (here < 0) * (there < 0)
        product -= (here > 0) * (there < 0) + (here < 0) * (there > 0)
        signs += product
        if product < 0:
            name = " < ".join(pair if here > 0 else reversed(pair))
            swapped.append(name)
            clear += [name] if all(_beyond_error(two) for two in (first, second)) else []
    return Agreement(encoder, layer, signs / len(pairs), len(pairs), swapped, clear)


def _difference(two: list[dict[str, Any]]) -> float:
    return two[1]["mean"] - two[0]["mean"]


def _beyond_error(two: list[dict[str, Any]]) -> bool:
    errors = [row["standard_error"] for row in two]
    if not all(map(r.known, errors)):
        return False
    return abs(_difference(two)) > _BEYOND * math.hypot(*errors)
