"""Emotion shift and shape: how far music of an emotion lies from speech of it, by encoder and layer."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Looks, Panel, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records
from jaxemo.report.figures import Figure, Key
from jaxemo.report.row_charts import Axis, Bar, Group, dot_panel
from jaxemo.report.sections import shift_tables as tables

_UNITS = (
    "squared deviations of clips of one speaker, emotion and domain about their mean (within-cell "
    "standard deviations)"
)
UNPAIRED = (
    "Here the speakers of the two domains are not the same: what tells speakers of one domain from "
    "those of the other and what tells the domains apart cannot be told from each other."
)


def emotion_shift(content: Content) -> Figure:
    """Shift of each emotion with its interval, mean over layers, one panel per encoder."""
    rows = drawable(content.rows("emotion_shifts", control="none", measure="shift", layer=None))
    panels = [_dots(content, of, encoder) for encoder, of in f.by_encoder(rows)]
    return Figure(
        "emotion-shift",
        "Emotion shift: how far music of each emotion lies from speech of it",
        panels,
        [Key("no shift", "line", dash=tuple(theme.REFERENCE_DASH))],
        f"Squared distance between music and speech of one emotion, {_paired_words(rows)}, mean over "
        f"layers, in {_UNITS}. It does not grow with the number of speakers or clips, and may fall "
        "below 0 by chance. Whiskers: 95 % intervals, jackknife over speakers. p: the share of "
        "exchanges of emotions within speakers that spread the emotions as much, uncorrected; "
        "without a small p the order may be chance. Scales differ between panels: each encoder has its "
        f"own units.{_caveat(rows)}",
        [
            *(tables.contrast_table(content, encoder) for encoder in present(rows, "encoder")),
            *(tables.measure_table(content, e, "shift") for e in present(rows, "encoder")),
        ],
    )


def shift_curves(content: Content) -> Figure:
    """Shift of each emotion by layer, one panel per encoder."""
    rows = drawable(content.rows("emotion_shifts", control="none", measure="shift"))
    rows = rows[rows["layer"].notna()]
    panels = [_curves(of, content.labels[encoder]) for encoder, of in f.by_encoder(rows)]
    return Figure(
        "emotion-shift-layers",
        "Emotion shift by layer",
        panels,
        emotion_keys(rows),
        f"The shift of each emotion at each layer, in {_UNITS}. Bands: 95 % intervals, jackknife over "
        "speakers. To read: where all lines are high, the layer keeps speech and music apart whatever "
        "the emotion; where they part, some emotions meet across the domains more than others. "
        f"Scales differ between panels.{_caveat(rows)}",
        [],
    )


def emotion_shape(content: Content) -> Figure:
    """Shape of each emotion with its interval, mean over layers, one panel per encoder."""
    rows = drawable(content.rows("emotion_shifts", control="none", measure="shape", layer=None))
    panels = [_dots(content, of, encoder) for encoder, of in f.by_encoder(rows)]
    return Figure(
        "emotion-shape",
        "Emotion shape: how differently clips of each emotion spread in speech and in music",
        panels,
        [Key("no difference", "line", dash=tuple(theme.REFERENCE_DASH))],
        "A quarter of the squared Frobenius norm of the difference of the two covariances, in the "
        "units of the shift and as free of the number of speakers: what covariances add to a FAD, "
        "apart from what means do. Whiskers, p and scales as for the shift.",
        [tables.measure_table(content, e, "shape") for e in present(rows, "encoder")],
    )


def shift_controls(content: Content) -> Figure:
    """Shift of each emotion with something held still, mean over layers, one panel per encoder."""
    rows = drawable(content.rows("emotion_shifts", measure="shift", layer=None))
    controlled = present(rows[rows["control"] != "none"], "encoder")
    rows = rows[rows["encoder"].isin(controlled)]
    panels = []
    for encoder, of in f.by_encoder(rows):
        kinds = [_group(content, at, encoder) for _, at in groups(of, "control")]
        words = f"Emotion shift by emotion, {content.labels[encoder]}, with something held still."
        panels.append(dot_panel(kinds, content.labels[encoder], words, axis=_axis(of)))
    return Figure(
        "emotion-shift-controls",
        "Emotion shift with sentence, intensity or acoustic cues held still",
        panels,
        [Key("no shift", "line", dash=tuple(theme.REFERENCE_DASH))],
        "Matched pairs: of one speaker, emotion, statement and intensity, at the intensities that every "
        "emotion has in both domains; of women and of men apart, in units of their own clips. Cues "
        "regressed out: mean and spread of pitch and loudness, rate of "
        "onsets and spectral balance, by slopes fitted within a speaker, emotion and domain and held to be "
        "the same between those. What remains of an order of emotions there is more than those cues; "
        "what does not may be them. Whiskers: 95 % intervals, jackknife over speakers; p uncorrected. "
        "Scales differ between panels.",
        [tables.control_table(content, encoder) for encoder in controlled],
    )


def emotion_keys(rows: pd.DataFrame) -> list[Key]:
    """The legend of emotions."""
    emotions = present(rows, "emotion")
    places = theme.emotion_places(emotions)
    return [
        Key(emotion, "line", theme.EMOTION_COLOURS[places[emotion]], _marker(places[emotion]))
        for emotion in emotions
    ]


def _paired_words(rows: pd.DataFrame) -> str:
    paired = rows["paired"].all()
    return "each speaker paired with himself or herself" if paired else "between other speakers"


def _caveat(rows: pd.DataFrame) -> str:
    return "" if rows["paired"].all() else f" {UNPAIRED}"


def _marker(place: int) -> str:
    return tuple(theme.MARKERS)[place]


def _dots(content: Content, rows: pd.DataFrame, encoder: str) -> Panel:
    heading = content.labels[encoder]
    words = f"Emotion {present(rows, 'measure')[0]} by emotion, mean over layers, {heading}."
    return dot_panel([_group(content, rows, encoder)], heading, words, axis=_axis(rows))


def _axis(rows: pd.DataFrame) -> Axis:
    """One encoder's own: its within-cell deviations are its units."""
    ends = [*f.ends_of(rows, "low", "mean", "high"), 0.0]
    return Axis(-f.round_up(-min(ends)), f.round_up(max(ends)) or 1.0, f.NUMBER_TICK, 0.0)


def _group(content: Content, rows: pd.DataFrame, encoder: str) -> Group:
    """The emotions of one measure under one control."""
    [control], [measure] = present(rows, "control"), present(rows, "measure")
    places = theme.emotion_places(present(rows, "emotion"))
    bars = [_bar(row, places[row["emotion"]]) for row in records(rows.sort_values("emotion"))]
    p_value = r.probability(tables.p_of_emotions(content, encoder, measure, control))
    words = "" if control == "none" else f"{r.name('control', control)}, "
    return Group(f"{words}all emotions alike: p = {p_value}", bars)


def _bar(row: dict[str, Any], place: int) -> Bar:
    note = f"{row['emotion']}: {r.with_interval(row, r.distance)}"
    colour = theme.EMOTION_COLOURS[place]
    return Bar(row["emotion"], row, r.distance(row["mean"]), note, colour, _marker(place))


def _curves(rows: pd.DataFrame, heading: str) -> Panel:
    places = theme.emotion_places(present(rows, "emotion"))
    lines = []
    for (emotion,), of in groups(rows, "emotion"):
        notes = [
            f"{emotion}, layer {row['layer']}: {r.with_interval(row, r.distance)}"
            for row in records(of)
        ]
        looks = theme.EMOTION_COLOURS[places[emotion]], _marker(places[emotion])
        lines.append(Line(emotion, of.assign(note=notes), *looks))
    ends = [*f.ends_of(rows, "low", "mean", "high"), 0.0]
    scale = Scale("shift", -f.round_up(-min(ends)), f.round_up(max(ends)) or 1.0, f.NUMBER_TICK)
    words = f"Emotion shift by layer, {heading}: one line for each of {', '.join(places)}."
    return line_panel(lines, heading, words, scale=scale, looks=Looks(band=0.06))
