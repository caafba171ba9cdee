"""The layers section: how well each layer predicts emotion, in speech and in music."""

import math
from functools import partial

from jaxemo.report import charts, tables
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Cell, Reference, Series
from jaxemo.report.figures import Figure, Panel, Section
from jaxemo.report.svg import linear_axis


def layer_section(results: dict) -> Section:
    """Curves of UA over layers, and the recall of each emotion on demand."""
    return Section(
        "layers",
        "Layers",
        "How well does each layer predict the emotion, in speech and in music?",
        f.with_rows([tables.best_layer_table(results)]),
        f.with_panels([_curves(results)]),
        f.with_panels([_recalls(results)]),
    )


def _curves(results: dict) -> Figure:
    scores = f.known(r.select(results.get("layers"), metric="UA", emotion="all"))
    learnt = [row for row in scores if row["origin"] != "hand-made"]
    hand_made = [row for row in scores if row["origin"] == "hand-made"]
    references = f.chance_levels(scores) + [_baseline(row) for row in hand_made]
    labels = r.encoder_labels(results)
    panels = []
    for encoder in r.values(learnt, "encoder"):
        of = r.select(learnt, encoder=encoder)
        chart = charts.line_chart(
            [_series(of, domain) for domain in r.values(of, "domain")],
            y_axis=partial(linear_axis, *_limits(scores), label=f.percent_tick),
            y_name="UA (%)",
            references=references,
            title=f"UA by layer, {labels[encoder]}",
            description=_best_sentence(of),
        )
        panels.append(Panel(labels[encoder], chart))
    return Figure(
        "layer-curves",
        "Unweighted accuracy by layer, speech against music",
        panels,
        [*f.domain_keys(learnt), *map(f.reference_key, references)],
        "Mean recall over the emotions (UA, %) of a classifier trained on each layer; layer 0 is "
        f"the input of the first layer. {f.fold_intervals(scores)} A ring marks "
        "the highest layer of a curve. All panels share one scale. To read: a layer whose band "
        "lies above the baseline's line holds more than the hand-made features; where two bands "
        "overlap, the difference may be chance.",
        [
            tables.layer_score_table(results, e)
            for e in r.values(results.get("layers") or [], "encoder")
        ],
    )


def _series(rows: list[dict], domain: str) -> Series:
    of = sorted(r.select(rows, domain=domain), key=lambda row: row["layer"])
    best = r.best_layer(of)
    points = [
        f.point(
            row,
            f"{domain}, layer {row['layer']}: {r.with_interval(row)} %",
            "best" if best is not None and row is best.row else "",
        )
        for row in of
    ]
    return Series(domain, domain, f.DOMAIN_MARKERS.get(domain, "diamond"), points)


def _recalls(results: dict) -> Figure:
    rows = r.select(results.get("layers"), metric="recall")
    labels = r.encoder_labels(results)
    panels = []
    for encoder, domain in dict.fromkeys((row["encoder"], row["domain"]) for row in rows):
        title = f"{labels[encoder]}, {domain}"
        cells = {
            (str(row["layer"]), row["emotion"]): _recall_cell(row)
            for row in r.select(rows, encoder=encoder, domain=domain)
        }
        chart = f.matrix(cells, (0.0, 1.0), ("layer", "emotion"), f"Recall by layer, {title}")
        panels.append(Panel(title, chart))
    return Figure(
        "recalls",
        "Recall of each emotion by layer",
        panels,
        [f.scale_key("0 %", "100 %")],
        "Share of the clips of each emotion that are recognised (%), by layer. Chance is one "
        "over the number of emotions. Intervals are in the tables.",
        [tables.recall_table(results, encoder) for encoder in r.values(rows, "encoder")],
    )


def _recall_cell(row: dict) -> Cell:
    note = f"layer {row['layer']}, {row['emotion']}: {r.with_interval(row)} %"
    return Cell(row["mean"], f.whole_percent(row["mean"]), note)


def _baseline(row: dict) -> Reference:
    label = f"{row['encoder']}, {row['domain']}: {r.with_interval(row)} %"
    return Reference(label, f"baseline {row['domain']}", row["mean"], row["low"], row["high"])


def _limits(rows: list[dict]) -> tuple[float, float]:
    """The range of all figures, widened to the next 5 %."""
    columns = ("low", "mean", "high", "chance")
    ends = [row[column] for row in rows for column in columns if row[column] is not None]
    low, high = math.floor(20 * min(ends)) / 20, math.ceil(20 * max(ends)) / 20
    return max(0.0, low), min(1.0, max(high, low + 0.1))


def _best_sentence(rows: list[dict]) -> str:
    best = [r.best_layer(r.select(rows, domain=domain)) for domain in r.values(rows, "domain")]
    return " ".join(
        f"{b.row['domain']}: highest at layer {b.row['layer']}, {r.with_interval(b.row)} %."
        for b in best
        if b is not None
    )
