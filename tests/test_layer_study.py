"""Study 1 on embeddings with planted emotion: what its rows rest on, and what they must not see."""

import numpy as np
import pytest
from planted_corpus import (
    EMOTION,
    NOISE,
    embedded_as,
    planted_experiment,
    planted_layers,
    planted_settings,
    planted_utterances,
)

from jaxemo.analysis.intervals import SCORE_INFLATION
from jaxemo.analysis.probing import ProbeResult
from jaxemo.analysis.scores import unweighted_accuracy
from jaxemo.studies import layers
from jaxemo.studies.layers import probe_domain, study_layers
from jaxemo.studies.probes import other_probe_rows
from jaxemo.studies.tallies import seed_spread, tally

UTTERANCES = planted_utterances()


@pytest.fixture(scope="module")
def study():
    experiment = planted_experiment(UTTERANCES)
    return study_layers(experiment, embedded_as(planted_layers(UTTERANCES)), planted_settings())


def of(rows, **wanted):
    return [row for row in rows if all(getattr(row, k) == v for k, v in wanted.items())]


def test_intervals_are_students_over_speakers_own_ua_with_seeds_averaged(study):
    from scipy import stats

    experiment, settings = planted_experiment(UTTERANCES), planted_settings()
    embedded = embedded_as(planted_layers(UTTERANCES))
    probed = probe_domain(experiment, embedded, settings, domain="speech")
    rows = experiment.rows_of("speech")
    speakers = np.array([UTTERANCES[row].speaker for row in rows])
    labels, answers = experiment.labels[rows], np.asarray(probed.probes.predictions)[NOISE]
    own = {name: [] for name in np.unique(speakers)}
    for run, predictions in zip(probed.runs, answers, strict=True):
        for name in np.unique(speakers[run.test]):
            mine = run.test & (speakers == name)
            right = predictions[mine] == labels[mine]
            own[name].append(np.mean([right[labels[mine] == c].mean() for c in range(3)]))
    values = [np.mean(of_seeds) for of_seeds in own.values()]
    [row] = of(study.rows, domain="speech", layer=NOISE, metric="UA")
    error = SCORE_INFLATION * stats.sem(values)
    low, high = stats.t.interval(0.95, 5, loc=np.mean(values), scale=error)
    assert row.mean == pytest.approx(np.mean(values))
    assert (row.low, row.high) == pytest.approx((low, high))
    assert (row.speakers, row.n, row.folds, row.seeds) == (6, 144, 3, 2)


def test_the_planted_layer_is_chosen_and_the_other_told_from_it(study):
    [choice] = of(study.choices, domain="music", layer=None)
    [chosen] = of(study.choices, domain="music", layer=EMOTION)
    [other] = of(study.choices, domain="music", layer=NOISE)
    assert (chosen.chosen, chosen.mean, chosen.low) == (1.0, 0.0, None)
    assert choice.low > 0.5 > choice.chance == pytest.approx(1 / 3)
    assert other.high < 0 and other.p_value == other.p_corrected <= 0.05


def test_the_choice_of_a_layer_never_sees_the_test_speakers():
    """Noise everywhere: a layer picked on test would be above chance, one picked on dev is not."""
    picked, best = [], []
    experiment = planted_experiment(UTTERANCES)
    for seed in range(8):
        noise = planted_layers(UTTERANCES, strength=0.0, seed=seed)
        found = study_layers(experiment, embedded_as(noise), planted_settings())
        picked += [row.mean for row in found.choices if row.layer is None]
        scores = of(found.rows, metric="UA")
        best += [max(row.mean for row in of(scores, domain=d)) for d in ("speech", "music")]
    assert np.mean(picked) < 1 / 3 + 0.03 < np.mean(best)


def test_other_probes_stand_beside_the_linear_ones_of_the_same_runs(study):
    """No map that bends and no mixture finds more than the one layer that has the emotion."""
    forms = ("weighted_sum", "mlp")
    settings = planted_settings(other_probes=forms, l2_strengths=(1e-2,), final_fit="train")
    embedded = embedded_as(planted_layers(UTTERANCES))
    experiment = planted_experiment(UTTERANCES)
    rows = other_probe_rows(experiment, embedded, settings, plain=study.probed)
    for domain in ("speech", "music"):
        [mixed] = of(rows, domain=domain, probe="weighted_sum", metric="UA")
        [linear] = of(study.choices, domain=domain, layer=None)
        [bent] = of(rows, domain=domain, probe="mlp", metric="UA", layer=None)
        [noise] = of(rows, domain=domain, probe="mlp", metric="UA", layer=NOISE)
        assert (mixed.layer, mixed.n, mixed.seeds) == (None, linear.n, linear.seeds)
        assert min(mixed.mean, bent.mean) > linear.mean - 0.1 > noise.mean
        [gap] = of(rows, domain=domain, probe="weighted_sum", metric="UA_difference")
        assert gap.mean == pytest.approx(mixed.mean - linear.mean)
        [of_noise] = of(rows, domain=domain, probe="mlp", metric="UA_difference", layer=NOISE)
        [plain] = of(study.rows, domain=domain, metric="UA", layer=NOISE)
        assert of_noise.mean == pytest.approx(noise.mean - plain.mean)


@pytest.fixture
def guesses(monkeypatch):
    """Answers by chance in place of probes, where it does not matter what they say."""

    def guess(features, labels, *, train_weight, num_classes, **_):
        draw, shape = np.random.default_rng(0), (len(features), len(train_weight))
        predictions = draw.integers(0, num_classes, (*shape, len(labels)))
        blank = dict.fromkeys(ProbeResult._fields)
        converged, dev_score = np.ones(shape, bool), draw.random(shape)
        return ProbeResult(
            **blank | {"predictions": predictions, "converged": converged, "dev_score": dev_score}
        )

    monkeypatch.setattr(layers, "fit_probes", guess)


@pytest.mark.usefixtures("guesses")
def test_three_speakers_have_scores_the_reason_and_reason():
    utterances = planted_utterances(speakers=3)
    found = study_layers(
        planted_experiment(utterances), embedded_as(planted_layers(utterances)), planted_settings()
    )
    assert {row.low for row in (*found.rows, *found.choices)} == {None}
    assert {row.reason for row in found.rows} == {"3 speakers; an interval needs 4"}


@pytest.mark.usefixtures("guesses")
def test_a_run_whose_training_part_lacks_an_emotion_is_left_out():
    """Only the speakers of one group are angry, so that the fold that tests them has no anger to learn."""
    full = planted_experiment(UTTERANCES, num_seeds=1)
    angry = set(full.folds[0][0].test)
    kept = [row for row in UTTERANCES if row.emotion != "angry" or row.speaker in angry]
    experiment = planted_experiment(UTTERANCES, num_seeds=1)._replace(
        corpus=full.corpus._replace(utterances=tuple(kept)),
        labels=np.array([["happy", "sad", "angry"].index(row.emotion) for row in kept]),
    )
    embedded = embedded_as(planted_layers(kept))
    probed = probe_domain(experiment, embedded, planted_settings(num_seeds=1), domain="speech")
    lacking = [fold for fold in full.folds[0] if not angry & set(fold.train)]
    assert lacking and len(probed.runs) == len(full.folds[0]) - len(lacking)
    rows = study_layers(experiment, embedded, planted_settings(num_seeds=1)).rows
    [recall] = of(rows, domain="speech", layer=0, metric="recall", emotion="happy")
    assert recall.speakers < 6
    assert not of(rows, domain="speech", emotion="angry")
    # What was scored has two emotions.
    assert {row.chance for row in rows} == {0.5}


def test_no_run_at_all_is_refused():
    experiment = planted_experiment(UTTERANCES, num_seeds=1)
    labels = np.where(np.arange(len(UTTERANCES)) == 0, 0, 1 + experiment.labels % 2)
    with pytest.raises(ValueError, match="every emotion to train on"):
        probe_domain(
            experiment._replace(labels=labels, folds=(experiment.folds[0][:1],)),
            embedded_as(planted_layers(UTTERANCES)),
            planted_settings(num_seeds=1),
            domain="speech",
        )


def test_seeds_spread_is_that_of_the_scores_of_all_speakers():
    labels = np.array([0, 1, 0, 1])
    predictions = np.array([[[0, 1, 0, 1], [0, 0, 0, 0]]])
    held_out = np.ones((2, 4), bool)
    pooled = tally(
        predictions,
        labels,
        speakers=["a", "a", "b", "b"],
        held_out=held_out,
        seeds=[0, 1],
        num_classes=2,
    )
    assert seed_spread(pooled, 0, unweighted_accuracy) == pytest.approx(np.std([1.0, 0.5], ddof=1))
