"""The three kinds of chart: lines over layers, rows of bars or dots, and matrices.

A chart takes plain numbers and names, knows nothing of result rows, and returns one inline SVG that
is 360 units wide, so that its text stays readable when a phone shows one chart across the screen.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from markupsafe import Markup

from jaxemo.report.rows import Number
from jaxemo.report.svg import Axis, drawing, line, linear_axis, marker, polyline, tag, text

WIDTH = 360.0
LEVELS = 8  # steps of the matrix colours; page.css holds one pair of colours a step
LETTER = 6.4  # widest usual advance of an 11-unit letter


class Point(NamedTuple):
    """One figure with its 95 % interval; `style` may ask for a `best` ring or a `hollow` marker."""

    x: Number
    mean: Number
    low: Number | None
    high: Number | None
    text: str
    style: str = ""


class Series(NamedTuple):
    """Points joined by a line; `style` names the CSS classes that give colour and dashes."""

    label: str
    style: str
    marker: str
    points: list[Point]


class Reference(NamedTuple):
    """A level to compare with, drawn across the whole chart."""

    label: str
    style: str
    mean: Number
    low: Number | None = None
    high: Number | None = None


class Bar(NamedTuple):
    """One figure in a row of its own, with a name on the left and the figure on the right."""

    label: str
    style: str
    mean: Number
    low: Number | None
    high: Number | None
    text: str


class Group(NamedTuple):
    """Bars under one name."""

    label: str
    bars: list[Bar]


class Cell(NamedTuple):
    """One field of a matrix; `style` may hold `same` (outlined) and `lowest` (marked corner)."""

    value: Number | None
    text: str
    note: str
    style: str = ""


def line_chart(
    series: list[Series],
    *,
    y_axis: Callable[..., Axis],
    y_name: str,
    references: list[Reference],
    title: str,
    description: str,
) -> Markup:
    """Figures over layers, each series with a band from the low to the high end of its intervals.

    `y_axis(start=..., end=...)` builds the vertical axis, as `svg.linear_axis` does.
    """
    height, left, right, top, bottom = 252.0, 44.0, WIDTH - 12, 26.0, 214.0
    layers = sorted({p.x for s in series for p in s.points}) or [0.0]
    margin = 0.5 if len(layers) > 1 else 1.0
    x = linear_axis(
        layers[0] - margin, layers[-1] + margin, start=left, end=right, label=lambda v: f"{v:.0f}"
    )
    x = x._replace(ticks=_layer_ticks(layers))
    y = y_axis(start=bottom, end=top)
    parts = [_frame_x(x, bottom, height), *(_grid_y(y, tick, left, right) for tick in y.ticks)]
    parts += [_reference(r, y, left, right - 5 * i) for i, r in enumerate(references)]
    if len(layers) == 1:
        series = _side_by_side(series)
    parts += [_band(s, x, y) for s in series]
    spacing = math.ceil(len(layers) / 10) if len(series) > 3 and len(layers) > 14 else 1
    parts += [_curve(s, x, y, (i % spacing, spacing)) for i, s in enumerate(series)]
    parts.append(
        text("layer", (left + right) / 2, height - 4, class_="axis-name", text_anchor="middle")
    )
    parts.append(text(y_name, 2, 12, class_="axis-name"))
    return drawing((WIDTH, height), parts, title=title, description=description)


def bar_chart(
    groups: list[Group],
    *,
    limits: tuple[Number, Number],
    formats: tuple[Callable, Callable],
    references: list[Reference],
    title: str,
    description: str,
) -> Markup:
    """Horizontal bars from zero, with whiskers for the intervals.

    `formats` print a number on the axis and at the end of a row.
    """
    return _row_chart(
        groups, limits, formats, references, _bar, title=title, description=description
    )


def dot_chart(
    groups: list[Group],
    *,
    limits: tuple[Number, Number],
    formats: tuple[Callable, Callable],
    references: list[Reference],
    title: str,
    description: str,
) -> Markup:
    """Dots with whiskers, for figures that may lie on either side of zero."""
    return _row_chart(
        groups, limits, formats, references, _dot, title=title, description=description
    )


def matrix_chart(
    cells: dict[tuple[str, str], Cell],
    *,
    rows: list[str],
    columns: list[str],
    limits: tuple[Number, Number],
    axes: tuple[str, str],
    title: str,
    description: str,
) -> Markup:
    """A field of cells, each coloured by where its value lies between the limits."""
    left = 24.0 + LETTER * max(len(name) for name in rows)
    longest = LETTER * max(len(name) for name in columns)
    slanted = longest > (WIDTH - left - 2) / len(columns) - 2
    # A slanted name leans over the cells to its right, and the last one needs room to do so.
    overhang = 0.55 * longest if slanted else 0.0
    cell_width = (WIDTH - left - overhang - 2) / len(columns)
    top = 24.0 + (0.6 * longest + 8 if slanted else 12)
    cell_height = 30.0 if len(rows) <= 9 else 18.0
    height = top + cell_height * len(rows) + 4
    parts = [text(axes[1], left, 12, class_="axis-name"), _turned(axes[0], 10, top)]
    for i, name in enumerate(columns):
        parts.append(_column_name(name, left + (i + 0.5) * cell_width, top - 6, slanted))
    for j, row in enumerate(rows):
        middle = top + (j + 0.5) * cell_height
        parts.append(text(row, left - 6, middle + 4, text_anchor="end", class_="tick"))
        for i, column in enumerate(columns):
            box = (left + i * cell_width, top + j * cell_height, cell_width, cell_height)
            parts.append(_cell(cells.get((row, column)), box, limits))
    return drawing((WIDTH, height), parts, title=title, description=description)


def swatch(style: str, shape: str) -> Markup:
    """A small key for legends: the line with its marker, or a block where the shape is `bar`."""
    mark = (
        tag("rect", x=3, y=2, width=22, height=10, class_=f"bar {style}")
        if shape == "bar"
        else line(0, 7, 28, 7, f"line {style}")
    )
    if shape not in ("bar", "none"):
        mark += marker(shape, 14, 7, class_=f"mark {style}")
    if shape == "none" and style.startswith("null"):
        mark = tag("rect", x=0, y=2, width=28, height=10, class_=f"band {style}") + mark
    return tag("svg", mark, viewBox="0 0 28 14", class_="swatch", aria_hidden="true")


def scale_swatch() -> Markup:
    """The colours of a matrix from its low to its high end."""
    steps = [
        tag("rect", x=12 * i, y=1, width=12, height=12, class_=f"cell q{i}") for i in range(LEVELS)
    ]
    size = f"0 0 {12 * LEVELS} 14"
    return tag("svg", *steps, viewBox=size, class_="swatch scale", aria_hidden="true")


def level(value: Number, limits: tuple[Number, Number]) -> int:
    """The colour step, 0 to LEVELS - 1, of a value between the limits."""
    low, high = limits
    share = (value - low) / (high - low) if high > low else 0.0
    return min(LEVELS - 1, max(0, int(share * LEVELS)))


def _layer_ticks(layers: list[Number]) -> list[Number]:
    span = layers[-1] - layers[0]
    step = next(s for s in (1, 2, 3, 4, 6, 8, 12, 16, 24, 48, 96, 10**6) if span / s <= 12)
    return [layer for layer in layers if (layer - layers[0]) % step == 0]


def _frame_x(axis: Axis, bottom: Number, height: Number) -> Markup:
    names = [
        text(axis.label(t), axis.position(t), bottom + 16, class_="tick", text_anchor="middle")
        for t in axis.ticks
    ]
    return tag("g", *names)


def _grid_y(axis: Axis, tick: Number, left: Number, right: Number) -> Markup:
    y = axis.position(tick)
    name = text(axis.label(tick), left - 6, y + 4, class_="tick", text_anchor="end")
    return line(left, y, right, y, "grid") + name


def _reference(reference: Reference, y: Axis, left: Number, right: Number) -> Markup:
    at = y.position(reference.mean)
    parts = [
        tag("title", reference.label),
        line(left, at, right, at, f"reference {reference.style}"),
    ]
    if reference.low is not None and reference.high is not None:
        ends = y.position(reference.low), y.position(reference.high)
        parts.append(line(right, ends[0], right, ends[1], f"whisker {reference.style}"))
    return tag("g", *parts)


def _side_by_side(series: list[Series]) -> list[Series]:
    """One layer's figures next to each other; bands without a marker lie behind them all."""
    marked = [s for s in series if s.marker != "none"]
    step = 1.2 / max(len(marked), 3)
    offset = {id(s): step * (i - (len(marked) - 1) / 2) for i, s in enumerate(marked)}
    moved = []
    for s in series:
        if s.marker == "none":
            ends = [p._replace(x=p.x + side) for p in s.points for side in (-0.75, 0.75)]
        else:
            ends = [p._replace(x=p.x + offset[id(s)]) for p in s.points]
        moved.append(s._replace(points=ends))
    return moved


def _band(series: Series, x: Axis, y: Axis) -> Markup:
    known = [p for p in series.points if p.low is not None and p.high is not None]
    if not known:
        return Markup("")
    if len(known) == 1:
        p = known[0]
        at = x.position(p.x)
        return line(at, y.position(p.low), at, y.position(p.high), f"whisker {series.style}")
    over = [(x.position(p.x), y.position(p.high)) for p in known]
    under = [(x.position(p.x), y.position(p.low)) for p in reversed(known)]
    path = "M" + "L".join(f"{a:.1f},{b:.1f}" for a, b in over + under) + "Z"
    return tag("path", d=path, class_=f"band {series.style}")


def _curve(series: Series, x: Axis, y: Axis, marked: tuple[int, int]) -> Markup:
    """The line, and markers from the first of `marked` on in steps of the second."""
    spots = [(x.position(p.x), y.position(p.mean)) for p in series.points]
    parts = [polyline(spots, f"line {series.style}")] if len(spots) > 1 else []
    if series.marker == "none":
        return tag("g", *parts)
    first, step = marked
    size = 3.2 if len(spots) <= 14 else 2.6
    for i, (point, (at_x, at_y)) in enumerate(zip(series.points, spots, strict=True)):
        if point.style == "best":
            parts.append(tag("circle", cx=at_x, cy=at_y, r=7.0, class_=f"ring {series.style}"))
        style = f"mark {series.style} {point.style}" if i % step == first else "unmarked"
        mark = marker(series.marker, at_x, at_y, size=size, class_=style)
        parts.append(tag("g", tag("title", point.text), mark))
    return tag("g", *parts)


def _row_chart(
    groups: list[Group],
    limits: tuple[Number, Number],
    formats: tuple[Callable, Callable],
    references: list[Reference],
    draw: Callable[[Bar, Axis, Number], Markup],
    *,
    title: str,
    description: str,
) -> Markup:
    """Groups of named rows over one horizontal axis; `draw` puts the mark of a row in its place."""
    tick, figure = formats
    row, gap, top = 19.0, 26.0, 6.0
    left = 14.0 + LETTER * max(len(bar.label) for group in groups for bar in group.bars)
    right = WIDTH - 50
    bottom = top + sum(gap + row * len(group.bars) for group in groups) + 4
    x = linear_axis(*limits, start=left, end=right, label=tick)
    parts = [line(x.position(t), top + 8, x.position(t), bottom, "grid") for t in x.ticks]
    parts.append(_frame_x(x, bottom, bottom))
    for r in references:
        at = x.position(r.mean)
        upright = line(at, top + 8, at, bottom, f"reference {r.style}")
        parts.append(tag("g", tag("title", r.label), upright))
    at = top
    for group in groups:
        parts.append(text(group.label, 2, at + 17, class_="group-name"))
        at += gap
        for bar in group.bars:
            middle = at + row / 2
            parts.append(text(bar.label, left - 8, middle + 4, class_="tick", text_anchor="end"))
            parts.append(tag("g", tag("title", bar.text), draw(bar, x, middle)))
            value = text(figure(bar.mean), WIDTH - 2, middle + 4, class_="value", text_anchor="end")
            parts.append(value)
            at += row
    return drawing((WIDTH, bottom + 24), parts, title=title, description=description)


def _bar(bar: Bar, x: Axis, middle: Number) -> Markup:
    zero, end = x.position(0), x.position(bar.mean)
    box = tag(
        "rect",
        x=zero,
        y=middle - 6,
        width=max(0.0, end - zero),
        height=12,
        class_=f"bar {bar.style}",
    )
    if bar.low is None or bar.high is None:
        return box
    # The whisker lies half on the bar, where it needs a light edge to be seen.
    halo = line(x.position(bar.low), middle, x.position(bar.high), middle, "halo")
    return box + halo + _whisker(bar, x, middle)


def _dot(bar: Bar, x: Axis, middle: Number) -> Markup:
    shape = "circle" if bar.style.startswith("speech") else "square"
    return _whisker(bar, x, middle) + marker(
        shape, x.position(bar.mean), middle, size=4.2, class_=f"mark {bar.style}"
    )


def _whisker(bar: Bar, x: Axis, middle: Number) -> Markup:
    if bar.low is None or bar.high is None:
        return Markup("")
    low, high = x.position(bar.low), x.position(bar.high)
    ends = [line(at, middle - 3.5, at, middle + 3.5, "whisker") for at in (low, high)]
    return tag("g", line(low, middle, high, middle, "whisker"), *ends)


def _turned(name: str, x: Number, y: Number) -> Markup:
    return text(name, x, y, class_="axis-name", text_anchor="end", transform=f"rotate(-90 {x} {y})")


def _column_name(name: str, x: Number, y: Number, slanted: object) -> Markup:
    if not slanted:
        return text(name, x, y, class_="tick", text_anchor="middle")
    return text(name, x - 6, y, class_="tick", transform=f"rotate(-35 {x - 6:.1f} {y:.1f})")


def _cell(cell: Cell | None, box: tuple[Number, Number, Number, Number], limits: tuple) -> Markup:
    x, y, width, height = box
    frame = {"x": x + 1, "y": y + 1, "width": width - 2, "height": height - 2, "rx": 2}
    if cell is None or cell.value is None:
        return tag("rect", **frame, class_="cell unknown")
    step = level(cell.value, limits)
    parts = [tag("title", cell.note), tag("rect", **frame, class_=f"cell q{step} {cell.style}")]
    figure = text(
        cell.text,
        x + width / 2,
        y + height / 2 + 4,
        class_=f"figure on{step} {cell.style}",
        text_anchor="middle",
    )
    parts.append(figure)
    if "lowest" in cell.style.split():
        corner = f"M{x + 1:.1f},{y + 1:.1f}h9l-9,9Z"
        parts.append(tag("path", d=corner, class_=f"corner on{step}"))
    return tag("g", *parts)
