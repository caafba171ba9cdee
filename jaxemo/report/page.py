"""Draws `report.html`: one file with everything in it, no script, no font and no address to load.

The template escapes every string (Jinja2 autoescape) after `rows.visible` has made control
characters plain; the only markup let through is what `svg` built.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from jaxemo.report import findings, rows, tables
from jaxemo.report.figures import Section, with_rows
from jaxemo.report.sections.confusions import confusion_section
from jaxemo.report.sections.layers import layer_section
from jaxemo.report.sections.similarity import similarity_section
from jaxemo.report.sections.transfer import transfer_section
from jaxemo.results.checks import plain

TEMPLATES = Path(__file__).parent / "templates"


def write_report(results: dict, path: Path | str) -> Path:
    """Writes the report of whatever studies the results hold.

    Args:
      results: The content of `results.json`; absent or empty sections are left out of the page.
      path: Where the page goes; its folder is made.

    Raises:
      ValueError: Rows lack a column that the report draws; all of them are named.
    """
    results = plain(results)
    rows.check(results)
    page = _environment().get_template("page.html.jinja").render(_content(results))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def _content(results: dict) -> dict[str, Any]:
    provenance = results.get("provenance") or {}
    return {
        "facts": _facts(results, provenance),
        "cautions": findings.cautions(results),
        "findings": findings.findings(results),
        "sections": _sections(results),
        "command": provenance.get("command"),
        "provenance_tables": _provenance_tables(results, provenance),
        "present": bool(provenance),
    }


def _sections(results: dict) -> list[Section]:
    """The sections whose rows are present."""
    make = (layer_section, transfer_section, similarity_section, confusion_section, _corpus_section)
    made = [section(results) for section in make]
    return [s for s in made if s.tables or s.figures or s.folded]


def _corpus_section(results: dict) -> Section:
    question = "Which clips were used, who was held out, and what was left out?"
    made = [
        tables.corpus_table(results),
        tables.fold_table(results),
        tables.empty_cell_table(results),
        tables.left_out_table(results),
    ]
    return Section("corpus", "Corpus and folds", question, with_rows(made), [], [])


def _facts(results: dict, provenance: dict) -> list[str]:
    """The line under the title: what was run on what."""
    said = []
    encoders = rows.encoder_labels(results)
    if encoders:
        said.append(", ".join(encoders.values()))
    for domain in rows.values(results.get("corpus") or [], "domain"):
        clips = sum(row["clips"] or 0 for row in rows.select(results["corpus"], domain=domain))
        said.append(f"{rows.count(clips)} {domain} clips")
    if results.get("left_out"):
        said.append(f"{len(results['left_out'])} files left out")
    return said + [str(provenance[key]) for key in ("started", "device") if provenance.get(key)]


def _provenance_tables(results: dict, provenance: dict) -> list[tables.Table]:
    wall = {k: rows.duration(v) for k, v in (provenance.get("wall_seconds") or {}).items()}
    run = {k: provenance[k] for k in ("started", "device", "corpus_hash") if provenance.get(k)}
    run |= {f"wall time, {study}": time for study, time in wall.items()}
    made = [
        tables.mapping_table("The run", ("what", "value"), run),
        tables.encoder_table(results),
        tables.mapping_table("Versions", ("package", "version"), provenance.get("versions") or {}),
        tables.mapping_table(
            "Resolved configuration", ("key", "value"), provenance.get("config") or {}
        ),
    ]
    return with_rows(made)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=lambda value: value if isinstance(value, Markup) else rows.visible(value),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
