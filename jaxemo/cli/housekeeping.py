"""Commands that compute nothing: reports drawn again, configs, versions and caches."""

import ast
import importlib.metadata
import itertools
import json as json_format
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jaxemo
from jaxemo.cli.config_flags import find_config, shipped_configs
from jaxemo.cli.provenance import user_cache_dir, versions
from jaxemo.data.cache import Entry, Kind, list_entries, prune, remove

_CACHE_WORDS = {
    Kind.AUDIO: "decoded audio",
    Kind.EMBEDDINGS: "embeddings",
    Kind.PROGRAMS: "compiled programs",
    Kind.SYNTHETIC: "synthetic corpora",
    Kind.UNPACKED: "audio out of manifests",
    Kind.INDEX: "index files",
    Kind.LEFTOVERS: "left-overs of killed removals",
    Kind.OTHER: "not jaxemo's",
}


def report(*, results: tuple[str, ...], workdir: Path) -> None:
    """Draws the report of one results file, or of several side by side."""
    from jaxemo.report import write_report_folder

    page, *others = write_report_folder([Path(name) for name in results], workdir)
    print(page)
    for folder, paths in itertools.groupby(others, key=lambda path: path.parent):
        print(f"{folder}: {len(list(paths))} files")


def config(*, names: tuple[str, ...]) -> None:
    """Lists the package's configs, or prints one."""
    if names:
        print(find_config(names[0]).read_text(encoding="utf-8"), end="")
        return
    shipped = shipped_configs()
    width = max(map(len, shipped), default=0)
    for name, path in shipped.items():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        print(f"{name:<{width}}  {docstring.partition(chr(10))[0]}")


def info(*, json: bool, cache_dir: Path | None) -> None:
    """Prints what a run would rest on."""
    facts = _facts(cache_dir or user_cache_dir())
    if json:
        print(json_format.dumps(facts, indent=1))
        return
    print(f"jaxemo {facts['versions']['jaxemo']}  {facts['place']}")
    print("  ".join(f"{n} {v}" for n, v in facts["versions"].items() if n != "jaxemo"))
    for device in facts["devices"]:
        print(f"device  {device}")
    print(f"cache   {facts['cache']['place']}")
    print(f"        compiled programs in {facts['cache']['compiled_programs'] or 'none'}")
    for row in facts["cache"]["kinds"]:
        print(f"        {_row_words(row)}")
    for extra, packages in facts["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        state = f"lacks {', '.join(missing)}" if missing else "installed"
        print(f"extra   {extra}: {state}")


def cache(*, prune: int | None, clear: str | None, cache_dir: Path | None) -> None:
    """Lists the cache folder, after removing what it is told to."""
    folder = (cache_dir or user_cache_dir()).expanduser()
    if clear is not None:
        _say_removed(_clear(folder, clear))
    if prune is not None:
        _say_removed(_prune(folder, prune))
    entries = list_entries(folder)
    print(f"{folder}: {_size(sum(entry.num_bytes for entry in entries))}")
    for row in _by_kind(entries):
        print(f"  {_row_words(row)}, last used {row['last_used']}")
    for entry in entries:
        if entry.kind is Kind.EMBEDDINGS:
            print(f"    {_size(entry.num_bytes):>9}  {_day(entry.last_use)}  {entry.name}")


def _prune(folder: Path, max_bytes: int) -> list[Entry]:
    return prune(list_entries(folder), max_bytes=max_bytes, cache_dir=folder)


def _clear(folder: Path, kind: str) -> list[Entry]:
    """Removes one kind; `all` means every kind that is jaxemo's."""
    kinds = set(Kind) - {Kind.OTHER} if kind == "all" else {Kind(kind)}
    doomed = [entry for entry in list_entries(folder) if entry.kind in kinds]
    for entry in doomed:
        remove(entry, cache_dir=folder)
    return doomed


def _say_removed(removed: list[Entry]) -> None:
    for row in _by_kind(removed):
        print(f"removed {_row_words(row)}")
    if not removed:
        print("removed nothing")


def _facts(cache_dir: Path) -> dict[str, Any]:
    import jax

    return {
        "versions": versions(),
        "place": str(Path(jaxemo.__file__).parent),
        "devices": [f"{d.device_kind} ({d.platform} {d.id})" for d in jax.devices()],
        "cache": {
            "place": str(cache_dir),
            "compiled_programs": os.environ.get(
                "JAX_COMPILATION_CACHE_DIR", str(cache_dir / "xla")
            ),
            "kinds": _by_kind(list_entries(cache_dir)),
        },
        "extras": _extras(),
    }


def _extras() -> dict[str, dict[str, str | None]]:
    """Of each extra, its packages with their versions; None for those that are not installed."""
    try:
        requirements = importlib.metadata.requires("jaxemo") or []
    except importlib.metadata.PackageNotFoundError:
        # A clone on PYTHONPATH has no metadata.
        return {}
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in requirements:
        if extra := re.search(r"extra *== *['\"]([\w-]+)['\"]", requirement):
            name = re.split(r"[^\w.-]", requirement, maxsplit=1)[0]
            extras.setdefault(extra[1], {})[name] = _installed(name)
    return extras


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _by_kind(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    rows = []
    entries = list(entries)
    for kind in Kind:
        of_kind = [entry for entry in entries if entry.kind is kind]
        if of_kind:
            rows.append(
                {
                    "kind": kind.value,
                    "entries": len(of_kind),
                    "files": sum(entry.num_files for entry in of_kind),
                    "bytes": sum(entry.num_bytes for entry in of_kind),
                    "last_used": _day(max(entry.last_use for entry in of_kind)),
                }
            )
    return rows


def _row_words(row: dict[str, Any]) -> str:
    words = _CACHE_WORDS[Kind(row["kind"])]
    return f"{_size(row['bytes']):>9}  {row['files']:>6} files  {row['kind']}: {words}"


def _size(num_bytes: int | float) -> str:
    for unit in ("B", "kB", "MB"):
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} GB"


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
