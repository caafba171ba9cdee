"""The moving average of what is trained: its formula, and that it is what is scored, kept and taken up again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_runs import LABELS, SETTINGS, assert_equal_fits, make_problem, program_of, three_runs

from jaxemo.data.stopping import Stopped
from jaxemo.training.features import DenseFeatures, Examples
from jaxemo.training.loop import fit_runs
from jaxemo.training.predict import TrainedModel
from jaxemo.training.snapshots import SnapshotFolder
from jaxemo.training.step import moved_average

DECAY = 0.6
AVERAGED = SETTINGS._replace(ema_decay=DECAY)


@pytest.fixture(scope="module")
def problem(small_encoder):
    return make_problem("weighted_sum", small_encoder, None)


def fit(problem, settings=AVERAGED, runs=None, **how):
    program = program_of(problem, settings=settings)
    examples = Examples(DenseFeatures(problem.inputs), LABELS)
    return fit_runs(program, problem.base, examples, runs or three_runs(), **how), program


@pytest.fixture(scope="module")
def averaged(problem):
    return fit(problem)


def test_an_average_forgets_its_beginning_and_then_moves_by_its_decay():
    values = [np.float32(value) for value in (5, -1, 2, 8, 3, 3, 7)]
    average = {"a": jnp.float32(100)}
    expected = 100.0
    for step, value in enumerate(values):
        average = moved_average(average, {"a": value}, decay=0.3, step=jnp.int32(step))
        decay = min(0.3, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    np.testing.assert_allclose(average["a"], expected, rtol=1e-5)


def test_without_a_decay_there_is_none():
    assert moved_average((), {"a": jnp.ones(())}, decay=0.0, step=jnp.int32(0)) == ()


def test_training_itself_is_the_same_and_the_scored_tree_another(problem, averaged):
    plain, _ = fit(problem, SETTINGS)
    for one, other in zip(averaged[0], plain, strict=True):
        assert [e.train_loss for e in one.history] == pytest.approx(
            [e.train_loss for e in other.history], abs=1e-6
        )
        assert [e.dev_score for e in one.history] != [e.dev_score for e in other.history]


def test_the_kept_tree_has_the_score_that_was_recorded(problem, averaged):
    fits, program = averaged
    for run, found in zip(three_runs(), fits, strict=True):
        model = TrainedModel(found.trainable, run.statistics)
        features = DenseFeatures(problem.inputs)
        answers = program.predictor.predict(model, problem.base, features, run.dev_rows)
        score = program.objective.score(LABELS[run.dev_rows], answers)
        assert score == pytest.approx(found.history[found.best_epoch].dev_score, abs=1e-5)


def test_averages_of_runs_do_not_depend_on_the_runs_beside_them(problem, averaged):
    alone = [fit(problem, runs=[run])[0][0] for run in three_runs()]
    assert_equal_fits(averaged[0], alone)


def test_an_average_is_taken_up_again_in_the_same_bits(problem, averaged, tmp_path):
    def stop(run, record, timing):
        if (run, record.epoch) == (2, 1):
            raise Stopped("terminated", 143)

    def snapshots(runs):
        return SnapshotFolder(tmp_path / "s", seconds=0.0)

    with pytest.raises(Stopped):
        fit(problem, snapshots=snapshots, on_epoch=stop)
    again, _ = fit(problem, snapshots=snapshots)
    for one, other in zip(again, averaged[0], strict=True):
        assert one.history == other.history
        jax.tree.map(np.testing.assert_array_equal, one.trainable, other.trainable)
