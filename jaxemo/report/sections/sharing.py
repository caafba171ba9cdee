"""Shared emotion: at which layers music of an emotion lies nearest to speech of it."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Panel, Reference, Row, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records, select
from jaxemo.report.figures import Figure
from jaxemo.report.heat_charts import Cell, heat_panel, limits_of
from jaxemo.report.sections import shift_tables as tables

_NONE = Reference("none", 0.0)


def shared_emotion(content: Content) -> Figure:
    """The advantage of the same emotion by layer, beside the probe's curves, per encoder."""
    rows = drawable(content.rows("emotion_shifts", measure="advantage", emotion="all"))
    rows = rows[rows["layer"].notna()]
    scores = drawable(content.rows("layers", metric="UA", emotion="all"))
    panels, probed = [], False
    for encoder, of in f.by_encoder(rows):
        panels.append(_advantage_panel(of, content.labels[encoder]))
        probes = select(scores, encoder=encoder)
        if len(probes):
            probed = True
            panels.append(_probe_panel(probes, content.labels[encoder]))
    beside = (
        " Beside it the accuracy of the probes on the same layers (UA, %): a layer from which both "
        "domains' emotions can be read, and whose advantage is above 0, holds emotion in a form that "
        "speech and music share."
    )
    return Figure(
        "shared-emotion",
        "Which layers share emotion across speech and music",
        panels,
        f.domain_keys(scores) if probed else [],
        "The advantage of the same emotion: how much nearer music of an emotion lies to speech of it "
        "than to speech of the others (squared distance in within-cell standard deviations, mean over "
        "emotions), between different speakers. 0: the layer's emotions in music have nothing to do "
        "with those in speech, however well either can be recognised. Bands: 95 % intervals, jackknife "
        f"over speakers.{beside if probed else ''}",
        [tables.advantage_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def cross_emotion(content: Content) -> Figure:
    """Every speech emotion against every music emotion, one matrix per encoder and layer."""
    rows = drawable(content.rows("cross_emotion"))
    panels = []
    for (encoder, layer), of in groups(rows, "encoder", "layer"):
        heading = f"{content.labels[encoder]}, layer {layer}"
        panels.append(_cross_panel(of.sort_values(["emotion", "other_emotion"]), heading))
    return Figure(
        "cross-emotion",
        "Every speech emotion against every music emotion",
        panels,
        [f.scale_key("smallest distance of the panel", "largest")],
        "The distance of the shift between each emotion in speech (rows) and each in music (columns), "
        "at every layer. Outlined: the same emotion. A corner marks the smallest figure of a row, "
        "whether or not it can be told from the next; whether the outlined cells are nearer than the "
        "rest is tested above.",
        [tables.cross_emotion_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def _advantage_panel(rows: pd.DataFrame, heading: str) -> Panel:
    notes = [f"layer {row['layer']}: {r.with_interval(row, r.distance)}" for row in records(rows)]
    line = Line("advantage", rows.assign(note=notes), theme.INK)
    ends = [*f.ends_of(rows, "low", "mean", "high"), 0.0]
    scale = Scale("advantage", -f.round_up(-min(ends)), f.round_up(max(ends)) or 1.0, f.NUMBER_TICK)
    words = f"Advantage of the same emotion by layer, {heading}."
    return line_panel([line], heading, words, scale=scale, references=[_NONE])


def _probe_panel(rows: pd.DataFrame, heading: str) -> Panel:
    lines = []
    for (domain,), of in groups(rows, "domain"):
        notes = [f"{domain}, layer {row['layer']}: {r.with_interval(row)} %" for row in records(of)]
        lines.append(f.domain_line(domain, of.assign(note=notes)))
    scale = Scale("UA (%)", 0.0, 1.0, f.PERCENT_TICK)
    words = f"UA of the probes by layer, {heading}."
    chance = f.chance_levels(rows)
    return line_panel(lines, f"{heading}: probes", words, scale=scale, references=chance)


def _cross_panel(rows: pd.DataFrame, heading: str) -> Panel:
    nearest = rows.groupby("emotion", observed=True)["mean"].transform("min")
    cells = [_cross_cell(row) for row in records(rows.assign(nearest=nearest))]
    words = f"Distance across emotions, {heading}; the figures are in the tables below."
    limits = limits_of(list(rows["mean"]))
    return heat_panel(cells, heading, words, axes=("speech", "music"), limits=limits)


def _cross_cell(row: dict[str, Any]) -> Cell:
    words = r.with_interval(row, r.distance)
    names: Row = {"down": row["emotion"], "across": row["other_emotion"]}
    return Cell(
        **names,
        value=row["mean"],
        figure=r.distance(row["mean"]),
        note=f"speech {row['emotion']}, music {row['other_emotion']}: {words}",
        outlined=row["emotion"] == row["other_emotion"],
        marked=row["mean"] == row["nearest"],
    )
