"""The `ConfigDict` that config files change: its keys are fixed, its values are not judged.

Values are judged once, by `read_settings`, which says of each its full name, what it is and its range.
"""

import sys
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict


def editable(values: Mapping[str, Any]) -> ConfigDict:
    """Nested values as a locked ConfigDict, blocks included."""
    return _unchecked(values).lock()


class _Unchecked(ConfigDict):
    """Takes values of any type at keys that are there.

    ConfigDict's own check says the last part of a name alone, stops at the first fault, and makes 1.0
    of True.
    """

    def __setitem__(self, key: Any, value: Any) -> None:
        is_float = isinstance(self.get(key), float)
        if is_float and (isinstance(value, bool) or _is_beyond_floats(value)):
            with self.unlocked():  # A key that is new gets its value as it is.
                del self[key]
                super().__setitem__(key, value)
        else:
            super().__setitem__(key, value)


def _is_beyond_floats(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > sys.float_info.max_exp


def _unchecked(values: Mapping[str, Any]) -> ConfigDict:
    blocks = {k: _unchecked(v) if isinstance(v, Mapping) else v for k, v in values.items()}
    return _Unchecked(blocks, type_safe=False)
