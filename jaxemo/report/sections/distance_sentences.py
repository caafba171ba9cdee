"""What study 3 says in sentences: only what an interval or a corrected test carries."""

from typing import Any

from jaxemo.report import rows as r
from jaxemo.report.agreement import Agreement, agreements
from jaxemo.report.contents import Content, records, single
from jaxemo.report.figures import Sentence
from jaxemo.report.sections import shift
from jaxemo.report.sections.distance_tables import SMALL, small_cells
from jaxemo.report.sections.shift_tables import LEVEL, End, corrected_tests, ends_of_order

_MOST_PAIRS = 6
_MEASURES = {
    "shift": "how far music of an emotion lies from speech of it",
    "shape": "how differently clips of an emotion spread in speech and music",
}


def sentences(content: Content) -> list[Sentence]:
    """Shifts, shared emotion, encoders that differ, shapes, and distances that disagree, in this order."""
    tests = corrected_tests(content)
    made = [*_emotions(content, tests, "shift"), *_shared(content, tests)]
    made += _encoders(content, tests)
    made += _emotions(content, tests, "shape")
    rows = content.rows("emotion_shifts")
    if len(rows) and not rows["paired"].all():
        made.append(Sentence("Other speakers", shift.UNPAIRED))
    found = agreements(content.rows("similarity"))
    if found:
        made.append(Sentence("Extrapolated FAD against KAD", _orders(found, content.labels)))
    small, cells = small_cells(content)
    if small:
        says = (
            f"{small} of {cells} cells rest on fewer than 2 d frames, where FAD is biased upwards; "
            f"they are marked {SMALL}."
        )
        made.append(Sentence("Small samples", says))
    return made


def _emotions(content: Content, tests: list[dict[str, Any]], measure: str) -> list[Sentence]:
    """Whether each encoder's emotions differ, and the ends of their order as far as they are told."""
    made = []
    for row in tests:
        if (row["test"], row["measure"], row["control"]) != ("emotions_differ", measure, "none"):
            continue
        about = f"Emotion {measure}, {content.labels[row['encoder']]}"
        found = ends_of_order(content, row["encoder"], measure)
        held = [
            one
            for one in tests
            if one["encoder"] == row["encoder"]
            and one["test"] == "emotions_differ"
            and (one["measure"] == measure and one["control"] != "none")
        ]
        made.append(Sentence(about, _difference(row, found, _MEASURES[measure]) + _held(row, held)))
    return made


def _difference(row: dict[str, Any], ends: tuple[End, End] | None, what: str) -> str:
    if row["p_holm"] > LEVEL or ends is None:
        return f"no difference between emotions is shown in {what} ({_p_words(row)})."
    said = [
        f"{end.row['emotion']} {name}, {r.with_interval(end.row, r.distance)}, told from "
        f"{end.told} of {end.others} others"
        for name, end in zip(("least", "most"), ends, strict=True)
        if end.told
    ]
    which = "; ".join(said) or "no pair of them can be told apart after Holm's correction"
    return f"emotions differ in {what} ({_p_words(row)}): {which}."


def _held(row: dict[str, Any], held: list[dict[str, Any]]) -> str:
    """What of a difference that was found remains with something held still."""
    if row["p_holm"] > LEVEL or not held:
        return ""
    said = []
    for one in held:
        found = "they still differ" if one["p_holm"] <= LEVEL else "no difference is shown"
        said.append(f"{r.name('control', one['control'])}: {found} ({_p_words(one)})")
    return f" With {'; with '.join(said)}."


def _shared(content: Content, tests: list[dict[str, Any]]) -> list[Sentence]:
    """Whether music of an emotion lies nearer to speech of it than to that of others."""
    made = []
    for row in tests:
        if row["test"] != "diagonal_nearer":
            continue
        wanted = {"measure": "advantage", "emotion": "all", "layer": None}
        found = single(content.rows("emotion_shifts", encoder=row["encoder"], **wanted))
        if found is None:
            continue
        figure = f"{r.with_interval(found, r.distance)} nearer; {_p_words(row)}"
        says = f"no sign that music of an emotion lies nearer to speech of the same ({figure})."
        if row["p_holm"] <= LEVEL and r.has_interval(found) and found["low"] > 0:
            says = f"music of an emotion lies nearer to speech of it than to that of others ({figure})."
        made.append(Sentence(f"Shared emotion, {content.labels[row['encoder']]}", says))
    return made


def _p_words(row: dict[str, Any]) -> str:
    words = f"p = {r.probability(row['p_value'])}"
    if row["p_holm"] <= row["p_value"]:
        return words
    return f"{words}, {r.probability(row['p_holm'])} after Holm's correction"


def _encoders(content: Content, tests: list[dict[str, Any]]) -> list[Sentence]:
    pairs = [row for row in tests if row["test"] == "encoders_differ"]
    if not pairs:
        return []
    clear = [row for row in pairs if row["p_holm"] <= LEVEL]
    named = [
        f"{content.labels[row['encoder']]} and {content.labels[row['other_encoder']]} "
        f"({_p_words(row)}, {_reversals(content, row)})"
        for row in clear[:_MOST_PAIRS]
    ]
    says = (
        f"{len(clear)} of {len(pairs)} pairs differ in which emotions shift more than their mean "
        "after Holm's correction"
    )
    says += f": {'; '.join(named)}" if named else ""
    more = " and more" if len(clear) > _MOST_PAIRS else ""
    return [Sentence("Encoders", f"{says}{more}.")]


def _reversals(content: Content, row: dict[str, Any]) -> str:
    """Pairs of emotions that both encoders tell apart, the other way round."""
    wanted = {"control": "none", "measure": "shift", "layer": None}
    orders = []
    for encoder in (row["encoder"], row["other_encoder"]):
        found = content.rows("emotion_contrasts", encoder=encoder, **wanted)
        told = records(found[found["p_holm"] <= LEVEL])
        orders.append({(one["emotion"], one["other_emotion"]): one["mean"] > 0 for one in told})
    both = [pair for pair in orders[0] if orders[0][pair] != orders[1].get(pair, orders[0][pair])]
    if not both:
        return "in spacing: no order of two emotions is reversed beyond its error"
    return "reversed beyond their errors: " + ", ".join(" and ".join(pair) for pair in both)


def _orders(found: list[Agreement], labels: dict[str, str]) -> str:
    """Where the two distances order the emotions differently."""
    differing = [one for one in found if one.swapped]
    if not differing:
        return f"the figures are ordered alike at all {len(found)} layers."
    clear = [(one, pair) for one in found for pair in one.clear]
    worst = min(found, key=lambda one: one.tau)
    says = (
        f"intervals aside, the figures are ordered differently at {len(differing)} of {len(found)} "
        f"layers (lowest Kendall's tau {r.signed(worst.tau)}, {labels[worst.encoder]}, layer "
        f"{worst.layer})."
    )
    if not clear:
        return f"no pair of emotions swaps beyond its error after Holm's correction; {says}"
    named = [
        f"{pair} ({labels[one.encoder]}, layer {one.layer})" for one, pair in clear[:_MOST_PAIRS]
    ]
    more = f" and {len(clear) - _MOST_PAIRS} more" if len(clear) > _MOST_PAIRS else ""
    return (
        "told apart by both after Holm's correction, in this order by FAD and in the other by KAD: "
        f"{'; '.join(named)}{more}; {says}"
    )
