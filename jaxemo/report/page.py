"""Draws `report.html`: one file with everything in it, no script, no font and no address to load.

The template escapes every string (Jinja2 autoescape) after `visible` has made control characters
plain; the only markup let through are the charts, which `static_svg` escapes.
"""

from pathlib import Path
from typing import Any

from altair.utils import schemapi
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jaxemo.data.files import make_folder, write_whole
from jaxemo.report import findings, rows, tables
from jaxemo.report.contents import Content, Source, content_of, present
from jaxemo.report.figures import Section, with_rows
from jaxemo.report.joining import Run
from jaxemo.report.sections.confusions import confusion_section
from jaxemo.report.sections.controls import control_section
from jaxemo.report.sections.layer_comparisons import layer_comparison_section
from jaxemo.report.sections.layers import layer_section
from jaxemo.report.sections.pretraining import pretraining_section
from jaxemo.report.sections.probes import probe_section
from jaxemo.report.sections.similarity import similarity_section
from jaxemo.report.sections.sweep import sweep_section
from jaxemo.report.sections.transfer import transfer_section
from jaxemo.report.static_svg import static_svg
from jaxemo.report.table import Table
from jaxemo.results.file import visible

TEMPLATES = Path(__file__).parent / "templates"


def write_report(results: Source, path: Path | str) -> Path:
    """Writes the report of whatever studies the results hold.

    Args:
      results: A results.json: its path, its contents, or typed; absent or empty sections are left out
        of the page.
      path: Where the page goes; its folder is made.

    Raises:
      ValueError: The results do not fit the schema; all faults are named.
    """
    content = content_of(results)
    return write_page(content, make_sections(content), [Run("", content.results)], path)


def write_page(
    content: Content, sections: list[Section], runs: list[Run], path: Path | str
) -> Path:
    """Writes the page of some sections and of the runs that they come from."""
    page = environment().get_template("page.html.jinja").render(_page(content, sections, runs))
    path = Path(path)
    make_folder(path.parent)
    write_whole(path, page)
    return path


def make_sections(content: Content) -> list[Section]:
    """The studies' sections whose rows are present."""
    make = (
        layer_section,
        probe_section,
        control_section,
        layer_comparison_section,
        transfer_section,
        similarity_section,
        pretraining_section,
        confusion_section,
        sweep_section,
        _model_section,
    )
    # Altair checks each piece of a chart against its schema, which costs more than the chart; the
    # tests draw every figure with the checks on.
    with schemapi.debug_mode(False):
        made = [section(content) for section in make]
    return [s for s in made if s.tables or s.figures or s.folded]


def corpus_section(run: Run, number: int) -> Section:
    """Which clips one run used; `number` tells several runs apart."""
    question = "Which clips were used, who was held out, and what was left out?"
    content = Content(run.results)
    made = [
        tables.corpus_table(content),
        tables.fold_table(content),
        tables.empty_cell_table(content),
        tables.left_out_table(content),
    ]
    identifier = "corpus" if number == 1 else f"corpus-{number}"
    heading = "Corpus and folds" + (f": {run.label}" if run.label else "")
    return Section(identifier, heading, question, with_rows(made), [], [], [])


def _model_section(content: Content) -> Section:
    question = "What do single models and pairs of folders score?"
    made = [tables.model_table(content), tables.folder_table(content)]
    return Section("models", "Models and folders", question, with_rows(made), [], [], [])


def _page(content: Content, sections: list[Section], runs: list[Run]) -> dict[str, Any]:
    corpora = [corpus_section(run, number) for number, run in enumerate(runs, start=1)]
    whole = [*sections, *(section for section in corpora if section.tables)]
    return {
        "facts": _facts(content, runs),
        "cautions": findings.cautions(content),
        "findings": findings.findings(sections),
        "sections": whole,
        "provenance": [_provenance(run) for run in runs if _has_provenance(run)],
        "draw": static_svg,
    }


def _facts(content: Content, runs: list[Run]) -> list[str]:
    """The line under the title: what was run on what."""
    said = [", ".join(content.labels.values())] if content.labels else []
    corpus = content.rows("corpus")
    for domain in present(corpus, "domain"):
        clips = corpus.loc[corpus["domain"] == domain, "clips"].sum()
        said.append(f"{rows.count(int(clips))} {domain} clips")
    if content.results.left_out:
        said.append(f"{len(content.results.left_out)} files left out")
    if len(runs) > 1:
        return [*said, f"{len(runs)} runs side by side"]
    provenance = content.results.provenance
    return said + [one for one in (provenance.started, provenance.device) if one]


def _has_provenance(run: Run) -> bool:
    provenance = run.results.provenance
    return bool(provenance.command or provenance.config or provenance.encoders)


def _provenance(run: Run) -> dict[str, Any]:
    provenance = run.results.provenance
    return {
        "label": run.label,
        "command": provenance.command,
        "tables": with_rows([_run_table(run), tables.encoder_table(run.results)]),
        "folded": with_rows(_setting_tables(run)),
    }


def _run_table(run: Run) -> Table:
    provenance = run.results.provenance
    named = ("started", "device", "protocol", "corpus_hash", "checkpoint")
    facts = {name: getattr(provenance, name) for name in named if getattr(provenance, name)}
    facts |= {f"wall time, {k}": rows.duration(v) for k, v in provenance.wall_seconds.items()}
    return tables.mapping_table("run", "The run", ("what", "value"), facts)


def _setting_tables(run: Run) -> list[Table]:
    provenance, heads = run.results.provenance, ("key", "value")
    config = provenance.config or {}
    return [
        tables.mapping_table("versions", "Versions", ("package", "version"), provenance.versions),
        tables.mapping_table("config", "Resolved configuration", heads, config),
    ]


def environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else visible(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
