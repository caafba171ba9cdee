"""What the source domain gives where little of the target is there: gains over shares of its speakers."""

from typing import Any

import pandas as pd

from jaxemo.analysis.intervals import DIFFERENCE_INFLATION
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Looks, Panel, Reference, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, records
from jaxemo.report.figures import Figure, Key
from jaxemo.report.sections.shift import emotion_keys

_NO_GAIN = Reference("no gain", 0.0)
_CAPTION = (
    "Two-stage minus target-only training, in percentage points, where both have the same share of the "
    "target's training speakers (smaller shares are part of larger ones); the source is whole throughout."
)


def share_gains(content: Content) -> Figure:
    """Gain of UA by share, one panel per encoder and method, a line for each target domain."""
    gains = _by_share(content, "UA_gain")
    scale = _scale(gains)
    panels = []
    for (encoder, method), of in groups(gains, "encoder", "method"):
        lines = [f.domain_line(domain, _noted(part)) for (domain,), part in groups(of, "domain")]
        heading = f"{content.labels[encoder]}, {r.name('method', method)}"
        panels.append(_panel(lines, heading, "Gain of UA", scale))
    return Figure(
        "transfer-shares",
        "Gain of UA with few speakers of the target",
        panels,
        [*f.domain_keys(gains), Key("no gain", "line", dash=tuple(theme.REFERENCE_DASH))],
        f"{_CAPTION} {f.speaker_intervals(gains, inflation=DIFFERENCE_INFLATION)} To read: a line that "
        "falls from left to right helps most where least is there. Colour is the target domain. The controls "
        "by share are in the tables.",
        [],
    )


def share_recall_gains(content: Content) -> Figure:
    """Gain of each emotion's recall by share, one panel per encoder, direction and method."""
    gains = _by_share(content, "recall_gain")
    scale = _scale(gains)
    panels = []
    for (encoder, direction, method), of in groups(gains, "encoder", "direction", "method"):
        keys = {key.label: key for key in emotion_keys(gains)}
        lines = [
            Line(emotion, _noted(part), keys[emotion].colour, keys[emotion].marker)
            for (emotion,), part in groups(of, "emotion")
        ]
        names = (r.name("direction", direction), r.name("method", method))
        heading = ", ".join((content.labels[encoder], *names))
        panels.append(_panel(lines, heading, "Gain of each emotion's recall", scale, band=0.07))
    return Figure(
        "transfer-shares-recall",
        "Gain of each emotion's recall with few speakers of the target",
        panels,
        [*emotion_keys(gains), Key("no gain", "line", dash=tuple(theme.REFERENCE_DASH))],
        f"{_CAPTION} {f.speaker_intervals(gains, inflation=DIFFERENCE_INFLATION)} Intervals are not "
        "corrected for the number of emotions.",
        [],
    )


def _by_share(content: Content, metric: str) -> pd.DataFrame:
    """Gains over target-only of studies with several shares, the share in the place of a layer."""
    rows = content.rows("transfer", metric=metric, regime="two_stage", baseline="target_only")
    rows = drawable(rows)
    studies = rows.groupby(["encoder", "direction", "method"])["share"].transform("nunique")
    rows = rows[studies > 1]
    return rows.assign(layer=(100 * rows["share"]).round(6)).sort_values("share")


def _noted(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(note=[_note(row) for row in records(rows)])


def _note(row: dict[str, Any]) -> str:
    of = row["domain"] if row["emotion"] == "all" else row["emotion"]
    return (
        f"{of}, {100 * row['share']:g} % of the speakers: {r.with_interval(row, r.points)} points"
    )


def _scale(rows: pd.DataFrame) -> Scale:
    ends = [*f.ends_of(rows, "low", "mean", "high"), -0.01, 0.01]
    return Scale("gain (points)", -f.round_up(-min(ends)), f.round_up(max(ends)), f.POINTS_TICK)


def _panel(
    lines: list[Line], heading: str, what: str, scale: Scale, *, band: float = 0.15
) -> Panel:
    notes = [f"{'; '.join(line.rows['note'])}." for line in lines]
    return line_panel(
        lines,
        heading,
        " ".join([f"{what} by share of the target's training speakers, {heading}.", *notes]),
        scale=scale,
        references=[_NO_GAIN],
        looks=Looks(band, across="target's training speakers (%)"),
    )
