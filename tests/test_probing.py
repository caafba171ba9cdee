"""The batched probe against a float64 solution of its own equation, one layer and run at a time."""

import jax
import jaxtyping
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxemo.analysis import probing, regression_path

NUM_CLASSES = 3
NUM_ROWS = 60
# The optimiser's default tolerance: measured 0.005 here, 0.02 at 768 features, on logits near 10.
LOGIT_TOLERANCE = 0.02
LOSS_TOLERANCE = 5e-4


def make_case(seed=0, *, num_layers=2, num_rows=NUM_ROWS, num_dimensions=5, num_runs=3):
    """Overlapping classes, correlated features far from zero, and runs that rotate the parts."""
    random = np.random.default_rng(seed)
    labels = np.arange(num_rows) % NUM_CLASSES
    centres = random.normal(size=(num_layers, NUM_CLASSES, num_dimensions))
    features = centres[:, labels] + random.normal(size=(num_layers, num_rows, num_dimensions))
    mixing = random.normal(size=(num_layers, num_dimensions, num_dimensions))
    features = (features @ mixing) * np.logspace(-2, 2, num_dimensions) + 10.0
    part = (random.permutation(num_rows) + np.arange(num_runs)[:, None]) % num_runs
    return {
        "features": features.astype(np.float32),
        "labels": labels,
        "train_weight": (part > 0).astype(np.float32),
        "dev_weight": (part == 0).astype(np.float32),
        "num_classes": NUM_CLASSES,
    }


def reference_logits(features, labels, weight, *, l2):
    """scipy's L-BFGS on the docstring's loss, in float64 on features standardised by hand."""
    from scipy import optimize, special

    features, weight = features.astype(np.float64), weight.astype(np.float64)
    mean = np.average(features, axis=0, weights=weight)
    std = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=weight))
    z = (features - mean) / np.where(std > 0, std, 1.0)
    one_hot = np.eye(NUM_CLASSES)[labels]
    c = weight / (NUM_CLASSES * (weight @ one_hot)[labels])

    def loss(parameters):
        matrix = parameters.reshape(-1, NUM_CLASSES)
        logits = z @ matrix[:-1] + matrix[-1]
        value = c @ (special.logsumexp(logits, axis=1) - logits[np.arange(len(z)), labels])
        error = c[:, None] * (special.softmax(logits, axis=1) - one_hot)
        gradient = np.vstack([z.T @ error + l2 * matrix[:-1], error.sum(0)])
        return value + 0.5 * l2 * np.sum(matrix[:-1] ** 2), gradient.ravel()

    start = np.zeros((z.shape[1] + 1) * NUM_CLASSES)
    options = {"maxiter": 20000, "maxfun": 40000, "gtol": 1e-10, "ftol": 1e-16}
    found = optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options=options)
    matrix = found.x.reshape(-1, NUM_CLASSES)
    return z @ matrix[:-1] + matrix[-1]


def centred(logits):
    return logits - logits.mean(axis=-1, keepdims=True)


def weighted_loss(logits, labels, weight):
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return -np.average(log_likelihood[np.arange(len(labels)), labels], weights=weight)


def check_against_reference(case, *, l2):
    result = probing.fit_probes(**case, l2_strengths=(l2,))
    assert np.asarray(result.converged).all()
    for layer, run in np.ndindex(result.chosen_l2.shape):
        features, weight = case["features"][layer], case["train_weight"][run]
        expected = reference_logits(features, case["labels"], weight, l2=l2)
        found = np.asarray(result.logits[layer, run], np.float64)
        np.testing.assert_allclose(centred(found), centred(expected), atol=LOGIT_TOLERANCE)
        np.testing.assert_allclose(
            weighted_loss(found, case["labels"], weight),
            weighted_loss(expected, case["labels"], weight),
            atol=LOSS_TOLERANCE,
        )


@pytest.mark.parametrize("l2", [1e-4, 1e-2, 1.0])
def test_probes_solve_the_stated_problem(l2):
    check_against_reference(make_case(), l2=l2)


@pytest.mark.parametrize("l2", [1e-4, 1e-1])
def test_probes_solve_separable_problems_with_more_features_than_rows(l2):
    check_against_reference(make_case(num_dimensions=100, num_layers=1), l2=l2)


def test_features_too_wide_for_an_inverse_are_solved_alike(monkeypatch):
    monkeypatch.setattr(regression_path, "WIDEST_INVERSE", 8)
    check_against_reference(make_case(num_dimensions=9), l2=1e-2)


def test_probes_solve_unbalanced_and_weighted_problems():
    case = make_case()
    random = np.random.default_rng(0)
    rare = (case["labels"] == 0) & (np.arange(NUM_ROWS) % 4 > 0)
    case["train_weight"] *= np.where(rare, 0.0, random.uniform(0.2, 3.0, NUM_ROWS)).astype("f4")
    check_against_reference(case, l2=1e-2)


def test_constant_and_duplicate_features_are_harmless():
    case = make_case()
    constant = np.full_like(case["features"][..., :1], 0.1)
    case["features"] = np.concatenate([case["features"], constant, case["features"]], axis=-1)
    check_against_reference(case, l2=1e-2)


def test_a_feature_that_is_constant_in_training_does_not_speak_for_other_rows():
    case = make_case(num_layers=1, num_runs=3)
    train = case["train_weight"][0] > 0
    extra = np.where(train, 5.0, 5.0 + 100.0 * case["labels"]).astype(np.float32)
    case["train_weight"], case["dev_weight"] = case["train_weight"][:1], case["dev_weight"][:1]
    alone = probing.fit_probes(**case, l2_strengths=(1e-2,))
    case["features"] = np.concatenate([case["features"], extra[None, :, None]], axis=-1)
    beside = probing.fit_probes(**case, l2_strengths=(1e-2,))
    np.testing.assert_allclose(beside.logits, alone.logits, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("l2", [1e-4, 1e-2])
def test_probes_solve_the_stated_problem_at_full_width(l2):
    check_against_reference(make_case(num_rows=600, num_dimensions=768, num_layers=1), l2=l2)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_predictions_do_not_depend_on_scale_and_offset_of_features(seed):
    case = make_case(seed)
    before = probing.fit_probes(**case, l2_strengths=(0.1,))
    random = np.random.default_rng(seed)
    scale, offset = np.exp(random.normal(size=5)), random.normal(size=5)
    case["features"] = (case["features"] * scale + offset).astype(np.float32)
    after = probing.fit_probes(**case, l2_strengths=(0.1,))
    np.testing.assert_allclose(after.logits, before.logits, atol=2e-3)


def test_a_run_does_not_depend_on_the_runs_and_layers_beside_it():
    case = make_case()
    together = probing.fit_probes(**case)
    for layer, run in np.ndindex(together.chosen_l2.shape):
        alone = probing.fit_probes(
            case["features"][layer : layer + 1],
            case["labels"],
            train_weight=case["train_weight"][run : run + 1],
            dev_weight=case["dev_weight"][run : run + 1],
            num_classes=NUM_CLASSES,
        )
        assert alone.chosen_l2[0, 0] == together.chosen_l2[layer, run]
        np.testing.assert_allclose(alone.logits[0, 0], together.logits[layer, run], atol=0.02)


def test_rows_outside_the_training_part_do_not_move_the_probe():
    case = make_case(num_layers=1, num_runs=1)
    case["train_weight"] = (np.arange(NUM_ROWS)[None] < 40).astype(np.float32)
    case["dev_weight"] = 1 - case["train_weight"]
    before = probing.fit_probes(**case, l2_strengths=(1e-2,))
    case["features"][:, 40:] = 1e4 * np.random.default_rng(1).normal(size=(1, 20, 5))
    case["labels"] = np.where(np.arange(NUM_ROWS) < 40, case["labels"], 0)
    after = probing.fit_probes(**case, l2_strengths=(1e-2,))
    np.testing.assert_allclose(after.logits[:, :, :40], before.logits[:, :, :40], atol=1e-4)


def test_strength_is_the_best_on_dev_and_the_strongest_among_ties():
    case, strengths = make_case(num_dimensions=30), (1e-4, 1e-2, 1.0, 1e3)
    chosen = probing.fit_probes(**case, l2_strengths=strengths)
    alone = [probing.fit_probes(**case, l2_strengths=(l2,)) for l2 in strengths]
    dev_scores = np.stack([np.asarray(result.dev_score) for result in alone])
    best = dev_scores.max(axis=0)
    np.testing.assert_allclose(chosen.dev_score, best, atol=1e-6)
    for layer, run in np.ndindex(best.shape):
        ties = dev_scores[:, layer, run] >= best[layer, run] - 1e-6
        assert np.isclose(chosen.chosen_l2[layer, run], max(np.array(strengths)[ties]))
    assert (dev_scores.max(axis=0) > dev_scores.min(axis=0)).any()


def test_dev_score_is_the_mean_recall_over_the_dev_classes():
    case = make_case()
    case["dev_weight"][0] *= case["labels"] != 2
    result = probing.fit_probes(**case)
    for layer, run in np.ndindex(result.dev_score.shape):
        dev = case["dev_weight"][run] > 0
        labels, predictions = case["labels"][dev], np.asarray(result.predictions)[layer, run, dev]
        recalls = [np.mean(predictions[labels == c] == c) for c in np.unique(labels)]
        np.testing.assert_allclose(result.dev_score[layer, run], np.mean(recalls), rtol=1e-5)


def test_predictions_are_the_largest_logits():
    result = probing.fit_probes(**make_case())
    np.testing.assert_array_equal(result.predictions, np.argmax(result.logits, axis=-1))


def test_a_probe_that_ran_out_of_steps_is_marked():
    result = probing.fit_probes(**make_case(), max_iterations=1)
    assert not np.asarray(result.converged).any()
    assert (np.asarray(result.gradient_norm) > 1e-4).all()


def test_the_same_call_gives_the_same_bits():
    first, second = (probing.fit_probes(**make_case()) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.fixture
def as_installed():
    """Shape checks off, as for users, so that the library's own errors are what is seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def test_all_faults_are_listed_in_one_error(as_installed):
    case = make_case()
    case["features"][0, 3, 1] = np.nan
    case["labels"][0] = 7
    case["train_weight"][1] *= case["labels"] != 2
    case["dev_weight"][2] = 0
    with pytest.raises(ValueError) as error:
        probing.fit_probes(**case, l2_strengths=(0.1, 0.0))
    for fault in (
        "1 rows of features hold NaN or infinity [3]",
        "labels hold classes [7]",
        "l2_strengths are (0.1, 0.0)",
        "run 1 has no training row of classes [2]",
        "runs [2] have no dev row",
    ):
        assert fault in str(error.value)


def test_parts_of_another_length_are_refused(as_installed):
    case = make_case()
    case["train_weight"] = case["train_weight"][:, 1:]
    with pytest.raises(ValueError, match="features hold 60 rows"):
        probing.fit_probes(**case)


def test_the_final_fit_on_train_and_dev_solves_the_problem_of_both_at_the_chosen_strength():
    case, strengths = make_case(), (1e-3, 1e-1, 1.0, 1e2)
    chosen = probing.fit_probes(**case, l2_strengths=strengths)
    result = probing.fit_probes(
        **case, l2_strengths=strengths, final_fit=probing.FinalFit.TRAIN_AND_DEV
    )
    np.testing.assert_array_equal(result.chosen_l2, chosen.chosen_l2)
    np.testing.assert_array_equal(result.dev_score, chosen.dev_score)
    assert np.asarray(result.converged).all()
    assert len(np.unique(result.chosen_l2)) > 1
    for layer, run in np.ndindex(result.chosen_l2.shape):
        weight = case["train_weight"][run] + case["dev_weight"][run]
        l2 = float(result.chosen_l2[layer, run])
        expected = reference_logits(case["features"][layer], case["labels"], weight, l2=l2)
        found = np.asarray(result.logits[layer, run], np.float64)
        np.testing.assert_allclose(centred(found), centred(expected), atol=LOGIT_TOLERANCE)


@pytest.mark.parametrize("final_fit", probing.FinalFit)
def test_coefficients_are_those_of_features_standardised_over_the_rows_of_the_final_fit(final_fit):
    case = make_case()
    constant = np.full_like(case["features"][..., :1], 3.0)
    case["features"] = np.concatenate([case["features"], constant], axis=-1)
    result = probing.fit_probes(**case, final_fit=final_fit)
    for layer, run in np.ndindex(result.chosen_l2.shape):
        rows = case["train_weight"][run] > 0
        if final_fit is probing.FinalFit.TRAIN_AND_DEV:
            rows |= case["dev_weight"][run] > 0
        x = case["features"][layer].astype(np.float64)
        std = x[rows].std(axis=0)
        z = (x - x[rows].mean(axis=0)) / np.where(std > 0, std, 1.0)
        logits = z @ np.asarray(result.coefficients[layer, run]) + result.intercept[layer, run]
        np.testing.assert_allclose(logits, result.logits[layer, run], atol=2e-3)
