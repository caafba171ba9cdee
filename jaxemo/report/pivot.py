"""Long rows as a wide table: a line for each combination of some columns, a figure for each of others."""

from collections.abc import Callable
from typing import Any

import pandas as pd

from jaxemo.report import rows as r
from jaxemo.report.contents import groups, records
from jaxemo.report.table import Cell, Table, interval_cell


def pivot(
    name: str,
    caption: str,
    rows: pd.DataFrame,
    *,
    down: list[str],
    across: list[str],
    cell: Callable[[dict[str, Any] | None], Cell] = interval_cell,
) -> Table:
    """A table of the rows.

    Args:
      name: Of the table, for files.
      caption: What it shows.
      rows: With mean, low and high; one for each combination of `down` and `across`.
      down: Columns that name a line.
      across: Columns that name a figure of a line.
      cell: How one row is printed; None where there is none.
    """
    # By position, as the figures of one cell are a whole row of the long form.
    places = rows.assign(place=range(len(rows))).pivot_table(
        index=down, columns=across, values="place", observed=True, aggfunc="first"
    )
    every = records(rows)
    body: list[list[str | Cell]] = []
    for names, line in zip(places.index, places.to_numpy(), strict=True):
        named = zip(down, names if len(down) > 1 else (names,), strict=True)
        figures = [cell(every[int(place)] if place == place else None) for place in line]
        body.append([*(r.name(column, value) for column, value in named), *figures])
    columns = [key if isinstance(key, tuple) else (key,) for key in places.columns]
    heads = [", ".join(_head(across, column)) for column in columns]
    return Table(name, caption, [*down, *heads], body, keys=len(down), figures=len(heads))


def _head(across: list[str], values: tuple[Any, ...]) -> list[str]:
    """The words of a column's name; `all` emotions go without saying."""
    pairs = zip(across, values, strict=True)
    return [r.name(c, value) for c, value in pairs if not (c == "emotion" and value == "all")]


def joined(rows: pd.DataFrame, *columns: str) -> list[str]:
    """The values of some columns as they are printed, one text per combination."""
    return [
        ", ".join(r.name(c, value) for c, value in zip(columns, key, strict=True))
        for key, _ in groups(rows, *columns)
    ]
