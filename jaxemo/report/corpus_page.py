"""Draws `corpus.html`, what `jaxemo prepare` found: one file with its sounds and pictures in it.

As the report it loads nothing and runs no script. It holds audio of the corpus, so that it may go only
where the corpus's licence lets that go, which it says.
"""

import base64
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxemo.data.corpora.corpus import DOMAINS, RATINGS, Utterance
from jaxemo.data.corpus_overview import CorpusOverview, HeardClip
from jaxemo.data.files import make_folder, write_whole
from jaxemo.report import rows as r
from jaxemo.report.contents import content_of
from jaxemo.report.figures import with_rows
from jaxemo.report.page import environment
from jaxemo.report.spectrogram import spectrogram_png
from jaxemo.report.table import Cell, Table, number_cell
from jaxemo.report.tables import corpus_table, empty_cell_table, fold_table, left_out_table
from jaxemo.results.contents import Results

_BARS = 32
# A few very long clips would press all others into one bar.
_HIGHEST_PERCENTILE = 99.5
_LISTED = 200


class Bar(NamedTuple):
    """One bar: place and height from 0 to 1, and what it says."""

    left: float
    width: float
    height: float
    words: str


class Histogram(NamedTuple):
    """Clips of one domain by a quantity.

    Attributes:
      heading: The quantity.
      domain: Which colour it has.
      bars: From the lowest value.
      ends: The lowest and the highest value with their unit.
      words: What it shows, for those who do not see it.
    """

    heading: str
    domain: str
    bars: tuple[Bar, ...]
    ends: tuple[str, str]
    words: str


def write_corpus_page(results: dict[str, Any], overview: CorpusOverview, path: Path) -> Path:
    """Writes the page of a prepared corpus.

    Args:
      results: As `jaxemo prepare` writes them.
      overview: Of the same corpus.
      path: Where the page goes; its folder is made.
    """
    template = environment().get_template("corpus.html.jinja")
    make_folder(path.parent)
    write_whole(path, template.render(_page(content_of(results).results, overview)))
    return path


def _page(results: Results, overview: CorpusOverview) -> dict[str, Any]:
    content = content_of(results)
    clips = [_domain_table(overview), corpus_table(content), _tag_table(overview)]
    sides = [fold_table(content), empty_cell_table(content)]
    return {
        "name": overview.name,
        "facts": _facts(overview, results),
        "notes": results.provenance.notes,
        "published": overview.published,
        "clips": with_rows(clips),
        "histograms": _histograms(overview),
        "measured": _measured(overview),
        "rates": _rate_table(overview),
        "folds": with_rows(sides),
        "protocol": results.provenance.protocol,
        "left_out": with_rows([_reason_table(results), _first_rows(left_out_table(content))]),
        "heard": [_heard(clip) for clip in overview.heard],
        "command": results.provenance.command,
    }


def _facts(overview: CorpusOverview, results: Results) -> list[str]:
    speakers = len({row.speaker for row in overview.utterances})
    return [
        f"{r.count(len(overview.utterances))} clips",
        r.duration(float(overview.seconds.sum())),
        f"{r.count(speakers)} speakers",
        f"{r.count(len(results.left_out))} files left out",
    ]


def _measured(overview: CorpusOverview) -> str:
    total = len(overview.utterances)
    if overview.num_measured == total:
        return "Rates and levels are of all clips."
    return (
        f"Rates and levels are of {r.count(overview.num_measured)} of the {r.count(total)} clips, "
        "drawn evenly."
    )


# Tables ---------------------------------------------------------------------------------------


def _domain_table(overview: CorpusOverview) -> Table:
    names = ["clips", "length", "speakers", "women", "men", "shortest", "median", "longest"]
    columns = ["domain", *names, "level, median (dB)", "at full scale (%)"]
    body = [_domain_row(overview, domain) for domain in _domains(overview.utterances)]
    return Table("domains", "Clips by domain", columns, body, keys=1, figures=len(columns) - 1)


def _domain_row(overview: CorpusOverview, domain: str) -> list[str | Cell]:
    rows = [row for row in overview.utterances if row.domain == domain]
    seconds = _of_domain(overview, domain)
    people = {row.speaker: row.sex for row in rows}
    sexes = Counter(people.values())
    levels = overview.levels.get(domain)
    shares = [r.UNKNOWN] * 2
    if levels is not None:
        shares = [
            f"{np.median(levels.rms_db):.1f}".replace("-", r.MINUS),
            r.percent(levels.at_full_scale / levels.rms_db.size),
        ]
    known = sexes["female"] + sexes["male"] > 0
    return [
        domain,
        number_cell(len(rows)),
        number_cell(float(seconds.sum()), r.duration),
        number_cell(len(people)),
        *(number_cell(sexes[sex] if known else None) for sex in ("female", "male")),
        *(
            number_cell(float(of(seconds)), lambda value: f"{value:.2f} s")
            for of in (np.min, np.median, np.max)
        ),
        *map(Cell, shares),
    ]


def _tag_table(overview: CorpusOverview) -> Table:
    counts = Counter(tag for row in overview.utterances for tag in row.tags)
    body: list[list[str | Cell]] = [
        [tag, number_cell(count)] for tag, count in counts.most_common()
    ]
    return Table("tags", "Clips by tag", ["tag", "clips"], body, keys=1, figures=1)


def _rate_table(overview: CorpusOverview) -> Table:
    body: list[list[str | Cell]] = [
        [corpus, number_cell(rate), number_cell(count)]
        for corpus, counts in overview.rates_hz.items()
        for rate, count in counts.items()
    ]
    columns = ["corpus", "sample rate (Hz)", "clips"]
    return Table("rates", "Sample rates of the files", columns, body, keys=1, figures=2)


def _reason_table(results: Results) -> Table:
    counts = Counter(item.reason.partition(":")[0] for item in results.left_out)
    body: list[list[str | Cell]] = [
        [reason, number_cell(count)] for reason, count in counts.most_common(_LISTED)
    ]
    return Table(
        "reasons", "Files left out by reason", ["reason", "files"], body, keys=1, figures=1
    )


def _first_rows(table: Table) -> Table:
    if len(table.rows) <= _LISTED:
        return table
    caption = f"{table.caption}: {_LISTED} of {r.count(len(table.rows))}, all in results.json"
    return table._replace(caption=caption, rows=table.rows[:_LISTED])


# Histograms -----------------------------------------------------------------------------------


def _histograms(overview: CorpusOverview) -> list[Histogram]:
    made = []
    for domain in _domains(overview.utterances):
        seconds = _of_domain(overview, domain)
        made.append(_histogram("Length", domain, seconds, unit="s", decimals=2))
        if domain in overview.levels:
            levels = overview.levels[domain].rms_db
            made.append(_histogram("Level", domain, levels, unit="dB", decimals=1))
        for name in RATINGS:
            rows = [row for row in overview.utterances if row.domain == domain]
            rated = [value for row in rows if (value := getattr(row, name)) is not None]
            if rated:
                values = np.array(rated, np.float64)
                made.append(_histogram(name.capitalize(), domain, values, unit="", decimals=1))
    return made


def _histogram(
    heading: str, domain: str, values: Float64[np.ndarray, " n"], *, unit: str, decimals: int
) -> Histogram:
    """Clips between equal steps; the last bar has what lies beyond, too."""

    def shown(value: float) -> str:
        return f"{value:.{decimals}f} {unit}".strip().replace("-", r.MINUS)

    low, high = float(values.min()), float(np.percentile(values, _HIGHEST_PERCENTILE))
    counts, edges = np.histogram(np.minimum(values, high), bins=_BARS, range=(low, high))
    beyond = " and more" if values.max() > high else ""
    bars = tuple(
        Bar(
            place / _BARS,
            1 / _BARS,
            int(count) / int(counts.max()),
            f"{shown(edges[place])} to {shown(edges[place + 1])}"
            f"{beyond if place == _BARS - 1 else ''}: {r.count(int(count))}",
        )
        for place, count in enumerate(counts)
    )
    middle = ", ".join(
        f"{share} % up to {shown(float(np.percentile(values, share)))}" for share in (5, 50, 95)
    )
    return Histogram(
        heading, domain, bars, (shown(low), shown(high) + beyond), f"{heading}, {domain}: {middle}"
    )


def _of_domain(overview: CorpusOverview, domain: str) -> Float64[np.ndarray, " n"]:
    return overview.seconds[[row.domain == domain for row in overview.utterances]]


def _domains(utterances: Sequence[Utterance]) -> list[str]:
    present = {row.domain for row in utterances}
    return [name for name in DOMAINS if name in present]


# Sounds ---------------------------------------------------------------------------------------


def _heard(clip: HeardClip) -> dict[str, str]:
    row, excerpt = clip
    said = (row.speaker, row.intensity, row.statement, f"{excerpt.seconds:.1f} s")
    return {
        "emotion": row.emotion,
        "domain": row.domain,
        "file": os.path.basename(row.path),
        "words": ", ".join(word for word in said if word),
        "picture": _data_uri("image/png", spectrogram_png(excerpt.spectrum_db)),
        "sound": _data_uri("audio/mpeg", excerpt.mp3),
    }


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
