"""Layers beside each other: how alike they are, and what their variance goes with."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, groups, present, records
from jaxemo.report.figures import Figure, Section, Sentence
from jaxemo.report.heat_charts import Cell, heat_panel
from jaxemo.report.pivot import pivot
from jaxemo.report.table import Cell as TableCell
from jaxemo.report.table import Table, interval_cell


def layer_comparison_section(content: Content) -> Section:
    """Matrices of CKA and of the parts of variance, and tables of all figures with their intervals."""
    return Section(
        "layer-comparisons",
        "Layers compared",
        "How alike are layers, encoders and domains, and what does the variance of a layer go with?",
        f.with_rows([domain_table(content)]),
        f.with_panels([variance_parts(content), alignment(content)]),
        [],
        _sentences(content),
    )


def variance_parts(content: Content) -> Figure:
    """Omega squared of each factor by layer, one matrix per encoder and domain."""
    rows = content.rows("variance_parts")
    panels = []
    for (encoder, domain), of in groups(rows, "encoder", "domain"):
        heading = f"{content.labels[encoder]}, {domain}"
        words = f"Variance of each layer by factor, {heading}; the figures are in the tables below."
        cells = [_part_cell(row) for row in records(of)]
        axes = ("layer", "factor")
        panels.append(heat_panel(cells, heading, words, axes=axes, limits=(0.0, 1.0)))
    return Figure(
        "variance-parts",
        "What the variance of each layer goes with",
        panels,
        [f.scale_key("0 %", "100 %")],
        "Omega squared (%): share of the variance of all dimensions together that goes with a factor, "
        "beyond what the others explain and beyond what chance lets it fit. Two names: their interaction. "
        "Intervals, by jackknife over speakers, are in the tables.",
        [_part_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def alignment(content: Content) -> Figure:
    """CKA between the layers of one encoder and of two, one matrix per pair of encoders and domain."""
    rows = content.rows("layer_similarity", measure="CKA")
    panels = []
    for (encoder, other, domain), of in groups(rows, "encoder", "other_encoder", "domain"):
        names = dict.fromkeys([content.labels[encoder], content.labels[other]])
        heading = f"{' and '.join(names)}, {domain}"
        words = f"CKA between layers, {heading}; the figures are in the tables below."
        cells = [_alignment_cell(row) for row in records(of)]
        axes = ("layer", "layer" if encoder == other else f"layer of {content.labels[other]}")
        panels.append(heat_panel(cells, heading, words, axes=axes, limits=(0.0, 1.0)))
    return Figure(
        "layer-alignment",
        "How alike layers are",
        panels,
        [f.scale_key("0", "1")],
        "Linear CKA without bias over the clips of one domain. 1: the same but for rotation and scale; 0: "
        "what two unrelated layers have on average. Intervals, by jackknife over speakers, are in the "
        "tables, with RSA: Spearman's correlation of the distances between emotions.",
        [_pair_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def domain_table(content: Content) -> Table:
    """RSA between the emotions of speech and those of music, by layer."""
    rows = content.rows("layer_similarity", domain="both")
    return pivot(
        "rsa_of_domains",
        "RSA of speech with music: Spearman's correlation of the distances between emotions in either domain",
        rows,
        down=["encoder"],
        across=["layer"],
        cell=_similarity_cell,
    )


def _part_table(content: Content, encoder: str) -> Table:
    return pivot(
        f"variance_parts_{encoder}",
        f"{content.labels[encoder]}: variance by factor (omega squared, %)",
        content.rows("variance_parts", encoder=encoder),
        down=["domain", "factor"],
        across=["layer"],
        cell=interval_cell,
    )


def _pair_table(content: Content, encoder: str) -> Table:
    rows = content.rows("layer_similarity", encoder=encoder)
    return pivot(
        f"layer_similarity_{encoder}",
        f"{content.labels[encoder]}: CKA and RSA of its layers with layers of its own and of others",
        rows[rows["domain"] != "both"],
        down=["measure", "domain", "layer", "other_encoder"],
        across=["other_layer"],
        cell=_similarity_cell,
    )


def _similarity_cell(row: dict[str, Any] | None) -> TableCell:
    return interval_cell(row, r.signed)


def _part_cell(row: dict[str, Any]) -> Cell:
    note = f"layer {row['layer']}, {row['factor']}: {r.with_interval(row)} %"
    return Cell(str(row["layer"]), row["factor"], row["mean"], r.whole_percent(row["mean"]), note)


def _alignment_cell(row: dict[str, Any]) -> Cell:
    names = str(row["layer"]), str(row["other_layer"])
    note = f"layers {names[0]} and {names[1]}: {r.with_interval(row, r.signed)}"
    return Cell(*names, value=row["mean"], figure=f"{row['mean']:.2f}", note=note)


def _sentences(content: Content) -> list[Sentence]:
    """Where an encoder's variance goes with emotion most, in each domain."""
    rows = content.rows("variance_parts", factor="emotion")
    said: dict[str, list[str]] = {}
    for (encoder, domain), of in groups(rows, "encoder", "domain"):
        said.setdefault(encoder, []).append(_most(of, domain))
    return [Sentence(content.labels[name], "; ".join(words) + ".") for name, words in said.items()]


def _most(rows: pd.DataFrame, domain: str) -> str:
    top = records(rows.nlargest(1, "mean"))[0]
    where = f" at layer {top['layer']}" if rows["layer"].nunique() > 1 else ""
    figure = r.with_interval(top)
    words = f"{domain}: emotion has {figure} % of the variance{where}"
    return words + (", the largest of its layers" if where else "")
