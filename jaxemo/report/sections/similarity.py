"""The similarity section: distances between speech and music, by layer, emotion and pair of emotions."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Looks, Panel, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records, select
from jaxemo.report.figures import Figure, Key, Section
from jaxemo.report.heat_charts import Cell, heat_panel
from jaxemo.report.sections import distance_tables as tables
from jaxemo.report.sections import sharing, shift
from jaxemo.report.sections.distance_sentences import sentences
from jaxemo.report.sections.shift_tables import profile_table, shift_order_table

EMOTION_MARKERS = tuple(theme.MARKERS)
LOG_SCALE_FROM = 30  # ratio of the largest to the smallest distance that a linear axis still shows
_NULLS = ("null_speech", "null_music")


def similarity_section(content: Content) -> Section:
    """Emotion shift, distances by layer and emotion, and the other views on demand."""
    return Section(
        "similarity",
        "Similarity",
        "How far apart are speech and music of the same emotion, layer by layer?",
        f.with_rows([shift_order_table(content), profile_table(content)]),
        f.with_panels(
            [
                shift.emotion_shift(content),
                sharing.shared_emotion(content),
                shift.shift_curves(content),
                shift.shift_controls(content),
                sharing.cross_emotion(content),
                distance_curves(content),
            ]
        ),
        f.with_panels(
            [shift.emotion_shape(content), second_opinions(content), distance_fields(content)]
        ),
        sentences(content),
    )


def distance_curves(content: Content) -> Figure:
    """FAD of each emotion by layer over the same-domain nulls, one panel per encoder."""
    rows = drawable(content.rows("similarity", metric="FAD"))
    cross = select(rows, comparison="cross_domain")
    panels = [
        _line_panel(select(rows, encoder=encoder), "FAD", content.labels[encoder])
        for encoder, _ in f.by_encoder(cross)
    ]
    has_nulls = rows["comparison"].isin(_NULLS).any()
    nulls = [Key("same-domain null", "region", theme.NULL)] if has_nulls else []
    intervals = (
        "Bands: 95 % intervals, jackknife over speakers. " if cross["low"].notna().any() else ""
    )
    return Figure(
        "distance-lines",
        "Distance between speech and music of each emotion",
        panels,
        [*shift.emotion_keys(cross), *nulls],
        f"Fréchet Audio Distance (FAD) between speech and music of the same emotion. {intervals}"
        "The grey region spans the same-domain nulls, the distances between half of each speaker's "
        "clips and the other half, within speech or within music: the same people as on either side "
        "of a line. They have half as many clips, so that small-sample bias weighs more on them; at "
        "equal n both stand below. Scales differ between panels, and FAD is not comparable between "
        "encoders or sample sizes. Hollow markers rest on fewer than 2 d frames.",
        [tables.distance_table(content, encoder) for encoder in present(cross, "encoder")],
    )


def second_opinions(content: Content) -> Figure:
    """FAD at equal n and extrapolated over speakers, and KAD, by layer and emotion; three panels per encoder."""
    rows = drawable(content.rows("similarity"))
    rows = rows[rows["metric"].isin(("FAD_equal_n", "FAD_infinite_speakers", "KAD"))]
    panels = [
        _line_panel(of, metric, f"{content.labels[encoder]}: {r.DISTANCES[metric]}")
        for (encoder, metric), of in groups(rows, "encoder", "metric")
        if (of["comparison"] == "cross_domain").any()
    ]
    made = [tables.agreement_table(content)]
    made += [tables.opinion_table(content, encoder) for encoder in present(rows, "encoder")]
    return Figure(
        "second-opinions",
        "Second opinions: FAD at equal n, FAD extrapolated over speakers, and a kernel distance",
        panels,
        shift.emotion_keys(rows),
        "FAD of few frames is too high, the more so the fewer. Equal n: lines and nulls of as many clips "
        "each, so that a line above the grey region lies beyond what the same people's clips differ by "
        "within a domain. Extrapolated: FAD of all, half and a third of the speakers, where the "
        "parabola through the three meets infinitely many, in as many leading principal directions of "
        "a layer as two thirds of the speakers. KAD is the "
        "unbiased kernel distance (squared maximum mean discrepancy, one bandwidth per layer), which "
        "assumes no Gaussian; its p exchanges the domains of whole speakers. All rest on a few frames "
        "per clip; the latter two may fall below 0 by chance. "
        "Bands: 95 % intervals over speakers. To read: an order of emotions that FAD, its "
        "extrapolation and KAD share does not hang on one estimator; the first table says where they "
        "do not share it.",
        f.with_rows(made),
    )


def distance_fields(content: Content) -> Figure:
    """FAD by layer and emotion as matrices, coloured relative to the layer's mean."""
    cross = content.rows("similarity", comparison="cross_domain", metric="FAD")
    panels = []
    for encoder, of in f.by_encoder(cross):
        cells = [cell for _, at in groups(of, "layer") for cell in _field_row(at)]
        heading = content.labels[encoder]
        words = f"FAD by layer and emotion, {heading}; the figures are in the tables."
        axes = ("layer", "emotion")
        panels.append(heat_panel(cells, heading, words, axes=axes, limits=(0.5, 1.5)))
    return Figure(
        "distance-fields",
        "The same distances as a field",
        panels,
        [f.scale_key("half the mean of the layer", "1.5 times")],
        "The figure in a cell is the FAD; its colour is that FAD over the mean of its layer, so "
        "that layers of different scale can be compared. To read: a column that stays at the low "
        "end of the colours is an emotion whose speech and music lie nearer than the others', "
        "or vary less; the field does not tell the two apart. "
        f"{tables.SMALL} fewer than 2 d frames.",
        [],
    )


def _line_panel(rows: pd.DataFrame, metric: str, heading: str) -> Panel:
    """One encoder's lines of one distance, one per emotion, over its same-domain nulls."""
    cross = select(rows, comparison="cross_domain")
    emotions = present(cross, "emotion")
    places = theme.emotion_places(emotions)
    lines = [_line(of, emotion, places[emotion]) for (emotion,), of in groups(cross, "emotion")]
    nulls = rows[rows["comparison"].isin(_NULLS)]
    region = [
        {"layer": float(layer), "low": at["mean"].min(), "high": at["mean"].max()}
        for (layer,), at in groups(nulls, "layer")
    ]
    scale = _scale(
        [*f.ends_of(cross, "low", "mean", "high"), *f.ends_of(nulls, "mean")], cross, metric
    )
    words = (
        f"{r.DISTANCES[metric]} by layer, {heading}: one line for each of {', '.join(emotions)}."
    )
    looks = Looks(band=0.06)
    return line_panel(lines, heading, words, scale=scale, region=region, looks=looks)


def _line(rows: pd.DataFrame, emotion: str, place: int) -> Line:
    notes = [
        f"{emotion}, layer {row['layer']}: {r.with_interval(row, r.distance)}"
        for row in records(rows)
    ]
    rows = rows.assign(note=notes, hollow=rows["small_sample"])
    return Line(emotion, rows, theme.EMOTION_COLOURS[place], EMOTION_MARKERS[place])


def _scale(ends: list[float], cross: pd.DataFrame, metric: str) -> Scale:
    """A linear axis with 0, or a logarithmic one where distances differ too much."""
    name, means = r.DISTANCES[metric], f.ends_of(cross, "mean")
    above = [mean for mean in means if mean > 0]
    if above and min(ends) >= 0 and max(means) > LOG_SCALE_FROM * min(above):
        low, high = 0.9 * min(above), 1.1 * max(ends)
        return Scale(f"{name} (log scale)", low, high, f.NUMBER_TICK, log=True)
    low = -f.round_up(-min(ends)) if min(ends) < 0 else 0.0
    return Scale(name, low, f.round_up(max(ends)) or 1.0, f.NUMBER_TICK)


def _field_row(rows: pd.DataFrame) -> list[Cell]:
    """The cells of one layer, each coloured by its distance over the layer's mean."""
    average = rows["mean"].mean()
    cells = []
    for row in records(rows.sort_values("emotion")):
        note = f"layer {row['layer']}, {row['emotion']}: FAD {r.with_interval(row, r.distance)}"
        relative = row["mean"] / average if average > 0 else 1.0
        cells.append(Cell(str(row["layer"]), row["emotion"], relative, _figure(row), note))
    return cells


def _figure(row: dict[str, Any]) -> str:
    return r.distance(row["mean"]) + (tables.SMALL if row["small_sample"] else "")
