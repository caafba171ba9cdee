"""Ways to spoil bytes, JSON values and folders, each drawn from a generator."""

import copy
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Generator = np.random.Generator
_HEADER_BYTES = 128
_HUGE = (0, 1, 0x7F, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
_DEEP = "@deep@"
JSON_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    10**9,
    10**12,
    10**400,
    0.5,
    -0.5,
    1e300,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    "x",
    "x" * 5000,
    "\0",
    "\udcff",
    "../..",
    [],
    [1],
    [[]],
    [None] * 3,
    {},
    {"a": 1},
    _DEEP,
)


# Bytes -----------------------------------------------------------------------------------------


def spoil_bytes(rng: Generator, content: bytes) -> tuple[bytes, str]:
    """The content after one of the ways below, and its name."""
    way = BYTE_WAYS[rng.integers(len(BYTE_WAYS))]
    return way(rng, content), way.__name__.strip("_").replace("_", " ")


def _stretch(rng: Generator, size: int) -> slice:
    start = int(rng.integers(size + 1))
    return slice(start, start + int(rng.integers(1, max(size // 4, 1) + 1)))


def _flipped_bit(rng: Generator, content: bytes) -> bytes:
    return _with_flips(rng, content, count=1, reach=len(content))


def _flipped_bits(rng: Generator, content: bytes) -> bytes:
    return _with_flips(rng, content, count=int(rng.integers(2, 30)), reach=len(content))


def _flipped_bits_of_the_header(rng: Generator, content: bytes) -> bytes:
    return _with_flips(rng, content, count=int(rng.integers(1, 4)), reach=_HEADER_BYTES)


def _with_flips(rng: Generator, content: bytes, *, count: int, reach: int) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(max(min(reach, len(content)), 1), size=count):
        if changed:
            changed[place] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _cut(rng: Generator, content: bytes) -> bytes:
    return content[: int(rng.integers(len(content) + 1))]


def _cut_by_a_few_bytes(rng: Generator, content: bytes) -> bytes:
    return content[: -int(rng.integers(1, 9))]


def _without_a_stretch(rng: Generator, content: bytes) -> bytes:
    gone = _stretch(rng, len(content))
    return content[: gone.start] + content[gone.stop :]


def _with_an_insertion(rng: Generator, content: bytes) -> bytes:
    place = int(rng.integers(len(content) + 1))
    return content[:place] + rng.bytes(int(rng.integers(1, 600))) + content[place:]


def _zeroed_stretch(rng: Generator, content: bytes) -> bytes:
    gone = _stretch(rng, len(content))
    return content[: gone.start] + bytes(len(content[gone])) + content[gone.stop :]


def _random_stretch(rng: Generator, content: bytes) -> bytes:
    gone = _stretch(rng, len(content))
    return content[: gone.start] + rng.bytes(len(content[gone])) + content[gone.stop :]


def _number_in_the_header(rng: Generator, content: bytes) -> bytes:
    return _with_number(rng, content, reach=_HEADER_BYTES)


def _number_anywhere(rng: Generator, content: bytes) -> bytes:
    return _with_number(rng, content, reach=len(content))


def _with_number(rng: Generator, content: bytes, *, reach: int) -> bytes:
    size = int(rng.choice((2, 4, 8)))
    number = int(rng.choice(_HUGE)) & (256**size - 1)
    order = "little" if rng.random() < 0.5 else "big"
    place = int(rng.integers(max(min(reach, len(content)) - size, 1)))
    return content[:place] + number.to_bytes(size, order) + content[place + size :]


def _swapped_words(rng: Generator, content: bytes) -> bytes:
    first, second = sorted(int(n) * 4 for n in rng.integers(_HEADER_BYTES // 4, size=2))
    if first == second or second + 4 > len(content):
        return content[::-1]
    words = content[second : second + 4], content[first + 4 : second], content[first : first + 4]
    return content[:first] + b"".join(words) + content[second + 4 :]


def _with_junk_in_front(rng: Generator, content: bytes) -> bytes:
    return rng.bytes(int(rng.integers(1, 600))) + content


def _with_junk_behind(rng: Generator, content: bytes) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 600)))


def _empty(rng: Generator, content: bytes) -> bytes:
    return b""


BYTE_WAYS: tuple[Callable[[Generator, bytes], bytes], ...] = (
    _flipped_bit,
    _flipped_bits,
    _flipped_bits_of_the_header,
    _cut,
    _cut_by_a_few_bytes,
    _without_a_stretch,
    _with_an_insertion,
    _zeroed_stretch,
    _random_stretch,
    _number_in_the_header,
    _number_anywhere,
    _swapped_words,
    _with_junk_in_front,
    _with_junk_behind,
    _empty,
)


# JSON ------------------------------------------------------------------------------------------


def spoil_json(rng: Generator, text: str) -> tuple[str, str]:
    """JSON text with one value replaced, removed, added or wrapped, and what was done."""
    value = json.loads(text)
    places = list(places_of(value))
    *path, last = places[rng.integers(len(places))]
    block = value
    for key in path:
        block = block[key]
    words = spoil_item(rng, block, last)
    said = f"{words} at {'.'.join(str(key) for key in (*path, last))}"
    depth = int(rng.choice((50, 5000, 200_000)))
    deep = "[" * depth + "]" * depth
    return json.dumps(value).replace(f'"{_DEEP}"', deep), said


def spoil_item(rng: Generator, block: Any, key: Any) -> str:
    """Changes one item of a dict or list in place; says how."""
    draw = rng.random()
    if draw < 0.15:
        del block[key]
        return "removed"
    if draw < 0.25 and isinstance(block, dict):
        block[f"{key}x"] = block.pop(key)
        return "renamed"
    if draw < 0.35:
        block[key] = [block[key]] * int(rng.integers(1, 4))
        return "repeated in a list"
    if draw < 0.5 and isinstance(block[key], int | float) and abs(block[key]) < 1e100:
        factor = float(rng.choice((-1, 0.5, 2, 1000, 1e9)))
        block[key] = type(block[key])(block[key] * factor)
        return f"multiplied by {factor:g}"
    block[key] = bad = bad_value(rng)
    return f"{repr(bad)[:40]} put"


def bad_value(rng: Generator) -> Any:
    """One of `JSON_VALUES`, as a copy: what is spoilt next may lie in it."""
    return copy.deepcopy(JSON_VALUES[rng.integers(len(JSON_VALUES))])


def places_of(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all items of nested dicts and lists."""
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    places = []
    for key in keys:
        places.append((*path, key))
        if isinstance(value[key], dict | list):
            places += places_of(value[key], (*path, key))
    return places


# Folders ---------------------------------------------------------------------------------------


def spoil_folder(rng: Generator, folder: Path) -> str:
    """One file of a folder is removed, emptied, replaced by a folder or given to another name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path, other = (files[number] for number in rng.integers(len(files), size=2))
    name = path.relative_to(folder)
    way = int(rng.integers(4))
    if way == 0:
        path.unlink()
        return f"{name} removed"
    if way == 1:
        path.unlink()
        path.mkdir()
        return f"a folder in place of {name}"
    if way == 2:
        path.unlink()
        path.symlink_to(path.name)
        return f"{name} a link to itself"
    if path != other:
        shutil.copyfile(path, other)
    return f"{name} copied over {other.relative_to(folder)}"


def spoil_file(rng: Generator, path: Path) -> str:
    """Bytes of a file, or now and then a JSON value where the file holds JSON."""
    content = path.read_bytes()
    if content[:1] in (b"{", b"[") and rng.random() < 0.8:
        try:
            text, words = spoil_json(rng, content.decode())
        except ValueError:
            pass  # It only begins like JSON.
        else:
            path.write_text(text)
            return f"{path.name}: {words}"
    spoilt, words = spoil_bytes(rng, content)
    path.write_bytes(spoilt)
    return f"{path.name}: {words}"
