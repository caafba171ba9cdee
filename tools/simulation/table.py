"""One line of the table of coverage, and how often intervals and tests are right."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

LEVEL = 0.05


class Line(NamedTuple):
    """One line of the table."""

    what: str
    corpus: str
    measure: str
    value: float
    width: float | None = None


def covered(what: str, corpus: str, intervals: Iterable[Any], truth: float) -> Line:
    """How often intervals hold the truth, and how wide they are."""
    known = [one for one in intervals if one.low is not None]
    inside = [one.low <= truth <= one.high for one in known]
    width = float(np.mean([one.high - one.low for one in known]))
    return Line(what, corpus, "covered by 95 %", float(np.mean(inside)), width)


def found(what: str, corpus: str, p_values: Iterable[float]) -> Line:
    """How often a test says that there is something."""
    share = float(np.mean([p <= LEVEL for p in p_values]))
    return Line(what, corpus, "found at 5 %", share)


def mean(what: str, corpus: str, values: Iterable[float]) -> Line:
    """The mean of a figure."""
    return Line(what, corpus, "mean", float(np.mean(list(values))))
