"""Matrices: a field of cells, each coloured by where its value lies between two limits."""

import math
from typing import NamedTuple, TypeVar

import altair as alt

from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Panel, Row, inline

_Axis = TypeVar("_Axis", alt.X, alt.Y)


class Cell(NamedTuple):
    """One field.

    Attributes:
      down: Name of its row.
      across: Name of its column.
      value: What its colour shows; None where it is not known.
      figure: The text inside.
      note: The same in words.
      outlined: Drawn with an outline (the same emotion, the right answer).
      marked: Drawn with a filled corner (the nearest).
    """

    down: str
    across: str
    value: float | None
    figure: str
    note: str
    outlined: bool = False
    marked: bool = False


def heat_panel(
    cells: list[Cell],
    heading: str,
    description: str,
    *,
    axes: tuple[str, str],
    limits: tuple[float, float],
) -> Panel:
    """A matrix; rows and columns in the order in which the cells name them.

    Args:
      cells: Its fields; a pair of names without one stays empty.
      heading: Name of the panel.
      description: What it shows.
      axes: What rows and columns are.
      limits: Values of the lightest and of the darkest colour.
    """
    rows = list(dict.fromkeys(cell.down for cell in cells))
    columns = list(dict.fromkeys(cell.across for cell in cells))
    left = round(27 + theme.LETTER * max(len(name) for name in rows))
    longest = theme.LETTER * max(len(name) for name in columns)
    slanted = longest > (theme.WIDTH - left - 2) / len(columns) - 2
    # A slanted name leans over the columns to its right, and the last one needs room to do so.
    overhang = round(0.62 * longest) if slanted else 0
    width = theme.WIDTH - left - overhang - 2
    top = round(22 + (0.62 * longest if slanted else 10))
    size = (width, len(rows) * (29 if len(rows) <= 9 else 18))
    drawn = [_drawn(cell, rows, columns, limits) for cell in cells]
    x = alt.X("start:Q", scale=_cells([0, len(columns)]), axis=None)
    y = alt.Y("start:Q", scale=_cells([len(rows), 0]), axis=None)
    parts = [*_fields(drawn, x, y), *_figures(drawn, x, y, size)]
    parts += _names(columns, rows, x, y, slanted=slanted)
    parts += _axis_names(axes, (left, top))
    return Panel(heading, parts, (left, top, overhang + 2, 2), size, description)


def _cells(ends: list[int]) -> alt.Scale:
    """Positions of whole cells, between these ends."""
    return alt.Scale(domain=ends, nice=False, zero=False)


def _on(axis: _Axis, column: str) -> _Axis:
    """The same axis for another column."""
    other = axis.copy()
    other.shorthand = f"{column}:Q"
    return other


def _drawn(cell: Cell, rows: list[str], columns: list[str], limits: tuple[float, float]) -> Row:
    i, j = columns.index(cell.across), rows.index(cell.down)
    place = {"x": i + 0.02, "x2": i + 0.98, "y": j + 0.03, "y2": j + 0.97}
    looks: Row = {"known": False, "fill": theme.PAPER, "ink": theme.MUTED}
    if r.known(cell.value):
        level = theme.level(cell.value, limits)
        looks = {"known": True, "fill": theme.LEVELS[level], "ink": theme.ON_LEVELS[level]}
    middle = {"middle_x": i + 0.5, "middle_y": j + 0.5}
    return cell._asdict() | place | middle | looks


def _fields(drawn: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    ends: Row = {"x": _on(x, "x"), "x2": alt.X2("x2:Q"), "y": _on(y, "y"), "y2": alt.Y2("y2:Q")}
    note = alt.Description("note:N")
    place = ("x", "x2", "y", "y2", "note", "fill")
    parts = []
    if unknown := [row for row in drawn if not row["known"]]:
        empty = alt.Chart(inline(unknown, *place)).mark_rect(
            fill=None, stroke=theme.NULL, strokeDash=[2, 2], strokeWidth=0.7
        )
        parts.append(empty.encode(**ends).properties(name="unknown"))
    if known := [row for row in drawn if row["known"]]:
        field = alt.Chart(inline(known, *place)).mark_rect()
        field = field.encode(**ends, fill=alt.Fill("fill:N", scale=None), description=note)
        parts.append(field.properties(name="cell"))
    if outlined := [row for row in drawn if row["outlined"]]:
        line = alt.Chart(inline(outlined, *place)).mark_rect(
            fill=None, stroke=theme.INK, strokeWidth=1.5
        )
        parts.append(line.encode(**ends).properties(name="outline"))
    return parts


def _figures(drawn: list[Row], x: alt.X, y: alt.Y, size: tuple[int, int]) -> list[alt.Chart]:
    columns = ("middle_x", "middle_y", "figure", "ink")
    place: Row = {"x": _on(x, "middle_x"), "y": _on(y, "middle_y")}
    ink = alt.Color("ink:N", scale=None)
    widest = max(len(row["figure"]) for row in drawn)
    cell_width = size[0] / max(row["x2"] for row in drawn)
    small = min(10.5, 1.75 * (cell_width - 3) / max(widest, 1))
    text = alt.Chart(inline(drawn, *columns)).mark_text(baseline="middle", fontSize=small)
    parts = [text.encode(**place, text=alt.Text("figure:N"), color=ink).properties(name="figure")]
    if marked := [row for row in drawn if row["marked"]]:
        corner = alt.Chart(inline(marked, "x", "y", "ink")).mark_point(
            shape="M0,0H2L0,2Z", size=72, opacity=1, stroke=None
        )
        place = {"x": _on(x, "x"), "y": _on(y, "y")}
        parts.append(
            corner.encode(**place, fill=alt.Fill("ink:N", scale=None)).properties(name="corner")
        )
    return parts


def _names(
    columns: list[str], rows: list[str], x: alt.X, y: alt.Y, *, slanted: bool
) -> list[alt.Chart]:
    above = [{"name": name, "place": i + 0.5} for i, name in enumerate(columns)]
    beside = [{"name": name, "place": j + 0.5} for j, name in enumerate(rows)]
    turn: Row = {"angle": 325, "align": "left", "dx": -4} if slanted else {"align": "center"}
    top = alt.Chart(alt.Data(values=above)).mark_text(color=theme.MUTED, baseline="bottom", **turn)
    side = alt.Chart(alt.Data(values=beside)).mark_text(
        color=theme.MUTED, baseline="middle", align="right"
    )
    text = alt.Text("name:N")
    return [
        top.encode(x=_on(x, "place"), y=alt.YValue(-4), text=text).properties(name="columns"),
        side.encode(x=alt.XValue(-6), y=_on(y, "place"), text=text).properties(name="rows"),
    ]


def _axis_names(axes: tuple[str, str], margins: tuple[int, int]) -> list[alt.Chart]:
    """The name of the columns at the top left, that of the rows turned, at the left edge."""
    left, top = margins
    looks: Row = {"color": theme.MUTED, "fontStyle": "italic"}
    across = alt.Chart(alt.Data(values=[{"name": axes[1]}])).mark_text(align="left", **looks)
    down = alt.Chart(alt.Data(values=[{"name": axes[0]}])).mark_text(
        align="right", angle=270, **looks
    )
    text = alt.Text("name:N")
    return [
        across.encode(x=alt.XValue(0), y=alt.YValue(10 - top), text=text).properties(name="across"),
        down.encode(x=alt.XValue(9 - left), y=alt.YValue(0), text=text).properties(name="down"),
    ]


def limits_of(values: list[float | None]) -> tuple[float, float]:
    """The least and the greatest of the values that are known."""
    known = [value for value in values if r.known(value)]
    return (min(known), max(known)) if known else (0.0, math.inf)
