"""What pre-training on speech or on music does: encoders that differ in nothing else, seed by seed.

Differences are taken within a seed; intervals are over seeds, p-values corrected over all differences.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemo.analysis.intervals import holm
from jaxemo.analysis.scores import student_interval
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, records
from jaxemo.report.figures import Section, Sentence, with_rows
from jaxemo.report.sections.pretraining_emotions import order_sentences
from jaxemo.report.sections.pretraining_outcomes import (
    Figures,
    Outcome,
    heard_by,
    outcomes_of,
    untrained_name,
)
from jaxemo.report.sections.shift_tables import LEVEL
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

_LEAST_SEEDS = 3
_LIMITS = (
    "These are small encoders after hours of audio, on one corpus: what they show is the direction of an effect "
    "at this size and budget. They cannot tell what models of a hundred times the size, trained on a thousand "
    "times the audio, would show."
)


class Difference(NamedTuple):
    """What one kind of audio has over another in an outcome, mean over the seeds of both.

    Attributes:
      low: None with `high` and `p_value` where there are too few seeds.
      p_value: Student's, that there is none.
      p_holm: Corrected over all differences of the section; None until it is.
    """

    first: str
    second: str
    mean: float
    low: float | None
    high: float | None
    p_value: float | None
    seeds: int
    p_holm: float | None = None


def pretraining_section(content: Content) -> Section:
    """The section of studies over encoders that were pre-trained on different audio; else empty."""
    question = "Does it matter whether an encoder has heard speech or music before?"
    outcomes = [one for one in outcomes_of(content) if len(one.figures) > 1]
    found = _corrected([_differences(one.figures) for one in outcomes])
    count = sum(one.p_holm is not None for part in found for one in part)
    said = [
        _sentence(one, differences, count) for one, differences in zip(outcomes, found, strict=True)
    ]
    tests = content.rows("emotion_shift_tests", test="encoders_differ", control="none", layer=None)
    said += order_sentences(records(tests), heard_by(content), untrained_name(content))
    if said:
        said.append(Sentence("limits", _LIMITS))
    tables = with_rows([pretraining_table(outcomes, found)])
    return Section("pretraining", "Pre-training", question, tables, [], [], said)


def pretraining_table(outcomes: list[Outcome], found: list[list[Difference]]) -> Table:
    """One row per outcome and pair of kinds."""
    body: list[list[str | Cell]] = [
        [
            f"{one.words}, {one.unit.words}" if one.unit.words else one.words,
            f"{difference.first} minus {difference.second}",
            interval_cell(
                {name: getattr(difference, name) for name in ("mean", "low", "high")},
                one.unit.difference,
            ),
            number_cell(difference.p_holm, r.probability),
            number_cell(difference.seeds),
        ]
        for one, differences in zip(outcomes, found, strict=True)
        for difference in differences
    ]
    caption = (
        "Encoders of one architecture, budget and seed, pre-trained on different audio: difference of what "
        "was measured on them, mean over seeds with Student's 95 % interval, from three seeds on; p by Holm "
        "over the table."
    )
    header = ["measured", "difference", "mean", "p, Holm", "seeds"]
    return Table("pretraining", caption, header, body, keys=2, figures=3)


def _sentence(one: Outcome, differences: list[Difference], count: int) -> Sentence:
    parts = ", ".join(_difference_text(one, part) for part in differences)
    unit = f", in {one.unit.words}" if one.unit.words else ""
    seeds = max(part.seeds for part in differences)
    says = (
        f"{_verdict(differences)}{unit}: {parts} (means and 95 % intervals over {seeds} seeds, Holm's "
        f"correction over {count} differences)."
    )
    if one.untrained is not None:
        gained = ", ".join(
            f"{kind} {one.unit.difference(np.mean(list(of.values())) - one.untrained)}"
            for kind, of in one.figures.items()
        )
        level = one.unit.level(one.untrained)
        says += f" The same network without learning has {level}; against it, {gained}."
    return Sentence(one.words, says)


def _verdict(differences: list[Difference]) -> str:
    if any(_is_told(part) for part in differences):
        return "differs with what was heard"
    if all(part.p_holm is None for part in differences):
        return "was measured on too few seeds for an interval"
    return "is not seen to differ with what was heard"


def _is_told(part: Difference) -> bool:
    return part.p_holm is not None and part.p_holm < LEVEL


def _difference_text(one: Outcome, part: Difference) -> str:
    text = f"{part.first} minus {part.second} {one.unit.difference(part.mean)}"
    if part.low is not None and part.high is not None:
        text += f" [{one.unit.difference(part.low)}, {one.unit.difference(part.high)}]"
    return f"{text} (p = {r.probability(part.p_holm)})" if _is_told(part) else text


def _differences(figures: Figures) -> list[Difference]:
    """Of the pairs of kinds that share a seed, music before speech."""
    found = []
    for first, second in (("music", "speech"), ("both", "speech"), ("both", "music")):
        seeds = sorted(set(figures.get(first, ())) & set(figures.get(second, ())))
        if not seeds:
            continue
        values = np.array([figures[first][seed] - figures[second][seed] for seed in seeds])
        found.append(
            Difference(first, second, float(values.mean()), *_over_seeds(values), len(seeds))
        )
    return found


def _over_seeds(
    values: Float[np.ndarray, " S"],
) -> tuple[float | None, float | None, float | None]:
    """(low, high, p)."""
    # Here, because scipy takes a second to import.
    from scipy import stats

    interval = student_interval(values)
    if len(values) < _LEAST_SEEDS or interval.low is None:
        return None, None, None
    # scipy has no stubs, and makes the class of its results at run time.
    p_value = stats.ttest_1samp(values, 0.0).pvalue  # pyright: ignore[reportAttributeAccessIssue]
    return interval.low, interval.high, float(p_value)


def _corrected(found: list[list[Difference]]) -> list[list[Difference]]:
    """With Holm's p, all outcomes one family."""
    p_values = [one.p_value for part in found for one in part if one.p_value is not None]
    corrected = iter(holm(p_values))
    return [
        [one if one.p_value is None else one._replace(p_holm=next(corrected)) for one in part]
        for part in found
    ]
