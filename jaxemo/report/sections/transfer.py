"""The transfer section: scores with and without the source domain, paired gains, layer weights."""

from typing import Any

import pandas as pd

from jaxemo.analysis.intervals import DIFFERENCE_INFLATION, SCORE_INFLATION
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Looks, Panel, Reference, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records, select, single
from jaxemo.report.figures import Figure, Key, Section
from jaxemo.report.pivot import joined, pivot
from jaxemo.report.row_charts import Axis, Bar, Group, bar_panel, dot_panel
from jaxemo.report.sections.transfer_claims import (
    CLAIMED,
    transfer_gain_table,
    transfer_run_table,
    transfer_sentences,
)
from jaxemo.report.sections.transfer_shares import share_gains, share_recall_gains
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

_STRENGTHS = {
    "target_only": 0.22,
    "target_only_longer": 0.35,
    "source_only": 0.1,
    "joint": 0.55,
    "placebo": 0.1,
}
_DASHES = {"joint": (3, 2), "placebo": (1, 2), "target_only_longer": (5, 2)}


def transfer_section(content: Content) -> Section:
    """Bars of UA by method and regime, gains paired by speaker, and the learnt layer weights."""
    return Section(
        "transfer",
        "Transfer",
        "Does training on music first help with speech, and the other way round?",
        f.with_rows([transfer_table(content), transfer_gain_table(content)]),
        f.with_panels([transfer_gains(content), share_gains(content), transfer_scores(content)]),
        f.with_panels([share_recall_gains(content), layer_weights(content)]),
        transfer_sentences(content),
    )


def transfer_scores(content: Content) -> Figure:
    """UA on the target domain by method and regime, one panel per encoder and direction."""
    scores = _of_most(drawable(content.rows("transfer", metric="UA", emotion="all")))
    top = min(1.0, f.round_up(max(f.ends_of(scores, "mean", "high"), default=1.0)))
    panels = []
    for (encoder, direction), of in groups(scores, "encoder", "direction"):
        heading = f"{content.labels[encoder]}, {r.name('direction', direction)}"
        panels.append(_score_panel(of, heading, top))
    return Figure(
        "transfer-scores",
        "Score on the target domain, with and without the source domain",
        panels,
        [*_regime_keys(scores), *f.chance_keys(scores)],
        "Unweighted accuracy (UA, %) on held-out speakers of the target domain, which gives the "
        "bars their colour. Target only: trained on the target domain alone. Two-stage: trained "
        "on the source domain first, then on the target. Target only, longer: with the updates of both "
        "stages. Placebo: two-stage, the source's labels shuffled within each speaker. Source only: "
        "never trained on the target. Joint: on both at once. "
        f"{_intervals(scores)} To read: the paired gains tell regimes apart; overlapping whiskers do not.",
        f.with_rows(
            [
                table(content, encoder)
                for encoder in present(scores, "encoder")
                for table in (transfer_score_table, recall_gain_table, transfer_run_table)
            ]
        ),
    )


def transfer_gains(content: Content) -> Figure:
    """UA minus UA of target-only for the same speakers, one panel per encoder."""
    gains = content.rows("transfer", metric="UA_gain", emotion="all", baseline="target_only")
    gains = drawable(gains[gains["regime"] != "source_only"])
    gains = _of_most(gains)
    ends = [*f.ends_of(gains, "low", "mean", "high"), -0.01, 0.01]
    axis = Axis(
        -f.round_up(-min(ends)), f.round_up(max(ends)), f.POINTS_TICK, 0.0, reference_dash=(1, 0)
    )
    panels = [_gain_panel(of, content.labels[encoder], axis) for encoder, of in f.by_encoder(gains)]
    domains = [
        Key(d, "dot", f.domain_colour(d), f.domain_marker(d)) for d in present(gains, "domain")
    ]
    return Figure(
        "transfer-gains",
        "Gain over target-only, paired by speaker",
        panels,
        [
            *domains,
            Key("filled: the interval excludes 0", "dot", theme.MUTED, "circle"),
            Key("hollow: it does not, or there is none", "dot", theme.MUTED, "circle", hollow=True),
        ],
        "UA of two-stage (or what is named) minus UA of target-only for the same held-out speaker, mean "
        f"over speakers, in percentage points; colour is the target domain. {_intervals(gains)} To "
        "read: right of the line, the score was higher; two-stage beside its placebo and beside longer "
        "training says whether that is the source's doing. Intervals are not corrected for the number "
        "of comparisons; the table's p-values are.",
        [],
    )


def layer_weights(content: Content) -> Figure:
    """Learnt weights of the layers, one panel per encoder of several layers and method."""
    rows = drawable(content.rows("layer_weights"))
    panels = []
    for (encoder, method), of in groups(rows, "encoder", "method"):
        if of["layer"].nunique() > 1:
            heading = f"{content.labels[encoder]}, {r.name('method', method)}"
            panels.append(_weight_panel(of, heading))
    return Figure(
        "layer-weights",
        "Learnt layer weights",
        panels,
        [*_weight_keys(rows), Key("equal weights", "line", dash=tuple(theme.REFERENCE_DASH))],
        "How much each layer counts in the learnt weighted sum (%, summing to 100). Colour is the "
        f"target domain. {f.fold_intervals(rows)} To read: a curve close to the dotted line has "
        "not learnt to prefer any layer.",
        [layer_weight_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def transfer_table(content: Content) -> Table:
    """UA on the target domain by regime, and the gains over target-only; one line per share of speakers."""
    scores = content.rows("transfer", metric="UA", emotion="all")
    gains = content.rows("transfer", metric="UA_gain", emotion="all", baseline="target_only")
    regimes = present(scores, "regime")
    gained = [one for one in present(gains, "regime") if one in CLAIMED]
    shares = sorted({share for share in scores["share"] if share > 0}, reverse=True)
    body: list[list[str | Cell]] = []
    for (encoder, direction, method), of in groups(scores, "encoder", "direction", "method"):
        for share in shares:
            line = of[(of["share"] == share) | (of["share"] == 0)]
            score = [interval_cell(single(select(line, regime=one))) for one in regimes]
            first = records(line)[0]
            counts = [first[key] for key in ("folds", "speakers", "trainable_parameters")]
            names = [r.name("direction", direction), r.name("method", method), r.percent(share)]
            run = {"encoder": encoder, "direction": direction, "method": method, "share": share}
            gain = [interval_cell(single(select(gains, **run, regime=g)), r.points) for g in gained]
            sizes = map(number_cell, counts)
            body.append([content.labels[encoder], *names, *score, *gain, *sizes])
    heads = [r.name("regime", one) for one in regimes]
    heads += [f"gain of {r.name('regime', one)}" for one in gained]
    heads += ["folds", "speakers", "trained parameters"]
    return Table(
        "transfer",
        "Transfer: UA on the target domain (%), and its gain over target only (points), means over held-out "
        "speakers [95 %]; share: of the target's training speakers",
        ["encoder", "direction", "method", "share (%)", *heads],
        body,
        keys=4,
        figures=len(heads),
    )


def transfer_score_table(content: Content, encoder: str) -> Table:
    """Every score of one encoder in the transfer study."""
    rows = content.rows("transfer", encoder=encoder)
    return pivot(
        f"transfer_scores_{encoder}",
        f"{content.labels[encoder]}: all scores on the target domain (%)",
        rows[rows["baseline"].isna()],
        down=["direction", "method", "regime", "share"],
        across=["metric", "emotion"],
    )


def recall_gain_table(content: Content, encoder: str) -> Table:
    """What each regime changes emotion by emotion."""
    rows = content.rows("transfer", encoder=encoder, metric="recall_gain")
    return pivot(
        f"recall_gains_{encoder}",
        f"{content.labels[encoder]}: change of each emotion's recall (points), paired by speaker",
        rows,
        down=["direction", "method", "regime", "baseline", "share"],
        across=["emotion"],
        cell=lambda row: interval_cell(row, r.points),
    )


def layer_weight_table(content: Content, encoder: str) -> Table:
    """The learnt layer weights of one encoder."""
    return pivot(
        f"layer_weights_{encoder}",
        f"{content.labels[encoder]}: learnt layer weights (%)",
        content.rows("layer_weights", encoder=encoder),
        down=["layer"],
        across=["method", "direction", "regime"],
    )


def _score_panel(rows: pd.DataFrame, heading: str, top: float) -> Panel:
    bars = [
        Group(
            r.name("method", method), [_score_bar(row) for row in records(of.sort_values("regime"))]
        )
        for (method,), of in groups(rows, "method")
    ]
    chance = single(rows) or {}
    axis = Axis(0.0, top, f.PERCENT_TICK, chance.get("chance"))
    words = f"UA (%) on the target domain, {heading}: {_all_words(rows)}"
    return bar_panel(bars, heading, words, axis=axis)


def _score_bar(row: dict[str, Any]) -> Bar:
    regime = row["regime"]
    return Bar(
        r.name("regime", regime),
        row,
        r.percent(row["mean"]),
        _words(row),
        f.domain_colour(row["domain"]),
        strength=_STRENGTHS.get(regime, 1.0),
        dash=_DASHES.get(regime, (1, 0)),
    )


def _gain_panel(rows: pd.DataFrame, heading: str, axis: Axis) -> Panel:
    bars = [
        Group(r.name("direction", direction), [_gain_bar(row) for row in records(of)])
        for (direction,), of in groups(rows.sort_values(["method", "regime"]), "direction")
    ]
    words = f"Gain over target-only in points of UA, {heading}: {_all_words(rows)}"
    return dot_panel(bars, heading, words, axis=axis)


def _gain_bar(row: dict[str, Any]) -> Bar:
    label = r.name("method", row["method"])
    label += "" if row["regime"] == "two_stage" else f", {r.name('regime', row['regime'])}"
    colour, marker = f.domain_colour(row["domain"]), f.domain_marker(row["domain"])
    hollow = not r.excludes(row, 0)
    return Bar(label, row, r.points(row["mean"]), _words(row), colour, marker, hollow)


def _weight_panel(rows: pd.DataFrame, heading: str) -> Panel:
    lines = []
    for (domain, regime), of in groups(rows, "domain", "regime"):
        names = joined(of, "direction", "regime")[0]
        notes = [f"{names}, layer {row['layer']}: {r.with_interval(row)} %" for row in records(of)]
        of = of.assign(note=notes, hollow=regime == "target_only")
        dash = tuple(theme.REGIME_DASHES.get(regime, [1, 0]))
        lines.append(Line(names, of, f.domain_colour(domain), f.domain_marker(domain), dash))
    scale = Scale(
        "weight (%)", 0.0, f.round_up(max(f.ends_of(rows, "mean", "high"))), f.PERCENT_TICK
    )
    equal = Reference("equal weights", 1 / rows["layer"].nunique())
    return line_panel(
        lines,
        heading,
        f"Learnt layer weights, {heading}: one line for each direction and regime.",
        scale=scale,
        references=[equal],
        looks=Looks(named=False),
    )


def _regime_keys(rows: pd.DataFrame) -> list[Key]:
    return [
        Key(
            f"{domain}, {r.name('regime', regime)}",
            "bar",
            f.domain_colour(domain),
            dash=_DASHES.get(regime, (1, 0)),
            strength=_STRENGTHS.get(regime, 1.0),
        )
        for (domain, regime), _ in groups(rows, "domain", "regime")
    ]


def _weight_keys(rows: pd.DataFrame) -> list[Key]:
    return [
        Key(
            f"{domain}, {r.name('regime', regime)}",
            "line",
            f.domain_colour(domain),
            f.domain_marker(domain),
            tuple(theme.REGIME_DASHES.get(regime, [1, 0])),
            hollow=regime == "target_only",
        )
        for (domain, regime), _ in groups(rows, "domain", "regime")
    ]


def _words(row: dict[str, Any]) -> str:
    show, unit = (r.points, "points") if row["metric"] == "UA_gain" else (r.percent, "%")
    names = ", ".join(r.name(column, row[column]) for column in ("direction", "method", "regime"))
    return f"{names}: {r.with_interval(row, show)} {unit}"


def _all_words(rows: pd.DataFrame) -> str:
    return "; ".join(_words(row) for row in records(rows)) + "."


def _of_most(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the largest share of the target's training speakers, and of none."""
    return rows[(rows["share"] == rows["share"].max()) | (rows["share"] == 0)]


def _intervals(rows: pd.DataFrame) -> str:
    """What the intervals are over, or why there are none."""
    if not any(map(r.has_interval, records(rows))):
        reasons = "; ".join(sorted({reason for reason in rows["reason"] if reason}))
        return f"There are no intervals: {reasons or 'none is known'}."
    return (
        "Whiskers: 95 % intervals, Student's t over held-out speakers with its standard error times "
        f"{SCORE_INFLATION} ({DIFFERENCE_INFLATION} of gains), seeds averaged within a speaker; equal "
        "speakers have none."
    )
