"""Sweeps: a grid of settings, its shares, its folders, and the table that chooses on dev alone."""

import json

import pytest

from jaxemo.cli.command import ArgumentFault, parse
from jaxemo.cli.config_flags import changed_config, full_key
from jaxemo.cli.main import COMMANDS, main
from jaxemo.report.contents import content_of
from jaxemo.report.sections.sweep import sweep_table
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.record import read_model_record
from jaxemo.studies.sweep import Point, grid_points, share_of
from jaxemo.training.stack import RunStack

GRID = {"train.seed": ("0", "1"), "methods.lora.rank": ("4", "8")}


def test_points_of_one_shape_are_neighbours():
    assert [tuple(point.values()) for point in grid_points(GRID)] == [
        ("4", "0"),
        ("4", "1"),
        ("8", "0"),
        ("8", "1"),
    ]


def shapes_of(grid):
    """The shape of each point of a grid, in order."""
    points = [
        Point(values, read_settings(changed_config(default_config(), values)))
        for values in grid_points(grid)
    ]
    return [dict(point.shape) for point in points]


def test_points_that_differ_in_rates_seed_and_fold_alone_have_one_shape():
    grid = GRID | {
        "training.head_rate": ("0.01", "0.001"),
        "methods.lora.adaptation_rate": ("0.01", "0.001"),
        "train.fold": ("0", "1"),
    }
    shapes = shapes_of(grid)
    assert shapes == [{"methods.lora.rank": rank} for rank in ("4", "8") for _ in range(16)]


def test_the_rate_of_another_method_is_part_of_the_shape():
    """Both points train the same model, each for itself."""
    grid = {"methods.adapter.adaptation_rate": ("0.01", "0.001")}
    first, second = shapes_of(grid)
    assert first != second


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


def test_every_points_model_says_its_own_rate(swept):
    for rate in (0.01, 0.001):
        folder = swept / "points" / f"head_rate-{rate}+seed-0" / "checkpoint"
        assert read_model_record(folder)["training"]["head_rate"] == rate


def test_points_of_different_rates_are_one_program(flags, tmp_path, monkeypatch):
    stacks = []
    fit = RunStack.fit

    def counted(stack, *arguments):
        stacks.append(len(stack._runs))
        return fit(stack, *arguments)

    monkeypatch.setattr(RunStack, "fit", counted)
    assert main(["sweep", *flags, f"--workdir={tmp_path}"]) == 0
    assert stacks == [4]


def test_points_that_are_there_are_not_trained_again(flags, swept, monkeypatch):
    before = rows_of(swept)
    monkeypatch.setattr("jaxemo.training.stack.RunStack.fit", None)
    for number in (1, 2):
        assert main(["sweep", *flags, f"--shard={number}/2", f"--workdir={swept}"]) == 0
    assert rows_of(swept) == before


def test_a_value_twice_is_refused_before_any_training(flags, tmp_path, capsys):
    assert main(["sweep", *flags, "--grid.fold=0,0", f"--workdir={tmp_path}"]) == 2
    assert "have one name" in capsys.readouterr().err
    assert main(["sweep", *flags, "--grid.fold=0,00", f"--workdir={tmp_path}"]) == 2
    assert "mean the same" in capsys.readouterr().err


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
