"""The layers section: how well each layer predicts emotion, in speech and in music."""

import math
from typing import Any

import pandas as pd

from jaxemo.report import figures as f
from jaxemo.report import rows as r
from jaxemo.report import theme
from jaxemo.report.charts import Panel, Reference, Scale, line_panel
from jaxemo.report.contents import Content, drawable, groups, present, records, select
from jaxemo.report.figures import Figure, Key, Section, Sentence
from jaxemo.report.heat_charts import Cell, heat_panel
from jaxemo.report.pivot import pivot
from jaxemo.report.sections.layer_choices import (
    choice_sentences,
    choice_table,
    comparison_table,
    usual_layer,
)
from jaxemo.report.table import Cell as TableCell
from jaxemo.report.table import Table, interval_cell

UNFINISHED = "\N{DOUBLE DAGGER}"


def layer_section(content: Content) -> Section:
    """Curves of UA over layers, and the recall of each emotion on demand."""
    return Section(
        "layers",
        "Layers",
        "How well does each layer predict the emotion, in speech and in music?",
        f.with_rows([choice_table(content), baseline_table(content)]),
        f.with_panels([layer_curves(content)]),
        f.with_panels([recalls(content)]),
        _sentences(content),
    )


def layer_curves(content: Content) -> Figure:
    """UA by layer, one panel per encoder, chance and the strongest baseline across them."""
    scores = drawable(content.rows("layers", metric="UA", emotion="all"))
    learnt = scores[scores["origin"] != "hand-made"]
    baselines = [_baseline(row) for row in strongest_baselines(scores)]
    references = f.chance_levels(scores) + [reference for reference, _ in baselines]
    panels = [
        _curve_panel(content, encoder, of, references, _limits(scores))
        for encoder, of in f.by_encoder(learnt)
    ]
    return Figure(
        "layer-curves",
        "Unweighted accuracy by layer, speech against music",
        panels,
        [*f.domain_keys(learnt), *f.chance_keys(scores), *(key for _, key in baselines)],
        "Mean recall over the emotions (UA, %) of a classifier trained on each layer; layer 0 is "
        f"the input of the first layer. {f.speaker_intervals(scores)} A ring marks the layer that "
        "dev speakers choose most often. The line of a baseline is the strongest in its domain; all stand "
        "in the table above. All panels share one scale. To read: a layer whose band lies "
        "above chance holds something of the emotion. Bands of two layers may overlap and the layers "
        "differ, or not: the paired differences in the tables tell.",
        [layer_score_table(content, e) for e in _learnt(content)]
        + f.with_rows([comparison_table(content, e) for e in _of_several_layers(content)]),
    )


def recalls(content: Content) -> Figure:
    """Recall of each emotion by layer as matrices, one per encoder and domain."""
    rows = content.rows("layers", metric="recall")
    panels = []
    for (encoder, domain), of in groups(rows, "encoder", "domain"):
        of = of.sort_values(["layer", "emotion"])
        heading = f"{content.labels[encoder]}, {domain}"
        cells = [_recall_cell(row) for row in records(of)]
        words = f"Recall of each emotion by layer, {heading}; the figures are in the tables below."
        axes = ("layer", "emotion")
        panels.append(heat_panel(cells, heading, words, axes=axes, limits=(0.0, 1.0)))
    return Figure(
        "recalls",
        "Recall of each emotion by layer",
        panels,
        [f.scale_key("0 %", "100 %")],
        "Share of the clips of each emotion that are recognised (%), by layer. Chance is one "
        "over the number of emotions. Intervals are in the tables.",
        [recall_table(content, encoder) for encoder in present(rows, "encoder")],
    )


def _learnt(content: Content) -> list[str]:
    rows = content.rows("layers")
    return present(rows[rows["origin"] != "hand-made"], "encoder")


def _of_several_layers(content: Content) -> list[str]:
    rows = content.rows("layer_choices")
    return [name for (name,), of in groups(rows, "encoder") if of["layer"].nunique() > 1]


def layer_score_table(content: Content, encoder: str) -> Table:
    """UA, WA and macro-F1 of every layer of one encoder, both domains side by side."""
    caption = f"{content.labels[encoder]}: score by layer (%)" + unfinished_words(
        content.rows("layers")
    )
    rows = content.rows("layers", encoder=encoder, emotion="all")
    name = f"layer_scores_{encoder}"
    across = ["domain", "metric"]
    return pivot(name, caption, rows, down=["layer"], across=across, cell=_score_cell)


def recall_table(content: Content, encoder: str) -> Table:
    """Recall of each emotion at every layer of one encoder, both domains."""
    caption = f"{content.labels[encoder]}: recall of each emotion by layer (%)"
    rows = content.rows("layers", encoder=encoder, metric="recall")
    name = f"layer_recalls_{encoder}"
    down = ["domain", "layer"]
    return pivot(
        name,
        caption + unfinished_words(content.rows("layers")),
        rows,
        down=down,
        across=["emotion"],
        cell=_score_cell,
    )


def _score_cell(row: dict[str, Any] | None) -> TableCell:
    unfinished = row is not None and row["converged"] < 1
    return interval_cell(row, mark=UNFINISHED if unfinished else "")


def unfinished_words(rows: pd.DataFrame) -> str:
    """For a caption: what the mark stands for, where a row of a probe has it."""
    unfinished = (rows["converged"] < 1).any()
    return f" ({UNFINISHED} not all probes behind it converged)" if unfinished else ""


def _curve_panel(
    content: Content,
    encoder: str,
    rows: pd.DataFrame,
    references: list[Reference],
    limits: tuple[float, float],
) -> Panel:
    lines, words, heading = [], [], content.labels[encoder]
    for (domain,), of in groups(rows, "domain"):
        chosen = usual_layer(content, encoder, domain)
        of = of.assign(note=[_note(row) for row in records(of)], ring=of["layer"] == chosen)
        lines.append(f.domain_line(domain, of))
        words += [f"{_note(row)} (chosen most often)." for row in records(of[of["ring"]])]
    scale = Scale("UA (%)", *limits, f.PERCENT_TICK)
    description = " ".join([f"UA by layer, {heading}.", *words])
    return line_panel(lines, heading, description, scale=scale, references=references)


def _note(row: dict[str, Any]) -> str:
    return f"{row['domain']}, layer {row['layer']}: {r.with_interval(row)} %"


def strongest_baselines(scores: pd.DataFrame) -> list[dict[str, Any]]:
    """The baseline of highest UA in each domain: the bar that encoders have to pass."""
    hand_made = scores[scores["origin"] == "hand-made"]
    return [records(of.nlargest(1, "mean"))[0] for _, of in groups(hand_made, "domain")]


def baseline_table(content: Content) -> Table:
    """Scores of all that stands beside the encoders without being learnt, both domains side by side."""
    rows = content.rows("layers", origin="hand-made", emotion="all")
    caption = "Baselines: score (%)" + unfinished_words(content.rows("layers"))
    across = ["domain", "metric"]
    return pivot("baselines", caption, rows, down=["encoder"], across=across, cell=_score_cell)


def _baseline(row: dict[str, Any]) -> tuple[Reference, Key]:
    colour, dash = f.domain_colour(row["domain"]), tuple(theme.BASELINE_DASH)
    ends = (row["low"], row["high"]) if r.has_interval(row) else (None, None)
    label = f"{row['encoder']}, {row['domain']}: {r.with_interval(row)} %"
    reference = Reference("baseline", row["mean"], *ends, colour=colour, dash=dash)
    return reference, Key(label, "line", colour, dash=dash)


def _recall_cell(row: dict[str, Any]) -> Cell:
    note = f"layer {row['layer']}, {row['emotion']}: {r.with_interval(row)} %"
    figure = r.whole_percent(row["mean"])
    return Cell(str(row["layer"]), row["emotion"], row["mean"], figure, note)


def _limits(rows: pd.DataFrame) -> tuple[float, float]:
    """The range of all figures, widened to the next 5 %."""
    ends = f.ends_of(rows, "low", "mean", "high", "chance") or [0.0, 1.0]
    low, high = math.floor(20 * min(ends)) / 20, math.ceil(20 * max(ends)) / 20
    return max(0.0, low), min(1.0, max(high, low + 0.1))


def _sentences(content: Content) -> list[Sentence]:
    made = choice_sentences(content)
    if omitted := _omitted_runs(content):
        made.append(Sentence("Folds left out", f"{omitted}."))
    scores = select(content.rows("layers", metric="UA"), emotion="all")
    count = int((scores["converged"] < 1).sum())
    if count:
        says = (
            f"{count} of {len(scores)} scores rest on probes that ran out of steps before they "
            f"converged; tables mark them {UNFINISHED}."
        )
        made.insert(0, Sentence("Unfinished probes", says))
    return made


def _omitted_runs(content: Content) -> str:
    """Folds without an emotion to train on, which no probe of that domain uses."""
    lacking = content.rows("empty_cells", part="train")
    return "; ".join(
        f"fold {fold} has no {domain} of {', '.join(dict.fromkeys(of['emotion']))} to train on, and no "
        f"probe of {domain}"
        for (fold, domain), of in groups(lacking, "fold", "domain")
    )
