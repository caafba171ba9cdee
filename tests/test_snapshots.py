"""Training that was killed goes on from its last snapshot, and ends in the very same bits."""

import os
import signal

import jax
import numpy as np
import pytest
from test_runs import LABELS, SETTINGS, make_problem, program_of, three_runs

from jaxemo.data.batches import shuffled_batches
from jaxemo.data.stopping import Stopped, signals_raised
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.finite import NonFiniteStep
from jaxemo.training.loop import fit_runs
from jaxemo.training.snapshots import SnapshotFolder


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def fit(problem, folder, *, stop_after=None, on_epoch=None, settings=SETTINGS):
    """(results, what was told); ends by an exception after so many epochs of runs."""
    told = []

    def told_epoch(run, record, timing):
        told.append((run, record))
        if on_epoch is not None:
            on_epoch(run, record)
        if len(told) == stop_after:
            raise Interrupted

    fits = fit_runs(
        program_of(problem, settings=settings),
        problem.base,
        # No table, so that a call of the device is one step.
        Examples(DenseFeatures(problem.inputs, table_bytes=0), LABELS),
        three_runs(),
        on_epoch=told_epoch,
        snapshots=lambda runs: folder and SnapshotFolder(folder, seconds=0.0),
    )
    return fits, told


@pytest.fixture(scope="module")
def problem(small_encoder):
    return make_problem("weighted_sum", small_encoder, None)


@pytest.fixture(scope="module")
def undisturbed(problem):
    return fit(problem, None)


def assert_same_bits(found, expected):
    (fits, told), (other_fits, other_told) = found, expected
    assert told == other_told
    for one, other in zip(fits, other_fits, strict=True):
        assert one.history == other.history
        jax.tree.map(np.testing.assert_array_equal, one.trainable, other.trainable)


@pytest.mark.parametrize("epochs", [1, 4, 7])
def test_what_was_interrupted_ends_in_the_same_bits(problem, undisturbed, tmp_path, epochs):
    with pytest.raises(Interrupted):
        fit(problem, tmp_path / "s", stop_after=epochs)
    assert_same_bits(fit(problem, tmp_path / "s"), undisturbed)


def test_what_is_finished_is_not_trained_again(problem, undisturbed, tmp_path, monkeypatch):
    fit(problem, tmp_path / "s")
    monkeypatch.setattr("jaxemo.training.stack.RunStack._train_epoch", None)
    assert_same_bits(fit(problem, tmp_path / "s"), undisturbed)


def test_a_damaged_snapshot_is_named_and_the_one_before_it_used(
    problem, undisturbed, tmp_path, caplog
):
    fit(problem, tmp_path / "s")
    newest = max(tmp_path.glob("s/*"), key=lambda path: int(path.name))
    [spoilt, *_] = [path for path in newest.glob("state/**/*") if path.is_file()]
    spoilt.write_bytes(spoilt.read_bytes()[:-1])
    assert_same_bits(fit(problem, tmp_path / "s"), undisturbed)
    assert f"{spoilt} is not what was written" in caplog.text


def test_a_signal_ends_training_once_the_step_is_saved(problem, undisturbed, tmp_path):
    def interrupt(run, record):
        if (run, record.epoch) == (0, 1):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="terminated"), signals_raised(lambda stop: None):
        fit(problem, tmp_path / "s", on_epoch=interrupt)
    assert len(list(tmp_path.glob("s/*"))) == 2
    assert_same_bits(fit(problem, tmp_path / "s"), undisturbed)


def test_a_loss_that_is_not_finite_ends_training_with_its_step_and_rows(problem, tmp_path):
    wrong = problem._replace(inputs=np.array(problem.inputs))
    wrong.inputs[7] = np.nan
    with pytest.raises(NonFiniteStep, match="not finite at epoch 0, step") as caught:
        fit(wrong, tmp_path / "s")
    assert 7 in caught.value.rows


def test_a_loss_that_is_not_finite_comes_with_the_snapshot_before_it(problem, tmp_path):
    """A row is spoilt that no run sees in its first step."""
    first = [
        next(shuffled_batches(run.train_rows, batch_size=4, seed=run.seed, epoch=0)).rows
        for run in three_runs()
    ]
    row = min(set(range(12)) - set(np.concatenate(first)))
    wrong = problem._replace(inputs=np.array(problem.inputs))
    wrong.inputs[row] = np.nan
    with pytest.raises(NonFiniteStep) as caught:
        fit(wrong, tmp_path / "s")
    assert caught.value.snapshot in list(tmp_path.glob("s/*"))
