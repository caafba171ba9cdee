"""Charts of named rows: bars from zero or dots, with whiskers and the figure at the right end.

Everything stands at pixels that are computed here, names and figures too, so that no name is cut.
"""

from typing import Any, NamedTuple

import altair as alt

from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Panel, Row, inline

_ROW, _GAP, _FIRST = 19, 27, 4
_FIGURE = 48  # pixels for the figures on the right
_BOTTOM = 24


class Bar(NamedTuple):
    """One named figure.

    Attributes:
      label: The name on its left.
      row: With mean, low and high.
      figure: The figure as it is printed.
      note: The same in words.
      colour: Of the bar or dot.
      marker: Of a dot.
      hollow: A dot without filling.
      strength: Opacity of a bar's filling.
      dash: Of a bar's outline.
    """

    label: str
    row: Row
    figure: str
    note: str
    colour: str
    marker: str = "circle"
    hollow: bool = False
    strength: float = 1.0
    dash: tuple[float, ...] = (1, 0)


class Group(NamedTuple):
    """Bars under one name."""

    label: str
    bars: list[Bar]


class Axis(NamedTuple):
    """The horizontal axis: its ends, the expression that writes a tick, and a level to compare with."""

    low: float
    high: float
    tick: str
    reference: float | None = None
    reference_dash: tuple[float, ...] = tuple(theme.REFERENCE_DASH)


def bar_panel(groups: list[Group], heading: str, description: str, *, axis: Axis) -> Panel:
    """Horizontal bars from zero."""
    return _panel(groups, heading, description, axis=axis, marks=_bars)


def dot_panel(groups: list[Group], heading: str, description: str, *, axis: Axis) -> Panel:
    """Dots, for figures on either side of zero."""
    return _panel(groups, heading, description, axis=axis, marks=_dots)


def _panel(groups: list[Group], heading: str, description: str, *, axis: Axis, marks: Any) -> Panel:
    labels = [bar.label for group in groups for bar in group.bars]
    left = round(16 + theme.LETTER * max(len(label) for label in labels))
    width = theme.WIDTH - left - _FIGURE
    rows, headings, height = _places(groups)
    x = alt.X(
        "mean:Q",
        scale=alt.Scale(domain=[axis.low, axis.high], nice=False, zero=False, clamp=True),
        axis=alt.Axis(title=None, labelExpr=axis.tick, tickCount=4),
    )
    y = _pixels("y", height)
    whiskers, shapes = _whiskers(rows, x, y), marks(rows, x, y)
    parts = _reference(axis, x, y, height)
    # A dot lies on its whisker, a whisker on its bar.
    parts += whiskers + shapes if marks is _dots else shapes + whiskers
    parts += _texts(rows, headings, y, left, width)
    return Panel(heading, parts, (left, 2, _FIGURE, _BOTTOM), (width, height), description)


def _places(groups: list[Group]) -> tuple[list[Row], list[Row], int]:
    """The rows and headings with their pixels from the top, and the height of all."""
    rows, headings, at = [], [], _FIRST
    for group in groups:
        headings.append({"text": group.label, "y": at + 14})
        at += _GAP
        for bar in group.bars:
            looks = bar._asdict() | {key: bar.row[key] for key in ("mean", "low", "high")}
            middle = at + _ROW / 2
            looks |= {"y": middle, "top": middle - 6, "bottom": middle + 6, "zero": 0.0}
            looks |= {"cap_top": middle - 3.5, "cap_bottom": middle + 3.5}
            looks["shape"] = theme.MARKERS[bar.marker]
            looks["fill"] = theme.PAPER if bar.hollow else bar.colour
            looks["edge"] = bar.colour if bar.hollow else theme.PAPER
            rows.append(looks)
            at += _ROW
    return rows, headings, at + 6


def _pixels(column: str, height: int) -> alt.Y:
    scale = alt.Scale(domain=[height, 0], nice=False, zero=False)
    return alt.Y(f"{column}:Q", scale=scale, axis=None)


def _reference(axis: Axis, x: alt.X, y: alt.Y, height: int) -> list[alt.Chart]:
    """The level to compare with, below the first group's name, which may be long."""
    if axis.reference is None:
        return []
    level = {"mean": axis.reference, "top": _FIRST + _GAP - 4, "bottom": height}
    rule = alt.Chart(alt.Data(values=[level])).mark_rule(
        color=theme.MUTED, strokeDash=list(axis.reference_dash), strokeWidth=1.3
    )
    top = y.copy()
    top.shorthand = "top:Q"
    rule = rule.encode(x=x, y=top, y2=alt.Y2("bottom:Q"))
    return [rule.properties(name="level")]


def _bars(rows: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    parts = []
    for place, look in enumerate(dict.fromkeys((row["strength"], row["dash"]) for row in rows)):
        chosen = [row for row in rows if (row["strength"], row["dash"]) == look]
        data = inline(chosen, "mean", "zero", "top", "bottom", "colour", "note")
        bar = alt.Chart(data).mark_rect(
            fillOpacity=look[0], strokeWidth=1, strokeDash=list(look[1]), strokeOpacity=1
        )
        top = y.copy()
        top.shorthand = "top:Q"
        bar = bar.encode(
            x=x,
            x2=alt.X2("zero:Q"),
            y=top,
            y2=alt.Y2("bottom:Q"),
            fill=alt.Fill("colour:N", scale=None),
            stroke=alt.Stroke("colour:N", scale=None),
            description=alt.Description("note:N"),
        )
        parts.append(bar.properties(name=f"bar_{place}"))
    return parts


def _dots(rows: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    data = inline(rows, "mean", "y", "shape", "fill", "edge", "note")
    dot = alt.Chart(data).mark_point(size=66, strokeWidth=1.4, opacity=1)
    dot = dot.encode(
        x=x,
        y=y,
        shape=alt.Shape("shape:N", scale=None),
        fill=alt.Fill("fill:N", scale=None),
        stroke=alt.Stroke("edge:N", scale=None),
        description=alt.Description("note:N"),
    )
    return [dot.properties(name="point")]


def _whiskers(rows: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    """Intervals with a light edge, which shows them on bars too, and caps."""
    drawn = [row for row in rows if r.has_interval(row)]
    if not drawn:
        return []
    low = x.copy()
    low.shorthand = "low:Q"
    base = alt.Chart(inline(drawn, "low", "high", "y"))
    ends = {"x": low, "x2": alt.X2("high:Q"), "y": y}
    halo = base.mark_rule(color=theme.PAPER, strokeWidth=4, opacity=0.7).encode(**ends)
    line = base.mark_rule(color=theme.INK, strokeWidth=1.2).encode(**ends)
    caps = [row | {"end": row[side]} for row in drawn for side in ("low", "high")]
    end, top = x.copy(), y.copy()
    end.shorthand, top.shorthand = "end:Q", "cap_top:Q"
    cap = alt.Chart(inline(caps, "end", "cap_top", "cap_bottom")).mark_rule(
        color=theme.INK, strokeWidth=1.2
    )
    cap = cap.encode(x=end, y=top, y2=alt.Y2("cap_bottom:Q"))
    return [
        halo.properties(name="halo"),
        line.properties(name="whisker"),
        cap.properties(name="cap"),
    ]


def _texts(
    rows: list[Row], headings: list[Row], y: alt.Y, left: int, width: int
) -> list[alt.Chart]:
    """Names on the left, figures on the right, the groups' names over them."""
    base = alt.Chart(inline(rows, "label", "figure", "y"))
    label = base.mark_text(align="right", baseline="middle", color=theme.MUTED)
    figure = base.mark_text(align="right", baseline="middle", color=theme.INK)
    heading = alt.Chart(inline(headings, "text", "y")).mark_text(
        align="left", baseline="middle", color=theme.INK, fontWeight=600
    )
    texts = (
        (label, alt.XValue(-8), "label", "name"),
        (figure, alt.XValue(width + _FIGURE - 2), "figure", "figure"),
        (heading, alt.XValue(2 - left), "text", "heading"),
    )
    return [
        chart.encode(x=x, y=y, text=alt.Text(f"{column}:N")).properties(name=name)
        for chart, x, column, name in texts
        if column != "text" or any(row["text"] for row in headings)
    ]
