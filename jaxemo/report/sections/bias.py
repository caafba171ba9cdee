"""Emotion bias: the cross-domain distance of each emotion over its same-domain null, by encoder."""

from jaxemo.report import charts, similarity_tables
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Bar, Group, Reference
from jaxemo.report.figures import Figure, Panel

_ALIKE = Reference("as near as its own domain", "chance", 0.0)


def bias_figure(results: dict) -> Figure:
    """One panel an encoder: log ratios with intervals, mean over layers."""
    rows = results.get("emotion_bias") or []
    labels = r.encoder_labels(results)
    encoders = list(dict.fromkeys(row["encoder"] for row in rows))
    overall = f.known(r.select(rows, layer=None))
    panels = []
    for encoder in encoders:
        of = r.select(overall, encoder=encoder)
        if of:
            panels.append(Panel(labels[encoder], _chart(of, overall, results, labels[encoder])))
    return Figure(
        "emotion-bias",
        "Emotion bias: what crossing the domains costs each emotion",
        panels,
        [f.reference_key(_ALIKE)] if panels else [],
        "log(cross / null), mean over layers: cross is the FAD between speech and music, null the FAD "
        "within speech or within music, both between other speakers and at as many clips, so that "
        "sample size and speaker identity weigh on both alike. Whiskers: 95 % intervals, jackknife over "
        "speakers. p: the share of exchanges of emotions within speakers that spread the emotions as "
        "much. To read: an emotion left of the others is one that the encoder places nearer across the "
        "domains; without a small p the order may be chance. Ratios share one scale.",
        [similarity_tables.bias_table(results, encoder) for encoder in encoders] if panels else [],
    )


def _chart(of: list[dict], overall: list[dict], results: dict, label: str):
    encoder = of[0]["encoder"]
    tests = r.select(
        results.get("emotion_bias_tests"), test="emotions_differ", encoder=encoder, layer=None
    )
    p_value = tests[0]["p_value"] if tests else None
    emotions = r.values(of, "emotion")
    bars = [_bar(row, emotions) for emotion in emotions for row in r.select(of, emotion=emotion)]
    return charts.dot_chart(
        [Group(f"all emotions alike: p = {r.probability(p_value)}", bars)],
        limits=_limits(overall),
        formats=(lambda value: f"{value:g}".replace("-", r.MINUS), _log_ratio),
        references=[_ALIKE],
        title=f"Emotion bias, {label}",
        description="Log ratio of cross-domain to same-domain FAD, one row an emotion.",
    )


def _bar(row: dict, emotions: list[str]) -> Bar:
    note = f"{row['emotion']}: {r.with_interval(row, r.distance)}, rank {row['rank']}"
    place = f.palette_place(emotions, row["emotion"])
    return Bar(row["emotion"], f"emotion-{place}", row["mean"], row["low"], row["high"], note)


def _limits(rows: list[dict]) -> tuple[float, float]:
    ends = [row[key] for row in rows for key in ("low", "mean", "high") if row[key] is not None]
    low, high = min(*ends, 0.0), max(*ends, 0.0)
    return -f.round_up(-low), f.round_up(high) or 1.0


def _log_ratio(value: r.Number) -> str:
    return f"{value:.2f}".replace("-", r.MINUS)
