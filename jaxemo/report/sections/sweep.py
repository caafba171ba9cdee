"""Sweeps: the points of a grid side by side, the best of them chosen on development parts alone."""

import numpy as np
import pandas as pd

from jaxemo.analysis.scores import student_interval
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, groups
from jaxemo.report.figures import Section, with_rows
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

# Fewer runs than this give no interval.
_LEAST_RUNS = 3
_BEST = "\N{DAGGER}"


def sweep_section(content: Content) -> Section:
    """The section of `jaxemo sweep`."""
    question = (
        "Which settings are best on the development speakers, and what do they score on others?"
    )
    made = with_rows([sweep_table(content)])
    return Section("sweep", "Sweep", question, made, [], [], [])


def sweep_table(content: Content) -> Table:
    """One row per encoder, method, domain and point; test scores play no part in what is marked."""
    body: list[list[str | Cell]] = []
    rows = content.rows("sweep")
    for (encoder, domain), part in groups(rows, "encoder", "domain"):
        dev = part.groupby(["method", "point"], observed=True)["dev_score"].mean()
        for (method, point), of_point in groups(part, "method", "point"):
            mark = _BEST if dev[method, point] == dev.max() else ""
            names = [content.labels[encoder], r.name("method", method), domain, f"{point}{mark}"]
            body.append([*names, *_figures(of_point)])
    columns = ["encoder", "method", "domain", "settings", "dev UA", "UA", "runs", "parameters"]
    caption = (
        "Points of the sweep: UA of the best epoch on development speakers, and UA on held-out speakers, "
        f"each the mean over runs (seeds and folds). {_BEST} marks the highest mean on development "
        "speakers, by which settings are chosen; intervals are Student's t over runs, from three on."
    )
    return Table("sweep", caption, columns, body, keys=4, figures=4)


def _figures(rows: pd.DataFrame) -> list[Cell]:
    return [
        _mean_cell(rows["dev_score"].to_numpy(float)),
        _mean_cell(rows["mean"].dropna().to_numpy(float)),
        number_cell(len(rows)),
        number_cell(int(rows["trainable_parameters"].max())),
    ]


def _mean_cell(values: np.ndarray) -> Cell:
    if values.size == 0:
        return Cell(r.UNKNOWN)
    if values.size < _LEAST_RUNS:
        return interval_cell({"mean": float(values.mean()), "low": None, "high": None})
    interval = student_interval(values, bounds=(0.0, 1.0))
    return interval_cell({"mean": interval.mean, "low": interval.low, "high": interval.high})
