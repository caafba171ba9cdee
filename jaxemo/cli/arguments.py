"""Command-line arguments to values; everything that can be wrong with them is one clear line.

Configs are ml-collections files; absl and ml_collections read them and their overrides.
"""

import difflib
import re
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

_TAKES_CONFIG = {"study", "probe", "transfer", "fad", "train", "evaluate", "prepare", "embed"}
_NEEDS_CONFIG = _TAKES_CONFIG - {"evaluate"}
_TAKES_FOLDERS = {"fad"}
_FOLDERS = ("reference", "candidate", "encoder")
_FOLDER_OPTIONS = ("crop_seconds", "reference_model", "save_moments")
_TAKES_CHECKPOINT = {"evaluate", "predict"}


class ArgumentFault(Exception):
    """What is wrong with the command line, in one line."""


class Arguments(NamedTuple):
    """Parsed arguments; what a command does not take is None."""

    config: ConfigDict | None
    workdir: Path | None
    checkpoint: Path | None
    encoder: str | None
    files: tuple[str, ...]
    folders: dict[str, Any] | None = None


def parse(verb: str, arguments: list[str]) -> Arguments:
    """Parses the arguments of one command.

    Raises:
      ArgumentFault: For an unknown flag or key, a wrong type, a missing file or value.
    """
    values = _define(verb, arguments)
    _check_config_file(arguments)
    try:
        _, *files = values([verb, *arguments])
    except flags.UnrecognizedFlagError as error:
        raise ArgumentFault(_unrecognised(error, values)) from error
    except (AttributeError, KeyError) as error:
        raise ArgumentFault(_unknown_key(error, arguments)) from error
    except (flags.Error, TypeError, ValueError, OSError) as error:
        raise ArgumentFault(_one_line(error)) from error
    except Exception as error:
        # A config file is code, and may fail in any way it likes.
        raise ArgumentFault(f"the config file failed: {_one_line(error)}") from error
    return _check(verb, values, tuple(files))


def _define(verb: str, arguments: list[str]) -> flags.FlagValues:
    values = flags.FlagValues()
    if verb in _TAKES_CONFIG:
        config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=[verb, *arguments])
        flags.DEFINE_string("workdir", None, "", flag_values=values)
    if verb in _TAKES_CHECKPOINT:
        flags.DEFINE_string("checkpoint", None, "", flag_values=values)
        flags.DEFINE_string("encoder", None, "", flag_values=values)
    if verb in _TAKES_FOLDERS:
        for name in (*_FOLDERS, "reference_model", "save_moments"):
            flags.DEFINE_string(name, None, "", flag_values=values)
        flags.DEFINE_float("crop_seconds", None, "", flag_values=values)
    return values


def _check_config_file(arguments: list[str]) -> None:
    given = [a.split("=", 1)[1] for a in arguments if a.startswith(("--config=", "-config="))]
    for value in given:
        path = Path(value.split(":", 1)[0])
        if not path.is_file():
            raise ArgumentFault(f"there is no config file {str(path)!r} (see configs/)")


def _unknown_key(error: Exception, arguments: list[str]) -> str:
    """Names the override whose key the config lacks, with ml_collections' nearest key."""
    said = str(error.args[0]) if error.args else ""
    key = re.search(r"\w+", said)
    overrides = [a.split("=")[0] for a in arguments if a.startswith("--config.")]
    named = [name for name in overrides if key and key[0] in name.split(".")]
    if not named:
        return f"the config file failed: {type(error).__name__}: {' '.join(said.split())}"
    hint = said.partition("\n")[2]
    return f"the config has no key {named[0].removeprefix('--')}. {hint}".strip()


def _check(verb: str, values: flags.FlagValues, files: tuple[str, ...]) -> Arguments:
    given = values.flag_values_dict()
    folders = _folders(given) if verb in _TAKES_FOLDERS else None
    if verb in _NEEDS_CONFIG and given["config"] is None and folders is None:
        raise ArgumentFault("needs --config=FILE.py, for example --config=configs/demo.py")
    if verb in _TAKES_CHECKPOINT and not given["checkpoint"]:
        raise ArgumentFault("needs --checkpoint=DIR")
    if verb == "predict" and not files:
        raise ArgumentFault("needs at least one audio file")
    if verb != "predict" and files:
        raise ArgumentFault(f"takes no arguments beside flags; got {' '.join(files)!r}")
    return Arguments(
        config=given.get("config"),
        workdir=_workdir(verb, given, values),
        checkpoint=Path(given["checkpoint"]) if given.get("checkpoint") else None,
        encoder=given.get("encoder"),
        files=files,
        folders=folders,
    )


def _folders(given: dict[str, Any]) -> dict[str, Any] | None:
    """The flags of a comparison of folders; None where none of them is given."""
    found = {name: given[name] for name in (*_FOLDERS, *_FOLDER_OPTIONS) if given[name] is not None}
    if not found:
        return None
    if given["config"] is not None:
        names = ", ".join(f"--{name}" for name in found)
        raise ArgumentFault(f"takes either --config or folders; {names} came with --config")
    missing = [f"--{name}" for name in _FOLDERS if not found.get(name)]
    if missing:
        raise ArgumentFault(f"a comparison of folders needs {' and '.join(missing)} too")
    paths = {
        name: Path(found[name])
        for name in ("reference", "candidate", "save_moments")
        if name in found
    }
    return found | paths


def _workdir(verb: str, given: dict[str, Any], values: flags.FlagValues) -> Path | None:
    if given.get("workdir"):
        return Path(given["workdir"])
    if verb not in _NEEDS_CONFIG or given["config"] is None:
        return None
    config_file = config_flags.get_config_filename(values["config"]).split(":")[0]
    return Path("runs") / Path(config_file).stem


def _unrecognised(error: flags.UnrecognizedFlagError, values: flags.FlagValues) -> str:
    name = error.flagname
    close = difflib.get_close_matches(name, list(values), n=1)
    hint = f"; did you mean --{close[0]}?" if close else ""
    return f"unknown flag --{name}{hint}"


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__
