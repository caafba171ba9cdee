"""Several results files as one comparison: encoders, corpora, seeds or machines side by side.

A row keeps the name of its encoder unless two files have it; then the name says what sets the files
apart. Rows of two files are never mixed under one name.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxemo.results.contents import SECTIONS, Provenance, Results
from jaxemo.results.file import read_results

_ENCODER_COLUMNS = ("encoder", "other_encoder")
_OF_THE_CORPUS = ("corpus", "folds", "left_out", "empty_cells")
# Settings that say where files lie, not what is computed.
_PLACES = ("cache_dir",)


class Run(NamedTuple):
    """The results of one file, and what it is called where there are several."""

    label: str
    results: Results


class Joined(NamedTuple):
    """All rows together, and the runs that they come from."""

    results: Results
    runs: list[Run]


def join_files(paths: Sequence[Path]) -> Joined:
    """The results of the files as one comparison; a single file as it is.

    Raises:
      FileNotFoundError: A path leads to no file.
      ValueError: No path; a file of another schema; or two files of one run.
    """
    if not paths:
        raise ValueError("No results.json is given; name at least one.")
    read = [read_results(path) for path in paths]
    if len(read) == 1:
        return Joined(read[0], [Run("", read[0])])
    _check_distinct(paths, read)
    runs = [Run(label, one) for label, one in zip(_labels(paths, read), read, strict=True)]
    return Joined(_join(runs), runs)


def _check_distinct(paths: Sequence[Path], read: list[Results]) -> None:
    for place, one in enumerate(read):
        for other in range(place):
            if read[other] == one:
                raise ValueError(
                    f"{paths[other]} and {paths[place]} hold the same run; name each run once."
                )


def _labels(paths: Sequence[Path], read: list[Results]) -> list[str]:
    """What sets each file apart from all others: the first of some facts that does, or several."""
    facts: list[Callable[[int], str]] = [
        lambda i: _corpus_name(read[i]),
        lambda i: f"seed {_config(read[i]).get('seed')}",
        lambda i: str(read[i].provenance.device),
        lambda i: f"jaxemo {read[i].provenance.versions.get('jaxemo')}",
        lambda i: _differing_settings(read, i),
        lambda i: str(read[i].provenance.started),
        lambda i: str(paths[i].parent.name or paths[i].name),
        lambda i: f"file {i + 1}",
    ]
    labels = [""] * len(read)
    for fact in facts:
        values = [fact(i) for i in range(len(read))]
        if len(set(values)) > 1:
            joined = zip(labels, values, strict=True)
            labels = [f"{label}, {value}" if label else value for label, value in joined]
        if len(set(labels)) == len(labels):
            break
    return labels


def _corpus_name(results: Results) -> str:
    return "+".join(sorted({row.corpus for row in results.corpus})) or "no corpus"


def _config(results: Results) -> dict[str, Any]:
    return results.provenance.config or {}


def _differing_settings(read: list[Results], place: int) -> str:
    """The settings of one file that another file has otherwise, at most three of them."""
    flat = [_flat(_config(one)) for one in read]
    keys = sorted({key for one in flat for key in one} - set(_PLACES))
    differing = [key for key in keys if len({str(one.get(key)) for one in flat}) > 1]
    return ", ".join(f"{key} {flat[place].get(key)}" for key in differing[:3])


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        made |= _flat(item, f"{name}.") if isinstance(item, dict) else {name: item}
    return made


def _join(runs: list[Run]) -> Results:
    names = Counter(name for run in runs for name in _encoders(run.results))
    renamed = [_renamed(run, {name for name, count in names.items() if count > 1}) for run in runs]
    sections: dict[str, Any] = {
        name: tuple(row for one in renamed for row in getattr(one, name))
        for name in SECTIONS
        if name not in _OF_THE_CORPUS
    }
    sections |= _corpora(runs)
    encoders = [one for run in renamed for one in run.provenance.encoders]
    notes = dict.fromkeys(note for run in runs for note in run.results.provenance.notes)
    provenance = Provenance(encoders=tuple(encoders), notes=tuple(notes))
    return Results(**sections, provenance=provenance)


def _corpora(runs: list[Run]) -> dict[str, Any]:
    """The sections of the corpus once for each corpus: runs on one corpus count its clips once."""
    firsts = {run.results.provenance.corpus_hash or run.label: run.results for run in runs[::-1]}
    kept = [
        one
        for one in (run.results for run in runs)
        if any(one is first for first in firsts.values())
    ]
    return {
        name: tuple(row for one in kept for row in getattr(one, name)) for name in _OF_THE_CORPUS
    }


def _encoders(results: Results) -> set[str]:
    named = {one.name for one in results.provenance.encoders}
    for section, kind in SECTIONS.items():
        if "encoder" in {field.name for field in dataclasses.fields(kind)}:
            named |= {row.encoder for row in getattr(results, section)}
    return named


def _renamed(run: Run, colliding: set[str]) -> Results:
    """The results with the label of the run behind the names of encoders that other files have too."""

    def name(encoder: str | None) -> str | None:
        return f"{encoder} [{run.label}]" if encoder in colliding else encoder

    def row_with_names(row: Any) -> Any:
        present = {c: name(getattr(row, c)) for c in _ENCODER_COLUMNS if hasattr(row, c)}
        return dataclasses.replace(row, **present) if present else row

    results = run.results
    sections = {s: tuple(map(row_with_names, getattr(results, s))) for s in SECTIONS}
    encoders = tuple(
        dataclasses.replace(one, name=name(one.name)) for one in results.provenance.encoders
    )
    provenance = dataclasses.replace(results.provenance, encoders=encoders)
    return dataclasses.replace(results, **sections, provenance=provenance)
