"""The layer that dev speakers choose: its score on test speakers, and how the others compare with it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pandas as pd

from jaxemo.report import rows as r
from jaxemo.report.contents import Content, groups, records, select, single
from jaxemo.report.figures import Sentence
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

LEVEL = 0.05
# Folds share training speakers; from fewer than six, what speakers agree on is no verdict.
MIN_FOLDS = 6


class Choice(NamedTuple):
    """The choice of one encoder in one domain.

    Attributes:
      row: UA at the chosen layers.
      others: Differences of layers that were compared with it.
      layers: How the runs chose, in words.
      clear: Others that differ from it by the corrected p.
    """

    row: dict[str, Any]
    others: pd.DataFrame
    layers: str
    clear: pd.DataFrame


def choices(content: Content) -> Iterator[Choice]:
    """Every encoder and domain that has one."""
    for _, of in groups(content.rows("layer_choices"), "encoder", "domain"):
        row = single(select(of, layer=None))
        others = of[of["layer"].notna() & (of["chosen"] < 1)]
        if row is not None:
            clear = others[others["p_corrected"] <= LEVEL]
            yield Choice(row, others, _layers(of), clear)


def usual_layer(content: Content, encoder: str, domain: str) -> int | None:
    """The layer that most runs chose; None where that is not known."""
    of = content.rows("layer_choices", encoder=encoder, domain=domain)
    usual = single(of[of["layer"].notna()].nlargest(1, "chosen"))
    return usual["layer"] if usual else None


def choice_table(content: Content) -> Table:
    """UA at the chosen layer of each encoder and domain, with chance."""
    body: list[list[str | Cell]] = []
    for choice in choices(content):
        row = choice.row
        cells = [interval_cell(row), number_cell(row["chance"], r.percent)]
        cells += [number_cell(row[name]) for name in ("speakers", "folds", "n")]
        body.append([content.labels[row["encoder"]], row["domain"], choice.layers, *cells])
    return Table(
        "chosen_layers",
        "Layers: the layer that dev speakers choose, scored on test speakers (unweighted accuracy, "
        f"UA, %){_without_interval(content)}",
        ["encoder", "domain", "chosen layer", "UA [95 %]", "chance", "speakers", "folds", "clips"],
        body,
        keys=2,
        figures=5,
    )


def comparison_table(content: Content, encoder: str) -> Table:
    """Every layer's UA minus that of the chosen layer."""
    body: list[list[str | Cell]] = []
    rows = content.rows("layer_choices", encoder=encoder)
    for row in records(rows[rows["layer"].notna()]):
        cells = [interval_cell(row, r.points)]
        cells += [number_cell(row[name], r.probability) for name in ("p_value", "p_corrected")]
        chosen = number_cell(row["chosen"], r.percent)
        body.append([row["domain"], str(row["layer"]), chosen, *cells])
    return Table(
        f"layer_choices_{encoder}",
        f"{content.labels[encoder]}: UA minus UA of the layer that dev speakers chose (points), paired "
        "by speaker; p by t over speakers, and corrected by Holm over the layers of a domain",
        ["domain", "layer", "chosen (% of runs)", "difference [95 %]", "p", "p, Holm"],
        body,
        keys=2,
        figures=4,
    )


def choice_sentences(content: Content) -> list[Sentence]:
    """What the chosen layers score, and which others are told from them."""
    said: dict[str, list[str]] = {}
    for choice in choices(content):
        said.setdefault(choice.row["encoder"], []).append(_words(choice))
    return [Sentence(content.labels[name], "; ".join(of) + ".") for name, of in said.items()]


def _layers(rows: pd.DataFrame) -> str:
    """`3 (4 of 6 runs), 2, 5`: the layers that runs chose, the most frequent first."""
    chosen = rows[rows["layer"].notna() & (rows["chosen"] > 0)]
    if not len(chosen) or rows["layer"].nunique() == 1:
        return r.UNKNOWN
    chosen = chosen.sort_values(["chosen", "layer"], ascending=[False, True])
    first, *others = records(chosen)
    return ", ".join(
        [f"{first['layer']} ({r.whole_percent(first['chosen'])} % of runs)"]
        + [str(one["layer"]) for one in others]
    )


def _words(choice: Choice) -> str:
    row = choice.row
    says = f"{row['domain']} UA {r.with_interval(row)} %"
    if r.known(row["chance"]):
        says += f" (chance {r.percent(row['chance'])} %)"
    if choice.layers != r.UNKNOWN:
        says += f" at the layer that dev speakers choose: {choice.layers}"
    if not r.has_interval(row):
        return f"{says}; no interval: {row['reason']}"
    if r.known(row["chance"]) and not r.excludes(row, row["chance"]):
        says += ", not told from chance"
    if len(choice.others) and row["folds"] >= MIN_FOLDS:
        says += f"; {_comparison(choice)}"
    return says


def _comparison(choice: Choice) -> str:
    lower = choice.clear[choice.clear["mean"] < 0]["layer"].tolist()
    higher = choice.clear[choice.clear["mean"] > 0]["layer"].tolist()
    alike = len(choice.others) - len(lower) - len(higher)
    said = [f"{_listed(lower)} lower"] if lower else []
    said += [f"{_listed(higher)} higher"] if higher else []
    said += [f"{alike} of {len(choice.others)} other layers cannot be told from it"]
    return ", ".join(said) + " (paired by speaker, Holm)"


def _listed(layers: list[int]) -> str:
    word = "layer" if len(layers) == 1 else "layers"
    return f"{word} {', '.join(map(str, layers))}"


def _without_interval(content: Content) -> str:
    reasons = dict.fromkeys(c.row["reason"] for c in choices(content) if c.row["reason"])
    return f"; no interval: {'; '.join(reasons)}" if reasons else ""
