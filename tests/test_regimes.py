"""The protocol of study 2: what each regime is trained on, for how long and from where."""

import functools
import math
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemo.data.progress import Progress
from jaxemo.studies import regimes, runs
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.experiment import prepare_experiment
from jaxemo.studies.resuming import unfinished_runs
from jaxemo.studies.runs import make_bench, recipe_updates, rows_in, train_rows
from jaxemo.studies.second_stage import start_after, started
from jaxemo.studies.sources import Needs, embed_sources, load_sources
from jaxemo.studies.transfer import study_transfer
from jaxemo.training.loop import fit_runs
from jaxemo.training.optim import Rates
from jaxemo.training.sharding import make_mesh

SHARES = (0.3, 1.0)
SILENT = Progress(lambda items, description, total: items, lambda description: lambda *_: None)


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    config = default_config()
    config.encoders = ("acoustic",)
    config.corpus.clips_per_cell = 1
    config.audio.excerpt, config.audio.crop_seconds = "middle", 0.6
    config.folds.num_folds = 3
    config.transfer.methods = ("weighted_sum",)
    config.transfer.num_folds = 1
    config.transfer.shares = SHARES
    config.training.batch_size = 16
    config.methods.weighted_sum.epochs = 2
    config.cache_dir = str(tmp_path_factory.mktemp("cache"))
    return read_settings(config)


@pytest.fixture(scope="module")
def problem(settings):
    """The corpus with its embedding, and the bench of the one method."""
    sources = load_sources(settings.encoders)
    experiment = prepare_experiment(
        settings,
        sample_rates_hz=[source.sample_rate_hz for source in sources],
        num_seeds=2,  # Two choices of dev speakers.
        cache_dir=Path(settings.cache_dir),
        progress=SILENT,
    )
    [embedded] = embed_sources(experiment, settings, sources=sources, needs=Needs(recognition=True))
    bench = make_bench(
        experiment,
        embedded,
        settings,
        method_name="weighted_sum",
        mesh=make_mesh(jax.devices()[:1]),
        workdir=Path(settings.cache_dir),
    )
    return experiment, embedded, bench


@pytest.fixture(scope="module")
def trained(problem, settings, tmp_path_factory):
    """All runs of one fold, by place."""
    experiment, _, bench = problem
    stages, common = regimes.Stages(bench, bench), _common(tmp_path_factory, settings)
    made = regimes.train_regimes(experiment, stages, [(0, 0)], settings, common=common)
    return {run.place: run for run in made}


def _common(tmp_path_factory, settings):
    folder = tmp_path_factory.mktemp("models")
    return {
        "folder_of": lambda place: folder / "absent",
        "unfinished": unfinished_runs(folder, settings),
    }


@pytest.fixture(scope="module")
def found(problem, settings, tmp_path_factory):
    """The results of the whole study."""
    experiment, embedded, _ = problem
    return study_transfer(
        experiment,
        embedded,
        settings,
        mesh=make_mesh(jax.devices()[:1]),
        workdir=tmp_path_factory.mktemp("study"),
        log_epoch=lambda name, record, timing: None,
    )


def run_of(trained, regime, *, target="speech", fold=0, share=1.0):
    [run] = [
        run
        for place, run in trained.items()
        if (place.regime, place.dev_domain, place.fold, place.share)
        == (regime, target, fold, share)
    ]
    return run


def test_every_regime_is_trained_once_for_each_direction_fold_and_share(trained):
    counts = Counter((place.regime, place.share) for place in trained)
    per_share = {
        regimes.TARGET_ONLY,
        regimes.LONGER,
        regimes.JOINT,
        regimes.PLACEBO,
        regimes.TWO_STAGE,
    }
    expected = {(regime, share): 2 for regime in per_share for share in SHARES}
    assert counts == expected | {(regimes.SHUFFLED_SOURCE, 1.0): 2}


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("regime", [regimes.LONGER, regimes.JOINT])
def test_controls_are_trained_for_the_updates_of_both_stages(regime, share, trained):
    stages = [
        run_of(trained, regimes.TARGET_ONLY, target="music"),
        run_of(trained, regimes.TWO_STAGE, share=share),
    ]
    assert run_of(trained, regime, share=share).updates == sum(run.updates for run in stages)


def test_epochs_are_those_of_the_updates(trained, problem):
    experiment, _, bench = problem
    for place, run in trained.items():
        per_epoch = recipe_updates(experiment, bench, place) // bench.program.settings.epochs
        assert len(run.fit.history) == math.ceil(run.updates / per_epoch)


@pytest.mark.parametrize(
    ("regime", "first"),
    [
        (regimes.TWO_STAGE, regimes.TARGET_ONLY),
        (regimes.PLACEBO, regimes.SHUFFLED_SOURCE),
        (regimes.LONGER, None),
    ],
)
def test_a_run_is_training_on_the_target_from_its_first_stage(regime, first, trained, problem):
    experiment, _, bench = problem
    run = run_of(trained, regime)
    begin = None if first is None else run_of(trained, first, target="music").fit.trainable
    inputs = runs._run_inputs(experiment, bench, run.place, run.updates)
    [again] = fit_runs(bench.program, bench.base, bench.examples, [inputs._replace(initial=begin)])
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, atol=1e-5), again.trainable, run.fit.trainable
    )


def test_the_placebos_first_stage_learns_shuffled_labels(trained, problem):
    experiment, _, bench = problem
    run = run_of(trained, regimes.SHUFFLED_SOURCE, target="music")
    _, shuffled = regimes._with_shuffled_labels(experiment, bench, seed=0)
    inputs = runs._run_inputs(experiment, bench, run.place, run.updates)
    [again] = fit_runs(bench.program, bench.base, shuffled.examples, [inputs])
    np.testing.assert_allclose(again.history, run.fit.history, atol=1e-5)
    [true] = fit_runs(bench.program, bench.base, bench.examples, [inputs])
    assert not np.allclose(true.history, run.fit.history, atol=1e-2)


def test_shuffling_keeps_each_speakers_labels_in_each_domain(problem):
    experiment, _, bench = problem
    shuffled, other_bench = regimes._with_shuffled_labels(experiment, bench, seed=0)
    assert (shuffled.labels != experiment.labels).mean() > 0.5
    np.testing.assert_array_equal(other_bench.examples.targets, shuffled.labels)

    def counts(labels):
        clips = zip(experiment.utterances, labels, strict=True)
        return Counter((row.speaker, row.domain, label) for row, label in clips)

    assert counts(shuffled.labels) == counts(experiment.labels)


def test_smaller_shares_are_parts_of_larger_ones_and_of_the_target_alone(problem):
    experiment, _, _ = problem
    for pair in ((0, 0), (1, 2)):
        [place, _] = regimes._places([pair], regimes.JOINT, share=0.3)
        rows = [
            set(train_rows(experiment, place._replace(share=share))) for share in (0.3, 0.6, 1.0)
        ]
        assert rows[0] < rows[1] < rows[2]
        parts = experiment.split(*pair)
        source = regimes.source_of(place.dev_domain)
        assert set(rows_in(experiment, parts.train, (source,))) <= rows[0]
        target = rows_in(experiment, parts.train, (place.dev_domain,))
        speakers = {experiment.utterances[row].speaker for row in target}
        kept = {experiment.utterances[row].speaker for row in rows[0] & set(target)}
        assert len(kept) == math.ceil(0.3 * len(speakers))


def test_shares_without_an_emotion_are_refused_by_name(problem):
    experiment, _, _ = problem
    sad = experiment.emotions.index("sad")
    first = experiment.utterances[0].speaker
    relabelled = np.array(
        [
            0 if label == sad and row.speaker != first else label
            for label, row in zip(experiment.labels, experiment.utterances, strict=True)
        ]
    )
    lacking = experiment._replace(labels=relabelled)
    settings = read_settings(default_config()).transfer
    regimes.check_shares(lacking, [(0, 0)], settings)
    few = default_config()
    few.transfer.shares = (0.1,)
    with pytest.raises(ValueError, match=r"a share of 0\.1 has no 'sad'"):
        regimes.check_shares(lacking, [(0, 0), (0, 1), (0, 2)], read_settings(few).transfer)


@pytest.mark.parametrize("inherits", [("adaptation",), ("head",), ("adaptation", "head")])
def test_what_the_second_stage_does_not_inherit_begins_as_in_target_only_training(
    inherits, trained, problem, settings
):
    experiment, _, bench = problem
    first = run_of(trained, regimes.TARGET_ONLY, target="music")
    place = run_of(trained, regimes.TWO_STAGE).place
    alone = runs._run_inputs(experiment, bench, place, 1)
    start = start_after(first.fit.trainable, inherits)
    made = started(bench.program.network, bench.base, alone, start).initial
    fresh = bench.program.init_runs(
        *jax.tree.map(lambda leaf: leaf[None], (alone.key, alone.statistics)),
        bench.base,
        np.ones(1, np.int32),
        Rates(np.ones(1), np.ones(1)),
        None,
    ).trainable
    expected = (
        first.fit.trainable["head"]
        if "head" in inherits
        else jax.tree.map(lambda leaf: leaf[0], fresh["head"])
    )
    jax.tree.map(np.testing.assert_array_equal, made["head"], expected)


def test_rows_cover_regimes_shares_and_baselines(found):
    scores = [row for row in found.rows if row.metric == "UA"]
    assert Counter((row.regime, row.share) for row in scores) == {
        (regimes.SOURCE_ONLY, 0.0): 2,
        **{
            (regime, share): 2
            for regime in set(regimes.REGIMES) - {regimes.SOURCE_ONLY}
            for share in SHARES
        },
    }
    controls = {regimes.TARGET_ONLY, regimes.LONGER, regimes.PLACEBO}
    for regime in (regimes.TWO_STAGE, regimes.JOINT):
        for share in SHARES:
            against = {
                row.baseline
                for row in found.rows
                if (row.metric, row.regime, row.share) == ("UA_gain", regime, share)
            }
            assert against == controls


def test_source_only_is_the_other_directions_target_only_run(found):
    weights = {(row.domain, row.regime): row.mean for row in found.layer_weights if row.layer == 0}
    assert weights["speech", regimes.SOURCE_ONLY] == weights["music", regimes.TARGET_ONLY]


def test_every_run_is_listed_with_the_epoch_that_dev_chose(found):
    assert len(found.runs) == 2 * (5 * len(SHARES) + 1)
    for row in found.runs:
        assert 1 <= row.chosen_epoch <= row.epochs
    assert {row.regime for row in found.runs} == {
        *(set(regimes.REGIMES) - {regimes.SOURCE_ONLY}),
        regimes.SHUFFLED_SOURCE,
    }


def test_intervals_are_over_all_held_out_speakers(found):
    for row in found.rows:
        if row.metric == "UA":
            assert (row.unit, row.speakers, row.folds, row.seeds) == ("speaker", 4, 1, 1)
            assert row.low is None or row.low < row.mean < row.high
            assert (row.low is None) == bool(row.reason)
