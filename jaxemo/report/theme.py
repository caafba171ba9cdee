"""The look that all charts share: colours, markers, dashes and sizes.

Speech and music have one colour each throughout, emotions a fixed palette, encoders none, they stand
side by side. Every series also differs in marker or dashes. A colour is written in its light form;
`static_svg` turns it into the page's CSS variable of that name, which has a dark form too.
"""

from typing import Any

from jaxemo.report import rows as r

PAPER, INK, MUTED, GRID, NULL = "#fbfaf8", "#1d2026", "#575d68", "#ebe9e4", "#8a8f99"
DOMAIN_COLOURS = {"speech": "#1b62a5", "music": "#b4530a"}
EMOTION_COLOURS = [
    "#656b76",
    "#00796a",
    "#9c6f00",
    "#3f51c4",
    "#bd2430",
    "#8b3797",
    "#557519",
    "#a0416a",
]  # as r.EMOTIONS
# Steps of the colours of matrices, and the text on each.
LEVELS = ["#f4f2f8", "#e2ddef", "#ccc3e2", "#b1a4d2", "#9a8ac4", "#6a559f", "#503a85", "#351f66"]
ON_LEVELS = ["#1d2027"] * 4 + ["#1d2028"] + ["#fffffe"] * 3
VARIABLES = {
    PAPER: "paper",
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    NULL: "null",
    **{colour: domain for domain, colour in DOMAIN_COLOURS.items()},
    **{colour: f"emotion-{place}" for place, colour in enumerate(EMOTION_COLOURS)},
    **{colour: f"q{level}" for level, colour in enumerate(LEVELS)},
    ON_LEVELS[0]: "on0",
    ON_LEVELS[4]: "on4",
    ON_LEVELS[5]: "on5",
}
# Outlines in a square from -1 to 1, for charts and legends alike; Vega knows circles itself.
CIRCLE = "M-1,0A1,1,0,1,1,1,0A1,1,0,1,1,-1,0Z"
MARKERS = {
    "circle": "circle",
    "square": "M-0.9,-0.9H0.9V0.9H-0.9Z",
    "triangle": "M0,-1.2L1.2,0.9H-1.2Z",
    "wedge": "M0,1.2L1.2,-0.9H-1.2Z",
    "diamond": "M0,-1.25L1.25,0L0,1.25L-1.25,0Z",
    "plus": "M-0.4,-1.2H0.4V-0.4H1.2V0.4H0.4V1.2H-0.4V0.4H-1.2V-0.4H-0.4Z",
    "dash": "M-1.3,-0.45H1.3V0.45H-1.3Z",
    "post": "M-0.45,-1.3H0.45V1.3H-0.45Z",
}
DOMAIN_MARKERS = {"speech": "circle", "music": "square"}
DOMAIN_DASHES = {"speech": [1, 0], "music": [6, 2.5]}
REGIME_DASHES = {"target_only": [1.5, 3], "joint": [8, 3, 2, 3], "two_stage": [1, 0]}
REFERENCE_DASH, BASELINE_DASH = [1.5, 3], [9, 3, 2, 3]
WIDTH = 360  # of a panel with its margins: what a phone shows across its screen
LETTER = 6.2  # usual advance of an 11-pixel letter

FONT = "system-ui, Helvetica, Arial, 'Liberation Sans', sans-serif"
CONFIG: dict[str, Any] = {
    "font": FONT,
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED,
        "titleColor": MUTED,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "gridColor": GRID,
        "domain": False,
        "ticks": False,
        "labelPadding": 5,
        "labelFlush": False,
    },
    "text": {"fontSize": 11, "color": MUTED},
    "title": {"anchor": "start", "color": INK, "fontSize": 12, "offset": 10, "limit": 10_000},
}


def emotion_places(emotions: list[str]) -> dict[str, int]:
    """Each emotion's place in the palette: fixed for known ones, others take what is left."""
    free = [i for i, name in enumerate(r.EMOTIONS) if name not in emotions] or [0]
    others = [name for name in emotions if name not in r.EMOTIONS]
    places = {name: free[i % len(free)] for i, name in enumerate(others)}
    return places | {name: r.EMOTIONS.index(name) for name in emotions if name in r.EMOTIONS}


def level(value: float, limits: tuple[float, float]) -> int:
    """The colour step, 0 to 7, of a value between the limits."""
    low, high = limits
    share = (value - low) / (high - low) if high > low else 0.0
    return min(len(LEVELS) - 1, max(0, int(share * len(LEVELS))))
