"""`jaxemo info` and `jaxemo report`."""

import importlib.metadata
import json
from pathlib import Path

import jax
import pytest

import jaxemo
from jaxemo.cli.main import main


@pytest.fixture
def facts(tmp_path, capsys):
    (tmp_path / "synthetic-0-1").mkdir()
    (tmp_path / "synthetic-0-1" / "a.wav").write_bytes(b"x" * 2000)
    assert main(["info", "--json", f"--cache_dir={tmp_path}"]) == 0
    return json.loads(capsys.readouterr().out)


def test_info_gives_versions_and_devices(facts):
    assert facts["versions"]["jaxemo"] == jaxemo.__version__
    assert facts["versions"]["jax"] == jax.__version__
    assert {"python", "jaxlib", "flax"} <= set(facts["versions"])
    assert len(facts["devices"]) == jax.device_count()


def test_info_gives_the_caches_with_place_and_size(facts, tmp_path):
    assert facts["cache"]["place"] == str(tmp_path)
    [row] = facts["cache"]["kinds"]
    assert (row["kind"], row["files"], row["bytes"]) == ("synthetic", 1, 2000)


def test_info_says_where_compiled_programs_go(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    assert main(["info", f"--cache_dir={tmp_path}"]) == 0
    assert f"compiled programs in {tmp_path / 'xla'}" in capsys.readouterr().out
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    assert main(["info", f"--cache_dir={tmp_path}"]) == 0
    assert "compiled programs in elsewhere" in capsys.readouterr().out


def test_info_says_which_packages_of_each_extra_are_installed(facts, monkeypatch, capsys):
    required = ["absl-py>=2", 'pytest<10,>=8.3; extra == "test"', "nothing-such; extra == 'other'"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required)
    assert main(["info", "--json"]) == 0
    extras = json.loads(capsys.readouterr().out)["extras"]
    assert extras == {"test": {"pytest": pytest.__version__}, "other": {"nothing-such": None}}
    assert main(["info"]) == 0
    said = capsys.readouterr().out
    assert "extra   test: installed" in said
    assert "extra   other: lacks nothing-such" in said


def test_report_draws_all_results_into_the_workdir_and_prints_the_files(
    monkeypatch, tmp_path, capsys
):
    calls = []

    def write_report_folder(paths, workdir):
        calls.append((paths, workdir))
        return [workdir / "report.html", workdir / "tables" / "layers.csv"]

    monkeypatch.setattr("jaxemo.report.write_report_folder", write_report_folder, raising=False)
    assert main(["report", "a/results.json", "b/results.json", f"--workdir={tmp_path}"]) == 0
    assert calls == [([Path("a/results.json"), Path("b/results.json")], tmp_path)]
    said = capsys.readouterr().out.splitlines()
    assert said == [str(tmp_path / "report.html"), f"{tmp_path / 'tables'}: 1 files"]
