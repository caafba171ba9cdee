"""What study 3 says in sentences: emotion bias, encoders that disagree, distances that disagree."""

import math

from jaxemo.report import rows as r
from jaxemo.report.agreement import Agreement, agreements

_LEVEL = 0.05


def sentences(results: dict) -> list[tuple[str, str]]:
    """What each sentence is about, and what it says; none where the rows are not there."""
    labels = r.encoder_labels(results)
    said = []
    for encoder in dict.fromkeys(row["encoder"] for row in results.get("emotion_bias") or []):
        says = _bias(results, encoder)
        said += [(f"Emotion bias, {labels[encoder]}", says)] if says else []
    pairs = r.select(results.get("emotion_bias_tests"), test="encoders_disagree")
    said += [("Encoders", _encoders(pairs, labels))] if pairs else []
    found = agreements(results.get("similarity") or [])
    return said + ([("FAD at infinite n against KAD", _orders(found, labels))] if found else [])


def _bias(results: dict, encoder: str) -> str:
    of = r.select(results["emotion_bias"], encoder=encoder, layer=None)
    known = sorted((row for row in of if row["mean"] is not None), key=lambda row: row["mean"])
    tests = r.select(results.get("emotion_bias_tests"), test="emotions_differ", encoder=encoder)
    p_value = next((row["p_value"] for row in tests if row["layer"] is None), None)
    if len(known) < 2 or p_value is None:
        return ""
    order = (
        f"crossing the domains costs {known[0]['emotion']} {_times(known[0])} its same-domain "
        f"distance and {known[-1]['emotion']} {_times(known[-1])}"
    )
    if p_value <= _LEVEL:
        return f"the emotions differ (p = {r.probability(p_value)}): {order}."
    return f"no difference between emotions is shown (p = {r.probability(p_value)}); {order}."


def _times(row: dict) -> str:
    return f"{math.exp(row['mean']):.2f} times"


def _encoders(pairs: list[dict], labels: dict[str, str]) -> str:
    known = [row for row in pairs if row["p_value"] is not None]
    clear = [row for row in known if row["p_value"] <= _LEVEL]
    says = f"{len(clear)} of {len(known)} pairs differ in which emotions they place near"
    named = [
        f"{labels[row['encoder']]} and {labels[row['other_encoder']]} "
        f"(p = {r.probability(row['p_value'])}, tau {_signed(row['tau'])})"
        for row in clear
    ]
    says += f": {'; '.join(named)}" if named else ""
    return f"{says}. The tests are not corrected for their number."


def _orders(found: list[Agreement], labels: dict[str, str]) -> str:
    """Where the two distances order the emotions differently."""
    differing = [one for one in found if one.swapped]
    if not differing:
        return f"FAD at infinite n and KAD order the emotions alike at all {len(found)} layers."
    worst = min(found, key=lambda one: one.tau)
    says = (
        f"they order the emotions differently at {len(differing)} of {len(found)} layers (lowest "
        f"Kendall's tau {_signed(worst.tau)}, {labels[worst.encoder]}, layer {worst.layer})"
    )
    clear = [(one, pair) for one in found for pair in one.clear]
    if not clear:
        return f"{says}; no pair of emotions swaps beyond its error."
    named = [f"{pair} ({labels[one.encoder]}, layer {one.layer})" for one, pair in clear[:6]]
    more = f" and {len(clear) - 6} more" if len(clear) > 6 else ""
    return f"{says}; beyond their error by FAD but reversed by KAD: {'; '.join(named)}{more}."


def _signed(value: r.Number) -> str:
    return f"{value:+.2f}".replace("-", r.MINUS)
