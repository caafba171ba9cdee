"""What study 3 says in sentences: only what an interval or a corrected test carries."""

from jaxemo.analysis.intervals import holm
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.agreement import Agreement, agreements
from jaxemo.report.contents import Content, present, records
from jaxemo.report.figures import Sentence
from jaxemo.report.sections.bias import p_of_emotions, ratio
from jaxemo.report.sections.distance_tables import SMALL, Placement, placements, small_cells

_LEVEL = 0.05
_MOST_PAIRS = 6


def sentences(content: Content) -> list[Sentence]:
    """Emotion bias, encoders that differ, order by FAD, and distances that disagree, in this order."""
    made = [*_biases(content), *_encoders(content)]
    for encoder in present(content.rows("similarity"), "encoder"):
        placed = placements(content, encoder)
        if placed:
            about = f"FAD by emotion, {content.labels[encoder]}"
            made.append(Sentence(about, _order(placed[0], placed[-1], len(placed))))
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


def _biases(content: Content) -> list[Sentence]:
    encoders = [encoder for encoder, _ in f.by_encoder(content.rows("emotion_bias", layer=None))]
    tested = [(e, p) for e in encoders if (p := p_of_emotions(content, e)) is not None]
    corrected = holm([p for _, p in tested])
    return [
        Sentence(f"Emotion bias, {content.labels[encoder]}", _bias(content, encoder, p, holm_p))
        for (encoder, p), holm_p in zip(tested, corrected, strict=True)
    ]


def _bias(content: Content, encoder: str, p_value: float, corrected: float) -> str:
    words = f"p = {r.probability(p_value)}"
    more = f"; {r.probability(corrected)} after Holm's correction" if corrected > p_value else ""
    if corrected > _LEVEL:
        return f"no difference between emotions is shown ({words}){more}."
    rows = content.rows("emotion_bias", encoder=encoder, layer=None)
    ordered = records(rows[rows["mean"].notna()].sort_values("mean"))
    ends = " to ".join(
        f"{row['emotion']} {ratio(row).mean:.2f} times" for row in (ordered[0], ordered[-1])
    )
    return (
        f"the emotions differ ({words}){more}: crossing the domains costs from {ends} the "
        "same-domain distance. It may be their shift or their spread, and both factors grow with the "
        "number of speakers."
    )


def _encoders(content: Content) -> list[Sentence]:
    rows = content.rows("emotion_bias_tests", test="encoders_disagree")
    pairs = records(rows[rows["p_value"].notna()])
    if not pairs:
        return []
    corrected = holm([row["p_value"] for row in pairs])
    clear = [row for row, p in zip(pairs, corrected, strict=True) if p <= _LEVEL]
    named = [
        f"{content.labels[row['encoder']]} and {content.labels[row['other_encoder']]} "
        f"(p = {r.probability(row['p_value'])}, tau {r.signed(row['tau'])})"
        for row in clear[:_MOST_PAIRS]
    ]
    says = f"{len(clear)} of {len(pairs)} pairs differ in their biases after Holm's correction"
    says += f": {'; '.join(named)}" if named else ""
    more = " and more" if len(clear) > _MOST_PAIRS else ""
    return [
        Sentence("Encoders", f"{says}{more}. A difference may be one of spacing, not of order.")
    ]


def _order(near: Placement, far: Placement, count: int) -> str:
    """The ends of the order where their intervals are clear of all others, and else that none is."""
    others = count - 1
    said = []
    if near.clear_below:
        said.append(
            f"{near.emotion} lies nearest across the domains at {near.clear_below} of "
            f"{_many(near.layers, 'layer')}, its interval below those of all {others} others"
        )
    if far.clear_above:
        said.append(
            f"{far.emotion} farthest at {far.clear_above} of {_many(far.layers, 'layer')}, its "
            f"interval above those of all {others} others"
        )
    if not said:
        return "no emotion is nearest or farthest beyond its interval at any layer."
    return "; ".join(said) + " (not corrected for layers)."


def _orders(found: list[Agreement], labels: dict[str, str]) -> str:
    """Where the two distances order the emotions differently."""
    differing = [one for one in found if one.swapped]
    if not differing:
        return f"they order the emotions alike at all {len(found)} layers."
    clear = [(one, pair) for one in found for pair in one.clear]
    worst = min(found, key=lambda one: one.tau)
    says = (
        f"they order the emotions differently at {len(differing)} of {len(found)} layers (lowest "
        f"Kendall's tau {r.signed(worst.tau)}, {labels[worst.encoder]}, layer {worst.layer})"
    )
    if not clear:
        return f"{says}; no pair of emotions swaps beyond its error."
    named = [
        f"{pair} ({labels[one.encoder]}, layer {one.layer})" for one, pair in clear[:_MOST_PAIRS]
    ]
    more = f" and {len(clear) - _MOST_PAIRS} more" if len(clear) > _MOST_PAIRS else ""
    return f"{says}; beyond their error by FAD but reversed by KAD: {'; '.join(named)}{more}."


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
