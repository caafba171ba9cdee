"""`--config` and `--config.key=value`: config files by path or name, and changes of single values.

A config file is Python code with `get_config()`, which gives an `ml_collections.ConfigDict`. Those
under `configs/` are part of the package and known by name. absl and ml_collections read the values.
"""

import ast
import copy
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict
from ml_collections import config_flags as ml_config_flags

from jaxemo.cli.command import ArgumentFault, nearest

_PACKAGE = Path(__file__).resolve().parent.parent
# In a wheel they lie in the package; in a clone, an editable installation included, beside it.
_FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def shipped_configs() -> dict[str, Path]:
    """The package's own config files by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    if folder is None:
        return {}
    return {path.stem: path for path in sorted(folder.glob("*.py")) if path.stem != "__init__"}


def find_config(name: str) -> Path:
    """A config file by its path, or one of the package's own by name.

    Raises:
      ArgumentFault: There is neither; the names that there are are listed.
    """
    if Path(name).is_file():
        return Path(name)
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    hint = nearest(Path(name).stem, shipped)
    hint = f"; did you mean {hint!r}?" if hint else ""
    raise ArgumentFault(
        f"there is no config file {name!r}{hint} (known by name: {', '.join(shipped)}; "
        "`jaxemo config NAME` prints one)"
    )


def read_config(tokens: list[str]) -> tuple[ConfigDict | None, str]:
    """The config with its changes, locked, and its name; (None, "") where no config is named.

    Args:
      tokens: `--config=FILE.py[:argument]` and `--config.key=value`, in any order.

    Raises:
      ArgumentFault: For a missing or failing file, an unknown key or a value of another type.
    """
    named = [token for token in tokens if token.partition("=")[0] == "--config"]
    changes = [token for token in tokens if token.partition("=")[0] != "--config"]
    if not named:
        if changes:
            raise ArgumentFault(f"{changes[0]} came without --config")
        return None, ""
    source = named[-1].partition("=")[2]
    if not source:
        raise ArgumentFault("--config needs a value: a file or a name")
    name, colon, argument = source.partition(":")
    path = find_config(name)
    config = _load(path, (argument,) if colon else ())
    return _changed(config, changes), path.stem


def _load(path: Path, arguments: tuple[str, ...]) -> ConfigDict:
    try:
        spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
        if spec is None or spec.loader is None:
            raise ArgumentFault(f"the config file {str(path)!r} is no Python file")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        config = module.get_config(*arguments)
    except ArgumentFault:
        raise
    except Exception as error:
        # A config file is code, and may fail in any way it likes.
        raise ArgumentFault(
            f"the config file failed: {type(error).__name__}: {_one_line(error)}"
        ) from error
    if not isinstance(config, ConfigDict):
        raise ArgumentFault(
            f"get_config() of {str(path)!r} gives {type(config).__name__}; expected a ConfigDict "
            "such as that of jaxemo.studies.config.default_config()"
        )
    return config


def _changed(config: ConfigDict, changes: list[str]) -> ConfigDict:
    """Tuples are read here, so that `a,b` is one; everything else by ml_collections' own flags."""
    tuples, others = {}, []
    for token in changes:
        name, equals, text = token.removeprefix("--").partition("=")
        key = name.removeprefix("config.")
        default = _existing(config, key)
        if isinstance(default, tuple) and equals:
            tuples[key] = read_tuple(text, default, key=name)
        else:
            others.append(token)
    values = flags.FlagValues()
    try:
        ml_config_flags.DEFINE_config_dict(
            "config", config, flag_values=values, sys_argv=["jaxemo", *others]
        )
        values(["jaxemo", *others])
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ArgumentFault(_one_line(error)) from error
    changed: Any = values["config"].value
    changed.update_from_flattened_dict(tuples)
    return changed


def changed_config(config: ConfigDict, values: Mapping[str, str]) -> ConfigDict:
    """A copy with some keys set, their values read as those of `--config.key=value`.

    Raises:
      ArgumentFault: A value is of another type.
    """
    return _changed(
        copy.deepcopy(config), [f"--config.{key}={value}" for key, value in values.items()]
    )


def full_key(config: ConfigDict, name: str) -> str:
    """The config key that a shortened name means: `lora.rank` is methods.lora.rank, `seed` train.seed.

    Raises:
      ArgumentFault: No key ends so, or several do.
    """
    keys = _flat_keys(config)
    for key in (f"train.{name}", name):
        if key in keys:
            return key
    ending = [key for key in keys if key.endswith(f".{name}")]
    if len(ending) == 1:
        return ending[0]
    if ending:
        raise ArgumentFault(f"--grid.{name} may mean {' or '.join(ending)}; write one in full")
    hint = nearest(name, keys)
    raise ArgumentFault(
        f"the config has no key {name!r}, which --grid.{name} names"
        + (f"; did you mean --grid.{hint}?" if hint else "")
    )


def _existing(config: ConfigDict, key: str) -> Any:
    """The value that a key has.

    Raises:
      ArgumentFault: The config has no such key, or it is a block of keys.
    """
    keys = _flat_keys(config)
    if key in keys:
        return keys[key]
    block = key + "."
    if inside := [name for name in keys if name.startswith(block)]:
        raise ArgumentFault(f"config.{key} is a block of keys; change one: config.{inside[0]}")
    hint = nearest(key, keys)
    if not hint:
        last_parts = {name.rpartition(".")[2]: name for name in keys}
        hint = last_parts.get(nearest(key.rpartition(".")[2], last_parts), "")
    hint = f"; did you mean config.{hint}?" if hint else ""
    raise ArgumentFault(f"the config has no key config.{key}{hint}")


def _flat_keys(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= _flat_keys(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def read_tuple(text: str, default: tuple, *, key: str) -> tuple:
    """`a,b`, `a`, or Python's own form `('a','b')`; items of the type that the default's have.

    Raises:
      ArgumentFault: For items of another type, or brackets and quotes that do not match.
    """
    text = text.strip()
    if text[:1] in ("(", "[", "'", '"'):
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError) as error:
            raise ArgumentFault(
                f"{key} is {text}; expected items such as a,b or \"('a','b')\""
            ) from error
        items = tuple(value) if isinstance(value, tuple | list) else (value,)
    else:
        items = tuple(item for part in text.split(",") if (item := part.strip()))
    return tuple(_item(item, default, key) for item in items)


def _item(item: Any, default: tuple, key: str) -> Any:
    kind = type(default[0]) if default else str
    if kind not in (int, float) or isinstance(item, bool) or (kind is int and type(item) is float):
        return item
    try:
        return kind(item)
    except (TypeError, ValueError) as error:
        raise ArgumentFault(f"{key} has {item!r}; expected numbers ({kind.__name__})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
