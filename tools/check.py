"""Structure and style: ruff, types, one-way imports, sizes, code that nothing calls, machine paths.

Command: python tools/check.py   (exit code 1 and one line per finding)
"""

import ast
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "jaxemo"
ROOMS = (
    "data",
    "models",
    "peft",
    "distances",
    "embedding",
    "training",
    "pretraining",
    "analysis",
    "results",
    "studies",
    "report",
    "cli",
)
# Beyond the order: rooms that must not know each other although the order would allow it.
FORBIDDEN = {
    "models": {"data"},
    "peft": {"data"},
    "distances": {"data"},
    "report": {"studies", "training", "models"},
}
# Files beside the rooms, and what they may import before they are used.
DOORS: dict[str, set[str]] = {
    "__init__.py": set(),
    "__main__.py": {"cli", "data"},
    "figures.py": {"report"},
}
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MACHINE_PATH = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users)/\w")
# Modules and functions that are imported by name: `jaxemo.cli.handlers:study`.
DOTTED_NAME = re.compile(r"jaxemo((?:\.\w+)+)(?::(\w+))?")
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def main() -> int:
    """Prints every finding; 1 if there is any."""
    findings = [*style(), *imports(), *sizes(), *uncalled(), *machine_paths(), *typing_faults()]
    print("\n".join(findings) or "check: no findings")
    return int(bool(findings))


# Style and types -------------------------------------------------------------------------------


def style() -> Iterator[str]:
    """What ruff says of lint and format."""
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            yield f"ruff {command[0]}:\n{done.stdout}{done.stderr}"


def typing_faults() -> Iterator[str]:
    """What basedpyright says, by its basic rules (see pyproject.toml)."""
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    try:
        diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    except ValueError:
        yield f"basedpyright: {done.stdout}{done.stderr}"
        return
    for found in diagnostics:
        path = Path(found["file"]).relative_to(ROOT)
        line = found["range"]["start"]["line"] + 1
        message = " ".join(found["message"].split())
        yield f"{path}:{line} {found.get('rule', 'types')}: {message}"


# Imports ---------------------------------------------------------------------------------------


def imports() -> Iterator[str]:
    """Imports of every file of the package against the order of `ROOMS`."""
    for path in sources("jaxemo"):
        place, shown = path.relative_to(PACKAGE), path.relative_to(ROOT)
        if len(place.parts) == 1 and place.name not in DOORS:
            yield f"{shown}: a file beside the rooms; move it into one of them"
        room = "" if len(place.parts) == 1 else place.parts[0]
        if room and room not in ROOMS:
            yield f"{shown}: no room is called {room}/ (see ROOMS)"
            continue
        if not room and (
            early := imported_rooms(tree_of(path).body) - DOORS.get(place.name, set())
        ):
            yield f"{shown}: imports {', '.join(sorted(early))} before it is used"
        later = set(ROOMS[ROOMS.index(room) + 1 :]) | FORBIDDEN.get(room, set()) if room else set()
        for target in sorted(imported_rooms(list(ast.walk(tree_of(path)))) & later):
            yield f"{shown}: {room}/ must not import {target}/"
        yield from wrong_names(path)


def imported_rooms(nodes: list[ast.stmt] | list[ast.AST]) -> set[str]:
    """Rooms that the given nodes import from the package, by statement or by name."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif name := dotted_name(node):
            names.add(f"jaxemo{name[1]}")
    return {name.split(".")[1] for name in names if name.startswith("jaxemo.")}


def wrong_names(path: Path) -> Iterator[str]:
    """Relative imports, and names in texts that lead nowhere."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{path.relative_to(ROOT)}:{node.lineno} relative import; name the room"
        if (name := dotted_name(node)) and not leads_somewhere(name[1], name[2]):
            line = getattr(node, "lineno", 0)
            yield f"{path.relative_to(ROOT)}:{line} nothing is called {name[0]!r}"


def dotted_name(node: ast.AST) -> re.Match[str] | None:
    """The match of a text that is the dotted name of a module or function of ours."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return DOTTED_NAME.fullmatch(node.value)
    return None


def leads_somewhere(module: str, function: str | None) -> bool:
    """Whether a module, and a function in it if one is named, is there."""
    base = PACKAGE.joinpath(*module.split(".")[1:])
    path = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    if not path.is_file():
        return False
    defined = {node.name for node in tree_of(path).body if isinstance(node, Definition)}
    return function is None or function in defined


# Sizes -----------------------------------------------------------------------------------------


def sizes() -> Iterator[str]:
    """Files and functions that have grown beyond what one reads in one go."""
    for path in [
        file for name in ("jaxemo", "tools", "configs", "tests") for file in sources(name)
    ]:
        shown = path.relative_to(ROOT)
        lines = path.read_text(encoding="utf-8").count("\n")
        if lines > MAX_FILE_LINES:
            yield f"{shown}: {lines} lines; at most {MAX_FILE_LINES}"
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    yield f"{shown}:{node.lineno} {node.name}: {lines} lines; at most {MAX_FUNCTION_LINES}"


# Code that nothing calls -----------------------------------------------------------------------


def uncalled() -> Iterator[str]:
    """Definitions of the package that nothing in it, in tools or in configs names.

    Page templates count. Tests do not, nor do a definition's own body, an import alone and `__all__`. What the
    package offers (`_HOMES` of jaxemo/__init__.py) and the handlers of commands stand in texts,
    which count.
    """
    mentions: Counter[str] = Counter()
    for path in [file for name in ("jaxemo", "tools", "configs") for file in sources(name)]:
        for node in tree_of(path).body:
            if not is_all(node):
                mentions += names_in(node)
    for path in sorted(PACKAGE.rglob("*.jinja")):
        mentions.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    for path in sources("jaxemo"):
        for line, name, own in definitions(tree_of(path)):
            if mentions[name] <= own[name]:
                yield f"{path.relative_to(ROOT)}:{line} {name}: nothing but tests calls it"


def definitions(tree: ast.Module) -> Iterator[tuple[int, str, Counter[str]]]:
    """(line, name, names in its own body) of functions, classes, constants and plain methods."""
    for node in tree.body:
        if isinstance(node, Definition) and not node.name.startswith("__"):
            yield node.lineno, node.name, names_in(node)
        if isinstance(node, ast.ClassDef) and has_plain_bases(node):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("__"):
                    yield inner.lineno, inner.name, names_in(inner)
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Name) and not target.id.startswith("__"):
                    yield node.lineno, target.id, Counter()


def is_all(node: ast.stmt) -> bool:
    """Whether it says what a star import would take."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)


def has_plain_bases(node: ast.ClassDef) -> bool:
    """Whether no base from elsewhere may call its methods."""
    return all(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases)


def names_in(tree: ast.AST) -> Counter[str]:
    """How often each name is read: as a variable, an attribute, in an import or as a text."""
    names: Counter[str] = Counter()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Store):
            names[node.id] += 1
        elif isinstance(node, ast.Attribute):
            names[node.attr] += 1
        elif isinstance(node, ast.ImportFrom):
            # Under a name of its own an import is read as that; ruff finds those that are not read.
            names.update(alias.name for alias in node.names if alias.asname)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names[node.value.rpartition(":")[2]] += 1
    return names


# Machine paths ---------------------------------------------------------------------------------


def machine_paths() -> Iterator[str]:
    """Absolute paths of somebody's machine in tracked text files."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listing.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".safetensors", ".png"} or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_PATH.search(line) and "MACHINE_PATH" not in line:
                yield f"{name}:{number}: absolute path: {line.strip()[:80]}"


def sources(folder: str) -> list[Path]:
    """Python files below a folder."""
    return sorted((ROOT / folder).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    """The parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    sys.exit(main())
