"""A report as a folder: the page, every table as CSV, Markdown and LaTeX, every figure as PDF and SVG."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.report.boards import figure_board
from jaxemo.report.contents import Content
from jaxemo.report.figures import Section
from jaxemo.report.joining import join_files
from jaxemo.report.page import corpus_section, make_sections, write_page
from jaxemo.report.table import Table, csv_rows, latex, markdown
from jaxemo.results.checks import plain
from jaxemo.results.contents import SECTIONS
from jaxemo.results.file import write_csv


def write_report_folder(paths: Sequence[Path], workdir: Path) -> list[Path]:
    """Draws one results.json, or several side by side, into a folder.

    Writes `report.html`, `tables/*.csv|.md|.tex` (those of the page, and the rows of each section as
    `rows_*.csv`) and `figures/*.pdf|.svg`.

    Args:
      paths: Results files; encoders that several of them have are named by what sets the files apart.
      workdir: The folder; it is made.

    Returns:
      The paths written, the page first.

    Raises:
      FileNotFoundError: A path leads to no file.
      ValueError: A file of another schema, or two files of one run.
    """
    joined = join_files(paths)
    content = Content(joined.results)
    sections = make_sections(content)
    page = write_page(content, sections, joined.runs, workdir / "report.html")
    corpora = [corpus_section(run, number) for number, run in enumerate(joined.runs, start=1)]
    return [
        page,
        *_write_tables([*_tables(content, sections), *_corpus_tables(corpora)], workdir / "tables"),
        *_write_rows(content, workdir / "tables"),
        *_write_figures(sections, workdir / "figures"),
    ]


def _tables(content: Content, sections: list[Section]) -> Iterator[Table]:
    for section in sections:
        yield from section.tables
        for figure in (*section.figures, *section.folded):
            yield from figure.tables


def _corpus_tables(corpora: list[Section]) -> Iterator[Table]:
    for section in corpora:
        suffix = section.identifier.removeprefix("corpus")
        for table in section.tables:
            yield table._replace(name=table.name + suffix)


def _write_tables(made: list[Table], folder: Path) -> Iterator[Path]:
    make_folder(folder)
    for name, table in _named([(table.name, table) for table in made]):
        path = folder / f"{name}.csv"
        write_csv(csv_rows(table), path)
        yield path
        for suffix, text in ((".md", markdown(table)), (".tex", latex(table))):
            write_whole(path.with_suffix(suffix), text + "\n")
            yield path.with_suffix(suffix)


def _write_rows(content: Content, folder: Path) -> Iterator[Path]:
    for section in SECTIONS:
        rows = [plain(row) for row in getattr(content.results, section)]
        if rows:
            path = folder / f"rows_{section}.csv"
            write_csv(rows, path)
            yield path


def _write_figures(sections: list[Section], folder: Path) -> Iterator[Path]:
    make_folder(folder)
    figures = [figure for section in sections for figure in (*section.figures, *section.folded)]
    for figure in figures:
        chart = figure_board(figure)
        for suffix in (".pdf", ".svg"):
            path = folder / f"{figure.identifier}{suffix}"
            with writing(path):
                chart.save(str(path))
            yield path


def _named(made: list[tuple[str, Table]]) -> Iterator[tuple[str, Table]]:
    """File names without what file systems and LaTeX dislike, each once."""
    used: set[str] = set()
    for name, table in made:
        slug = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:100]
        number = 1
        while (unique := slug if number == 1 else f"{slug}_{number}") in used:
            number += 1
        used.add(unique)
        yield unique, table
