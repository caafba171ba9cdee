"""The confusions section: which emotion is taken for which, by study."""

from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Panel
from jaxemo.report.contents import Content, groups, present, records
from jaxemo.report.figures import Figure, Section
from jaxemo.report.heat_charts import Cell, heat_panel
from jaxemo.report.table import Table, number_cell

_KEY = ("encoder", "domain", "layer", "direction", "method", "regime")


def confusion_section(content: Content) -> Section:
    """A matrix for each probe, and on demand one for each way of transfer."""
    return Section(
        "confusions",
        "Confusions",
        "Which emotions are taken for which?",
        [],
        f.with_panels([confusions(content, "layers")]),
        f.with_panels([confusions(content, "transfer")]),
        [],
    )


def confusions(content: Content, study: str) -> Figure:
    """The confusion matrices of one study: `layers` (the probes) or `transfer`."""
    rows = content.rows("confusions", study=study)
    panels, counts = [], []
    for key, of in groups(rows, *_KEY):
        heading = _heading(content, dict(zip(_KEY, key, strict=True)))
        panels.append(_panel(of, heading))
        counts.append(_count_table(f"Confusions, {heading}: clips", f"confusions_{heading}", of))
    return Figure(
        f"confusions-{study}",
        {"layers": "Layer probes", "transfer": "Transfer"}[study],
        panels,
        [f.scale_key("0 %", "100 %")],
        "Of the clips of each true emotion (rows), the share that got each answer (columns), in "
        "%, summed over test folds and seeds; probes are those of the layer that the development "
        "speakers prefer. Outlined: right answers. To read: high figures outside the outline are "
        "emotions that are mixed up. Counts are in the tables.",
        counts,
    )


def _panel(rows: pd.DataFrame, heading: str) -> Panel:
    rows = rows.sort_values(["emotion", "predicted"])
    totals = rows.groupby("emotion", observed=True)["count"].transform("sum")
    cells = [_cell(row) for row in records(rows.assign(total=totals))]
    words = f"Confusions, {heading}; the counts are in the tables below."
    return heat_panel(cells, heading, words, axes=("true", "answer"), limits=(0.0, 1.0))


def _cell(row: dict[str, Any]) -> Cell:
    share = row["count"] / row["total"] if row["total"] else None
    note = f"{row['emotion']} taken for {row['predicted']}: {row['count']} of {row['total']}"
    right = row["emotion"] == row["predicted"]
    figure = r.whole_percent(share)
    return Cell(row["emotion"], row["predicted"], share, figure, note, outlined=right)


def _heading(content: Content, key: dict[str, Any]) -> str:
    if key["direction"] is None:
        words = [key["domain"]] + ([] if key["layer"] is None else [f"layer {key['layer']}"])
    else:
        words = [r.name(column, key[column]) for column in ("direction", "method", "regime")]
    return ", ".join(map(str, [content.labels[key["encoder"]], *words]))


def _count_table(caption: str, name: str, rows: pd.DataFrame) -> Table:
    """Counts of one confusion matrix: a row per true emotion, a column per answer."""
    counts = rows.pivot_table(
        index="emotion", columns="predicted", values="count", observed=True, fill_value=0
    )
    body = [
        [str(emotion), *(number_cell(int(value)) for value in line)]
        for emotion, line in zip(counts.index, counts.to_numpy(), strict=True)
    ]
    answers = present(rows, "predicted")
    columns = ["true emotion", *map(str, answers)]
    return Table(name, caption, columns, body, keys=1, figures=len(answers))
