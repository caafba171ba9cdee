"""Other probes of the layers: the learnt weighted sum, the MLP, and all probes of ratings and tags."""

import math

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report.charts import Panel, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records
from jaxemo.report.figures import Figure, Section, Sentence
from jaxemo.report.pivot import pivot
from jaxemo.report.sections.layers import UNFINISHED, unfinished_words
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

HEADLINES = ("UA", "CCC", "PR_AUC")
ALL_LAYERS, CHOSEN = "all", "chosen on dev"


def probe_section(content: Content) -> Section:
    """What each form of probe scores, and every layer's scores on demand."""
    question = "Does a mixture of layers, or a map that bends, hold more than the best layer alone?"
    if (content.rows("probes")["probe"] == "linear").any():
        question = "How well does each layer predict the ratings or tags?"
    return Section(
        "probes",
        "Probes",
        question,
        f.with_rows([probe_table(content)]),
        f.with_panels([probe_curves(content)]),
        [],
        _sentences(content),
    )


def probe_curves(content: Content) -> Figure:
    """The headline score by layer, one panel per encoder and form of probe."""
    rows = drawable(content.rows("probes", emotion="all"))
    rows = rows[rows["layer"].notna() & rows["metric"].isin(HEADLINES)]
    metric = " and ".join(_metrics(rows))
    ends = f.ends_of(rows, "low", "mean", "high", "chance") or [0.0, 1.0]
    limits = math.floor(10 * min(ends)) / 10, math.ceil(10 * max(ends)) / 10
    scale = Scale(f"{metric} (x 100)", *limits, f.PERCENT_TICK)
    panels = []
    for (encoder, probe), of in groups(rows, "encoder", "probe"):
        heading = f"{content.labels[encoder]}, {r.name('probe', probe)}"
        panels.append(_panel(of, heading, scale))
    return Figure(
        "probe-curves",
        f"{metric} by layer",
        panels,
        f.domain_keys(rows),
        f"{metric} (x 100, of ratings and tags the mean over them) of a probe trained on each layer; layer "
        f"0 is the input of the first layer. {f.speaker_intervals(rows)}",
        f.with_rows([probe_layer_table(content, name) for name in _encoders(content)]),
    )


def _panel(rows: pd.DataFrame, heading: str, scale: Scale) -> Panel:
    lines, words = [], []
    for (domain,), of in groups(rows, "domain"):
        notes = [f"{domain}, layer {row['layer']}: {r.with_interval(row)}" for row in records(of)]
        lines.append(f.domain_line(domain, of.assign(note=notes)))
        words += notes
    return line_panel(lines, heading, f"{heading}. {'; '.join(words)}.", scale=scale)


def probe_table(content: Content) -> Table:
    """One line per encoder, domain and form of probe: all layers together, or the one that dev chose."""
    rows = content.rows("probes")
    rows = rows[rows["layer"].isna()]
    metrics = _metrics(rows)
    body: list[list[str | Cell]] = []
    for (encoder, domain, probe), of in groups(rows, "encoder", "domain", "probe"):
        for (output,), named in groups(of, "emotion"):
            by_metric = {row["metric"]: row for row in records(named)}
            one = next(iter(by_metric.values()))
            layer = ALL_LAYERS if probe == "weighted_sum" else CHOSEN
            cells = [_cell(by_metric.get(metric), metric) for metric in metrics]
            sizes = [number_cell(one[name]) for name in ("speakers", "folds", "n")]
            names = [content.labels[encoder], domain, r.name("probe", probe), layer, output]
            body.append([*names, *cells, *sizes])
    heads = [f"{r.name('metric', metric)} [95 %]" for metric in metrics]
    columns = ["encoder", "domain", "probe", "layers", "of", *heads, "speakers", "folds", "clips"]
    caption = (
        "Probes: scores on test speakers (x 100; differences in points, against the linear probe of the "
        f"layer that dev chose, paired by speaker){unfinished_words(rows)}"
    )
    return Table("probes", caption, columns, body, keys=5, figures=len(heads) + 3)


def probe_layer_table(content: Content, encoder: str) -> Table:
    """Every layer of one encoder: scores of all classes, or of each rating or tag."""
    rows = content.rows("probes", encoder=encoder)
    rows = rows[rows["layer"].notna()]
    return pivot(
        f"probes_{encoder}",
        f"{content.labels[encoder]}: probes by layer (scores x 100; differences in points, against the "
        f"linear probe of the same layer, paired by speaker){unfinished_words(rows)}",
        rows,
        down=["domain", "probe", "layer"],
        across=["metric", "emotion"],
        cell=lambda row: Cell(r.UNKNOWN) if row is None else _cell(row, row["metric"]),
    )


def _encoders(content: Content) -> list[str]:
    rows = content.rows("probes")
    return present(rows[rows["layer"].notna()], "encoder")


def _metrics(rows: pd.DataFrame) -> list[str]:
    return [str(metric) for metric in present(rows, "metric")]


def _cell(row: dict | None, metric: str) -> Cell:
    if row is None:
        return Cell(r.UNKNOWN)
    mark = UNFINISHED if row["converged"] < 1 else ""
    return interval_cell(row, r.points if metric == "UA_difference" else r.percent, mark=mark)


def _sentences(content: Content) -> list[Sentence]:
    rows = content.rows("probes")
    if not (count := int((rows["converged"] < 1).sum())):
        return []
    says = (
        f"{count} of {len(rows)} scores of these probes rest on some that ran out of steps before their "
        f"loss stopped falling; tables mark them {UNFINISHED}."
    )
    return [Sentence("Unfinished probes", says)]
