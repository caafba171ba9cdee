"""Whole figures as one Altair chart each: title, words, legend, and the panels side by side."""

import textwrap

import altair as alt
from altair.utils import schemapi

from jaxemo.report import theme
from jaxemo.report.charts import Panel, Row, inline
from jaxemo.report.figures import Figure, Key

_SWATCH, _GAP, _LINE = (
    28,
    22,
    18,
)  # pixels: a key's picture, the space after its name, a line of keys
_SPACING = 28


def figure_board(figure: Figure, *, columns: int = 3) -> alt.ConcatChart:
    """A figure with everything that it needs outside the page.

    Args:
      figure: It has panels.
      columns: Panels in a row.

    Raises:
      ValueError: `columns` is below 1.
    """
    if columns < 1:
        raise ValueError(f"columns is {columns}; expected at least 1 panel in a row.")
    across = min(columns, len(figure.panels))
    # As on the page: every piece was checked by the tests, and checks cost more than charts.
    with schemapi.debug_mode(False):
        panels = [_titled(panel, number) for number, panel in enumerate(figure.panels)]
        rows: list[alt.ConcatChart | alt.LayerChart | alt.FacetChart] = [
            alt.concat(*panels, columns=columns, spacing=_SPACING)
        ]
        if figure.legend:
            rows.insert(0, _legend(figure.legend, (theme.WIDTH + _SPACING) * across - _SPACING))
        heading = _heading(figure, across)
        # Not aligned: the legend has no axes beside it.
        chart = alt.concat(*rows, columns=1, align="none", title=heading, spacing=18)
        config = alt.Config.from_dict({**theme.CONFIG, "background": "white"})
        return chart.properties(config=config, padding=14)


def _heading(figure: Figure, across: int) -> alt.TitleParams:
    return alt.TitleParams(
        text=textwrap.wrap(figure.heading, 44 * across),
        subtitle=textwrap.wrap(figure.caption, 62 * across),
        fontSize=15,
        subtitleColor=theme.MUTED,
        subtitleFontSize=11,
        subtitlePadding=6,
        offset=16,
    )


def _titled(panel: Panel, number: int) -> alt.LayerChart | alt.FacetChart:
    """The panel under its name; Vega wants the names of marks to differ between panels."""
    titled = panel.chart.properties(title=textwrap.wrap(panel.heading, 50))
    for layer in titled.layer:
        layer.name = f"{layer.name}_of_{number}"
    return titled


def _legend(keys: list[Key], width: int) -> alt.LayerChart | alt.FacetChart:
    """The keys in lines, each a picture and its name."""
    placed, height = _places(keys, width)
    parts = []
    for key, x, y in placed:
        if key.kind == "scale":
            parts += _scale_parts(x, y)
        elif key.kind in ("bar", "region"):
            parts.append(_block(key, x, y))
        else:
            parts += _line_parts(key, x, y)
        data = alt.Data(values=[{"label": key.label}])
        text = alt.Chart(data).mark_text(align="left", baseline="middle")
        offset = len(theme.LEVELS) * 12 if key.kind == "scale" else _SWATCH
        text = text.encode(x=alt.XValue(x + offset + 8), y=alt.YValue(y), text=alt.Text("label:N"))
        parts.append(text)
    return alt.layer(*parts).properties(width=width, height=height)


def _places(keys: list[Key], width: int) -> tuple[list[tuple[Key, float, float]], int]:
    """Each key with its left end and middle, broken into lines, and the height of all."""
    placed, x, line = [], 0.0, 0
    for key in keys:
        picture = len(theme.LEVELS) * 12 if key.kind == "scale" else _SWATCH
        wide = picture + 8 + theme.LETTER * len(key.label)
        if x and x + wide > width:
            x, line = 0.0, line + 1
        placed.append((key, x, line * _LINE + _LINE / 2))
        x += wide + _GAP
    return placed, (line + 1) * _LINE


def _line_parts(key: Key, x: float, y: float) -> list[alt.Chart]:
    parts = []
    base = alt.Chart(inline([{}]))
    if key.kind == "line":
        rule = base.mark_rule(color=key.colour, strokeDash=list(key.dash), strokeWidth=1.7)
        parts.append(rule.encode(x=alt.XValue(x), x2=alt.X2Value(x + _SWATCH), y=alt.YValue(y)))
    if key.marker:
        looks: Row = {"fill": key.colour, "stroke": theme.PAPER}
        if key.hollow:
            looks = {"fill": theme.PAPER, "stroke": key.colour}
        point = base.mark_point(
            shape=theme.MARKERS[key.marker], size=50, opacity=1, strokeWidth=1.2, **looks
        )
        parts.append(point.encode(x=alt.XValue(x + _SWATCH / 2), y=alt.YValue(y)))
    return parts


def _block(key: Key, x: float, y: float) -> alt.Chart:
    looks: Row = {"opacity": 0.35} if key.kind == "region" else {"fillOpacity": key.strength}
    if key.kind == "bar":
        looks |= {"stroke": key.colour, "strokeDash": list(key.dash)}
    block = alt.Chart(inline([{}])).mark_rect(fill=key.colour, **looks)
    return _at(block, x + 3, y - 5, x + 25, y + 5)


def _scale_parts(x: float, y: float) -> list[alt.Chart]:
    return [
        _at(
            alt.Chart(inline([{}])).mark_rect(fill=colour),
            x + 12 * step,
            y - 6,
            x + 12 * (step + 1),
            y + 6,
        )
        for step, colour in enumerate(theme.LEVELS)
    ]


def _at(chart: alt.Chart, left: float, top: float, right: float, bottom: float) -> alt.Chart:
    return chart.encode(
        x=alt.XValue(left),
        x2=alt.X2Value(right),
        y=alt.YValue(top),
        y2=alt.Y2Value(bottom),
    )
