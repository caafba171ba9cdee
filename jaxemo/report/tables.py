"""Tables that belong to no single study: headline figures, corpus and folds, provenance, single models."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from jaxemo.report import rows as r
from jaxemo.report.contents import Content, Source, content_of, groups, present, records
from jaxemo.report.sections.layer_choices import choice_table
from jaxemo.report.sections.probes import probe_table
from jaxemo.report.sections.shift_tables import shift_order_table
from jaxemo.report.sections.sweep import sweep_table
from jaxemo.report.sections.transfer import transfer_table
from jaxemo.report.table import Cell, Table, number_cell, plain, without
from jaxemo.results.checks import plain as plain_values
from jaxemo.results.contents import Results

_TOO_MUCH = ("folds", "clips", "share (%)", "speakers", "trained parameters")


def summary_table(results: Source) -> str:
    """The headline figures as short plain text for a terminal, in ASCII as far as names allow."""
    blocks = [plain(without(table, *_TOO_MUCH)) for table in headlines(content_of(results))]
    text = "\n\n".join(blocks) if blocks else "The results hold no figures."
    text = text.replace("→", "->").replace(r.MINUS, "-").replace(r.UNKNOWN, "-")
    return text.replace("\N{DOUBLE DAGGER}", "*").replace("\N{DAGGER}", "*")


def headlines(content: Content) -> list[Table]:
    """The chosen layers, the transfer scores and the emotions' shifts, where present."""
    made = [
        choice_table(content),
        probe_table(content),
        transfer_table(content),
        shift_order_table(content),
        sweep_table(content),
    ]
    return [table for table in made if table.rows]


def corpus_table(content: Content) -> Table:
    """Clips, speakers and length of each emotion in each domain, corpus by corpus."""
    rows = content.rows("corpus")
    domains = present(rows, "domain")
    body: list[list[str | Cell]] = []
    for (corpus, emotion), of in groups(rows, "corpus", "emotion"):
        at = {row["domain"]: row for row in records(of)}
        cells = [cell for domain in domains for cell in _corpus_cells(at.get(domain))]
        body.append([corpus, emotion, *cells])
    if len(rows):
        totals = [_corpus_totals(rows[rows["domain"] == domain]) for domain in domains]
        body.append(["all", "all", *(cell for three in totals for cell in three)])
    names = [f"{name}, {domain}" for domain in domains for name in ("clips", "speakers", "length")]
    columns = ["corpus", "emotion", *names]
    return Table("corpus", "The corpus by emotion", columns, body, keys=2, figures=len(names))


def _corpus_cells(row: Mapping[str, Any] | None) -> list[Cell]:
    if row is None:
        return [Cell(r.UNKNOWN)] * 3
    seconds = number_cell(row["seconds"], r.duration)
    return [number_cell(row["clips"]), number_cell(row["speakers"]), seconds]


def _corpus_totals(rows: pd.DataFrame) -> list[Cell]:
    seconds = number_cell(float(rows["seconds"].sum()), r.duration)
    return [number_cell(int(rows["clips"].sum())), Cell(r.UNKNOWN), seconds]


def empty_cell_table(content: Content) -> Table:
    """Emotions that have no clip in a part of a fold, so that their figures rest on fewer folds."""
    caption = "Emotions without a clip in a part of a fold"
    return _listed(content, "empty_cells", caption, ["fold", "part", "domain", "emotion"])


def fold_table(content: Content) -> Table:
    """Who is in which part of which fold."""
    made = _listed(content, "folds", "The folds", ["fold", "part", "speakers"])
    sizes = content.rows("folds")[["clips_speech", "clips_music"]]
    body = [
        [*row, *(number_cell(size) for size in line.values())]
        for row, line in zip(made.rows, records(sizes), strict=True)
    ]
    columns = [*made.columns, "clips, speech", "clips, music"]
    return made._replace(columns=columns, rows=body, keys=2, figures=2)


def left_out_table(content: Content) -> Table:
    """Every file that was left out, with its reason."""
    made = _listed(content, "left_out", "Files left out", ["path", "reason"])
    caption = f"Files left out: {len(made.rows)}"
    return made._replace(caption=caption, columns=["file", "reason"], keys=1)


def model_table(content: Content) -> Table:
    """The scores of one model on held-out clips, as `train` and `evaluate` give them."""
    body: list[list[str | Cell]] = [
        [
            *(row["domain"], r.name("metric", row["metric"]), row["emotion"]),
            *(number_cell(row["mean"], r.percent), number_cell(row["n"])),
        ]
        for row in records(content.rows("figures"))
    ]
    columns = ["domain", "metric", "emotion", "score (%)", "clips"]
    return Table("model_scores", "Scores of the model", columns, body, keys=3, figures=2)


def folder_table(content: Content) -> Table:
    """Distances between a reference and a candidate folder, as `fad --reference` gives them."""
    figures = ("FAD", "FAD_infinite_files", "KAD")
    body: list[list[str | Cell]] = []
    for row in records(content.rows("folders")):
        cells = [number_cell(row[name], r.distance) for name in figures]
        cells += [number_cell(row[n]) for n in ("frames_reference", "frames_candidate", "d")]
        encoder = str(row["encoder"])
        body.append([content.labels.get(encoder, encoder), str(row["layer"]), *cells])
    heads = [
        "FAD",
        "FAD, extrapolated over files",
        "KAD",
        "frames, reference",
        "frames, candidate",
    ]
    columns = ["encoder", "layer", *heads, "d"]
    return Table("folders", "Reference against candidate", columns, body, keys=2, figures=6)


def mapping_table(name: str, caption: str, heads: tuple[str, str], mapping: dict) -> Table:
    """A nested mapping as dotted names and values."""
    body: list[list[str | Cell]] = [list(pair) for pair in _flat(mapping)] if mapping else []
    return Table(name, caption, list(heads), body, keys=1, figures=0)


def encoder_table(results: Results) -> Table:
    """The encoders as the provenance records them."""
    columns = ["name", "origin", "source", "sample_rate_hz", "fingerprint"]
    described = [plain_values(one) for one in results.provenance.encoders]
    body: list[list[str | Cell]] = [
        [str(one[column] or r.UNKNOWN) for column in columns] for one in described
    ]
    heads = ["name", "origin", "source", "sample rate (Hz)", "fingerprint"]
    return Table("encoders", "Encoders", heads, body, keys=1, figures=0)


def _listed(content: Content, section: str, caption: str, columns: list[str]) -> Table:
    body: list[list[str | Cell]] = [
        [str(row[column]) for column in columns] for row in records(content.rows(section))
    ]
    return Table(section, caption, columns, body, keys=len(columns), figures=0)


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    if isinstance(value, dict) and value:
        parts = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return [row for part in parts for row in part]
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return [(prefix, text)]
