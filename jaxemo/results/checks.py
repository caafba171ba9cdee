"""From JSON values to the classes of the schema and back, with every fault named at once."""

import dataclasses
import functools
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

from jaxemo import __version__
from jaxemo.results.columns import Column
from jaxemo.results.contents import SCHEMA_VERSION, SECTIONS, Results

_MOST_NAMED = 30
_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


class FieldType(NamedTuple):
    """What one field of a schema class takes.

    Attributes:
      base: str, int, float or bool; a schema class; tuple (of `item`); or dict (to `item`).
      item: Type of the elements of a tuple or dict, else None.
      optional: Whether it may be None.
      required: Whether it must be there.
      column: Meaning, unit and range.
    """

    base: Any
    item: Any
    optional: bool
    required: bool
    column: Column | None


@functools.cache
def fields_of(kind: type) -> dict[str, FieldType]:
    """The fields of a schema class in order."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: _field_type(hints[field.name], required=_has_no_default(field))
        for field in dataclasses.fields(kind)
    }


def results_from(contents: Mapping[str, Any]) -> Results:
    """The typed results of what a results.json holds; rows may be of the schema's classes already.

    Raises:
      ValueError: For another version of the schema; or for missing and unknown columns, wrong types,
        NaN and infinity, all named by section and column.
    """
    contents = plain(contents)
    version = contents.get("schema_version", SCHEMA_VERSION)
    faults = [] if version == SCHEMA_VERSION else [f"its schema is version {version}"]
    made = None if faults else _parse(Results, contents, "", faults)
    if faults or made is None:
        raise ValueError(_refusal(contents, faults))
    return made


def rows_from(section: str, rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Rows of one section from their JSON form.

    Raises:
      ValueError: As `results_from`.
    """
    return list(getattr(results_from({section: rows}), section))


def plain(value: Any) -> Any:
    """The value as JSON has it: schema classes as objects, numpy scalars as numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {name: plain(getattr(value, name)) for name in fields_of(type(value))}
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def _refusal(contents: Mapping[str, Any], faults: list[str]) -> str:
    versions = (contents.get("provenance") or {}).get("versions") or {}
    named = list(dict.fromkeys(faults))
    more = f"; and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
    named = named[:_MOST_NAMED]
    writer = f"jaxemo {versions.get('jaxemo', 'of unknown version')}"
    return (
        f"The results do not fit the schema (version {SCHEMA_VERSION}) of this jaxemo {__version__}: "
        f"{'; '.join(named)}{more}. They were written by {writer}, perhaps with another "
        "schema: run the study again with this jaxemo, or read them with the one that wrote them."
    )


def _field_type(hint: Any, *, required: bool) -> FieldType:
    """Reads `Annotated[X, Column]`, `X | None`, `tuple[X, ...]` and `dict[str, X]`, nested as they come."""
    column, optional = None, False
    while True:
        if get_origin(hint) is Annotated:
            hint, column = hint.__origin__, hint.__metadata__[0]
        elif get_origin(hint) in (Union, types.UnionType):
            optional = True
            [hint] = [one for one in get_args(hint) if one is not type(None)]
        else:
            break
    if get_origin(hint) in (tuple, dict):
        item = get_args(hint)[0 if get_origin(hint) is tuple else 1]
        return FieldType(get_origin(hint), item, optional, required, column)
    return FieldType(hint, None, optional, required, column)


def _has_no_default(field: dataclasses.Field) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _parse(kind: type, value: Any, where: str, faults: list[str]) -> Any:
    """An object of a schema class, or None with its faults added.

    A row must have every column, those with a default too: the default is for writers.
    """
    if not isinstance(value, Mapping):
        faults.append(f"{where or 'the file'} holds {_shown(value)} where an object is expected")
        return None
    fields = fields_of(kind)
    before = len(faults)
    place = where or "the file"
    is_row = kind in SECTIONS.values()
    missing = [n for n, f in fields.items() if n not in value and (f.required or is_row)]
    faults += [f"{place} lacks {name}" for name in missing]
    faults += [f"{place} has an unknown column {name}" for name in value if name not in fields]
    known = {
        name: _convert(fields[name], item, (where, name), faults)
        for name, item in value.items()
        if name in fields
    }
    return kind(**known) if len(faults) == before else None


def _convert(field: FieldType, value: Any, place: tuple[str, str], faults: list[str]) -> Any:
    if value is None and field.optional:
        return None
    where = ".".join(filter(None, place))
    if field.base is tuple and isinstance(value, list):
        return tuple(_item(field.item, item, where, faults) for item in value)
    if field.base is dict and isinstance(value, Mapping):
        return {key: _item(field.item, item, where, faults) for key, item in value.items()}
    if dataclasses.is_dataclass(field.base):
        return _parse(field.base, value, where, faults)
    return _scalar(field.base, value, place, faults)


def _item(kind: Any, value: Any, where: str, faults: list[str]) -> Any:
    if kind is Any:
        return value
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _parse(kind, value, where, faults)
    return _scalar(kind, value, (where, ""), faults)


def _scalar(kind: Any, value: Any, place: tuple[str, str], faults: list[str]) -> Any:
    where = " in ".join(reversed(list(filter(None, place))))
    section, column = place[0] or "the file", place[1]
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        faults.append(
            f"{section} has NaN or infinity in {column}" if column else f"{where} is {value}"
        )
        return None
    accepted = (int, float) if kind is float else kind
    fits = kind in _NAMES and isinstance(value, accepted)
    if not fits or (isinstance(value, bool) and kind is not bool):
        expected = _NAMES.get(kind, "a list" if kind is tuple else "an object")
        faults.append(f"{section} has {_shown(value)} in {column}, expected {expected}")
        return None
    return float(value) if kind is float else value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 40 else text[:37] + "..."
