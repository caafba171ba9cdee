"""Emotion bias: the cross-domain distance of each emotion over its same-domain null, by encoder."""

import math
from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Panel
from jaxemo.report.contents import Content, drawable, groups, present, records
from jaxemo.report.figures import Figure, Key
from jaxemo.report.row_charts import Axis, Bar, Group, dot_panel
from jaxemo.report.table import Cell, Table, interval_cell, number_cell


def emotion_bias(content: Content) -> Figure:
    """Log ratios with intervals, mean over layers, one panel per encoder."""
    overall = drawable(content.rows("emotion_bias", layer=None))
    encoders = present(overall, "encoder")
    ends = [*f.ends_of(overall, "low", "mean", "high"), 0.0]
    axis = Axis(-f.round_up(-min(ends)), f.round_up(max(ends)) or 1.0, f.NUMBER_TICK, 0.0)
    panels = [_panel(content, of, encoder, axis) for encoder, of in f.by_encoder(overall)]
    return Figure(
        "emotion-bias",
        "Emotion bias: what crossing the domains costs each emotion",
        panels,
        [Key("as near as its own domain", "line", dash=tuple(theme.REFERENCE_DASH))],
        "log(cross / null), mean over layers: cross is the FAD between speech and music, null the FAD "
        "within speech or within music, both between other speakers and at as many clips. Its level "
        "grows with the number of speakers and clips, so that it compares emotions within this run "
        "and nothing else, and an emotion that varies more can lie lower without lying nearer. "
        "Whiskers: 95 % intervals, jackknife over speakers. p: the share of exchanges of emotions "
        "within speakers that spread the emotions as much; without a small p the order may be chance.",
        [bias_table(content, encoder) for encoder in encoders],
    )


def bias_order_table(content: Content) -> Table:
    """Lowest and highest emotion of each encoder by emotion bias, and whether they differ at all."""
    body: list[list[str | Cell]] = []
    for encoder, of in f.by_encoder(content.rows("emotion_bias", layer=None)):
        ordered = records(of.sort_values("mean"))
        if len(ordered) > 1:
            ends = [
                cell for row in (ordered[0], ordered[-1]) for cell in (row["emotion"], ratio(row))
            ]
            p_value = number_cell(p_of_emotions(content, encoder), r.probability)
            body.append([content.labels[encoder], *ends, p_value])
    return Table(
        "emotion_bias_order",
        "Emotion bias: cross-domain FAD over same-domain FAD of other speakers, mean over layers",
        ["encoder", "lowest", "ratio [95 %]", "highest", "ratio [95 %]", "p, all alike"],
        body,
        keys=1,
        figures=1,
    )


def bias_table(content: Content, encoder: str) -> Table:
    """Emotion bias of one encoder by layer, with the test that its emotions differ."""
    rows = content.rows("emotion_bias", encoder=encoder)
    emotions = present(rows, "emotion")
    body: list[list[str | Cell]] = []
    for (layer,), of in groups(rows, "layer"):
        at = {row["emotion"]: row for row in records(of)}
        cells = [interval_cell(at.get(emotion), r.distance) for emotion in emotions]
        p_value = p_of_emotions(content, encoder, layer)
        name = "mean" if layer is None else str(layer)
        body.append([name, *cells, number_cell(p_value, r.probability)])
    speakers = rows["speakers"].max()
    return Table(
        f"emotion_bias_{encoder}",
        f"{content.labels[encoder]}: emotion bias, log ratio [95 %] over {speakers} speakers, and p "
        "that all emotions are alike",
        ["layer", *emotions, "p"],
        body,
        keys=1,
        figures=len(emotions) + 1,
    )


def disagreement_table(content: Content) -> Table:
    """Whether encoders disagree about the emotions, for each pair of them."""
    body: list[list[str | Cell]] = [
        [
            content.labels[row["encoder"]],
            content.labels[row["other_encoder"]],
            number_cell(row["tau"], r.signed),
            number_cell(row["p_value"], r.probability),
        ]
        for row in records(content.rows("emotion_bias_tests", test="encoders_disagree"))
    ]
    return Table(
        "encoder_disagreement",
        "Do encoders differ in their biases, in order or in spacing? Mean over layers, uncorrected",
        ["encoder", "other encoder", "Kendall's tau of the orders", "p, no difference"],
        body,
        keys=2,
        figures=2,
    )


def p_of_emotions(content: Content, encoder: str, layer: int | None = None) -> float | None:
    """The p-value that the emotions of one encoder are alike; None where there is no test."""
    wanted = {"test": "emotions_differ", "encoder": encoder, "layer": layer}
    found = content.rows("emotion_bias_tests", **wanted)["p_value"].dropna()
    return float(found.iloc[0]) if len(found) else None


def ratio(row: dict[str, Any]) -> Cell:
    """A log ratio as the ratio that it is of."""
    ends = ("mean", "low", "high")
    limits = {key: math.exp(row[key]) if r.known(row[key]) else None for key in ends}
    return interval_cell({**row, **limits}, r.distance)


def _panel(content: Content, rows: pd.DataFrame, encoder: str, axis: Axis) -> Panel:
    places = theme.emotion_places(present(rows, "emotion"))
    bars = [_bar(row, places[row["emotion"]]) for row in records(rows.sort_values("emotion"))]
    heading = content.labels[encoder]
    p_value = r.probability(p_of_emotions(content, encoder))
    words = f"Emotion bias, {heading}: log ratio of cross-domain to same-domain FAD by emotion."
    group = Group(f"all emotions alike: p = {p_value}", bars)
    return dot_panel([group], heading, words, axis=axis)


def _bar(row: dict[str, Any], place: int) -> Bar:
    note = f"{row['emotion']}: {r.with_interval(row, r.distance)}, rank {row['rank']}"
    figure = f"{row['mean']:.2f}".replace("-", r.MINUS)
    marker = tuple(theme.MARKERS)[place]
    return Bar(row["emotion"], row, figure, note, theme.EMOTION_COLOURS[place], marker)
