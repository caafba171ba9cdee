"""What a figure and a section of the page are, and the sentences and legend entries that several share."""

import math
from typing import NamedTuple

import pandas as pd

from jaxemo.analysis.intervals import SCORE_INFLATION
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Panel, Reference
from jaxemo.report.contents import drawable, groups, present, records
from jaxemo.report.table import Table


class Key(NamedTuple):
    """One entry of a legend.

    Attributes:
      label: What it stands for.
      kind: `line`, `dot`, `bar`, `region` or `scale`.
      colour: A colour of the theme.
      marker: On a line or as a dot; empty for none.
      dash: Of a line.
      hollow: A marker without filling.
      strength: Opacity of a bar's filling.
    """

    label: str
    kind: str
    colour: str = theme.MUTED
    marker: str = ""
    dash: tuple[float, ...] = (1, 0)
    hollow: bool = False
    strength: float = 1.0

    @property
    def variable(self) -> str:
        """The CSS variable of its colour."""
        return theme.VARIABLES[self.colour]

    @property
    def outline(self) -> str:
        """The path of its marker."""
        return theme.CIRCLE if self.marker == "circle" else theme.MARKERS[self.marker]

    @property
    def dashes(self) -> str:
        """As SVG has them."""
        return " ".join(f"{length:g}" for length in self.dash)


class Figure(NamedTuple):
    """Panels that are read together, with their legend, caption and the same figures as tables."""

    identifier: str
    heading: str
    panels: list[Panel]
    legend: list[Key]
    caption: str
    tables: list[Table]


class Sentence(NamedTuple):
    """What a sentence is about, and what it says."""

    about: str
    says: str


class Section(NamedTuple):
    """One part of the page.

    Attributes:
      identifier: Its address on the page.
      heading: Its name.
      question: What it answers.
      tables: At its head.
      figures: Shown at once.
      folded: Shown on demand: the same figures seen otherwise, or parts that repeat.
      findings: What it says in sentences, the weightiest first.
    """

    identifier: str
    heading: str
    question: str
    tables: list[Table]
    figures: list[Figure]
    folded: list[Figure]
    findings: list[Sentence]


def with_rows(tables: list[Table]) -> list[Table]:
    """The tables that are not empty."""
    return [table for table in tables if table.rows]


def with_panels(figures: list[Figure]) -> list[Figure]:
    """The figures that have something to draw."""
    return [figure for figure in figures if figure.panels]


def chance_levels(rows: pd.DataFrame) -> list[Reference]:
    """Chance lines; speech and music differ only where their label sets do."""
    return [Reference("chance", level) for level in dict.fromkeys(rows["chance"].dropna())]


def chance_keys(rows: pd.DataFrame) -> list[Key]:
    """The legend of chance lines, with their values."""
    return [
        Key(f"chance: {r.percent(one.mean)} %", "line", dash=one.dash)
        for one in chance_levels(rows)
    ]


def domain_keys(rows: pd.DataFrame) -> list[Key]:
    """The legend of speech and music."""
    return [
        Key(
            d, "line", domain_colour(d), domain_marker(d), tuple(theme.DOMAIN_DASHES.get(d, [1, 0]))
        )
        for d in present(rows, "domain")
    ]


def scale_key(low: str, high: str) -> Key:
    """The legend of a matrix: its colours from the low to the high end."""
    return Key(f"{low} to {high}", "scale")


def domain_colour(domain: str) -> str:
    """The colour of a domain; another than speech and music has that of text."""
    return theme.DOMAIN_COLOURS.get(domain, theme.INK)


def domain_marker(domain: str) -> str:
    """The marker of a domain."""
    return theme.DOMAIN_MARKERS.get(domain, "diamond")


def domain_line(domain: str, rows: pd.DataFrame) -> Line:
    """The line of a domain, with its colour, marker and dash; `rows` as `Line` has them."""
    dash = tuple(theme.DOMAIN_DASHES.get(domain, [1, 0]))
    return Line(domain, rows, domain_colour(domain), domain_marker(domain), dash)


def fold_intervals(rows: pd.DataFrame) -> str:
    """How the intervals of scores are computed, or why there are none (see `analysis.scores`)."""
    if not any(map(r.has_interval, records(rows))):
        return "There are no intervals: one fold, or no spread between folds."
    return (
        "Bands and whiskers: 95 % intervals, Student's t over folds with different speakers, seeds "
        "averaged within a fold."
    )


def speaker_intervals(rows: pd.DataFrame, *, inflation: float = SCORE_INFLATION) -> str:
    """How intervals over speakers are computed, or why there are none (see `analysis.intervals`)."""
    if any(map(r.has_interval, records(rows))):
        return (
            f"Bands and whiskers: 95 % intervals, Student's t over speakers, its error times {inflation}; "
            "predictions on held-out speakers of all folds pooled, seeds averaged within a speaker."
        )
    reasons = [reason for reason in dict.fromkeys(rows["reason"]) if reason]
    return f"There are no intervals: {'; '.join(reasons) or 'none are recorded'}."


def ends_of(rows: pd.DataFrame, *columns: str) -> list[float]:
    """Every figure and end of an interval that is known."""
    return [float(value) for column in columns for value in rows[column].dropna()]


def round_up(value: float) -> float:
    """A limit of an axis: at least the value, with two digits."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit + 0.3) * unit, 12)


def by_encoder(rows: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The encoders that have a figure, each with its rows that have one."""
    return [(encoder, part) for (encoder,), part in groups(drawable(rows), "encoder")]


PERCENT_TICK = "format(100 * datum.value, '~r')"
POINTS_TICK = "replace(format(100 * datum.value, '+.3~r'), '+0', '0')"
NUMBER_TICK = "format(datum.value, '.4~g')"
