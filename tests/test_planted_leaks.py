"""Leaks that are planted: who or what is in two parts is refused, and what test rows hold changes nothing.

Statistics, example weights, chosen epochs, strengths and layers come from train and dev: with garbage in
every test row, each trained number is the same to the bit.
"""

from dataclasses import replace

import jax
import numpy as np
import pytest
from planted_corpus import planted_experiment, planted_layers, planted_utterances

from jaxemo.data.folds import Fold, LeakageError, audit, make_folds, split
from jaxemo.embedding.stream import Embedding
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.layers import study_layers
from jaxemo.studies.resuming import unfinished_runs
from jaxemo.studies.runs import Place, make_bench, train_runs
from jaxemo.studies.sources import Embedded, Source
from jaxemo.training.sharding import make_mesh


@pytest.fixture(scope="module")
def utterances():
    return planted_utterances()


@pytest.fixture(scope="module")
def experiment(utterances):
    return planted_experiment(utterances, num_folds=3, num_seeds=1)


# Who and what -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["speaker", "song", "session"])
def test_a_speaker_song_or_session_in_two_parts_is_refused_by_name(utterances, kind):
    """What folds keep together is the speaker, who is the song where nobody performs it, or the group."""
    rows = utterances
    if kind == "session":
        rows = tuple(replace(row, group=f"session {row.speaker}") for row in rows)
    [fold, *_] = make_folds(rows, num_folds=3)
    planted = fold.train[0]
    leaking = Fold(fold.index, fold.train, fold.dev, (*fold.test, planted))
    with pytest.raises(LeakageError, match=planted):
        audit(rows, [leaking], digests=[row.path for row in rows])


def test_one_recording_under_two_names_is_refused_by_both(utterances, experiment):
    [fold, *_] = experiment.folds[0]
    parts = split(utterances, fold)
    digests = list(experiment.digests)
    digests[parts.test[0]] = digests[parts.train[0]]
    with pytest.raises(LeakageError) as refused:
        audit(utterances, [fold], digests=digests)
    names = {utterances[row].path for row in (parts.train[0], parts.test[0])}
    assert set(refused.value.files) == names


# What test rows hold ------------------------------------------------------------------------


def with_garbage(experiment, values):
    """The experiment with other labels, and the values with NaN, in every test row of the first fold."""
    rows = experiment.split(0, 0).test
    labels = experiment.labels.copy()
    labels[rows] = labels[rows][::-1]
    spoilt = values.copy()
    spoilt[rows] = np.nan
    assert (labels != experiment.labels).any()
    return experiment._replace(labels=labels), spoilt


def embedded_as(pooled):
    source = Source("planted", "planted", "hand-made", 16_000, "f" * 64)
    return Embedded(source, Embedding(pooled, None, None, None, None), None)


@pytest.fixture(scope="module")
def settings():
    config = default_config()
    config.layers.num_seeds = 1
    config.training.batch_size = 16
    config.methods.weighted_sum.epochs = 3
    return read_settings(config)


def trained(experiment, pooled, settings, folder):
    embedded = embedded_as(pooled)
    mesh = make_mesh(jax.devices()[:1])
    bench = make_bench(
        experiment, embedded, settings, method_name="weighted_sum", mesh=mesh, workdir=folder
    )
    [run] = train_runs(
        experiment,
        bench,
        [Place(0, 0, "single", ("speech", "music"), dev_domain="speech")],
        folder_of=lambda place: folder / "absent",
        unfinished=unfinished_runs(folder, settings),
    )
    return run


def test_garbage_in_test_rows_leaves_trained_models_bit_equal(
    experiment, utterances, settings, tmp_path
):
    """Layer statistics, class weights, the loss and the chosen epoch."""
    pooled = planted_layers(utterances)
    plain = trained(experiment, pooled, settings, tmp_path)
    spoilt = trained(*with_garbage(experiment, pooled), settings, tmp_path)
    assert spoilt.fit.history == plain.fit.history
    assert spoilt.fit.best_epoch == plain.fit.best_epoch
    jax.tree.map(np.testing.assert_array_equal, spoilt.model, plain.model)


def test_garbage_in_train_rows_does_not(experiment, utterances, settings, tmp_path):
    """That the test above can fail."""
    pooled = planted_layers(utterances)
    plain = trained(experiment, pooled, settings, tmp_path)
    moved = pooled.copy()
    moved[experiment.split(0, 0).train[:5]] += 1.0
    other = trained(experiment, moved, settings, tmp_path)
    assert other.fit.history != plain.fit.history
    assert not np.array_equal(other.statistics.mean, plain.statistics.mean)


def test_labels_of_test_speakers_choose_no_layer_and_no_strength(experiment, utterances, settings):
    """One fold, since each speaker is tested in one and trained on in the others."""
    one_fold = experiment._replace(folds=((experiment.folds[0][0],),))
    pooled = planted_layers(utterances)
    other, _ = with_garbage(one_fold, pooled)
    found = [study_layers(one, embedded_as(pooled), settings) for one in (one_fold, other)]
    for one, twin in zip(*(result.probed.values() for result in found), strict=True):
        np.testing.assert_array_equal(one.chosen, twin.chosen)
        np.testing.assert_array_equal(one.probes.dev_score, twin.probes.dev_score)
        np.testing.assert_array_equal(one.probes.predictions, twin.probes.predictions)
