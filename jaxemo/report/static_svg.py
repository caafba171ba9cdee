"""A panel as inline SVG: drawn without a browser, its colours the page's CSS variables, nothing to load.

Vega's SVG says a good deal for screen readers and editors that one picture with a description does
not need: of classes only the names of marks stay, of labels only the notes, as titles that show where
the pointer rests.
"""

import re
import xml.etree.ElementTree as ElementTree

import vl_convert
from markupsafe import Markup

from jaxemo.report import theme
from jaxemo.report.charts import Panel
from jaxemo.results.file import visible

_SVG = "{http://www.w3.org/2000/svg}"
_NOTED = ("point", "bar", "cell", "reference")
_KEPT = ("band", "whisker", "point", "bar", "cell", "line", "name", "region")
_DROPPED = (
    "aria-hidden",
    "aria-label",
    "aria-roledescription",
    "role",
    "pointer-events",
    "font-family",
)
_INHERITED = ("fill", "stroke", "stroke-width", "text-anchor", "font-size", "stroke-dasharray")
_USUAL = (
    ("font-size", "11px"),  # of .chart in page.css
    ("opacity", "1"),
    ("font-weight", "normal"),
    ("stroke-dasharray", "1,0"),
    ("stroke-width", "1"),
    ("transform", "translate(0,0)"),
)
_LONG_NUMBER = re.compile(r"-?\d+\.\d{2,}(?:e-?\d+)?")


def static_svg(panel: Panel) -> Markup:
    """One panel as SVG that fills the width of its place."""
    # The page sets its own fonts, and the general name is the quickest to look up.
    config = {**theme.CONFIG, "background": None, "font": "sans-serif"}
    spec = {**panel.spec, "config": config}
    root = ElementTree.fromstring(vl_convert.vegalite_to_svg(spec))
    origin = root.find(f"{_SVG}g")
    assert origin is not None  # Vega draws everything in one group.
    left, top, right, bottom = panel.margins
    width, height = panel.size
    shift = [float(number) for number in re.findall(r"-?[\d.]+", origin.get("transform", "0,0"))]
    box = (shift[0] - left, shift[1] - top, width + left + right, height + top + bottom)
    for element in origin:
        _clean(element, "")
    inner = ElementTree.tostring(origin, encoding="unicode")
    inner = re.sub(r' xmlns(:\w+)?="[^"]*"', "", inner).replace("ns0:", "")
    view = " ".join(f"{number:g}" for number in box)
    opening = Markup('<svg class="chart" role="img" aria-label="{}" viewBox="{}">')
    # What Vega wrote is markup with its strings escaped, as ElementTree writes it again.
    return opening.format(visible(panel.description), view) + Markup(inner) + Markup("</svg>")


def _clean(element: ElementTree.Element, mark: str) -> None:
    """Drops what one described picture does not need, in place."""
    names = [name for name in element.get("class", "").split() if name.endswith("_marks")]
    mark = names[0].removesuffix("_marks").partition("_")[0] if names else mark
    note = element.get("aria-label") if element.tag != f"{_SVG}g" and mark in _NOTED else None
    for name, value in list(element.attrib.items()):
        if name in _DROPPED or name == "class" or (name, value) in _USUAL:
            del element.attrib[name]
        else:
            element.set(name, _themed(name, value))
    if names and mark in _KEPT:
        element.set("class", mark)
    kept = []
    for child in element:
        _clean(child, mark)
        # A group without attributes only wraps what is in it.
        kept += [] if _is_empty(child) else list(child) if _is_wrapper(child) else [child]
    element[:] = kept
    _hoist(element)
    if note:
        title = ElementTree.Element(f"{_SVG}title")
        title.text = note
        element.insert(0, title)
    if element.text:
        element.text = visible(element.text)


def _hoist(element: ElementTree.Element) -> None:
    """What all children say alike is said once, by their group."""
    if element.tag != f"{_SVG}g" or len(element) < 2:
        return
    for name in _INHERITED:
        values = {child.get(name) for child in element}
        if len(values) == 1 and None not in values:
            element.set(name, values.pop() or "")
            for child in element:
                del child.attrib[name]


def _is_empty(element: ElementTree.Element) -> bool:
    if element.tag == f"{_SVG}g":
        return not len(element)
    drawn = element.get("fill", "none") != "none" or element.get("stroke", "none") != "none"
    return element.tag == f"{_SVG}path" and not drawn


def _is_wrapper(element: ElementTree.Element) -> bool:
    return element.tag == f"{_SVG}g" and not element.attrib


def _themed(name: str, value: str) -> str:
    if name in ("fill", "stroke"):
        variable = theme.VARIABLES.get(value)
        return f"var(--{variable})" if variable else value
    if name in ("transform", "d", "x", "y", "x1", "x2", "y1", "y2", "width", "height"):
        return _LONG_NUMBER.sub(lambda found: f"{float(found[0]):.1f}".replace(".0", ""), value)
    return value
