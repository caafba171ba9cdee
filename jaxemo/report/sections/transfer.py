"""The transfer section: scores with and without the source domain, paired gains, layer weights."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Line, Looks, Panel, Reference, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records, select, single
from jaxemo.report.figures import Figure, Key, Section, Sentence
from jaxemo.report.pivot import joined, pivot
from jaxemo.report.row_charts import Axis, Bar, Group, bar_panel, dot_panel
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

# Fewer pairs than this cannot reach p = .05 in a sign-flip test (2 / 2^n), whatever they show.
MIN_FOLDS = 6
_STRENGTHS = {"target_only": 0.22, "joint": 0.55}
_DASHES = {"joint": (3, 2)}


def transfer_section(content: Content) -> Section:
    """Bars of UA by method and regime, gains paired by fold, and the learnt layer weights."""
    return Section(
        "transfer",
        "Transfer",
        "Does training on music first help with speech, and the other way round?",
        f.with_rows([transfer_table(content)]),
        f.with_panels([transfer_gains(content), transfer_scores(content)]),
        f.with_panels([layer_weights(content)]),
        _sentences(content),
    )


def transfer_scores(content: Content) -> Figure:
    """UA on the target domain by method and regime, one panel per encoder and direction."""
    scores = drawable(content.rows("transfer", metric="UA", emotion="all"))
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
        f"on the source domain first, then on the target. {f.fold_intervals(scores)} To read: the "
        "paired gains tell regimes apart; overlapping whiskers do not.",
        [transfer_score_table(content, e) for e in present(scores, "encoder")],
    )


def transfer_gains(content: Content) -> Figure:
    """UA minus UA of target-only in the same fold, one panel per encoder."""
    gains = drawable(content.rows("transfer", metric="UA_gain", emotion="all"))
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
        "Gain over target-only, paired by fold",
        panels,
        [
            *domains,
            Key("filled: the interval excludes 0", "dot", theme.MUTED, "circle"),
            Key("hollow: it does not, or there is none", "dot", theme.MUTED, "circle", hollow=True),
        ],
        "UA of two-stage (or joint, where named) minus UA of target-only in the same fold, mean "
        "over folds, in percentage points; colour is the target domain. "
        f"{f.fold_intervals(gains)} Equal gains in all folds have no measured spread, and so no "
        "whisker. To read: right of the line, the source domain came with a higher score. "
        "Intervals are not corrected for the number of comparisons.",
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
    """UA on the target domain by regime, and the gains over target-only paired by fold."""
    rows = content.rows("transfer", emotion="all")
    scores, gains = select(rows, metric="UA"), select(rows, metric="UA_gain")
    regimes, gained = present(scores, "regime"), present(gains, "regime")
    body: list[list[str | Cell]] = []
    for (encoder, direction, method), of in groups(scores, "encoder", "direction", "method"):
        run = {"encoder": encoder, "direction": direction, "method": method}
        score = [interval_cell(single(select(of, regime=one))) for one in regimes]
        gain = [interval_cell(single(select(gains, **run, regime=one)), r.points) for one in gained]
        first = records(of)[0]
        size = [number_cell(first["folds"]), number_cell(first["trainable_parameters"])]
        names = [r.name("direction", direction), r.name("method", method)]
        body.append([content.labels[encoder], *names, *score, *gain, *size])
    heads = [r.name("regime", one) for one in regimes]
    heads += [f"gain of {r.name('regime', one)}" for one in gained]
    return Table(
        "transfer",
        "Transfer: UA on the target domain (%), and its gain over target-only (points), [95 %]",
        ["encoder", "direction", "method", *heads, "folds", "trained parameters"],
        body,
        keys=3,
        figures=len(heads) + 2,
    )


def transfer_score_table(content: Content, encoder: str) -> Table:
    """Every score of one encoder in the transfer study."""
    rows = content.rows("transfer", encoder=encoder)
    return pivot(
        f"transfer_scores_{encoder}",
        f"{content.labels[encoder]}: all scores on the target domain (%)",
        rows[rows["metric"] != "UA_gain"],
        down=["direction", "method", "regime"],
        across=["metric", "emotion"],
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


def _sentences(content: Content) -> list[Sentence]:
    gains = records(drawable(content.rows("transfer", metric="UA_gain", emotion="all")))
    if not gains:
        return []
    return [Sentence("Largest gain", _largest_gain(content, gains)), _comparisons(gains)]


def _comparisons(gains: list[dict[str, Any]]) -> Sentence:
    """How many intervals exclude 0, where there are folds enough to say so."""
    about = f"All {_many(len(gains), 'comparison')}"
    judged = [row for row in gains if r.has_interval(row) and row["folds"] >= MIN_FOLDS]
    flat = sum(r.known(row["low"]) and not r.has_interval(row) for row in gains)
    says = []
    if judged:
        up = sum(r.excludes(row, 0) and row["mean"] > 0 for row in judged)
        down = sum(r.excludes(row, 0) and row["mean"] < 0 for row in judged)
        says.append(
            f"of {len(judged)} intervals, wholly above 0: {up}; wholly below: {down}. They are not "
            f"corrected for their number: {0.05 * len(judged):.1f} of them exclude 0 by chance."
        )
    else:
        folds = max(row["folds"] for row in gains)
        says.append(
            f"no verdict: gains are paired by fold, and {_many(folds, 'fold')} cannot tell one from "
            f"chance at 5 % ({MIN_FOLDS} are needed)."
        )
    if flat:
        says.append(f"{flat} are equal in all folds: no spread is measured, and none is claimed.")
    return Sentence(about, " ".join(says))


def _largest_gain(content: Content, gains: list[dict[str, Any]]) -> str:
    top = max(gains, key=lambda row: row["mean"])
    names = [content.labels[top["encoder"]]]
    names += [r.name(column, top[column]) for column in ("method", "direction", "regime")]
    figure = f"{r.with_interval(top, r.points)} points of UA ({', '.join(names)})"
    if top["mean"] <= 0:
        return f"none; the highest figure is {figure}."
    if not r.has_interval(top):
        return f"{figure}; without an interval it shows nothing by itself."
    if not r.excludes(top, 0):
        return f"{figure}; its interval includes 0, so this run does not show a gain."
    picked = f"picked as the largest of {len(gains)}, uncorrected"
    return f"{figure}; its interval excludes 0, {picked}."


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
