"""The wheel, unpacked in another folder: what it holds, and the command that runs from it."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = (
    "jaxemo",
    "configs",
    "tests",
    "tools",
    "pyproject.toml",
    "setup.py",
    "README.md",
    "LICENSE",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel built from a copy of the repository, so that nothing is left in it."""
    copy = tmp_path_factory.mktemp("source")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "goldens")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, copy / name)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True)
    [path] = (copy / "dist").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(unpacked, folder, *arguments, code=None):
    """Standard output of a Python process in `folder` that finds the unpacked wheel first."""
    program = ["-c", code] if code else ["-m", "jaxemo.cli.main"]
    done = subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(unpacked), "JAXEMO_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def files_below(folder, pattern):
    return {
        str(path.relative_to(folder))
        for path in folder.rglob(pattern)
        if "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_module_template_weight_and_config(wheel):
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert {f"jaxemo/{name}" for name in files_below(ROOT / "jaxemo", "*.py")} <= held
    templates = files_below(ROOT / "jaxemo" / "report" / "templates", "*.*")
    assert {f"jaxemo/report/templates/{name}" for name in templates} <= held
    weights = files_below(ROOT / "jaxemo" / "models" / "embedded_weights", "*.*")
    assert {f"jaxemo/models/embedded_weights/{name}" for name in weights} <= held
    assert {f"jaxemo/configs/{name}" for name in files_below(ROOT / "configs", "*.py")} <= held


def test_the_wheel_holds_nothing_else_at_its_top(wheel):
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"jaxemo"}


def test_help_runs_from_the_wheel(unpacked, tmp_path):
    assert "usage: jaxemo COMMAND" in run(unpacked, tmp_path, "--help")


@pytest.mark.parametrize("name", ["demo", "ravdess", "ravdess_quick"])
def test_a_config_is_printed_from_the_wheel_in_any_folder(name, unpacked, tmp_path):
    assert run(unpacked, tmp_path, "config", name) == (ROOT / "configs" / f"{name}.py").read_text()


def test_configs_load_by_name_from_the_wheel_in_any_folder(unpacked, tmp_path):
    code = (
        "import sys, jaxemo\n"
        "from jaxemo.cli.command import parse\n"
        "from jaxemo.cli.main import COMMANDS\n"
        "values = parse(COMMANDS['study'], sys.argv[1:])\n"
        "print(jaxemo.__file__, values['workdir'], values['config'].layers.num_seeds)"
    )
    said = run(unpacked, tmp_path, "--config=demo", "--config.layers.num_seeds=4", code=code)
    assert said.split() == [str(unpacked / "jaxemo" / "__init__.py"), "runs/demo", "4"]


def test_what_a_config_starts_from_can_be_changed_and_used_there(unpacked, tmp_path):
    text = run(unpacked, tmp_path, "config", "demo").replace("1.2", "0.7")
    (tmp_path / "mine.py").write_text(text)
    code = (
        "import sys\n"
        "from jaxemo.cli.command import parse\n"
        "from jaxemo.cli.main import COMMANDS\n"
        "print(parse(COMMANDS['study'], sys.argv[1:])['config'].audio.crop_seconds)"
    )
    assert run(unpacked, tmp_path, "--config=mine.py", code=code) == "0.7\n"
