"""What the columns and values of result rows are called, their order, and how figures are printed.

Scores are fractions in [0, 1] and print as percent, gains print as percentage points, distances keep
three digits. An interval of no width is no interval: the mean stands alone with the reason.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeGuard

import pandas as pd

Number = int | float

EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
DISTANCES = {
    "FAD": "FAD",
    "FAD_equal_n": "FAD, equal n",
    "FAD_infinite_speakers": "FAD, extrapolated over speakers",
    "FAD_clip": "FAD of clips",
    "KAD": "KAD",
}
COMPARISONS = {
    "cross_domain": "speech against music",
    "null_speech": "null, speech",
    "null_music": "null, music",
}
METRICS = {
    "UA": "UA",
    "WA": "WA",
    "macro_F1": "macro F1",
    "ECE": "calibration error",
    "ECE_uncalibrated": "calibration error before the temperature",
    "recall": "recall",
    "UA_gain": "UA gain",
    "recall_gain": "recall gain",
    "UA_difference": "UA difference",
    "selectivity": "selectivity",
}
CONTROLS = {
    "none": "nothing",
    "matched": "matched pairs",
    "matched_female": "matched pairs, women",
    "matched_male": "matched pairs, men",
    "cues_removed": "cues regressed out",
}
METHODS = {
    "weighted_sum": "weighted sum",
    "bitfit": "BitFit",
    "ia3": "(IA)³",
    "prefix_tuning": "prefix tuning",
    "lora": "LoRA",
    "dora": "DoRA",
    "pfeiffer_adapter": "Pfeiffer adapter",
    "parallel_adapter": "parallel adapter",
    "adapter": "adapter",
    "combined": "combined",
    "top_layers": "top layers",
    "full": "full fine-tuning",
}
REGIMES = {
    "target_only": "target only",
    "target_only_longer": "target only, longer",
    "source_only": "source only",
    "joint": "joint",
    "placebo": "placebo",
    "two_stage": "two-stage",
}
PROBES = {"linear": "linear", "weighted_sum": "weighted sum", "mlp": "MLP"}
DIRECTIONS = {"music->speech": "music → speech", "speech->music": "speech → music"}
# Column -> its values in order; others follow as they come.
ORDERS: dict[str, tuple[str, ...]] = {
    "emotion": (*EMOTIONS, "all"),
    "other_emotion": EMOTIONS,
    "predicted": EMOTIONS,
    "domain": ("speech", "music"),
    "metric": (*METRICS, *DISTANCES),
    "comparison": tuple(COMPARISONS),
    "control": tuple(CONTROLS),
    "method": tuple(METHODS),
    "regime": tuple(REGIMES),
    "baseline": tuple(REGIMES),
    "direction": tuple(DIRECTIONS),
    "probe": tuple(PROBES),
    "part": ("train", "dev", "test"),
}
_NAMES = {
    "metric": METRICS | DISTANCES,
    "comparison": COMPARISONS,
    "control": CONTROLS,
    "method": METHODS,
    "probe": PROBES,
    "regime": REGIMES | {"shuffled_source": "first stage of the placebo"},
    "baseline": REGIMES,
    "direction": DIRECTIONS,
}
MINUS = "\N{MINUS SIGN}"
UNKNOWN = "\N{EN DASH}"
NO_SPREAD = "no spread"
_ROUNDING = 1e-9  # relative width below which an interval is none


def name(column: str, value: Any) -> str:
    """What a value of a column is called in print."""
    return str(_NAMES.get(column, {}).get(value, value))


def known(value: Any) -> TypeGuard[Number]:
    """Whether there is a value: neither None nor pandas' NaN or NA."""
    return not pd.isna(value)


def has_interval(row: Mapping[str, Any]) -> bool:
    """Whether a row has an interval of some width; equal figures may differ by their rounding."""
    low, high = row["low"], row["high"]
    return known(low) and known(high) and high - low > _ROUNDING * max(abs(low), abs(high))


def excludes(row: Mapping[str, Any], value: Number) -> bool:
    """Whether a row has an interval and the value lies outside it."""
    return has_interval(row) and not row["low"] <= value <= row["high"]


def percent(value: Number | None) -> str:
    """A fraction as percent with one decimal, without the sign."""
    return f"{100 * value:.1f}" if known(value) else UNKNOWN


def whole_percent(value: Number | None) -> str:
    """A fraction as whole percent."""
    return f"{100 * value:.0f}" if known(value) else UNKNOWN


def points(value: Number | None) -> str:
    """A difference of fractions as signed percentage points, with a true minus."""
    return f"{100 * value:+z.1f}".replace("-", MINUS) if known(value) else UNKNOWN


def signed(value: Number | None) -> str:
    """Two decimals with their sign."""
    return f"{value:+z.2f}".replace("-", MINUS) if known(value) else UNKNOWN


def distance(value: Number | None) -> str:
    """Three significant digits without an exponent between 0.001 and 100 000."""
    if value is None or not known(value):
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
    if value is None or not known(value):
        return UNKNOWN
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1g}"


def count(value: Number | None) -> str:
    """A whole number with groups of three."""
    return f"{value:,.0f}" if known(value) else UNKNOWN


def duration(seconds: Number | None) -> str:
    """Seconds as `12.3 s`, `4.5 min` or `2.1 h`."""
    if seconds is None or not known(seconds):
        return UNKNOWN
    for limit, size, unit in ((100, 1, "s"), (6000, 60, "min")):
        if seconds < limit:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds / 3600:.1f} h"


def with_interval(
    row: Mapping[str, Any] | None, show: Callable[[Number | None], str] = percent
) -> str:
    """`54.2 [50.1, 58.3]`; the mean alone without an interval, and with the reason if it has no width."""
    if row is None:
        return UNKNOWN
    mean = show(row["mean"])
    if has_interval(row):
        return f"{mean} [{show(row['low'])}, {show(row['high'])}]"
    flat = known(row["mean"]) and known(row["low"]) and known(row["high"])
    return f"{mean} ({NO_SPREAD})" if flat else mean
