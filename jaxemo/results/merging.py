"""One results file from several commands: each replaces its own sections, if the rest is of the same kind.

Figures stand side by side only where they were made from the same corpus, config, encoders and
version; else the command is refused before it computes anything.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxemo import __version__
from jaxemo.results.contents import Results
from jaxemo.results.file import read_results

# Sections of several studies: the rows of the others stay.
_SHARED = "confusions"
_LAYERS = {
    *("layers", "layer_choices", "probes", "controls"),
    *(_SHARED, "layer_similarity", "variance_parts"),
}
_TRANSFER = {"transfer", "transfer_runs", _SHARED, "layer_weights"}
_SIMILARITY = {
    *("similarity", "emotion_shifts", "cross_emotion"),
    *("emotion_contrasts", "emotion_shift_tests"),
}
_MODEL = {"figures", "history"}
# Study -> the sections that it makes.
SECTIONS_OF = {"layers": _LAYERS, "transfer": _TRANSFER, "similarity": _SIMILARITY}
# What a block of the config decides, beside itself nothing; blocks that are absent decide everything.
_DECIDED_BY: dict[str, set[str]] = {
    "layers": _LAYERS,
    "transfer": _TRANSFER,
    "similarity": _SIMILARITY,
    "train": _MODEL,
    "methods": _TRANSFER | _MODEL,
    "training": _TRANSFER | _MODEL,
    "encoders": _LAYERS | _TRANSFER | _SIMILARITY,
    **{key: set() for key in ("embed", "mesh", "cache_dir", "cache_gigabytes")},
}
# Keys of the corpus that say where it lies; its hash says what it is.
_PLACES = ("audio_dir", "manifest")
# Of the corpus itself: every command writes them, and they are the same wherever its hash is.
_OF_THE_CORPUS = {"corpus", "folds", "left_out", "empty_cells"}


def _sections_in(results: Results) -> set[str]:
    """What a file holds beside the corpus."""
    names = {field.name for field in dataclasses.fields(Results)}
    names -= _OF_THE_CORPUS | {"schema_version", "provenance"}
    return {name for name in names if getattr(results, name) not in ((), None)}


class Earlier:
    """What a workdir holds of earlier commands, and how a command's results join it."""

    def __init__(
        self,
        path: Path,
        *,
        studies: Sequence[str],
        sections: Sequence[str],
        config: Mapping[str, Any] | None,
        replace: bool,
    ) -> None:
        """Reads the file and compares what can be compared before anything is computed.

        Args:
          path: results.json, or where it will be.
          studies: Values of the column `study` whose rows are made anew.
          sections: Sections that are made anew.
          config: The resolved config; None for commands without one.
          replace: Whether the old file counts for nothing; it is kept as `results.json.old`.

        Raises:
          ValueError: The file is no results.json of this version, or its figures would not go with
            the new ones.
        """
        self._path, self._studies, self._replace = path, studies, replace
        self._made_anew = set(sections)
        self._results: Results | None = None
        if path.is_file() and not replace:
            self._results = self._read()
            self._present = _sections_in(self._results)
            if faults := self._faults_of_config(config):
                raise ValueError(self._refusal(faults))

    def _read(self) -> Results:
        try:
            return read_results(self._path)
        except ValueError as error:
            raise ValueError(f"{error} {self._advice()}") from error

    def _faults_of_config(self, config: Mapping[str, Any] | None) -> list[str]:
        assert self._results is not None
        old = self._results.provenance
        if config is None or old.config is None:
            lost = self._present - self._made_anew
            return [f"it holds {', '.join(sorted(lost))}"] if lost else []
        faults = []
        if self._present and (version := old.versions.get("jaxemo")) != __version__:
            faults.append(f"jaxemo was {version} and is {__version__}")
        for block in sorted({*config, *old.config}):
            if self._present & _DECIDED_BY.get(block, self._present):
                faults += _differences(f"config.{block}", old.config.get(block), config.get(block))
        return faults

    def joined(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """The new results with the sections of the old that were not made anew.

        Raises:
          ValueError: The corpus or an encoder is another one.
        """
        if self._results is None or not self._present:
            return dict(results)
        old, new = self._results.provenance, results["provenance"]
        faults = []
        if old.corpus_hash != new.get("corpus_hash"):
            faults.append("the corpus has other clips or labels")
        known = {encoder.name: encoder.fingerprint for encoder in old.encoders}
        faults += [
            f"encoder {encoder['name']} has other weights"
            for encoder in new.get("encoders", ())
            if known.get(encoder["name"], encoder["fingerprint"]) != encoder["fingerprint"]
        ]
        if faults:
            raise ValueError(self._refusal(faults))
        kept: dict[str, Any] = {
            name: getattr(self._results, name) for name in self._present - self._made_anew
        }
        others = [row for row in self._results.confusions if row.study not in self._studies]
        kept[_SHARED] = [*others, *results.get(_SHARED, ())]
        return {**results, **kept, "provenance": _joined_provenance(self._results, new)}

    def make_way(self) -> None:
        """Keeps the old file under another name, if it is to be replaced."""
        if self._replace and self._path.is_file():
            self._path.replace(self._path.with_name(f"{self._path.name}.old"))

    def _refusal(self, faults: list[str]) -> str:
        return f"{self._path} cannot take these results: {'; '.join(faults)}. {self._advice()}"

    def _advice(self) -> str:
        return (
            "Take another --workdir, or give --replace to begin anew (the old file is kept as "
            f"{self._path.name}.old)."
        )


def _differences(name: str, old: Any, new: Any) -> list[str]:
    """One line per key that differs, nested blocks by their dotted names."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        keys = sorted({*old, *new} - set(_PLACES))
        return [
            line
            for key in keys
            for line in _differences(f"{name}.{key}", old.get(key), new.get(key))
        ]
    return [] if old == new else [f"{name} was {old!r} and is {new!r}"]


def _joined_provenance(old: Results, new: Mapping[str, Any]) -> dict[str, Any]:
    """The new command's, with times, notes, encoders and runs of both."""
    before = old.provenance
    names = {encoder["name"] for encoder in new.get("encoders", ())}
    encoders = [encoder for encoder in before.encoders if encoder.name not in names]
    return {
        **new,
        "encoders": [*encoders, *new.get("encoders", ())],
        "wall_seconds": before.wall_seconds | dict(new.get("wall_seconds", {})),
        "notes": list(dict.fromkeys((*before.notes, *new.get("notes", ())))),
        "runs": before.runs | dict(new.get("runs", {})),
    }
