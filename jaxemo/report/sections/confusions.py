"""The confusions section: which emotion is taken for which, by study."""

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import tables
from jaxemo.report.charts import Cell
from jaxemo.report.figures import Figure, Panel, Section

KEY = ("encoder", "domain", "layer", "direction", "method", "regime")


def confusion_section(results: dict) -> Section:
    """A matrix for each probe, and on demand one for each way of transfer."""
    rows = results.get("confusions") or []
    probes = r.select(rows, study="layers")
    transfer = r.select(rows, study="transfer")
    return Section(
        "confusions",
        "Confusions",
        "Which emotions are taken for which?",
        [],
        f.with_panels([_figure(results, "confusions-layers", "Layer probes", probes)]),
        f.with_panels([_figure(results, "confusions-transfer", "Transfer", transfer)]),
    )


def _figure(results: dict, identifier: str, heading: str, rows: list[dict]) -> Figure:
    labels = r.encoder_labels(results)
    panels, counts = [], []
    for key in dict.fromkeys(tuple(row[column] for column in KEY) for row in rows):
        named = dict(zip(KEY, key, strict=True))
        of = r.select(rows, **named)
        title = _title(labels, named)
        cells = {(row["emotion"], row["predicted"]): _cell(row, of) for row in of}
        chart = f.matrix(cells, (0.0, 1.0), ("true", "answer"), f"Confusions, {title}")
        panels.append(Panel(title, chart))
        counts.append(tables.confusion_table(f"Confusions, {title}: clips", of))
    return Figure(
        identifier,
        heading,
        panels,
        [f.scale_key("0 %", "100 %")],
        "Of the clips of each true emotion (rows), the share that got each answer (columns), in "
        "%, summed over test folds and seeds; probes are those of the layer that the development "
        "speakers prefer. Outlined: right answers. To read: high figures outside the outline are "
        "emotions that are mixed up. Counts are in the tables.",
        counts,
    )


def _title(labels: dict[str, str], key: dict) -> str:
    if key["direction"] is None:
        words = [key["domain"]] + ([] if key["layer"] is None else [f"layer {key['layer']}"])
    else:
        words = [
            r.DIRECTIONS.get(key["direction"], key["direction"]),
            r.METHODS.get(key["method"], key["method"]),
            r.REGIMES.get(key["regime"], key["regime"]),
        ]
    return ", ".join(map(str, [labels[key["encoder"]], *words]))


def _cell(row: dict, of: list[dict]) -> Cell:
    total = sum(other["count"] for other in r.select(of, emotion=row["emotion"]))
    share = row["count"] / total if total else None
    note = f"{row['emotion']} taken for {row['predicted']}: {row['count']} of {total}"
    return Cell(
        share, f.whole_percent(share), note, "same" if row["emotion"] == row["predicted"] else ""
    )
