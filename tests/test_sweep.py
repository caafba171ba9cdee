"""Sweeps: a grid of settings, its shares, its folders, and the table that chooses on dev alone."""

import json

import pytest

from jaxemo.cli.command import ArgumentFault, parse
from jaxemo.cli.config_flags import full_key
from jaxemo.cli.main import COMMANDS, main
from jaxemo.report.contents import content_of
from jaxemo.report.sections.sweep import sweep_table
from jaxemo.studies.config import default_config
from jaxemo.studies.sweep import grid_points, share_of

GRID = {"train.seed": ("0", "1"), "methods.lora.rank": ("4", "8")}


def test_points_of_one_shape_are_neighbours():
    assert [tuple(point.values()) for point in grid_points(GRID)] == [
        ("4", "0"),
        ("4", "1"),
        ("8", "0"),
        ("8", "1"),
    ]


@pytest.mark.parametrize("count", [1, 3, 4, 7])
def test_shares_hold_every_point_once(count):
    points = list(range(7))
    shares = [share_of(points, (number, count)) for number in range(1, count + 1)]
    assert [point for share in shares for point in share] == points
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("seed", "train.seed"),
        ("method", "train.method"),
        ("lora.rank", "methods.lora.rank"),
        ("training.epochs", "training.epochs"),
        ("head_rate", "training.head_rate"),
    ],
)
def test_short_names_mean_config_keys(name, key):
    assert full_key(default_config(), name) == key


@pytest.mark.parametrize(
    ("name", "words"), [("rnak", "no key 'rnak'"), ("num_folds", "may mean folds.num_folds or")]
)
def test_names_that_mean_no_key_or_several_are_refused(name, words):
    with pytest.raises(ArgumentFault, match=words):
        full_key(default_config(), name)


def arguments(*tokens):
    return parse(COMMANDS["sweep"], ["--config=demo", *tokens])


def test_the_grid_and_the_share_are_read():
    values = arguments("--grid.lora.rank=4, 8", "--grid.seed", "0,1", "--shard=2/3")
    assert values["grid"] == {"lora.rank": ("4", "8"), "seed": ("0", "1")}
    assert values["shard"] == (2, 3)


@pytest.mark.parametrize(
    ("tokens", "words"),
    [
        ([], r"needs --grid\.KEY=VALUE"),
        (["--grid.seed="], "expected --grid.KEY"),
        (["--grid=1"], "expected --grid.KEY"),
        (["--grid.seed=0", "--grid.seed=1"], "given twice"),
        (["--grid.seed=0", "--shard=3/2"], "expected I/N"),
        (["--grid.seed=0", "--shard=x"], "expected I/N"),
    ],
)
def test_grids_and_shares_that_are_none_are_refused(tokens, words):
    with pytest.raises(ArgumentFault, match=words):
        arguments(*tokens)


# The command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flags(tiny_config, cache):
    return [
        *(tiny_config, cache, "--config.train.encoder=acoustic"),
        "--config.train.method=weighted_sum",
        "--grid.head_rate=0.01,0.001",
        "--grid.seed=0,1",
    ]


@pytest.fixture(scope="module")
def swept(flags, tmp_path_factory):
    """The workdir of a sweep in two shares."""
    workdir = tmp_path_factory.mktemp("sweep")
    for number in (1, 2):
        assert main(["sweep", *flags, f"--shard={number}/2", f"--workdir={workdir}"]) == 0
    return workdir


def rows_of(workdir):
    return json.loads((workdir / "results.json").read_text())["sweep"]


def test_every_point_has_its_row_and_its_model(swept):
    rows = rows_of(swept)
    assert {(row["point"], row["seed"]) for row in rows} == {
        (f"training.head_rate={rate}", seed) for rate in ("0.01", "0.001") for seed in (0, 1)
    }
    for name in ("head_rate-0.01+seed-0", "head_rate-0.001+seed-1"):
        assert (swept / "points" / name / "checkpoint" / "0").is_dir()


def test_points_that_are_there_are_not_trained_again(flags, swept, monkeypatch):
    before = rows_of(swept)
    monkeypatch.setattr("jaxemo.training.stack.RunStack.fit", None)
    for number in (1, 2):
        assert main(["sweep", *flags, f"--shard={number}/2", f"--workdir={swept}"]) == 0
    assert rows_of(swept) == before


def test_a_value_twice_is_refused_before_any_training(flags, tmp_path, capsys):
    assert main(["sweep", *flags, "--grid.fold=0,0", f"--workdir={tmp_path}"]) == 2
    assert "have one name" in capsys.readouterr().err


def test_the_best_is_chosen_on_dev_and_not_on_test():
    common = {"encoder": "e", "origin": "local", "method": "lora", "domain": "speech", "fold": 0}
    common |= {"n": 10, "trainable_parameters": 5}
    rows = [
        {**common, "point": point, "seed": seed, "dev_score": dev, "mean": test}
        for point, dev, test in (("rank=4", 0.6, 0.3), ("rank=8", 0.5, 0.9))
        for seed in range(3)
    ]
    results = {"provenance": {}, "sweep": rows}
    table = sweep_table(content_of(results))
    marked = [row[3] for row in table.rows if str(row[3]).endswith("\N{DAGGER}")]
    assert marked == ["rank=4\N{DAGGER}"]
