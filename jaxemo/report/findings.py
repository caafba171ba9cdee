"""What the figures say, in sentences computed from the rows.

Each sentence gives the figure, its interval and what it does not show. Nothing here ranks encoders
against each other or explains a cause.
"""

from statistics import median
from typing import NamedTuple

from jaxemo.report import rows as r
from jaxemo.report import similarity_words


class Sentence(NamedTuple):
    """What a sentence is about, and what it says."""

    about: str
    says: str


class Finding(NamedTuple):
    """What one study says."""

    heading: str
    sentences: list[Sentence]


def findings(results: dict) -> list[Finding]:
    """One finding a study that was run."""
    made = [
        Finding("Layers", _layer_sentences(results)),
        Finding("Transfer", _transfer_sentences(results)),
        Finding("Similarity", _similarity_sentences(results)),
    ]
    return [finding for finding in made if finding.sentences]


def cautions(results: dict) -> list[str]:
    """What a reader must know first: random weights, single folds, and the run's own notes."""
    said = []
    untrained = [name for name, origin in r.origins(results).items() if origin == "untrained"]
    if untrained:
        said.append(
            f"{_listed(untrained)} {'has' if len(untrained) == 1 else 'have'} random weights. Their "
            "figures show what architecture and pipeline give without any learning; they are no "
            "evidence about pretrained representations."
        )
    scored = [row for s in ("layers", "transfer") for row in results.get(s) or []]
    if scored and all(row["low"] is None for row in scored):
        said.append(
            "This run has one fold, so scores carry no interval and no difference can be judged."
        )
    notes = (results.get("provenance") or {}).get("notes") or []
    return said + [str(note) for note in notes]


def _layer_sentences(results: dict) -> list[Sentence]:
    labels = r.encoder_labels(results)
    best = r.best_layers(results)
    said = []
    for encoder in dict.fromkeys(b.row["encoder"] for b in best):
        parts = [_best_layer(b) for b in best if b.row["encoder"] == encoder]
        said.append(Sentence(labels[encoder], "; ".join(parts) + "."))
    if any(b.row["origin"] != "hand-made" for b in best):
        said.append(
            Sentence(
                "Caution",
                "a highest layer is picked on the clips that it is scored on, which flatters it. "
                "Read the curve, not the peak.",
            )
        )
    return said


def _best_layer(best: r.Best) -> str:
    row = best.row
    if row["origin"] == "hand-made":
        return f"{row['domain']} {_score(row)}"
    says = f"{row['domain']} highest at layer {row['layer']} of {best.last_layer}, {_score(row)}"
    within = best.layers_within
    if within:
        says += f", {_many(len(within), 'other layer')} inside that interval"
    return says


def _score(row: dict) -> str:
    chance = "" if row["chance"] is None else f" (chance {r.percent(row['chance'])} %)"
    if row["low"] is None:
        return f"UA {r.percent(row['mean'])} %{chance}, without an interval"
    inside = row["chance"] is not None and not r.excludes(row, row["chance"])
    return f"UA {r.with_interval(row)} %{chance}" + (", not told from chance" if inside else "")


def _transfer_sentences(results: dict) -> list[Sentence]:
    gains = r.select(results.get("transfer"), metric="UA_gain", emotion="all")
    known = [row for row in gains if row["mean"] is not None]
    if not known:
        return []
    said = [Sentence("Largest gain", _largest_gain(results, known))]
    judged = [row for row in known if row["low"] is not None]
    if judged:
        up = sum(r.excludes(row, 0) and row["mean"] > 0 for row in judged)
        down = sum(r.excludes(row, 0) and row["mean"] < 0 for row in judged)
        said.append(
            Sentence(
                f"All {_many(len(judged), 'comparison')}",
                f"intervals wholly above 0: {up}; wholly below: {down}. They are not corrected "
                "for the number of comparisons.",
            )
        )
    for direction in r.values(known, "direction"):
        of = [row["mean"] for row in r.select(known, direction=direction, regime="two_stage")]
        said.append(
            Sentence(
                r.DIRECTIONS.get(direction, direction),
                f"median gain of two stages over target-only {r.points(median(of))} points "
                f"({_many(len(of), 'comparison')}).",
            )
        )
    return said


def _largest_gain(results: dict, known: list[dict]) -> str:
    top = max(known, key=lambda row: row["mean"])
    names = (
        r.encoder_labels(results)[top["encoder"]],
        r.METHODS.get(top["method"], top["method"]),
        r.DIRECTIONS.get(top["direction"], top["direction"]),
        r.REGIMES.get(top["regime"], top["regime"]),
    )
    figure = f"{r.with_interval(top, r.points)} points of UA ({', '.join(names)})"
    if top["mean"] <= 0:
        return f"none; the highest figure is {figure}."
    if top["low"] is None:
        return f"{figure}; without an interval it shows nothing by itself."
    if r.excludes(top, 0):
        return f"{figure}; its interval excludes 0."
    return f"{figure}; its interval includes 0, so this run does not show a gain."


def _similarity_sentences(results: dict) -> list[Sentence]:
    rows = results.get("similarity") or []
    labels = r.encoder_labels(results)
    said = []
    for encoder in r.values(rows, "encoder"):
        placed = r.emotion_placements(r.select(rows, encoder=encoder))
        if len(placed) > 1:
            said.append(Sentence(labels[encoder], _nearest_and_farthest(placed[0], placed[-1])))
    said += _against_null(rows)
    said += [Sentence(about, says) for about, says in similarity_words.sentences(results)]
    cells = r.select(rows, comparison="cross_domain", metric="FAD")
    small = sum(bool(row["small_sample"]) for row in cells)
    if small:
        said.append(
            Sentence(
                "Small samples",
                f"{small} of {_many(len(cells), 'cell')} rest on fewer than 2 d frames, where FAD "
                f"is biased upwards; they are marked \N{DAGGER}.",
            )
        )
    return said


def _nearest_and_farthest(near: r.Placement, far: r.Placement) -> str:
    return (
        f"{near.emotion} lies nearest across the domains ({near.relative:.2f} of the mean over "
        f"emotions; nearest at {near.layers_nearest} of {_many(near.layers, 'layer')}), "
        f"{far.emotion} farthest ({far.relative:.2f}; farthest at {far.layers_farthest})."
    )


def _against_null(rows: list[dict]) -> list[Sentence]:
    nulls: dict[tuple, float] = {}
    for row in r.select(rows, metric="FAD"):
        if row["comparison"] in ("null_speech", "null_music") and row["mean"] is not None:
            cell = (row["encoder"], row["layer"], row["emotion"])
            nulls[cell] = max(nulls.get(cell, 0.0), row["mean"])
    pairs = [
        (row["mean"], nulls[cell])
        for row in r.select(rows, comparison="cross_domain", metric="FAD")
        if (cell := (row["encoder"], row["layer"], row["emotion"])) in nulls
        and row["mean"] is not None
    ]
    if not pairs:
        return []
    above = sum(distance > null for distance, null in pairs)
    says = f"speech and music lie farther apart than both nulls in {above} of {len(pairs)} cells"
    ratios = [distance / null for distance, null in pairs if null > 0]
    says += f"; median ratio {r.distance(median(ratios))}." if ratios else "."
    return [Sentence("Same-domain null", says)]


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
