"""Structure and style: ruff, the one-way imports between rooms, file and function sizes, machine paths.

Command: python tools/check.py   (exit code 1 and one line a finding)
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ROOMS = (
    "data",
    "models",
    "peft",
    "distances",
    "embedding",
    "training",
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
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 70
MACHINE_PATH = re.compile(r"(?<![\w.~])/(home|root|work|tmp|Users)/\w")


def main() -> int:
    """Prints every finding; 1 if there is any."""
    findings = [*style(), *imports(), *sizes(), *machine_paths()]
    print("\n".join(findings) or "check: no findings")
    return int(bool(findings))


def style() -> list[str]:
    """What ruff says of lint and format."""
    found = []
    for command in (["check", "--quiet"], ["format", "--check", "--quiet"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode:
            found.append(f"ruff {command[0]}:\n{done.stdout}{done.stderr}")
    return found


def imports() -> list[str]:
    """Imports against the order of `ROOMS`."""
    found = []
    for path in sources("jaxemo"):
        room = path.relative_to(ROOT / "jaxemo").parts[0]
        if room not in ROOMS:
            continue
        later = set(ROOMS[ROOMS.index(room) + 1 :]) | FORBIDDEN.get(room, set())
        for target in imported_rooms(path):
            if target in later:
                found.append(f"{path.relative_to(ROOT)}: {room}/ must not import {target}/")
    return found


def imported_rooms(path: Path) -> set[str]:
    """Rooms, and commands' modules, that a file imports from the package."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name.split(".")[1] for name in names if name.startswith("jaxemo.")}


def sizes() -> list[str]:
    """Files and functions that have grown beyond what one reads in one go."""
    found = []
    for path in [*sources("jaxemo"), *sources("tools"), *sources("configs")]:
        text = path.read_text(encoding="utf-8")
        if (lines := text.count("\n")) > MAX_FILE_LINES:
            found.append(f"{path.relative_to(ROOT)}: {lines} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    found.append(
                        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines"
                    )
    return found


def machine_paths() -> list[str]:
    """Absolute paths of somebody's machine in tracked text files."""
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = []
    for name in listing.stdout.splitlines():
        path = ROOT / name
        if path.suffix in {".safetensors", ".png"} or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if MACHINE_PATH.search(line) and "MACHINE_PATH" not in line:
                found.append(f"{name}:{number}: absolute path: {line.strip()[:80]}")
    return found


def sources(folder: str) -> list[Path]:
    """Python files below a folder."""
    return sorted((ROOT / folder).rglob("*.py"))


if __name__ == "__main__":
    sys.exit(main())
