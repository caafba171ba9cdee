"""The similarity section: FAD between speech and music, by layer, emotion and pair of emotions."""

from functools import partial

from markupsafe import Markup

from jaxemo.report import charts, similarity_tables, tables
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Cell, Point, Series
from jaxemo.report.figures import Figure, Key, Panel, Section
from jaxemo.report.sections.bias import bias_figure
from jaxemo.report.svg import linear_axis, log_axis

EMOTION_MARKERS = ("circle", "square", "triangle", "wedge", "diamond", "plus", "dash", "post")
LOG_SCALE_FROM = 30  # ratio of the largest to the smallest distance that a linear axis still shows


def similarity_section(results: dict) -> Section:
    """Lines and fields of FAD by layer and emotion, and the cross-emotion matrix."""
    return Section(
        "similarity",
        "Similarity",
        "How far apart are speech and music of the same emotion, layer by layer?",
        f.with_rows(
            [
                tables.emotion_order_table(results),
                tables.bias_order_table(results),
                similarity_tables.disagreement_table(results),
            ]
        ),
        f.with_panels(
            [
                _lines(results),
                bias_figure(results),
                _second_opinions(results),
                _fields(results),
                _cross_emotion(results),
            ]
        ),
        [],
    )


def _lines(results: dict) -> Figure:
    rows = f.known(r.select(results.get("similarity"), metric="FAD"))
    cross = r.select(rows, comparison="cross_domain")
    labels = r.encoder_labels(results)
    panels = []
    for encoder in r.values(cross, "encoder"):
        chart = _line_chart(r.select(rows, encoder=encoder), "FAD", labels[encoder])
        panels.append(Panel(labels[encoder], chart))
    null_keys = [Key(charts.swatch("null", "none"), "same-domain null")] if _nulls(rows) else []
    return Figure(
        "distance-lines",
        "Distance between speech and music of each emotion",
        panels,
        [*_emotion_keys(cross), *null_keys],
        "Fréchet Audio Distance (FAD) between speech and music of the same emotion. "
        f"{_intervals(cross)} The grey region spans the same-domain "
        "nulls, the distances between two halves of the speakers within speech or within music. "
        "To read: what lies inside the grey region cannot be told from speaker variation. Scales "
        "differ between panels, and FAD is not comparable between encoders. Hollow markers rest "
        "on fewer than 2 d frames.",
        [],
    )


def _line_chart(rows: list[dict], metric: str, label: str) -> Markup:
    """One encoder's lines of one distance, one an emotion, over its same-domain nulls."""
    of = r.select(rows, comparison="cross_domain")
    series = _null_series(_nulls(rows))
    series += [_emotion_series(of, emotion) for emotion in r.values(of, "emotion")]
    axis, name = _distance_axis([p for s in series for p in s.points], r.DISTANCES[metric])
    return charts.line_chart(
        series,
        y_axis=axis,
        y_name=name,
        references=[],
        title=f"{r.DISTANCES[metric]} by layer and emotion, {label}",
        description=f"One line for each of {', '.join(r.values(of, 'emotion'))}.",
    )


def _second_opinions(results: dict) -> Figure:
    labels = r.encoder_labels(results)
    rows = f.known(results.get("similarity") or [])
    panels, encoders = [], []
    for encoder in r.values(rows, "encoder"):
        for metric in ("FAD_infinity", "KAD"):
            of = r.select(rows, encoder=encoder, metric=metric)
            if r.select(of, comparison="cross_domain"):
                heading = f"{labels[encoder]}: {r.DISTANCES[metric]}"
                panels.append(Panel(heading, _line_chart(of, metric, labels[encoder])))
                encoders.append(encoder)
    made = [similarity_tables.agreement_table(results)]
    made += [similarity_tables.opinion_table(results, e) for e in dict.fromkeys(encoders)]
    return Figure(
        "second-opinions",
        "Two second opinions: FAD at infinite n, and a kernel distance",
        panels,
        _emotion_keys(r.select(rows, comparison="cross_domain", metric="KAD")),
        "FAD of few frames is too high, the more so the fewer. At infinite n: the line through FAD of "
        "fewer and fewer clips, where it meets 1 / n = 0, in the leading principal directions of a "
        "layer. KAD is the unbiased kernel distance (squared maximum mean discrepancy, one bandwidth "
        "a layer), which assumes no Gaussian. Both rest on a few frames a clip; either may fall below "
        "0 by chance. Bands: 95 % intervals over speakers. To read: an order of emotions that FAD, "
        "FAD at infinite n and KAD share does not hang on one estimator; the first table says where "
        "they do not share it.",
        f.with_rows(made),
    )


def _fields(results: dict) -> Figure:
    cross = r.select(results.get("similarity"), comparison="cross_domain", metric="FAD")
    labels = r.encoder_labels(results)
    panels = []
    for encoder in r.values(cross, "encoder"):
        of = f.known(r.select(cross, encoder=encoder))
        cells = {}
        for layer in r.values(of, "layer"):
            cells |= _field_row(r.select(of, layer=layer))
        title = f"FAD by layer and emotion, {labels[encoder]}"
        if cells:
            panels.append(
                Panel(labels[encoder], f.matrix(cells, (0.5, 1.5), ("layer", "emotion"), title))
            )
    return Figure(
        "distance-fields",
        "The same distances as a field",
        panels,
        [f.scale_key("half the mean of the layer", "1.5 times")],
        "The figure in a cell is the FAD; its colour is that FAD over the mean of its layer, so "
        "that layers of different scale can be compared. A corner marks the nearest emotion of a "
        "layer. To read: a column that stays at the low end of the colours is an emotion that "
        f"the encoder places nearer across the domains than the others. {tables.SMALL} fewer than "
        "2 d frames. Intervals and same-domain nulls are in the tables.",
        [
            similarity_tables.distance_table(results, encoder)
            for encoder in r.values(cross, "encoder")
        ],
    )


def _field_row(rows: list[dict]) -> dict[tuple[str, str], Cell]:
    """The cells of one layer, each coloured by its distance over the layer's mean."""
    average = sum(row["mean"] for row in rows) / len(rows)
    nearest = min(rows, key=lambda row: row["mean"])
    cells = {}
    for row in rows:
        note = f"layer {row['layer']}, {row['emotion']}: FAD {r.with_interval(row, r.distance)}"
        relative = row["mean"] / average if average > 0 else 1.0
        style = "lowest" if row is nearest and len(rows) > 1 else ""
        cells[str(row["layer"]), row["emotion"]] = Cell(relative, _figure(row), note, style)
    return cells


def _cross_emotion(results: dict) -> Figure:
    rows = f.known(r.select(results.get("similarity"), comparison="cross_emotion", metric="FAD"))
    labels = r.encoder_labels(results)
    panels = []
    for encoder, layer in dict.fromkeys((row["encoder"], row["layer"]) for row in rows):
        of = r.select(rows, encoder=encoder, layer=layer)
        limits = min(row["mean"] for row in of), max(row["mean"] for row in of)
        title = f"{labels[encoder]}, layer {layer}"
        cells = {(row["emotion"], row["other_emotion"]): _cross_cell(row, of) for row in of}
        chart = f.matrix(cells, limits, ("speech", "music"), f"FAD across emotions, {title}")
        panels.append(Panel(title, chart))
    return Figure(
        "cross-emotion",
        "Every speech emotion against every music emotion",
        panels,
        [f.scale_key("smallest FAD of the panel", "largest")],
        "FAD between each emotion in speech (rows) and each in music (columns), at one layer. "
        "Outlined: the same emotion. A corner marks the nearest music emotion of a row. To read: "
        "where corners sit in the outlined cells, the encoder's distances follow emotion across "
        f"the domains. {tables.SMALL} fewer than 2 d frames.",
        [
            similarity_tables.cross_emotion_table(results, encoder)
            for encoder in r.values(rows, "encoder")
        ],
    )


def _intervals(rows: list[dict]) -> str:
    if any(row["low"] is not None for row in rows):
        return "Bands: 95 % intervals, jackknife over speakers."
    return "It carries no interval here."


def _cross_cell(row: dict, of: list[dict]) -> Cell:
    nearest = min(r.select(of, emotion=row["emotion"]), key=lambda other: other["mean"])
    style = ["same"] if row["emotion"] == row["other_emotion"] else []
    style += ["lowest"] if row is nearest else []
    note = (
        f"speech {row['emotion']}, music {row['other_emotion']}: {r.with_interval(row, r.distance)}"
    )
    return Cell(row["mean"], _figure(row), note, " ".join(style))


def _figure(row: dict) -> str:
    return r.distance(row["mean"]) + (tables.SMALL if row["small_sample"] else "")


def _nulls(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["comparison"] in ("null_speech", "null_music")]


def _null_series(rows: list[dict]) -> list[Series]:
    """One region from the smallest to the largest null of each layer."""
    points = []
    for layer in r.values(rows, "layer"):
        at = [row["mean"] for row in r.select(rows, layer=layer)]
        points.append(Point(float(layer), max(at), min(at), max(at), f"null, layer {layer}"))
    return [Series("same-domain null", "null", "none", points)] if points else []


def _emotion_series(rows: list[dict], emotion: str) -> Series:
    of = sorted(r.select(rows, emotion=emotion), key=lambda row: row["layer"])
    points = [
        f.point(
            row,
            f"{emotion}, layer {row['layer']}: {r.with_interval(row, r.distance)}",
            "hollow" if row["small_sample"] else "",
        )
        for row in of
    ]
    place = f.palette_place(r.values(rows, "emotion"), emotion)
    return Series(emotion, f"emotion-{place}", EMOTION_MARKERS[place], points)


def _emotion_keys(rows: list[dict]) -> list[Key]:
    made = [_emotion_series(rows, emotion) for emotion in r.values(rows, "emotion")]
    return [Key(charts.swatch(series.style, series.marker), series.label) for series in made]


def _distance_axis(points: list[Point], name: str) -> tuple[partial, str]:
    """A linear axis with 0 and its name, or a logarithmic one where distances differ too much."""
    ends = [v for p in points for v in (p.low, p.mean, p.high) if v is not None]
    means = [p.mean for p in points]
    if min(ends) >= 0 and max(means) > LOG_SCALE_FROM * min(m for m in [*means, 1e300] if m > 0):
        lowest = min(mean for mean in means if mean > 0)
        axis = partial(log_axis, 0.9 * lowest, 1.1 * max(ends), label=_tick)
        return axis, f"{name} (log scale)"
    bottom = -f.round_up(-min(ends)) if min(ends) < 0 else 0.0
    return partial(linear_axis, bottom, f.round_up(max(ends)) or 1.0, label=_tick), name


def _tick(value: r.Number) -> str:
    return f"{value:g}"
