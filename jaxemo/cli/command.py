"""What a command is made of, and how its arguments become the values that its handler takes.

A `Command` is one row of the table in `main.py`: help and parser are both made from it, and every
flag is a keyword of the handler. argparse reads all flags but `--config`, which `config_flags.py`
reads. Nothing heavy is imported here.
"""

import argparse
import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

CONFIG = "config"
# The flag that takes the values of config keys over which a command runs.
GRID = "grid"
_SIZE = re.compile(r"([\d.]+)\s*([kMGT]?)i?B?", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class ArgumentFault(Exception):
    """What is wrong with the command line, in one line."""


class Flag(NamedTuple):
    """One `--name=VALUE`, or a switch.

    Attributes:
      name: Without dashes; the handler's keyword.
      metavar: How help calls the value; empty for a switch.
      help: One line, or several.
      read: From the text to the value; raises ValueError for text that cannot be read.
      required: Whether the command cannot do without.
      default: Its value where it is not given; `{config}` in a text stands for the config's name,
        and gives None where there is no config.
      choices: What it may be; empty for anything.
    """

    name: str
    metavar: str
    help: str
    read: Callable[[str], Any] = str
    required: bool = False
    default: Any = None
    choices: tuple[str, ...] = ()


class Positional(NamedTuple):
    """What a command takes beside flags.

    Attributes:
      name: The handler's keyword, which gets a tuple of texts.
      help: One line.
      missing: The complaint where there is none; empty where none is needed.
      most: How many there may be at most; None for any number.
    """

    name: str
    help: str
    missing: str = ""
    most: int | None = None


class Command(NamedTuple):
    """One row of the table of commands.

    Attributes:
      summary: One line for the overview.
      handler: `module:function`, imported when the arguments are known to be good.
      flags: All that it takes.
      positional: What it takes beside flags, if anything.
      check: Raises `ArgumentFault` for flags that do not go together.
    """

    summary: str
    reads: str
    writes: str
    needs: str
    example: str
    handler: str
    flags: tuple[Flag, ...] = ()
    positional: Positional | None = None
    check: Callable[[dict[str, Any]], None] | None = None


def size_in_bytes(text: str) -> int:
    """`10GB`, `500 MB`, `1.5G` or a plain number of bytes; powers of 1000.

    Raises:
      ValueError: For anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; expected one such as 10GB or 500MB")
    return int(float(match[1]) * 1000 ** _SIZE_POWERS[match[2].lower()])


# Reading ---------------------------------------------------------------------------------------


def parse(command: Command, tokens: Sequence[str]) -> dict[str, Any]:
    """The keyword arguments of the command's handler.

    Raises:
      ArgumentFault: For an unknown flag or config key, a value of a wrong type, a missing file or
        value.
    """
    config_tokens, others = _apart(command, list(tokens), CONFIG)
    grid_tokens, others = _apart(command, others, GRID)
    given, unknown = _parser(command).parse_known_intermixed_args(others)
    _refuse_unknown(command, unknown)
    values = vars(given)
    config_name = ""
    if any(flag.name == CONFIG for flag in command.flags):
        from jaxemo.cli.config_flags import read_config

        values[CONFIG], config_name = read_config(config_tokens)
    if grid_tokens:
        values[GRID] = _read_grid(grid_tokens)
    for flag in command.flags:
        values[flag.name] = _value(flag, values.get(flag.name), config_name)
    _check_positional(command, values)
    if command.check is not None:
        command.check(values)
    return values


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ArgumentFault(message.removeprefix("argument "))


def _parser(command: Command) -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    for flag in command.flags:
        if flag.name in (CONFIG, GRID):
            continue
        if flag.metavar:
            choices = flag.choices or None
            parser.add_argument(f"--{flag.name}", type=_reader(flag.read), choices=choices)
        else:
            parser.add_argument(f"--{flag.name}", action="store_true")
    if command.positional is not None:
        parser.add_argument(command.positional.name, nargs="*")
    return parser


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """Keeps the words of a reader of ours, which argparse would put its own in place of."""

    def reader(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reader


def _apart(command: Command, tokens: list[str], prefix: str) -> tuple[list[str], list[str]]:
    """Tokens of `--PREFIX` and `--PREFIX.key`, all as `--name=value`; and the others."""
    if all(flag.name != prefix for flag in command.flags):
        return [], tokens
    config_tokens, others = [], []
    rest = iter(tokens)
    for token in rest:
        if not re.match(rf"--?{prefix}(?=$|[.=])", token):
            others.append(token)
            continue
        token = f"--{token.lstrip('-')}"
        if "=" not in token and (value := next(rest, None)) is not None:
            token = f"{token}={value}"
        config_tokens.append(token)
    return config_tokens, others


def _read_grid(tokens: list[str]) -> dict[str, tuple[str, ...]]:
    """`--grid.KEY=a,b` -> the texts of each key's values."""
    grid = {}
    for token in tokens:
        name, _, text = token.removeprefix("--").partition("=")
        key = name.partition(".")[2]
        values = tuple(item for part in text.split(",") if (item := part.strip()))
        if not key or not values:
            raise ArgumentFault(f"expected --{GRID}.KEY=VALUE,VALUE,...; got {token!r}")
        if key in grid:
            raise ArgumentFault(f"--{GRID}.{key} is given twice")
        grid[key] = values
    return grid


def _refuse_unknown(command: Command, unknown: list[str]) -> None:
    known = [flag.name for flag in command.flags]
    for token in unknown:
        if token.startswith("-") and token.strip("-"):
            name = token.lstrip("-").partition("=")[0]
            block, dot, key = name.partition(".")
            hint = nearest(block if dot else name, known)
            hint = f"; did you mean --{hint}{dot}{key}?" if hint else ""
            raise ArgumentFault(f"unknown flag --{name}{hint}")
    if unknown:
        raise ArgumentFault(f"takes no arguments beside flags; got {' '.join(unknown)!r}")


def _check_positional(command: Command, values: dict[str, Any]) -> None:
    if command.positional is None:
        return
    name, _, missing, most = command.positional
    values[name] = tuple(values[name])
    if missing and not values[name]:
        raise ArgumentFault(missing)
    if most is not None and len(values[name]) > most:
        raise ArgumentFault(f"takes at most {most} {name}; got {' '.join(values[name])!r}")


def _value(flag: Flag, value: Any, config_name: str) -> Any:
    if value is not None:
        return value
    if flag.required:
        example = {CONFIG: "; for example --config=demo", GRID: "; for example --grid.seed=0,1,2"}
        example = example.get(flag.name, "")
        raise ArgumentFault(f"needs {_spelt(flag)}{example}")
    if isinstance(flag.default, str) and "{config}" in flag.default:
        return flag.read(flag.default.format(config=config_name)) if config_name else None
    return flag.default


def shard(text: str) -> tuple[int, int]:
    """`I/N` -> which of how many shares.

    Raises:
      ValueError: Not of that form, or not 1 <= I <= N.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"expected I/N with 1 <= I <= N, such as 1/4; got {text!r}")
    return int(match[1]), int(match[2])


def whole_number(text: str) -> int:
    """A number from 0 to 999.

    Raises:
      ValueError: For anything else.
    """
    if re.fullmatch(r"\d{1,3}", text) is None:
        raise ValueError(f"{text!r} is no whole number from 0 to 999")
    return int(text)


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is most like `name`, or "" if none is like it."""
    return next(iter(difflib.get_close_matches(name, list(known), n=1)), "")


# Help ------------------------------------------------------------------------------------------


def overview(commands: dict[str, Command]) -> str:
    """What `jaxemo --help` prints."""
    width = max(map(len, commands))
    return "\n".join(
        [
            "jaxemo: what emotional speech and emotional music share, by layer, transfer and distance.",
            "",
            "usage: jaxemo COMMAND [--config=NAME|FILE.py] [--config.key=value ...] [--workdir=DIR]",
            "",
            *(f"  {name:<{width}}  {command.summary}" for name, command in commands.items()),
            "",
            "`jaxemo COMMAND --help` says what a command reads, writes and needs.",
        ]
    )


def help_of(name: str, command: Command) -> str:
    """What `jaxemo COMMAND --help` prints."""
    lines = [
        f"jaxemo {name}: {command.summary}",
        "",
        f"reads   {command.reads}",
        f"writes  {command.writes}",
        f"needs   {command.needs}",
        "",
    ]
    if command.positional is not None:
        lines += _help_lines(command.positional.name.upper(), command.positional.help)
    for flag in command.flags:
        required = "; required" if flag.required else ""
        lines += _help_lines(_spelt(flag), flag.help + required)
        if flag.name == CONFIG:
            lines += _help_lines(
                "--config.KEY=VALUE",
                "changes one value: --config.audio.crop_seconds=2.0 --config.encoders=acoustic,DIR",
            )
    return "\n".join([*lines, "", f"example: {command.example}"])


def _spelt(flag: Flag) -> str:
    """The flag with the name of its value; `--grid.KEY=VALUE` has a key before it."""
    if not flag.metavar or flag.metavar.startswith("."):
        return f"--{flag.name}{flag.metavar}"
    return f"--{flag.name}={flag.metavar}"


def _help_lines(name: str, text: str) -> list[str]:
    first, *others = text.splitlines()
    return [f"  {name:<32}{first}", *(f"  {'':<32}{line}" for line in others)]
