"""What a figure and a section of the page are, and the pieces that several figures share.

Colour is spent sparingly: speech and music have one colour each throughout, emotions a fixed
palette, encoders none, they stand side by side. Every series also differs in marker or dashes.
"""

import math
from typing import NamedTuple

from markupsafe import Markup

from jaxemo.report import charts
from jaxemo.report import rows as r
from jaxemo.report.charts import Cell, Point, Reference
from jaxemo.report.tables import Table

DOMAIN_MARKERS = {"speech": "circle", "music": "square"}


class Panel(NamedTuple):
    """One chart under its heading."""

    heading: str
    chart: Markup


class Key(NamedTuple):
    """One entry of a legend."""

    swatch: Markup
    label: str


class Figure(NamedTuple):
    """Charts that are read together, with their legend, caption and the same figures as tables."""

    identifier: str
    heading: str
    panels: list[Panel]
    legend: list[Key]
    caption: str
    tables: list[Table]


class Section(NamedTuple):
    """One part of the page; `folded` figures are shown on demand, all else at once."""

    identifier: str
    heading: str
    question: str
    tables: list[Table]
    figures: list[Figure]
    folded: list[Figure]


def matrix(
    cells: dict[tuple[str, str], Cell],
    limits: tuple[r.Number, r.Number],
    axes: tuple[str, str],
    title: str,
) -> Markup:
    """A matrix chart of the cells: layers in number order, emotions in their fixed order."""
    rows = sorted(dict.fromkeys(row for row, _ in cells), key=_place)
    columns = sorted(dict.fromkeys(column for _, column in cells), key=_place)
    size = f"{len(rows)} rows ({axes[0]}) by {len(columns)} columns ({axes[1]})"
    return charts.matrix_chart(
        cells,
        rows=rows,
        columns=columns,
        limits=limits,
        axes=axes,
        title=title,
        description=f"{size}; the figures are in the tables below.",
    )


def point(row: dict, note: str, style: str) -> Point:
    """A row at its layer."""
    return Point(float(row["layer"]), row["mean"], row["low"], row["high"], note, style)


def known(rows: list[dict]) -> list[dict]:
    """The rows that have a figure; the others appear in tables only."""
    return [row for row in rows if row["mean"] is not None]


def with_rows(tables: list[Table]) -> list[Table]:
    """The tables that are not empty."""
    return [table for table in tables if table.rows]


def with_panels(figures: list[Figure]) -> list[Figure]:
    """The figures that have something to draw."""
    return [figure for figure in figures if figure.panels]


def chance_levels(rows: list[dict]) -> list[Reference]:
    """Chance lines; speech and music differ only where their label sets do."""
    levels = dict.fromkeys(row["chance"] for row in rows if row["chance"] is not None)
    return [Reference(f"chance: {r.percent(level)} %", "chance", level) for level in levels]


def round_up(value: r.Number) -> float:
    """A limit of an axis: at least the value, with two digits."""
    if value <= 0:
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(value)) - 1)
    return round(math.ceil(value / unit + 0.3) * unit, 12)


def domain_keys(rows: list[dict]) -> list[Key]:
    """The legend of speech and music."""
    domains = r.values(rows, "domain")
    return [Key(charts.swatch(d, DOMAIN_MARKERS.get(d, "diamond")), d) for d in domains]


def reference_key(reference: Reference) -> Key:
    """The legend entry of a level to compare with."""
    return Key(charts.swatch(f"reference {reference.style}", "none"), reference.label)


def scale_key(low: str, high: str) -> Key:
    """The legend of a matrix: its colours from the low to the high end."""
    return Key(charts.scale_swatch(), f"{low} to {high}")


def fold_intervals(rows: list[dict]) -> str:
    """How the intervals of scores are computed, or why there are none (see `analysis.scores`)."""
    if all(row["low"] is None for row in rows):
        return "One fold: there are no intervals."
    return (
        "Bands and whiskers: 95 % intervals, Student's t over folds with different speakers, seeds "
        "averaged within a fold."
    )


def palette_place(present: list[str], emotion: str) -> int:
    """The fixed place of a known emotion in the palette; others take the places that are left."""
    if emotion in r.EMOTIONS:
        return r.EMOTIONS.index(emotion)
    free = [i for i, name in enumerate(r.EMOTIONS) if name not in present] or [0]
    others = [name for name in present if name not in r.EMOTIONS]
    return free[others.index(emotion) % len(free)]


def percent_tick(value: r.Number) -> str:
    """A fraction as percent, shortest form, for axes."""
    return f"{100 * value:.1f}".removesuffix(".0")


def whole_percent(value: r.Number | None) -> str:
    """A fraction as whole percent, for the cells of a matrix."""
    return r.UNKNOWN if value is None else f"{100 * value:.0f}"


def _place(name: str) -> tuple[int, int]:
    if name in r.EMOTIONS:
        return 0, r.EMOTIONS.index(name)
    return (1, int(name)) if name.isdecimal() else (2, 0)
