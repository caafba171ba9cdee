"""Configs with spoilt values and keys, through `read_settings`."""

import json
import math
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fuzzing.outcomes import Outcome, Verdict
from fuzzing.spoiling import Generator, bad_value, places_of, spoil_item

NAMES = r"config\.\w+|config is"
_PLACE = "config.pickle"  # Pickled: JSON has neither tuples nor lone surrogates.


class Config:
    """Copies of the defaults; half of them changed through the ConfigDict that config files see."""

    def __init__(self, folder: Path) -> None:
        from jaxemo.studies.config import Settings

        self._defaults = json.loads(json.dumps(Settings().to_dict()))

    def spoil(self, rng: Generator, place: Path) -> str:
        values = json.loads(json.dumps(self._defaults))
        words = []
        for _ in range(int(rng.integers(1, 4))):
            places = places_of(values)
            *path, last = places[rng.integers(len(places))]
            block = values
            for key in path:
                block = block[key]
            words.append(f"{_spoil_key(rng, block, last)} at {'.'.join(map(str, (*path, last)))}")
        (place / _PLACE).write_bytes(pickle.dumps((values, bool(rng.random() < 0.5))))
        return ", ".join(words)

    def judge(self, place: Path) -> Verdict:
        """What was accepted is what was given, and finite."""
        from jaxemo.studies.config import default_config, read_settings

        values, through_config = pickle.loads((place / _PLACE).read_bytes())
        values = _with_endless(values)
        config: Any = values
        if through_config:
            config = default_config().unlock()
            _assign(config, values)
        settings = read_settings(config)
        for key, read in _leaves(settings):
            given = _at(values, key)
            if isinstance(read, float) and not math.isfinite(read):
                return Verdict(Outcome.WRONG, f"{key} is {read}")
            if read != (tuple(given) if isinstance(given, list) else given):
                return Verdict(Outcome.WRONG, f"{key} was given otherwise than it was read")
            if type(given) is bool or given is None:
                return Verdict(Outcome.WRONG, f"{key} takes {given}")
        return Verdict(Outcome.ACCEPTED)


class _Endless:
    """Stands for lists in lists that pickle could not write."""


def _with_endless(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: _with_endless(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_with_endless(value) for value in values]
    if not isinstance(values, _Endless):
        return values
    deep: list = []
    for _ in range(50_000):
        deep = [deep]
    return deep


def _spoil_key(rng: Generator, block: Any, key: Any) -> str:
    if rng.random() < 0.5 and not isinstance(block[key], dict):
        block[key] = bad = bad_value(rng)
        return f"{repr(bad)[:40]} put"
    if rng.random() < 0.1:
        block[key] = _Endless()
        return "lists without end"
    return spoil_item(rng, block, key)


def _assign(config: Any, values: Mapping[str, Any]) -> None:
    """Item by item, as a config file would; what is gone is deleted."""
    for key in set(config) - set(values):
        del config[key]
    for key, value in values.items():
        if isinstance(value, dict) and key in config and hasattr(config[key], "items"):
            _assign(config[key], value)
        else:
            config[key] = value


def _leaves(block: Mapping[str, Any], prefix: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*prefix, key))
        else:
            yield (*prefix, key), value


def _at(values: Any, key: tuple) -> Any:
    for part in key:
        values = values[part]
    return values
