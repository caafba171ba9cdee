"""What is seen of training: its speed, a trace of steps, a few clips learnt by heart."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_runs import LABELS, make_problem, program_of, three_runs

from jaxemo.cli.main import main
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.logs import CurveLog
from jaxemo.training.loop import fit_runs
from jaxemo.training.progress import EpochRecord, EpochTiming
from jaxemo.training.trace import StepTrace


def test_the_speed_counts_every_example_trained_on_and_no_filler(small_encoder):
    problem = make_problem("weighted_sum", small_encoder, None)
    duration_s = np.arange(len(LABELS)) + 0.5
    timings = []
    fit_runs(
        program_of(problem),
        problem.base,
        Examples(DenseFeatures(problem.inputs), LABELS, duration_s),
        three_runs(),
        on_epoch=lambda run, record, timing: timings.append(timing),
    )
    expected = sum(duration_s[run.train_rows].sum() for run in three_runs())
    for timing in timings:
        assert timing.audio_seconds_per_second * timing.seconds == pytest.approx(expected)


def test_a_trace_leaves_the_first_call_out_and_ends_after_its_steps(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(jax.profiler, "start_trace", lambda folder: told.append(folder))
    monkeypatch.setattr(jax.profiler, "stop_trace", lambda: told.append("stop"))
    trace = StepTrace(tmp_path / "profile", num_steps=3)
    seen = []
    with trace.until_trained():
        for _ in range(4):
            trace.called(jnp.ones(()), 2)
            seen.append(len(told))
    assert seen == [1, 1, 2, 2]
    assert told == [str(tmp_path / "profile"), "stop"]


def test_a_log_has_the_speed_beside_the_figures(tmp_path):
    with CurveLog(tmp_path, run_id="a") as log:
        log.epoch("lora", EpochRecord(0, 1.0, 2.0, 0.5), EpochTiming(2.0, 0.25, 300.0))
    [line] = (tmp_path / "curves.jsonl").read_text().splitlines()
    assert json.loads(line)["audio_seconds_per_second"] == 300.0
    assert json.loads(line)["data_wait"] == 0.25


# The command ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def flags(tiny_config, cache):
    return [
        tiny_config,
        cache,
        "--config.train.encoder=acoustic",
        "--config.train.method=weighted_sum",
    ]


def test_clips_are_learnt_by_heart_and_nothing_is_kept(flags, tmp_path, capsys):
    words = ["--config.debug.overfit=6", "--config.training.head_rate=0.03"]
    assert main(["train", *flags, *words, f"--workdir={tmp_path}"]) == 0
    printed = capsys.readouterr().out
    assert "overfit check of 6 clips, no model is kept" in printed
    assert "can fit what it is given" in printed
    assert not list(tmp_path.iterdir())


def test_clips_that_are_not_learnt_are_told_of(flags, tmp_path, capsys):
    words = ["--config.debug.overfit=6", "--config.training.head_rate=1e-6"]
    assert main(["train", *flags, *words, f"--workdir={tmp_path}"]) == 0
    assert "did not get below 0.05" in capsys.readouterr().out


def test_more_clips_than_there_are_and_a_sweep_are_refused(flags, tmp_path, capsys):
    words = ["--config.debug.overfit=4000", f"--workdir={tmp_path}"]
    assert main(["train", *flags, *words]) == 2
    assert "overfit is 4000; there are" in capsys.readouterr().err
    assert main(["sweep", *flags, *words, "--grid.seed=0,1"]) == 2
    assert "a sweep keeps its models" in capsys.readouterr().err


@pytest.mark.slow
def test_a_trace_of_steps_lies_in_the_workdir(flags, tmp_path):
    words = ["--config.debug.profile_steps=2", f"--workdir={tmp_path}"]
    assert main(["train", *flags, *words]) == 0
    assert list(tmp_path.glob("profile/plugins/profile/*/*.xplane.pb"))
