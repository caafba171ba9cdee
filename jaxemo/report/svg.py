"""Small pieces that every chart is built from: escaped SVG elements, axes, markers.

Text and attribute values are escaped here and nowhere else; colours come from CSS classes, so that
the page themes them. Lengths are in user units of the chart's view box.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from markupsafe import Markup, escape

from jaxemo.report.rows import Number, visible

MARKERS = {
    "circle": "M{l},{y}a{s},{s} 0 1,0 {w},0a{s},{s} 0 1,0 -{w},0Z",
    "square": "M{l},{t}h{w}v{w}h-{w}Z",
    "diamond": "M{x},{tt}L{rr},{y}L{x},{bb}L{ll},{y}Z",
    "triangle": "M{x},{tt}L{rr},{b}H{ll}Z",
    "wedge": "M{x},{bb}L{rr},{t}H{ll}Z",
    "dash": "M{ll},{t2}H{rr}V{b2}H{ll}Z",
    "post": "M{l2},{tt}H{r2}V{bb}H{l2}Z",
    "plus": "M{l2},{tt}H{r2}V{t2}H{rr}V{b2}H{r2}V{bb}H{l2}V{b2}H{ll}V{t2}H{l2}Z",
}


class Axis(NamedTuple):
    """A map from values to positions, with the values that carry a label."""

    position: Callable[[Number], Number]
    ticks: list[Number]
    label: Callable[[Number], str]


def tag(name: str, *children: Any, **attributes: Any) -> Markup:
    """One element; `class_` becomes `class`, `stroke_width` `stroke-width`; None is left out."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), visible(_short(value)))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(c if isinstance(c, Markup) else escape(visible(c)) for c in children)
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), written, inner)


def text(content: Any, x: Number, y: Number, **attributes: Any) -> Markup:
    """A text element at a position."""
    return tag("text", content, x=x, y=y, **attributes)


def line(x1: Number, y1: Number, x2: Number, y2: Number, class_: str) -> Markup:
    """A straight line."""
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def marker(shape: str, x: Number, y: Number, **attributes: Any) -> Markup:
    """A point marker; the shape tells series apart where colour cannot."""
    s = float(attributes.pop("size", 3.0))
    spots = {"x": x, "y": y, "s": s, "w": 2 * s, "l": x - s, "t": y - s, "b": y + s}
    spots |= {"tt": y - 1.3 * s, "bb": y + 1.3 * s, "ll": x - 1.3 * s, "rr": x + 1.3 * s}
    spots |= {"t2": y - 0.45 * s, "b2": y + 0.45 * s, "l2": x - 0.45 * s, "r2": x + 0.45 * s}
    path = MARKERS[shape].format(**{key: _short(value) for key, value in spots.items()})
    return tag("path", d=path, **attributes)


def polyline(spots: list[tuple[Number, Number]], class_: str) -> Markup:
    """An open line through positions."""
    return tag("path", d="M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in spots), class_=class_)


def drawing(
    size: tuple[Number, Number], parts: list[Markup], *, title: str, description: str
) -> Markup:
    """The whole chart, with its name and a description for those who cannot see it.

    They are an ARIA label: browsers would show a title element over every point's own note.
    """
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_short(size[0])} {_short(size[1])}",
        role="img",
        aria_label=f"{title}. {description}",
        class_="chart",
    )


def linear_axis(
    low: Number, high: Number, *, start: Number, end: Number, label: Callable[[Number], str]
) -> Axis:
    """position = start + (value - low) / (high - low) (end - start), ticks at round numbers.

    Values outside [low, high] sit on the nearer end: an interval may leave the range of a score.
    """
    span = (high - low) or 1.0

    def position(value: Number) -> Number:
        return start + min(max((value - low) / span, 0.0), 1.0) * (end - start)

    return Axis(position, round_numbers(low, low + span), label)


def log_axis(
    low: Number, high: Number, *, start: Number, end: Number, label: Callable[[Number], str]
) -> Axis:
    """A linear axis over log10(value), ticks at 1, 2 and 5 times powers of ten where these are few.

    Both ends must be above 0; a distance of 0 sits on the lower one.
    """
    inner = linear_axis(math.log10(low), math.log10(high), start=start, end=end, label=label)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for multiples in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**power for power in powers for m in multiples]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= 7:
            break
    return inner._replace(
        position=lambda value: inner.position(math.log10(max(value, low))), ticks=ticks
    )


def round_numbers(low: Number, high: Number, target: int = 5) -> list[Number]:
    """About `target` multiples of 1, 2, 2.5 or 5 times a power of ten inside [low, high]."""
    rough = (high - low) / target
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _short(value: Any) -> Any:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value
