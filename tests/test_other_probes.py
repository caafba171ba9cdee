"""Probes beside the linear one of classes: against scikit-learn, and on truths that only they can find."""

import dataclasses
import itertools

import numpy as np
import pytest

from jaxemo.analysis import probing
from jaxemo.analysis.probe_targets import Kind, columns_of, dev_score
from jaxemo.analysis.probing import FinalFit
from jaxemo.analysis.rating_probing import fit_rating_probes
from jaxemo.analysis.scores import confusion_matrix, unweighted_accuracy
from jaxemo.analysis.trained_probing import Form, fit_trained_probes
from jaxemo.analysis.value_intervals import leave_out_values
from jaxemo.studies.config import LayerSettings, Settings
from jaxemo.studies.layers import Run
from jaxemo.studies.value_probes import linear_answers

NUM_ROWS = 120
# The mean loss at the optimum, which float32 resolves.
LOSS_TOLERANCE = 1e-4
UA_TOLERANCE = 0.005
L2 = 1e-2


def parts(num_runs=3, num_rows=NUM_ROWS):
    part = (np.random.default_rng(1).permutation(num_rows) + np.arange(num_runs)[:, None]) % 3
    train, dev, test = (part == 0) | (part == 3), part == 1, part == 2
    return {"train_weight": train.astype("f4"), "dev_weight": dev.astype("f4")}, test


def rows_of(seed=0, *, num_layers=2, width=6):
    draw = np.random.default_rng(seed)
    return draw, draw.normal(size=(num_layers, NUM_ROWS, width)).astype(np.float32) * 3 + 1


# Against scikit-learn --------------------------------------------------------------------------


def scaled(features, rows):
    from sklearn.preprocessing import StandardScaler

    return StandardScaler().fit(features[rows]).transform(features)


def test_probes_of_classes_are_scikit_learns_logistic_regressions():
    linear_model = pytest.importorskip("sklearn.linear_model")
    _, features = rows_of()
    labels = np.arange(NUM_ROWS) % 3
    features[..., :3] += 3 * np.eye(3)[labels]
    weights, test = parts()
    found = probing.fit_probes(features, labels, **weights, num_classes=3, l2_strengths=(L2,))
    for layer, run in np.ndindex(found.chosen_l2.shape):
        train = weights["train_weight"][run] > 0
        x = scaled(features[layer], train)
        theirs = linear_model.LogisticRegression(
            C=1 / (L2 * train.sum()), class_weight="balanced", max_iter=1000, tol=1e-8
        ).fit(x[train], labels[train])
        ours = balanced_loss(np.asarray(found.logits[layer, run])[train], labels[train])
        expected = balanced_loss(theirs.decision_function(x[train]), labels[train])
        penalties = [
            L2 / 2 * np.sum(np.square(weight))
            for weight in (np.asarray(found.coefficients[layer, run]), theirs.coef_)
        ]
        assert ours + penalties[0] == pytest.approx(expected + penalties[1], abs=LOSS_TOLERANCE)
        answers = np.asarray(found.predictions[layer, run])[test[run]], theirs.predict(x[test[run]])
        ua = [ua_of(labels[test[run]], answer) for answer in answers]
        assert ua[0] == pytest.approx(ua[1], abs=UA_TOLERANCE)


def balanced_loss(logits, labels):
    from scipy import special

    loss = special.logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
    return np.mean([loss[labels == c].mean() for c in np.unique(labels)])


def ua_of(labels, answers):
    return unweighted_accuracy(confusion_matrix(labels, answers, num_classes=3))


def test_probes_of_tags_are_scikit_learns_one_against_the_rest():
    linear_model = pytest.importorskip("sklearn.linear_model")
    multiclass = pytest.importorskip("sklearn.multiclass")
    draw, features = rows_of()
    tags = (
        features[0] @ draw.normal(size=(6, 3)) + 4 * draw.normal(size=(NUM_ROWS, 3)) > 2
    ).astype("f4")
    weights, test = parts()
    runs = [
        Run(number, 0, *(part > 0 for part in of_run))
        for number, of_run in enumerate(zip(*weights.values(), test, strict=True))
    ]
    layers = LayerSettings(l2_strengths=(L2,), final_fit=FinalFit.TRAIN.value)
    settings = dataclasses.replace(Settings(), layers=layers)
    found = linear_answers(features, tags, Kind.TAGS, runs, settings)
    place = found.layers.index
    for layer, (number, run) in itertools.product(range(len(features)), enumerate(runs)):
        x = scaled(features[layer], run.train)
        each = linear_model.LogisticRegression(
            C=1 / (L2 * run.train.sum()), class_weight="balanced", max_iter=1000, tol=1e-8
        )
        theirs = multiclass.OneVsRestClassifier(each).fit(x[run.train], tags[run.train])
        ours = found.outputs[place(layer), number]
        assert ours == pytest.approx(theirs.decision_function(x), abs=0.01)
        for tag in range(tags.shape[1]):
            answers = ours[run.test, tag] > 0, theirs.predict(x[run.test])[:, tag] > 0
            ua = [recall_of_both(tags[run.test, tag] > 0, answer) for answer in answers]
            assert ua[0] == pytest.approx(ua[1], abs=UA_TOLERANCE)


def recall_of_both(truth, answers):
    return np.mean([np.mean(answers[truth == side] == side) for side in (True, False)])


@pytest.mark.parametrize("final_fit", FinalFit)
def test_probes_of_ratings_are_scikit_learns_ridge_at_the_strength_that_dev_chooses(final_fit):
    linear_model = pytest.importorskip("sklearn.linear_model")
    draw, features = rows_of()
    ratings = features[0, :, :2] @ draw.normal(size=(2, 2)) / 10 + draw.normal(
        0, 0.5, (NUM_ROWS, 2)
    )
    weights, _ = parts()
    strengths = (1e-4, 0.3, 30.0)
    found = fit_rating_probes(
        features, ratings, **weights, l2_strengths=strengths, final_fit=final_fit
    )
    assert len(np.unique(found.chosen_l2)) > 1

    def fitted(layer, rows, l2):
        x = scaled(features[layer].astype(float), rows)
        return linear_model.Ridge(alpha=l2 * rows.sum()).fit(x[rows], ratings[rows]).predict(x)

    for layer, run in np.ndindex(found.chosen_l2.shape):
        train, dev = weights["train_weight"][run] > 0, weights["dev_weight"][run]
        scores = {
            l2: float(dev_score(Kind.RATINGS, fitted(layer, train, l2), ratings, dev))
            for l2 in strengths
        }
        best = max(scores, key=lambda l2: scores[l2])
        assert found.chosen_l2[layer, run] == best
        assert found.dev_score[layer, run] == pytest.approx(scores[best], abs=1e-5)
        rows = train if final_fit is FinalFit.TRAIN else train | (dev > 0)
        np.testing.assert_allclose(found.outputs[layer, run], fitted(layer, rows, best), atol=1e-6)


# Planted ---------------------------------------------------------------------------------------


def scores_of(form, features, targets, kind, *, test, **options):
    """Dev score's function on the test rows, mean over runs, of every set of probes."""
    weights, _ = parts(num_rows=features.shape[1])
    found = fit_trained_probes(
        features, targets, kind=kind, form=form, seeds=np.arange(3), **weights, **options
    )
    columns = columns_of(kind, targets)
    of_runs = [
        [dev_score(kind, o, columns, rows.astype("f4")) for o, rows in zip(of, test, strict=True)]
        for of in found.outputs
    ]
    return found, np.mean(of_runs, axis=1)


def halves_of_classes():
    """Layer 0 tells class 0 from the others, layer 1 tells class 1; layer 2 is noise.

    Where one layer tells a class the others are silent: standardised noise would drown half of a signal.
    """
    _, features = rows_of(num_layers=3, width=4)
    labels = np.arange(NUM_ROWS) % 3
    features[1:, :, 0] = features[::2, :, 1] = 0
    features[0, :, 0] += 30 * (labels == 0)
    features[1, :, 1] += 30 * (labels == 1)
    return features, labels


def test_only_a_mixture_of_layers_tells_classes_that_no_layer_tells_alone():
    features, labels = halves_of_classes()
    weights, test = parts()
    linear = probing.fit_probes(features, labels, **weights, num_classes=3)
    answers = np.asarray(linear.predictions)
    alone = [
        np.mean([ua_of(labels[t], a[t]) for a, t in zip(of, test, strict=True)]) for of in answers
    ]
    assert max(alone) < 0.8
    for final_fit in FinalFit:
        found, [score] = scores_of(
            Form.WEIGHTED_SUM, features, labels, Kind.CLASSES, test=test, final_fit=final_fit
        )
        assert score > 0.95
        assert np.asarray(found.converged).all()
        assert np.asarray(found.layer_weights)[..., 2].max() < 0.2


def test_a_weighted_sum_of_one_layer_is_the_linear_probe():
    features, labels = halves_of_classes()
    weights, test = parts()
    linear = probing.fit_probes(features[:1], labels, **weights, num_classes=3, l2_strengths=(L2,))
    found, _ = scores_of(
        Form.WEIGHTED_SUM, features[:1], labels, Kind.CLASSES, test=test, l2_strengths=(L2,)
    )
    np.testing.assert_allclose(
        *(logits - logits.mean(-1, keepdims=True) for logits in (found.outputs, linear.logits)),
        atol=0.05,
    )


@pytest.mark.parametrize("kind", Kind)
def test_only_an_mlp_learns_what_is_no_linear_map(kind):
    """Whether two features have one sign."""
    features = np.random.default_rng(0).normal(size=(1, 3 * NUM_ROWS, 2)).astype(np.float32)
    alike = features[0, :, 0] * features[0, :, 1] > 0
    targets = alike.astype(np.int64) if kind is Kind.CLASSES else alike.astype("f4")[:, None]
    _, test = parts(num_rows=3 * NUM_ROWS)
    found, [mlp] = scores_of(Form.MLP, features, targets, kind, test=test, l2_strengths=(1e-3,))
    _, [linear] = scores_of(
        Form.WEIGHTED_SUM, features, targets, kind, test=test, l2_strengths=(1e-3,)
    )
    assert linear < 0.7 < 0.75 < mlp
    assert np.asarray(found.converged).all()


@pytest.mark.parametrize("form", Form)
def test_a_probe_that_ran_out_of_steps_is_marked(form):
    features, labels = halves_of_classes()
    _, test = parts()
    found, _ = scores_of(form, features, labels, Kind.CLASSES, test=test, max_iterations=1)
    assert not np.asarray(found.converged).any()


def test_a_part_without_rows_and_a_strength_of_zero_are_refused_together():
    features, _ = halves_of_classes()
    weights, _ = parts()
    weights["dev_weight"][1] = 0
    with pytest.raises(ValueError, match=r"runs \[1\] have no row in dev_weight; l2_strengths are"):
        fit_rating_probes(features, features[0], **weights, l2_strengths=(0.0,))


def test_values_of_units_have_the_score_of_all_as_their_mean():
    draw = np.random.default_rng(0)
    numbers, unit = draw.normal(size=(40, 2)), np.repeat(np.arange(5), 8)
    values = leave_out_values(lambda rows: numbers[rows].mean(axis=0), unit)
    own = [numbers[unit == one].mean(axis=0) for one in range(5)]
    np.testing.assert_allclose(values, own)
