"""The schema of results.json for others: as a JSON Schema, and as a page of tables to read."""

import dataclasses
from typing import Any

from jaxemo.results.checks import FieldType, fields_of
from jaxemo.results.columns import Column
from jaxemo.results.contents import SCHEMA_VERSION, SECTIONS, FolderSets, Provenance, Results

_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}
_TYPE_NAMES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def json_schema() -> dict[str, Any]:
    """A JSON Schema (draft 2020-12) of results.json; rows and columns are those of the dataclasses."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"results.json of jaxemo, schema version {SCHEMA_VERSION}",
        **_object_schema(Results),
    }
    schema["properties"]["schema_version"]["const"] = SCHEMA_VERSION
    schema["required"] = ["schema_version", "provenance"]
    return schema


def schema_page() -> str:
    """The same in Markdown: a table per section, one row per column."""
    parts = [_INTRODUCTION]
    kinds = SECTIONS | {"sets": FolderSets, "provenance": Provenance}
    parts += [_section(name, kind) for name, kind in kinds.items()]
    return "\n\n".join(parts) + "\n"


def _object_schema(kind: type) -> dict[str, Any]:
    fields = fields_of(kind)
    # A row has every column, those with a default too: the default is for writers.
    whole = kind in SECTIONS.values()
    return {
        "type": "object",
        "description": _summary(kind),
        "properties": {name: _field_schema(field) for name, field in fields.items()},
        "required": [name for name, field in fields.items() if whole or field.required],
        "additionalProperties": False,
    }


def _field_schema(field: FieldType) -> dict[str, Any]:
    made = _type_schema(field.base, field.item)
    column = field.column or Column("")
    if column.meaning:
        made["description"] = (
            f"{column.meaning} Unit: {column.unit}." if column.unit else column.meaning
        )
    for key, bound in (("minimum", column.low), ("maximum", column.high)):
        if bound is not None:
            made[key] = bound
    if field.optional:
        made["type"] = [made["type"], "null"]
    return made


def _type_schema(base: Any, item: Any) -> dict[str, Any]:
    if base in _JSON_TYPES:
        return {"type": _JSON_TYPES[base]}
    if dataclasses.is_dataclass(base) and isinstance(base, type):
        return _object_schema(base)
    inner = {} if item is Any else _type_schema(item, None)
    if base is tuple:
        return {"type": "array", "items": inner}
    return {"type": "object", "additionalProperties": inner}


def _section(name: str, kind: type) -> str:
    lines = [f"## `{name}`", _summary(kind), "| column | holds | meaning |\n| --- | --- | --- |"]
    lines[-1] += "".join(f"\n{_column_line(*item)}" for item in fields_of(kind).items())
    return "\n\n".join(lines)


def _column_line(name: str, field: FieldType) -> str:
    column = field.column or Column("")
    values = ", ".join(f"`{value}`" for value in column.values)
    meaning = f"{column.meaning} One of {values}." if values else column.meaning
    return f"| `{name}` | {_holds(field, column)} | {meaning} |"


def _holds(field: FieldType, column: Column) -> str:
    """Type, range, unit and whether it may be unknown, in words."""
    words = _TYPE_NAMES.get(field.base, "list" if field.base is tuple else "object")
    low, high = (None if end is None else f"{end:g}" for end in (column.low, column.high))
    if low is not None and high is not None:
        words += f", {low} to {high}"
    elif low is not None or high is not None:
        words += f", at least {low}" if high is None else f", at most {high}"
    words += f", {column.unit}" if column.unit else ""
    return words + (" or `null`" if field.optional else "")


def _summary(kind: type) -> str:
    return (kind.__doc__ or "").strip().partition("\n")[0]


_INTRODUCTION = f"""# results.json

Every command that computes figures writes them to `WORKDIR/results.json`: one JSON object with the
sections below and `schema_version`, now {SCHEMA_VERSION}. A section is a list of flat rows, each with
every column; `null` stands for what is not known. Sections that a command does not make are absent or
empty. A file of another version is refused with what to do.

One line reads a section with pandas:

    pandas.DataFrame(json.load(open("results.json"))["layers"])

`jaxemo.figures` draws a file, `jaxemo report results.json --workdir=DIR` writes all its tables (CSV,
Markdown, LaTeX) and figures (PDF, SVG). `results.schema.json` beside this page is the same as a JSON
Schema. Both are written by `tools/write_results_schema.py` from `jaxemo/results/schema.py`."""
