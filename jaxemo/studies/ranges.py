"""What a setting may be, said beside its default, and the one check that reads it.

A block of settings is a frozen dataclass whose fields say their range in their type:

    @settings
    class TrainSettings(Block):
        fold: Annotated[int, Between(0, 99)] = 0

Values are checked against all fields at once, so that a user sees every fault in one go.
"""

import contextlib
import dataclasses
import difflib
import functools
import numbers
import types
import typing
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from ml_collections.config_dict import RequiredValueError

_LONGEST_TEXT = 4096
_MOST_SHOWN = 1000


class Between(NamedTuple):
    """A finite number from `low` to `high`, both included.

    Attributes:
      above: Whether `low` itself is excluded.
      below: Whether `high` itself is excluded.
      also: Values outside that have a meaning of their own.
    """

    low: float
    high: float
    above: bool = False
    below: bool = False
    also: tuple[float, ...] = ()

    def holds(self, value: Any) -> bool:
        if value in self.also:
            return True
        high_enough = value > self.low if self.above else value >= self.low
        low_enough = value < self.high if self.below else value <= self.high
        return high_enough and low_enough  # NaN is neither.

    def words(self) -> str:
        low = f"more than {self.low}" if self.above else f"{self.low} or more"
        high = f"less than {self.high}" if self.below else f"at most {self.high}"
        return " or ".join([*(f"{value}" for value in self.also), f"{low} and {high}"])


class OneOf(NamedTuple):
    """One of a few names."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        return value in self.names

    def words(self) -> str:
        *others, last = (repr(name) for name in self.names)
        return f"{', '.join(others)} or {last}" if others else last


class Text(NamedTuple):
    """Any text that could be a name or a path; results have to hold it, as UTF-8."""

    may_be_empty: bool = False

    def holds(self, value: Any) -> bool:
        storable = "\0" not in value and not any("\ud800" <= sign <= "\udfff" for sign in value)
        filled = bool(value.strip()) or (value == "" and self.may_be_empty)
        return len(value) <= _LONGEST_TEXT and storable and filled

    def words(self) -> str:
        filled = "" if self.may_be_empty else ", not empty"
        return f"UTF-8 text of up to {_LONGEST_TEXT} characters{filled}"


class Place(NamedTuple):
    """`NAME=PLACE`: one of a few names, and a path."""

    names: tuple[str, ...]

    def holds(self, value: Any) -> bool:
        name, _, place = value.partition("=")
        return name in self.names and Text().holds(place) and Text().holds(value)

    def words(self) -> str:
        return f"NAME=PLACE with NAME one of {', '.join(self.names)}"


class Items(NamedTuple):
    """Items, each in a range of its own, from `least` to `most` of them; different ones, or not."""

    each: Between | OneOf | Text | Place
    least: int = 1
    most: int = 1000
    may_repeat: bool = False


class Block(Mapping[str, Any]):
    """Base of all blocks: reads by attribute, or by key like the config block that it is made of."""

    def __getitem__(self, key: str) -> Any:
        if key not in type(self).keys_of():
            raise KeyError(key)
        return getattr(self, key)

    def __iter__(self) -> Iterator[str]:
        return iter(type(self).keys_of())

    def __len__(self) -> int:
        return len(type(self).keys_of())

    @classmethod
    def keys_of(cls) -> tuple[str, ...]:
        """Its keys, in order."""
        return tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]

    def to_dict(self) -> dict[str, Any]:
        """Nested dicts of plain values."""
        return {
            key: value.to_dict() if isinstance(value, Block) else value
            for key, value in self.items()
        }


SomeBlock = TypeVar("SomeBlock", bound=Block)


@typing.dataclass_transform(frozen_default=True, kw_only_default=True)
def settings(block: type[SomeBlock]) -> type[SomeBlock]:
    """Makes the frozen dataclass of a block."""
    return dataclasses.dataclass(frozen=True, kw_only=True)(block)


def read_block(
    kind: type[SomeBlock], values: Any, *, name: str, faults: dict[str, str]
) -> SomeBlock:
    """A block of the values; what cannot be used is noted in `faults` and has its default here.

    Args:
      values: A mapping of at least the block's keys.
      name: Of the block, for example `config.audio`.
      faults: Gets what is wrong by the key's full name.
    """
    if not isinstance(values, Mapping) and not hasattr(values, "items"):
        faults[name] = (
            f"{name} is {shown(values)}; expected a block of keys: {', '.join(kind.keys_of())}"
        )
        return kind()
    given = _given(values)
    for key in (key for key in given if key not in kind.keys_of()):
        close = difflib.get_close_matches(str(key), kind.keys_of(), n=1)
        hint = f"did you mean {name}.{close[0]}?" if close else "remove it"
        faults[f"{name}.{key}"] = f"{name}.{key} is no key that anything reads; {hint}"
    read = {}
    for key, declared in _declared(kind).items():
        full = f"{name}.{key}"
        if key not in given:
            faults[full] = f"{full} is missing or was given no value; start from default_config()"
        elif isinstance(declared, type) and issubclass(declared, Block):
            read[key] = read_block(declared, given[key], name=full, faults=faults)
        elif fault := fault_of(given[key], declared):
            faults[full] = f"{full} {fault}"
        else:
            read[key] = _plain(given[key], declared)
    return kind(**read)


def _given(values: Any) -> dict[str, Any]:
    """What a block holds; a required placeholder of ml_collections that was not filled is absent."""
    given = {}
    for key in values:
        with contextlib.suppress(RequiredValueError):
            given[key] = values[key]
    return given


def fault_of(value: Any, declared: Any) -> str:
    """What is wrong with a value, to be read after the key's name; "" if nothing is.

    Args:
      declared: `Annotated[type, range]`, where type is int, float, str, a tuple of one of them, or
        one of these or None.
    """
    kind, allowed = typing.get_args(declared)
    if isinstance(kind, types.UnionType):
        if value is None:
            return ""
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    if isinstance(allowed, Items):
        return _items_fault(value, typing.get_args(kind)[0], allowed)
    if not _is_of(kind, value) or not allowed.holds(value):
        return f"is {shown(value)}; expected {_type_words(kind)}{allowed.words()}"
    return ""


def shown(value: Any) -> str:
    """A value as a message has it."""
    if hasattr(value, "items"):
        return "a block of keys"
    if isinstance(value, str | tuple | list) and not value:
        return "empty"
    if isinstance(value, tuple | list) and len(value) > _MOST_SHOWN:
        return f"a {type(value).__name__} of {len(value)} items"
    try:
        text = repr(value).replace("\n", " ")
    except (RecursionError, ValueError):
        # Lists thousands deep, and whole numbers of thousands of digits.
        return f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= 200 else f"{text[:200]}... ({len(text)} characters)"


def _items_fault(value: Any, kind: type, allowed: Items) -> str:
    words = _type_words(kind) + allowed.each.words()
    if not isinstance(value, tuple | list):
        return f"is {shown(value)}; expected a tuple of items, each {words}"
    if len(value) > allowed.most:
        return f"has {len(value)} items; expected at most {allowed.most}, each {words}"
    wrong = [item for item in value if not _is_of(kind, item) or not allowed.each.holds(item)]
    if wrong:
        return f"has {shown(wrong)}; expected of {words}"
    counts = {} if allowed.may_repeat else Counter(value)
    if twice := sorted(item for item, count in counts.items() if count > 1):
        return f"has {shown(twice)} more than once; expected each once"
    if len(value) < allowed.least:
        return f"is {shown(value)}; expected at least {allowed.least}, each {words}"
    return ""


def _is_of(kind: type, value: Any) -> bool:
    if isinstance(value, bool):
        return kind is bool
    if kind is int:
        return isinstance(value, numbers.Integral)
    if kind is float:
        return isinstance(value, numbers.Real)
    return isinstance(value, kind)


def _type_words(kind: type) -> str:
    return {int: "a whole number, ", float: "a number, "}.get(kind, "")


def _plain(value: Any, declared: Any) -> Any:
    """Whole numbers given for floats become floats, lists tuples."""
    kind, allowed = typing.get_args(declared)
    if value is None:
        return None
    if isinstance(allowed, Items):
        item_kind = typing.get_args(kind)[0]
        return tuple(item_kind(item) for item in value)
    if isinstance(kind, types.UnionType):
        kind = next(one for one in typing.get_args(kind) if one is not types.NoneType)
    return kind(value)


@functools.cache
def _declared(kind: type[Block]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind, include_extras=True)
    return {key: hints[key] for key in kind.keys_of()}
