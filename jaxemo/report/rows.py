"""How result rows are checked, chosen, ordered, named and printed.

A row is a flat dict; `None` stands for what is not known (one fold gives no interval). Scores are
fractions in [0, 1] and print as percent, gains print as percentage points, distances keep three
digits.
"""

import math
from typing import Any, NamedTuple

Number = int | float

COLUMNS = {
    "layers": "encoder origin domain layer emotion metric mean low high n folds seeds chance",
    "confusions": "study encoder domain layer method direction regime emotion predicted count",
    "transfer": "encoder origin method direction regime domain emotion metric mean low high n "
    "folds seeds chance trainable_parameters",
    "layer_weights": "encoder method direction regime layer mean low high",
    "similarity": "encoder origin layer comparison emotion other_emotion metric mean low high n_a "
    "n_b clips_a clips_b d small_sample",
    "emotion_bias": "encoder origin layer emotion mean low high rank speakers",
    "emotion_bias_tests": "test encoder other_encoder layer p_value tau speakers",
    "corpus": "domain emotion clips speakers seconds",
    "folds": "fold part speakers clips_speech clips_music",
    "empty_cells": "fold part domain emotion",
    "left_out": "path reason",
}
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
DISTANCES = {
    "FAD": "FAD",
    "FAD_equal_n": "FAD, equal n",
    "FAD_infinity": "FAD, infinite n",
    "FAD_clip": "FAD of clips",
    "KAD": "KAD",
}
COMPARISONS = {
    "cross_domain": "speech against music",
    "null_speech": "null, speech",
    "null_music": "null, music",
}
METRICS = {"UA": "UA", "WA": "WA", "macro_F1": "macro F1", "recall": "recall"}
METHODS = {
    "weighted_sum": "weighted sum",
    "lora": "LoRA",
    "adapter": "adapter",
    "full": "full fine-tuning",
}
REGIMES = {"target_only": "target only", "two_stage": "two-stage", "joint": "joint"}
DIRECTIONS = {"music->speech": "music → speech", "speech->music": "speech → music"}
PARTS = {"train": "train", "dev": "dev", "test": "test"}
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"


class Best(NamedTuple):
    """The highest layer of one encoder in one domain, and the layers inside its interval."""

    row: dict
    last_layer: int
    layers_within: list[int]


class Placement(NamedTuple):
    """Where one emotion's cross-domain distance stands among the emotions of the same encoder."""

    emotion: str
    relative: float
    layers_nearest: int
    layers_farthest: int
    layers: int


def check(results: dict) -> None:
    """Raises one ValueError that names every column that is missing or not finite."""
    problems = []
    for section, columns in COLUMNS.items():
        rows = results.get(section) or []
        missing = {c for row in rows for c in columns.split() if c not in row}
        wild = {
            c
            for row in rows
            for c, v in row.items()
            if isinstance(v, float) and not math.isfinite(v)
        }
        problems += [f"{section} lacks {c}" for c in sorted(missing)]
        problems += [f"{section} has NaN or infinity in {c}" for c in sorted(wild)]
    if problems:
        raise ValueError(
            f"The report cannot be drawn: {'; '.join(problems)}. Every row needs every column, "
            "with None where a value is not known."
        )


def select(rows: list[dict] | None, **wanted: Any) -> list[dict]:
    """The rows whose columns equal every wanted value."""
    return [r for r in rows or [] if all(r[column] == value for column, value in wanted.items())]


def values(rows: list[dict], column: str) -> list:
    """The distinct values of a column, in its fixed order if it has one, else as they come."""
    order = {
        "emotion": EMOTIONS,
        "other_emotion": EMOTIONS,
        "predicted": EMOTIONS,
        "domain": ("speech", "music"),
        "metric": tuple(METRICS),
        "method": tuple(METHODS),
        "regime": tuple(REGIMES),
        "direction": tuple(DIRECTIONS),
        "part": tuple(PARTS),
    }.get(column, ())
    distinct = list(dict.fromkeys(row[column] for row in rows))
    if column == "layer":
        return sorted(distinct)
    return sorted(distinct, key=lambda v: order.index(v) if v in order else len(order))


def origins(results: dict) -> dict[str, str | None]:
    """The encoders of the results in order of appearance, each with its origin."""
    described = (results.get("provenance") or {}).get("encoders") or []
    found = {e["name"]: e.get("origin") for e in described if e.get("name")}
    for section in ("layers", "transfer", "similarity", "confusions", "layer_weights"):
        for row in results.get(section) or []:
            found[row["encoder"]] = row.get("origin") or found.get(row["encoder"])
    return found


def encoder_labels(results: dict) -> dict[str, str]:
    """What each encoder is called everywhere; random weights are always called untrained."""
    labels = {}
    for name, origin in origins(results).items():
        marked = origin == "untrained" and "untrained" not in name.lower()
        labels[name] = f"{name} (untrained)" if marked else name
    return labels


def best_layer(rows: list[dict]) -> Best | None:
    """The layer with the highest mean among rows of one encoder, domain and metric.

    `layers_within` are the other layers whose mean is at or above the best layer's lower bound.
    """
    known = [row for row in rows if row["mean"] is not None]
    if not known:
        return None
    best = max(known, key=lambda row: (row["mean"], -row["layer"]))
    last = max(row["layer"] for row in rows)
    if best["low"] is None:
        return Best(best, last, [])
    within = [r["layer"] for r in known if r is not best and r["mean"] >= best["low"]]
    return Best(best, last, sorted(within))


def best_layers(results: dict) -> list[Best]:
    """The best layer by UA for every encoder and domain."""
    rows = select(results.get("layers"), metric="UA", emotion="all")
    found = [
        best_layer(select(rows, encoder=encoder, domain=domain))
        for encoder in values(rows, "encoder")
        for domain in values(rows, "domain")
    ]
    return [best for best in found if best is not None]


def emotion_placements(rows: list[dict]) -> list[Placement]:
    """The emotions of one encoder's cross-domain rows, nearest first.

    relative(e) = mean over layers of FAD(e, layer) / mean over emotions of FAD(., layer).

    Only layers where every emotion has a figure count: all emotions stand on the same layers.
    """
    cross = select(rows, comparison="cross_domain", metric="FAD")
    emotions = values(cross, "emotion")
    shares: dict[str, list[float]] = {emotion: [] for emotion in emotions}
    nearest = dict.fromkeys(emotions, 0)
    farthest = dict.fromkeys(emotions, 0)
    for layer in values(cross, "layer"):
        at = {
            r["emotion"]: r["mean"] for r in cross if r["layer"] == layer and r["mean"] is not None
        }
        average = sum(at.values()) / len(at) if at else 0.0
        if len(at) < max(2, len(emotions)) or average <= 0:
            continue
        for emotion, distance in at.items():
            shares[emotion].append(distance / average)
        nearest[min(at, key=at.__getitem__)] += 1
        farthest[max(at, key=at.__getitem__)] += 1
    placements = [
        Placement(e, sum(s) / len(s), nearest[e], farthest[e], len(s))
        for e, s in shares.items()
        if s
    ]
    return sorted(placements, key=lambda placement: placement.relative)


def excludes(row: dict, value: Number) -> bool:
    """Whether a row has an interval and the value lies outside it."""
    return row["low"] is not None and not row["low"] <= value <= row["high"]


def percent(value: Number | None) -> str:
    """A fraction as percent with one decimal, without the sign."""
    return UNKNOWN if value is None else f"{100 * value:.1f}"


def points(value: Number | None) -> str:
    """A difference of fractions as signed percentage points, with a true minus."""
    return UNKNOWN if value is None else f"{100 * value:+.1f}".replace("-", MINUS)


def distance(value: Number | None) -> str:
    """Three significant digits without an exponent between 0.001 and 100 000."""
    if value is None:
        return UNKNOWN
    if value == 0:
        return "0"
    if value < 0:
        return MINUS + distance(-value)
    magnitude = int(f"{value:.2e}".partition("e")[2])  # of the rounded value: 9.999 is 10.0
    if not -4 < magnitude < 5:
        return f"{value:.2e}"
    return f"{value:.{max(0, 2 - magnitude)}f}"


def probability(value: Number | None) -> str:
    """A p-value with two digits, never 0."""
    if value is None:
        return UNKNOWN
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def count(value: Number | None) -> str:
    """A whole number with thin groups of three."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def duration(seconds: Number | None) -> str:
    """Seconds as `12.3 s`, `4.5 min` or `2.1 h`."""
    if seconds is None:
        return UNKNOWN
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3600:.1f} h"


def with_interval(row: dict | None, show: Any = percent) -> str:
    """`54.2 [50.1, 58.3]`, or the mean alone where there is no interval."""
    if row is None:
        return UNKNOWN
    if row["mean"] is None or row["low"] is None or row["high"] is None:
        return show(row["mean"])
    return f"{show(row['mean'])} [{show(row['low'])}, {show(row['high'])}]"


def visible(text: Any) -> str:
    """The text with control, surrogate and direction-changing characters as escapes."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
