"""Do two distances order the emotions alike? Computed from the rows, pair by pair of emotions."""

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from jaxemo.analysis.intervals import holm
from jaxemo.report import rows as r
from jaxemo.report.contents import drawable, groups, records, select

_METRICS = ("FAD_infinite_speakers", "KAD")
_LEVEL = 0.05


class Agreement(NamedTuple):
    """How extrapolated FAD and KAD order the emotions at one layer of one encoder.

    Attributes:
      tau: Kendall's: (pairs ordered alike - pairs ordered differently) / pairs.
      swapped: Pairs in another order, named nearest first by extrapolated FAD.
      clear: Those of them that both distances tell apart after Holm's correction over all pairs, layers
        and encoders.
    """

    encoder: str
    layer: int
    tau: float
    num_pairs: int
    swapped: list[str]
    clear: list[str]


class _Pair(NamedTuple):
    """Two emotions, nearest first by extrapolated FAD: 1 if ordered alike by KAD, -1 if not, 0 if tied."""

    name: str
    sign: int
    p_value: float


def agreements(similarity: pd.DataFrame) -> list[Agreement]:
    """One for each encoder and layer where two emotions or more have both distances.

    The p of a pair is the larger of both distances', normal, of a difference of error
    sqrt(error_1^2 + error_2^2): emotions share their speakers, so that it is rather too large.
    """
    cross = drawable(select(similarity, comparison="cross_domain"))
    found: dict[tuple[str, int], list[_Pair]] = {}
    for (encoder, layer), of in groups(cross, "encoder", "layer"):
        by = [{row["emotion"]: row for row in records(select(of, metric=m))} for m in _METRICS]
        emotions = [
            emotion for (emotion,), _ in groups(of, "emotion") if all(emotion in b for b in by)
        ]
        if len(emotions) > 1:
            found[encoder, layer] = [
                _compared(pair, by) for pair in itertools.combinations(emotions, 2)
            ]
    corrected = iter(holm([pair.p_value for pairs in found.values() for pair in pairs]))
    return [_agreement(*place, pairs, corrected) for place, pairs in found.items()]


def _agreement(
    encoder: str, layer: int, pairs: list[_Pair], corrected: Iterator[float]
) -> Agreement:
    """Takes as many of the corrected p-values as there are pairs."""
    told = [next(corrected) <= _LEVEL for _ in pairs]
    tau = sum(pair.sign for pair in pairs) / len(pairs)
    swapped = [pair.name for pair in pairs if pair.sign < 0]
    clear = [pair.name for pair, one in zip(pairs, told, strict=True) if one and pair.sign < 0]
    return Agreement(encoder, layer, tau, len(pairs), swapped, clear)


def _compared(pair: tuple[str, str], by: list[dict[str, dict[str, Any]]]) -> _Pair:
    two = [[found[emotion] for emotion in pair] for found in by]
    here, there = (second["mean"] - first["mean"] for first, second in two)
    sign = ((here > 0) - (here < 0)) * ((there > 0) - (there < 0))
    name = " < ".join(pair if here > 0 else reversed(pair))
    return _Pair(name, sign, max(_p_value(*rows) for rows in two))


def _p_value(first: dict[str, Any], second: dict[str, Any]) -> float:
    """That the distances of two emotions are equal; 1 where their errors are not known."""
    errors = [row["standard_error"] for row in (first, second)]
    if not all(map(r.known, errors)) or not any(errors):
        return 1.0
    return math.erfc(abs(second["mean"] - first["mean"]) / math.hypot(*errors) / math.sqrt(2))
