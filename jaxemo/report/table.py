"""Tables: cells that know their numbers, and the same table as text, CSV, Markdown and LaTeX.

A table's first `keys` columns name the row and its last `figures` columns are numbers. Intervals are
95 % and stand in brackets behind the mean.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxemo.report import rows as r
from jaxemo.results.file import visible


class Cell(NamedTuple):
    """A figure as it is printed, with the numbers behind it.

    Attributes:
      text: As it is printed.
      mean: The figure; None where it is not known.
      low: Lower end of its interval; None without one.
      high: Upper end.
    """

    text: str
    mean: Any = None
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        return self.text


class Table(NamedTuple):
    """Rows of text and figures.

    Attributes:
      name: For files: lower case, without spaces.
      caption: What it shows.
      columns: Their names.
      rows: Texts and `Cell`s.
      keys: Leading columns that name the row.
      figures: Trailing columns of figures.
    """

    name: str
    caption: str
    columns: list[str]
    rows: list[list[str | Cell]]
    keys: int
    figures: int


def interval_cell(
    row: Mapping[str, Any] | None,
    show: Callable[[Any], str] = r.percent,
    *,
    mark: str = "",
) -> Cell:
    """A row's mean and interval; `mark` follows the figure and is explained in the caption."""
    if row is None:
        return Cell(r.UNKNOWN)
    mean = row["mean"] if r.known(row["mean"]) else None
    ends = (row["low"], row["high"]) if r.has_interval(row) else (None, None)
    return Cell(r.with_interval(row, show) + mark, mean, *ends)


def number_cell(value: Any, show: Callable[[Any], str] = r.count) -> Cell:
    """A figure without an interval."""
    return Cell(show(value), value if r.known(value) else None)


def csv_rows(table: Table) -> list[dict[str, Any]]:
    """The table for files: a figure with an interval has columns for its low and high end."""
    wide = {
        place
        for place in range(len(table.columns))
        for row in table.rows
        if isinstance(cell := row[place], Cell) and cell.low is not None
    }
    made = []
    for row in table.rows:
        line: dict[str, Any] = {}
        for place, (name, cell) in enumerate(zip(table.columns, row, strict=True)):
            name = name.removesuffix(" [95 %]")
            name = f"{name} ({place + 1})" if name in line else name
            line[name] = (
                cell.mean if isinstance(cell, Cell) and cell.mean is not None else str(cell)
            )
            if isinstance(cell, Cell) and cell.mean is None:
                line[name] = None
            if place in wide:
                ends = (cell.low, cell.high) if isinstance(cell, Cell) else (None, None)
                line |= {f"{name}, low": ends[0], f"{name}, high": ends[1]}
        made.append(line)
    return made


def markdown(table: Table) -> str:
    """The table in Markdown, its caption in bold over it."""
    first = len(table.columns) - table.figures
    rule = ["---" if i < first else "---:" for i in range(len(table.columns))]
    escaped = [[_markdown_cell(str(c)) for c in row] for row in [table.columns, *table.rows]]
    lines = ["| " + " | ".join(row) + " |" for row in [escaped[0], rule, *escaped[1:]]]
    return f"**{_markdown_cell(table.caption)}**\n\n" + "\n".join(lines)


def latex(table: Table) -> str:
    """The table in LaTeX with booktabs' rules, every special character escaped."""
    first = len(table.columns) - table.figures
    lines = [" & ".join(_latex_cell(str(c)) for c in row) + r" \\" for row in table.rows]
    head = " & ".join(_latex_cell(name) for name in table.columns) + r" \\"
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex_cell(table.caption)}}}",
            rf"\begin{{tabular}}{{{'l' * first}{'r' * table.figures}}}",
            r"\toprule",
            head,
            r"\midrule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def plain(table: Table) -> str:
    """The table in aligned columns for a terminal."""
    cells = [[visible(cell) for cell in row] for row in [table.columns, *table.rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells
    ]
    return "\n".join([table.caption, *(line.rstrip() for line in lines)])


def without(table: Table, *columns: str) -> Table:
    """The table without some of its columns."""
    kept = [i for i, column in enumerate(table.columns) if column not in columns]
    body = [[row[i] for i in kept] for row in table.rows]
    return table._replace(columns=[table.columns[i] for i in kept], rows=body)


def _markdown_cell(cell: str) -> str:
    text = visible(cell).replace("\\", "\\\\")
    return "".join("\\" + c if c in "|<>[]*_`" else c for c in text)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "\N{MINUS SIGN}": "$-$",
    "\N{EN DASH}": "--",
    "\N{DAGGER}": r"\dag{}",
    "\N{DOUBLE DAGGER}": r"\ddag{}",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{SUPERSCRIPT TWO}": r"\textsuperscript{2}",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def _latex_cell(cell: str) -> str:
    # A bracket at the start of a cell would be taken for the argument of the row's end before it.
    text = "".join(_LATEX.get(c, c) for c in visible(cell))
    return "{}" + text if text.startswith("[") else text
