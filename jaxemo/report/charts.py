"""The kinds of chart, in Altair: lines over layers here, rows and matrices in the files beside.

A chart takes frames of figures and looks, knows nothing of studies, and returns a panel that is 360
units wide with its margins, so that its text stays readable when a phone shows one panel across.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import pandas as pd

from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.contents import records

LEFT, RIGHT, TOP, BOTTOM = 46, 66, 26, 38
HEIGHT = 190
Row = dict[str, Any]
LABEL_GAP = 12.0  # pixels between the names of lines


class Panel(NamedTuple):
    """One chart under its heading.

    Attributes:
      heading: Its name on the page.
      parts: Its marks over each other, the first at the back.
      margins: Left, top, right and bottom in pixels, for axes, names and figures.
      size: Width and height of the plot area in pixels.
      description: What it shows, for readers who cannot see it.
    """

    heading: str
    parts: list[alt.Chart]
    margins: tuple[int, int, int, int]
    size: tuple[int, int]
    description: str

    @property
    def chart(self) -> alt.LayerChart | alt.FacetChart:
        """The panel as an Altair chart."""
        return alt.layer(*self.parts).properties(width=self.size[0], height=self.size[1])

    @property
    def spec(self) -> dict[str, Any]:
        """The panel in Vega-Lite, without what `alt.layer` spends on charts of unlike parts."""
        context: dict[str, Any] = {"top_level": False, "datasets": {}}
        layers = [part.to_dict(validate=False, context=context) for part in self.parts]
        width, height = self.size
        return {
            "$schema": alt.SCHEMA_URL,
            "datasets": context["datasets"],
            "layer": layers,
            "width": width,
            "height": height,
        }


class Scale(NamedTuple):
    """A vertical axis: its name, ends and the expression that writes a tick; `log` for logarithms."""

    name: str
    low: float
    high: float
    tick: str
    log: bool = False


class Line(NamedTuple):
    """One series over layers; `rows` has layer, mean, low, high, note, and may have hollow and ring."""

    name: str
    rows: pd.DataFrame
    colour: str
    marker: str = "circle"
    dash: tuple[float, ...] = (1, 0)


class Reference(NamedTuple):
    """A level to compare with, drawn across the whole chart, its interval at the right end."""

    name: str
    mean: float
    low: float | None = None
    high: float | None = None
    colour: str = theme.MUTED
    dash: tuple[float, ...] = tuple(theme.REFERENCE_DASH)


class Looks(NamedTuple):
    """How a line chart is drawn.

    Attributes:
      band: Opacity of its bands.
      named: Whether lines carry their names.
      across: What the horizontal axis is, whose values stand in the column `layer`.
    """

    band: float = 0.15
    named: bool = True
    across: str = "layer"


def line_panel(
    lines: list[Line],
    heading: str,
    description: str,
    *,
    scale: Scale,
    references: list[Reference] = [],  # noqa: B006 (never changed)
    region: list[Row] | None = None,
    looks: Looks = Looks(),  # noqa: B008 (never changed)
) -> Panel:
    """Figures over layers, each with a band from the low to the high ends of its intervals.

    Args:
      lines: The series; a single layer's are set side by side.
      heading: Name of the panel.
      description: What it shows.
      scale: The vertical axis.
      references: Levels across the chart.
      region: Rows of layer, low and high: a grey field behind everything.
      looks: Opacity of bands, and whether names stand at the lines' ends.
    """
    right = RIGHT if looks.named else 14
    width = theme.WIDTH - LEFT - right
    layers = sorted({layer for line in lines for layer in line.rows["layer"].tolist()})
    points = _points(lines, layers)
    x, y = _layer_axis(layers, looks.across), _figure_axis(scale)
    parts = [_region(region, x, y, lonely=len(layers) == 1)] if region else []
    parts += _reference_parts(references, x, y, width)
    parts += _bands(points, x, y, looks.band) + _curves(lines, points, x, y) + _marks(points, x, y)
    if looks.named:
        parts += _names(lines, references, y, scale, width)
    return Panel(heading, parts, (LEFT, TOP, right, BOTTOM), (width, HEIGHT), description)


def _points(lines: list[Line], layers: Sequence[int | float]) -> list[Row]:
    """All figures with their looks; markers are thinned where many would touch."""
    spacing = math.ceil(len(layers) / 10) if len(lines) > 3 and len(layers) > 14 else 1
    step = 1.2 / max(len(lines), 3) if len(layers) == 1 else 0.0
    points = []
    for place, line in enumerate(lines):
        shift = step * (place - (len(lines) - 1) / 2)
        rows = sorted(records(line.rows), key=lambda row: row["layer"])
        shown = [False, *map(r.has_interval, rows), False]
        for index, row in enumerate(rows):
            point = _point(row, line, shown[index : index + 3])
            point["layer"] = float(row["layer"]) + shift
            point["marked"] = index % spacing == place % spacing
            points.append(point)
    return points


def _point(row: Row, line: Line, shown: list[bool]) -> Row:
    """One figure; `shown` says whether it and its neighbours have intervals."""
    hollow = bool(row.get("hollow", False))
    looks = {
        "line": line.name,
        "colour": line.colour,
        "marker": theme.MARKERS[line.marker],
        "fill": theme.PAPER if hollow else line.colour,
        "edge": line.colour if hollow else theme.PAPER,
        "ring": bool(row.get("ring", False)),
        "shown": shown[1],
        "lone": shown[1] and not (shown[0] or shown[2]),
    }
    ends = {"low": row["low"], "high": row["high"]} if shown[1] else {"low": None, "high": None}
    return {"mean": row["mean"], "note": row["note"], **ends, **looks}


def _layer_axis(layers: Sequence[int | float], title: str) -> alt.X:
    span = layers[-1] - layers[0]
    step = next(s for s in (1, 2, 3, 4, 6, 8, 12, 16, 24, 48, 96, 10**6) if span / s <= 12)
    # Of few values each has its tick, however far apart they are.
    ticks = [one for one in layers if len(layers) <= 8 or (one - layers[0]) % step == 0]
    margin = max(0.5, span / 50) if len(layers) > 1 else 1.0
    return alt.X(
        "layer:Q",
        axis=alt.Axis(
            values=ticks, labelExpr="datum.value", grid=False, title=title, titlePadding=6
        ),
        scale=alt.Scale(domain=[layers[0] - margin, layers[-1] + margin], nice=False, zero=False),
    )


def _figure_axis(scale: Scale) -> alt.Y:
    kind: dict[str, Any] = {"type": "log"} if scale.log else {"zero": False}
    title = alt.TitleParams(scale.name)
    return alt.Y(
        "mean:Q",
        scale=alt.Scale(domain=[scale.low, scale.high], nice=False, clamp=True, **kind),
        axis=alt.Axis(
            title=title.text,
            labelExpr=scale.tick,
            tickCount=5,
            titleAngle=0,
            titleAlign="left",
            titleAnchor="end",
            titleBaseline="bottom",
            titleX=-LEFT + 2,
            titleY=-10,
        ),
    )


def inline(rows: list[Row], *columns: str) -> alt.Data:
    """Columns of rows as data that Altair takes as they are: reading frames costs it more than a chart."""
    # A tuple, because Altair copies every chart several times, and lists and mappings with it.
    return alt.Data(values=tuple({column: row[column] for column in columns} for row in rows))


def over(y: alt.Y | alt.X, column: str) -> Any:
    """The same axis over another column."""
    other = y.copy()
    other.shorthand = f"{column}:Q"
    return other


def _region(region: list[Row], x: alt.X, y: alt.Y, *, lonely: bool) -> alt.Chart:
    if lonely:
        region = [row | {"layer": row["layer"] + side} for row in region for side in (-0.75, 0.75)]
    area = alt.Chart(inline(region, "layer", "low", "high")).mark_area(
        color=theme.NULL, opacity=0.35
    )
    return area.encode(x=x, y=over(y, "low"), y2=alt.Y2("high:Q")).properties(name="region")


def _reference_parts(
    references: list[Reference], x: alt.X, y: alt.Y, width: int
) -> list[alt.Chart]:
    parts = []
    for place, one in enumerate(references):
        data = inline([one._asdict()], "name", "mean", "low", "high")
        base = alt.Chart(data).encode(description=alt.Description("name:N"))
        rule = base.mark_rule(color=one.colour, strokeDash=list(one.dash), strokeWidth=1.3)
        parts.append(rule.encode(y=y).properties(name=f"reference_{place}"))
        if r.has_interval(one._asdict()):
            whisker = base.mark_rule(color=one.colour, strokeWidth=2)
            ends = {"y": over(y, "low"), "y2": alt.Y2("high:Q")}
            parts.append(
                whisker.encode(x=alt.XValue(width - 5 * place), **ends).properties(
                    name=f"whisker_{place}"
                )
            )
    return parts


def _bands(points: list[Row], x: alt.X, y: alt.Y, opacity: float) -> list[alt.Chart]:
    parts = []
    colour = alt.Color("colour:N", scale=None)
    ends = {"x": x, "y": over(y, "low"), "y2": alt.Y2("high:Q"), "color": colour}
    columns = ("layer", "low", "high", "line", "colour")
    if any(point["shown"] for point in points):
        area = alt.Chart(inline(points, *columns)).mark_area(opacity=opacity)
        parts.append(area.encode(**ends, detail=alt.Detail("line:N")).properties(name="band"))
    if lone := [point for point in points if point["lone"]]:
        rule = alt.Chart(inline(lone, *columns)).mark_rule(strokeWidth=1.6, opacity=0.8)
        parts.append(rule.encode(**ends).properties(name="whisker"))
    return parts


def _curves(lines: list[Line], points: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    parts = []
    for place, line in enumerate(lines):
        drawn = [point for point in points if point["line"] == line.name]
        if len(drawn) > 1:
            curve = alt.Chart(inline(drawn, "layer", "mean")).mark_line(
                color=line.colour, strokeDash=list(line.dash), strokeWidth=1.7, strokeJoin="round"
            )
            parts.append(curve.encode(x=x, y=y).properties(name=f"line_{place}"))
    return parts


def _marks(points: list[Row], x: alt.X, y: alt.Y) -> list[alt.Chart]:
    parts = []
    if ringed := [point for point in points if point["ring"]]:
        ring = alt.Chart(inline(ringed, "layer", "mean", "colour")).mark_point(
            shape="circle", size=170, strokeWidth=1.4, opacity=1
        )
        ring = ring.encode(x=x, y=y, color=alt.Color("colour:N", scale=None))
        parts.append(ring.properties(name="ring"))
    marked = [point for point in points if point["marked"]]
    data = inline(marked, "layer", "mean", "marker", "fill", "edge", "note")
    mark = alt.Chart(data).mark_point(size=44, strokeWidth=0.9, opacity=1)
    looks = {
        "shape": alt.Shape("marker:N", scale=None),
        "fill": alt.Fill("fill:N", scale=None),
        "stroke": alt.Stroke("edge:N", scale=None),
    }
    parts.append(
        mark.encode(x=x, y=y, description=alt.Description("note:N"), **looks).properties(
            name="point"
        )
    )
    return parts


def _names(
    lines: list[Line], references: list[Reference], y: alt.Y, scale: Scale, width: int
) -> list[alt.Chart]:
    """The names of lines and references beside their right ends, moved apart where they would touch."""
    ends = [(one.name, one.mean, one.colour) for one in references]
    for line in lines:
        last = float(line.rows.sort_values("layer")["mean"].iloc[-1])
        ends.append((line.name, last, line.colour))
    heights = spread([_pixel(mean, scale) for _, mean, _ in ends], gap=LABEL_GAP)
    rows = [
        {"name": name, "colour": colour, "height": height}
        for (name, _, colour), height in zip(ends, heights, strict=True)
    ]
    data = inline(rows, "name", "colour", "height")
    text = alt.Chart(data).mark_text(align="left", baseline="middle", fontSize=11)
    place = alt.Y("height:Q", scale=None, axis=None)
    named = text.encode(
        x=alt.XValue(width + 7),
        y=place,
        text=alt.Text("name:N"),
        color=alt.Color("colour:N", scale=None),
    )
    return [named.properties(name="name")]


def _pixel(value: float, scale: Scale) -> float:
    low, high = scale.low, scale.high
    value = min(max(value, low), high)
    if scale.log:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return HEIGHT * (1 - (value - low) / (high - low))


def spread(heights: list[float], *, gap: float) -> list[float]:
    """The heights moved apart to at least `gap`, in their order, as little and as evenly as it goes."""
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    clusters: list[tuple[list[int], float]] = []  # places, mean height
    for place in order:
        cluster, middle = [place], heights[place]
        while clusters and middle - gap * (len(cluster) - 1) / 2 < (
            clusters[-1][1] + gap * (len(clusters[-1][0]) - 1) / 2 + gap
        ):
            before, _ = clusters.pop()
            cluster = before + cluster
            middle = sum(heights[one] for one in cluster) / len(cluster)
        clusters.append((cluster, middle))
    moved = list(heights)
    for cluster, middle in clusters:
        for index, place in enumerate(cluster):
            moved[place] = middle + gap * (index - (len(cluster) - 1) / 2)
    return moved
