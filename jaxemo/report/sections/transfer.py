"""The transfer section: scores with and without the source domain, paired gains, layer weights."""

from functools import partial

from jaxemo.report import charts, tables
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Bar, Group, Reference, Series
from jaxemo.report.figures import Figure, Key, Panel, Section
from jaxemo.report.svg import linear_axis


def transfer_section(results: dict) -> Section:
    """Bars of UA by method and regime, gains paired by fold, and the learnt layer weights."""
    return Section(
        "transfer",
        "Transfer",
        "Does training on music first help with speech, and the other way round?",
        f.with_rows([tables.transfer_table(results)]),
        f.with_panels([_scores(results), _gains(results), _layer_weights(results)]),
        [],
    )


def _scores(results: dict) -> Figure:
    scores = f.known(r.select(results.get("transfer"), metric="UA", emotion="all"))
    labels = r.encoder_labels(results)
    top = max((row["mean"] if row["high"] is None else row["high"] for row in scores), default=1.0)
    panels = []
    for encoder, direction in dict.fromkeys((row["encoder"], row["direction"]) for row in scores):
        of = r.select(scores, encoder=encoder, direction=direction)
        title = f"{labels[encoder]}, {_arrow(direction)}"
        chart = charts.bar_chart(
            [_method_group(of, method) for method in r.values(of, "method")],
            limits=(0.0, min(1.0, f.round_up(top))),
            formats=(f.percent_tick, r.percent),
            references=f.chance_levels(of),
            title=f"UA (%) on the target domain, {title}",
            description=_all_words(of),
        )
        panels.append(Panel(title, chart))
    return Figure(
        "transfer-scores",
        "Score on the target domain, with and without the source domain",
        panels,
        [*_regime_keys(scores), *map(f.reference_key, f.chance_levels(scores))],
        "Unweighted accuracy (UA, %) on held-out speakers of the target domain, which gives the "
        "bars their colour. Target only: trained on the target domain alone. Two-stage: trained "
        "on the source domain first, then on the target. "
        f"{f.fold_intervals(scores)} To read: the paired gains below tell "
        "regimes apart; overlapping whiskers do not.",
        [tables.transfer_score_table(results, encoder) for encoder in r.values(scores, "encoder")],
    )


def _method_group(rows: list[dict], method: str) -> Group:
    of = r.select(rows, method=method)
    ordered = [row for regime in r.values(of, "regime") for row in r.select(of, regime=regime)]
    return Group(
        _method(method), [_bar(row, _regime(row["regime"]), _style(row)) for row in ordered]
    )


def _gains(results: dict) -> Figure:
    gains = f.known(r.select(results.get("transfer"), metric="UA_gain", emotion="all"))
    labels = r.encoder_labels(results)
    ends = [row[c] for row in gains for c in ("low", "mean", "high") if row[c] is not None]
    limits = (-f.round_up(-min([*ends, -0.01])), f.round_up(max([*ends, 0.01])))
    panels = []
    for encoder in r.values(gains, "encoder"):
        of = r.select(gains, encoder=encoder)
        chart = charts.dot_chart(
            [_gain_group(of, direction) for direction in r.values(of, "direction")],
            limits=limits,
            formats=(_points_tick, r.points),
            references=[Reference("no gain", "zero", 0.0)],
            title=f"Gain over target-only in points of UA, {labels[encoder]}",
            description=_all_words(of),
        )
        panels.append(Panel(labels[encoder], chart))
    return Figure(
        "transfer-gains",
        "Gain over target-only, paired by fold",
        panels,
        [
            *f.domain_keys(gains),
            Key(charts.swatch("either", "circle"), "filled: the interval excludes 0"),
            Key(charts.swatch("either hollow", "circle"), "hollow: it does not, or there is none"),
        ],
        "UA of two-stage (or joint, where named) minus UA of target-only in the same fold, mean "
        "over folds, in percentage points; colour is the target domain. "
        f"{f.fold_intervals(gains)} To read: right of the line, the source domain helped. "
        "Intervals are not corrected for the number of comparisons.",
        [],
    )


def _gain_group(rows: list[dict], direction: str) -> Group:
    bars = []
    for row in r.select(rows, direction=direction):
        name = _method(row["method"])
        name += "" if row["regime"] == "two_stage" else f", {_regime(row['regime'])}"
        bars.append(_bar(row, name, row["domain"] + ("" if r.excludes(row, 0) else " hollow")))
    return Group(_arrow(direction), bars)


def _layer_weights(results: dict) -> Figure:
    several = {row["encoder"] for row in results.get("layer_weights") or [] if row["layer"] > 0}
    rows = [row for row in f.known(results.get("layer_weights") or []) if row["encoder"] in several]
    labels = r.encoder_labels(results)
    panels = []
    for encoder, method in dict.fromkeys((row["encoder"], row["method"]) for row in rows):
        of = r.select(rows, encoder=encoder, method=method)
        top = max(row["mean"] if row["high"] is None else row["high"] for row in of)
        title = f"{labels[encoder]}, {_method(method)}"
        chart = charts.line_chart(
            _weight_series(of),
            y_axis=partial(linear_axis, 0.0, f.round_up(top), label=f.percent_tick),
            y_name="weight (%)",
            references=[Reference("equal weights", "chance", 1 / len(r.values(of, "layer")))],
            title=f"Learnt layer weights, {title}",
            description="One line for each direction and regime; the figures are in the tables.",
        )
        panels.append(Panel(title, chart))
    return Figure(
        "layer-weights",
        "Learnt layer weights",
        panels,
        [*_weight_keys(rows), Key(charts.swatch("reference chance", "none"), "equal weights")],
        "How much each layer counts in the learnt weighted sum (%, summing to 100). Colour is "
        f"the target domain. {f.fold_intervals(rows)} To read: a curve close "
        "to the dotted line has not learnt to prefer any layer.",
        [tables.layer_weight_table(results, encoder) for encoder in r.values(rows, "encoder")],
    )


def _weight_series(rows: list[dict]) -> list[Series]:
    made = []
    for direction, regime in dict.fromkeys((row["direction"], row["regime"]) for row in rows):
        of = r.select(rows, direction=direction, regime=regime)
        domain = _target(direction)
        name = f"{_arrow(direction)}, {_regime(regime)}"
        points = [
            f.point(row, f"{name}, layer {row['layer']}: {r.with_interval(row)} %", _hollow(regime))
            for row in sorted(of, key=lambda row: row["layer"])
        ]
        shape = f.DOMAIN_MARKERS.get(domain, "diamond")
        made.append(Series(name, f"{domain} {regime.replace('_', '-')}", shape, points))
    return made


def _bar(row: dict, label: str, style: str) -> Bar:
    return Bar(label, style, row["mean"], row["low"], row["high"], _words(row))


def _regime_keys(rows: list[dict]) -> list[Key]:
    present = sorted({(row["domain"], row["regime"]) for row in rows}, reverse=True)
    return [
        Key(charts.swatch(f"{d} {g.replace('_', '-')}", "bar"), f"{d}, {_regime(g)}")
        for d in r.values(rows, "domain")
        for g in r.values(rows, "regime")
        if (d, g) in present
    ]


def _weight_keys(rows: list[dict]) -> list[Key]:
    made = []
    for series in _weight_series(rows):
        style = f"{series.style} {series.points[0].style}"
        made.append(Key(charts.swatch(style, series.marker), series.label))
    return made


def _style(row: dict) -> str:
    return f"{row['domain']} {row['regime'].replace('_', '-')}"


def _hollow(regime: str) -> str:
    return "hollow" if regime == "target_only" else ""


def _target(direction: str) -> str:
    return direction.rpartition(">")[2]


def _arrow(direction: str) -> str:
    return r.DIRECTIONS.get(direction, direction)


def _method(method: str) -> str:
    return r.METHODS.get(method, method)


def _regime(regime: str) -> str:
    return r.REGIMES.get(regime, regime)


def _words(row: dict) -> str:
    show, unit = (r.points, "points") if row["metric"] == "UA_gain" else (r.percent, "%")
    names = (_arrow(row["direction"]), _method(row["method"]), _regime(row["regime"]))
    return f"{', '.join(names)}: {r.with_interval(row, show)} {unit}"


def _all_words(rows: list[dict]) -> str:
    return "; ".join(_words(row) for row in rows) + "."


def _points_tick(value: r.Number) -> str:
    return "0" if abs(value) < 1e-9 else r.points(value).removesuffix(".0")
