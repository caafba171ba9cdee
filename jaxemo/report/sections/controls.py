"""The controls section: what else a layer holds, and what of the emotion is left without it."""

from typing import Any

import pandas as pd

from jaxemo.analysis.intervals import holm
from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, drawable, groups, present, records
from jaxemo.report.figures import Figure, Section, Sentence
from jaxemo.report.heat_charts import Cell, heat_panel
from jaxemo.report.pivot import pivot
from jaxemo.report.sections.layer_choices import LEVEL, MIN_FOLDS, usual_layer
from jaxemo.report.table import Cell as TableCell
from jaxemo.report.table import Table, interval_cell, number_cell

CONTROLS = {
    "zero_shot": "zero-shot from the other domain",
    "zero_shot_standardised": "zero-shot, each domain standardised",
    "domain": "domain",
    "sex": "sex",
    "statement": "sentence",
    "intensity": "intensity",
    "speaker": "speaker",
    "statement_held_out": "emotion, new sentences",
    "intensity_matched": "emotion, one intensity",
    "cues_removed": "emotion, acoustic cues regressed out",
    "control_labels": "labels that mean nothing",
    "duration": "emotion from clip length",
}


def control_section(content: Content) -> Section:
    """What controls score at the layer that dev speakers choose, and at every layer."""
    return Section(
        "controls",
        "Controls",
        "What else does a layer hold, and what of the emotion is left without it?",
        f.with_rows(control_tables(content)),
        f.with_panels([control_matrices(content)]),
        [],
        _sentences(content),
    )


def control_tables(content: Content) -> list[Table]:
    """UA of each control at the layer that most runs chose for the emotion, with its difference."""
    bodies: dict[str, list[list[str | TableCell]]] = {}
    for score, difference in _at_chosen_layers(content):
        layer = r.UNKNOWN if score["origin"] == "hand-made" else str(score["layer"])
        cells = [interval_cell(score), number_cell(score["chance"], r.percent)]
        cells.append(interval_cell(difference, r.points))
        cells.append(number_cell(difference and difference["p_corrected"], r.probability))
        cells += [number_cell(score[name]) for name in ("speakers", "n")]
        names = [score["domain"], _name(score), layer]
        bodies.setdefault(str(score["encoder"]), []).append([*names, *cells])
    columns = ["domain", "control", "layer", "UA [95 %]", "chance", "difference [95 %]"]
    return [
        Table(
            f"controls_chosen_{encoder}",
            f"{content.labels.get(encoder, encoder)}: controls at the layer that dev speakers choose most "
            "often for the emotion (UA, %); difference: UA minus UA of the domain's own emotion probe on "
            "the same clips (points), for labels that mean nothing that probe's UA minus theirs; p by t "
            "over speakers, corrected by Holm over all controls of this page",
            [*columns, "p, Holm", "speakers", "clips"],
            body,
            keys=3,
            figures=6,
        )
        for encoder, body in bodies.items()
    ]


def control_matrices(content: Content) -> Figure:
    """UA of every control by layer as matrices, one per encoder and domain."""
    scores = drawable(content.rows("controls", metric="UA"))
    scores = scores[scores["origin"] != "hand-made"]
    panels = []
    for (encoder, domain), of in groups(scores, "encoder", "domain"):
        heading = f"{content.labels.get(encoder, encoder)}, {domain}"
        cells = [_cell(row) for row in records(of)]
        words = f"UA of the controls by layer, {heading}; the figures are in the tables below."
        panels.append(
            heat_panel(cells, heading, words, axes=("layer", "control"), limits=(0.0, 1.0))
        )
    return Figure(
        "control-matrices",
        "Controls by layer",
        panels,
        [f.scale_key("0 %", "100 %")],
        "UA (%) of probes on the folds of the first seed. Sentence, sex, intensity, speaker and domain: how "
        "well the layer tells that label, the speaker's by clips of his or her own. Zero-shot: the emotion, "
        "by the probe of the other domain. New sentences: sentences that were not trained on. Labels that "
        "mean nothing: what a probe can learn by heart. Chance differs between columns; see the tables.",
        [_layer_table(content, encoder) for encoder in present(scores, "encoder")],
    )


def _layer_table(content: Content, encoder: str) -> Table:
    rows = content.rows("controls", encoder=encoder)
    rows = rows.assign(control=[_name(row) for row in records(rows)])
    return pivot(
        f"controls_{encoder}",
        f"{content.labels.get(encoder, encoder)}: controls by layer (%; differences in points)",
        rows,
        down=["domain", "control", "metric"],
        across=["layer"],
        cell=_layer_cell,
    )


def _layer_cell(row: dict[str, Any] | None) -> TableCell:
    is_score = row is not None and row["metric"] == "UA"
    return interval_cell(row, r.percent if is_score else r.points)


def _cell(row: dict[str, Any]) -> Cell:
    note = f"layer {row['layer']}, {_name(row)}: {r.with_interval(row)} %"
    return Cell(str(row["layer"]), _name(row), row["mean"], r.whole_percent(row["mean"]), note)


def _name(row: dict[str, Any]) -> str:
    name = str(CONTROLS.get(row["control"], row["control"]))
    return f"{name}: {row['value']}" if row["value"] else name


def _at_chosen_layers(content: Content) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
    """Score and difference of every control at the usual layer; p corrected over all of them."""
    found = []
    keys = ("encoder", "domain", "control", "value")
    for (encoder, domain, *_), of in groups(content.rows("controls"), *keys):
        at = of[of["layer"] == _layer(content, of, encoder, domain)]
        by_metric = {row["metric"]: row for row in records(at)}
        score = by_metric.pop("UA", None)
        if score is not None:
            found.append((score, next(iter(by_metric.values()), None)))
    tested = [one for _, one in found if one is not None and r.known(one["p_value"])]
    for one, p in zip(tested, holm([one["p_value"] for one in tested]), strict=True):
        one["p_corrected"] = p
    for _, one in found:
        if one is not None:
            one.setdefault("p_corrected", None)
    return found


def _layer(content: Content, of: pd.DataFrame, encoder: str, domain: str) -> int:
    """The usual layer for the emotion, of speech where both domains are scored; the last if unknown."""
    usual = usual_layer(content, encoder, "speech" if domain == "both" else domain)
    return int(of["layer"].max()) if usual is None else usual


def _sentences(content: Content) -> list[Sentence]:
    """What the controls cost the emotion, where the corrected p tells."""
    said: dict[str, list[str]] = {}
    for score, difference in _at_chosen_layers(content):
        if (
            difference is None
            or score["folds"] < MIN_FOLDS
            or not r.known(difference["p_corrected"])
        ):
            continue
        if difference["p_corrected"] <= LEVEL and difference["metric"] == "UA_difference":
            says = (
                f"{score['domain']}, {_name(score)}: {r.with_interval(difference, r.points)} points"
            )
            if score["origin"] != "hand-made":
                says += f" (layer {score['layer']})"
            said.setdefault(str(score["encoder"]), []).append(says)
    return [
        Sentence(
            content.labels.get(name, name),
            f"UA against the domain's own probe, paired by speaker, where Holm's p tells: {'; '.join(of)}.",
        )
        for name, of in said.items()
    ]
