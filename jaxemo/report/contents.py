"""Results as pandas frames: one per section, names in their order, figures as numbers.

Columns of names are ordered categories, so that sorting and grouping a frame gives the order of the
page: known names in their fixed order, others as they first appear in the file.
"""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jaxemo.report import rows as r
from jaxemo.results.checks import fields_of, results_from
from jaxemo.results.contents import SECTIONS, Results
from jaxemo.results.file import read_results

Source = str | Path | Mapping[str, Any] | Results
_WITH_ENCODERS = (
    "layers",
    "layer_choices",
    "probes",
    "layer_similarity",
    "variance_parts",
    "transfer",
    "similarity",
    "transfer_runs",
    "confusions",
    "layer_weights",
    "emotion_shifts",
    "sweep",
)


@dataclasses.dataclass(frozen=True)
class Content:
    """What the figures and tables are drawn from.

    Attributes:
      results: The typed results.
    """

    results: Results

    @functools.cached_property
    def origins(self) -> dict[str, str]:
        """The encoders in order of appearance, each with its origin."""
        found = {one.name: one.origin for one in self.results.provenance.encoders}
        for section in _WITH_ENCODERS:
            for row in getattr(self.results, section):
                found.setdefault(row.encoder, row.origin)
        return found

    @functools.cached_property
    def labels(self) -> dict[str, str]:
        """What each encoder is called everywhere; random weights are always called untrained."""
        return {name: _label(name, origin) for name, origin in self.origins.items()}

    @functools.cached_property
    def frames(self) -> dict[str, pd.DataFrame]:
        """Section -> its rows; empty sections have their columns too."""
        encoders = tuple(self.origins)
        return {
            name: _frame(getattr(self.results, name), kind, encoders)
            for name, kind in SECTIONS.items()
        }

    def rows(self, section: str, **wanted: Any) -> pd.DataFrame:
        """The rows of a section whose columns equal every wanted value; None stands for unknown."""
        return select(self.frames[section], **wanted)


def content_of(source: Source) -> Content:
    """The content of a results.json, by its path, as the object that it holds, or typed.

    Raises:
      FileNotFoundError: The path leads to no file.
      ValueError: The results do not fit the schema; the message says what to do.
    """
    if isinstance(source, Results):
        return Content(source)
    if isinstance(source, Mapping):
        return Content(results_from(source))
    return Content(read_results(source))


def select(frame: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns equal every wanted value; None stands for unknown."""
    for column, value in wanted.items():
        frame = frame[frame[column].isna() if value is None else frame[column] == value]
    return frame


def drawable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a figure; the others appear in tables only."""
    return frame[frame["mean"].notna()]


def groups(frame: pd.DataFrame, *columns: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """The combinations of values that occur, in order, each with its rows; unknown is None."""
    for key, part in frame.groupby(list(columns), observed=True, sort=True, dropna=False):
        yield tuple(_python(value) for value in key), part


def present(frame: pd.DataFrame, column: str) -> list[Any]:
    """The values of a column that occur, in order."""
    return [key for (key,), _ in groups(frame, column) if key is not None]


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows as mappings, in order."""
    names = list(map(str, frame.columns))
    columns = [frame[name].tolist() for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def single(frame: pd.DataFrame) -> dict[str, Any] | None:
    """The first row, or None."""
    return records(frame.head(1))[0] if len(frame) else None


def _python(value: Any) -> Any:
    """The value as Python has it; unknown is None."""
    if not r.known(value):
        return None
    return value.item() if isinstance(value, np.generic) else value


def _label(name: str, origin: str) -> str:
    marked = origin == "untrained" and "untrained" not in name.lower()
    return f"{name} (untrained)" if marked else name


def _frame(rows: tuple[Any, ...], kind: type, encoders: tuple[str, ...]) -> pd.DataFrame:
    columns = {}
    for name, field in fields_of(kind).items():
        values = [getattr(row, name) for row in rows]
        if name in r.ORDERS or name in ("encoder", "other_encoder"):
            order = r.ORDERS.get(name, encoders)
            known = dict.fromkeys((*order, *(v for v in values if v is not None)))
            columns[name] = pd.Categorical(values, list(known), ordered=True)
        elif field.base is int:
            columns[name] = pd.array(values, "Int64")
        else:
            columns[name] = pd.Series(
                values, dtype={float: "float64", bool: "bool"}.get(field.base, "object")
            )
    return pd.DataFrame(columns)
