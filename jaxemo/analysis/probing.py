"""Linear probes: how well does each layer's representation predict the emotion, and nothing more.

A probe is L2-regularised multinomial logistic regression on standardised features with class-balanced
weights (the metric is unweighted accuracy, UA). All layers, runs (fold x seed) and strengths are one
compiled program on fixed shapes: membership of a part is a row weight, never a row subset. Scoring
the test rows is left to the caller (`scores`).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

AnyArray = Array | np.ndarray

# Our choice: from nearly unregularised to a few effective directions, for a loss that is a mean over rows.
L2_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# UA is a ratio of small counts; smaller differences are float32 rounding and count as a tie.
SCORE_TIE = 1e-5
# A standard deviation below this share of the largest entry is float32 rounding of a constant feature.
CONSTANT_FEATURE = 1e-6


class ProbeResult(NamedTuple):
    """Probes at the strength chosen for each layer and run, applied to every row.

    `gradient_norm` is the largest entry of the loss gradient where the optimiser stopped; `converged` says whether
    it reached the tolerance for every strength that was compared.
    """

    logits: Float32[Array, "L F N C"]
    predictions: Int32[Array, "L F N"]
    chosen_l2: Float32[Array, "L F"]
    dev_score: Float32[Array, "L F"]
    gradient_norm: Float32[Array, "L F"]
    converged: Bool[Array, "L F"]


def fit_probes(
    features: Float[AnyArray, "L N D"],
    labels: Int[AnyArray, " N"],
    *,
    train_weight: Float[AnyArray, "F N"],
    dev_weight: Float[AnyArray, "F N"],
    num_classes: int,
    l2_strengths: tuple[float, ...] = L2_STRENGTHS,
    tolerance: float = 1e-5,
    max_iterations: int = 2000,
) -> ProbeResult:
    """Fits one probe per layer and run, with the L2 strength chosen on the run's dev rows by UA.

    loss(W, b) = sum_i c_i (logsumexp(W z_i + b) - (W z_i + b)[label_i]) + l2 / 2 |W|^2
    z = (x - mean) / std, population moments over the run's training rows alone
    c_i = train_weight_i / (C * total train_weight of class label_i)

    A feature that is constant over the training rows is ignored. The bias is not penalised. The strength with the best
    dev UA (mean recall over the classes among the dev rows) wins, the strongest among ties; the probe stays
    the one fitted on the training rows, there is no refit with the dev rows. Convex and free of
    randomness: the result does not depend on a seed or on which other runs are fitted beside it.

    Args:
      features: One pooled embedding per clip and layer.
      labels: Classes in [0, num_classes).
      train_weight: Weight >= 0 of each row in each run's training part, 0 for rows outside it.
      dev_weight: Likewise for the part that chooses the strength.
      l2_strengths: Candidates, > 0. scikit-learn's C is 1 / (l2 * n).
      tolerance: The optimiser stops when no entry of the gradient is larger.
      max_iterations: Limit on steps; a run that hits it has `converged` False.

    Raises:
      ValueError: For non-finite features, labels out of range, negative weights, a strength <= 0, a run whose
        training part lacks a class or whose dev part is empty.

    References:
      Alain & Bengio 2016, arXiv 1610.01644 (linear probes).
      Boehning 1992, Annals of the Institute of Statistical Mathematics 44:197-200 (the curvature bound).
      O'Donoghue & Candes 2015, Foundations of Computational Mathematics 15:715-732 (restarts).
    """
    _check(features, labels, train_weight, dev_weight, num_classes, l2_strengths)
    strongest_first = np.sort(np.asarray(l2_strengths, np.float32))[::-1].copy()
    return _fit_layers(
        jnp.asarray(features),
        jnp.asarray(labels, jnp.int32),
        jnp.asarray(train_weight, jnp.float32),
        jnp.asarray(dev_weight, jnp.float32),
        strongest_first,
        tolerance,
        max_iterations,
        num_classes=num_classes,
    )


@functools.partial(jax.jit, static_argnames="num_classes")
@jax.default_matmul_precision("highest")
def _fit_layers(
    features, labels, train_weight, dev_weight, l2, tolerance, max_iterations, *, num_classes
):
    targets = jax.nn.one_hot(labels, num_classes)
    row_weight = _balanced(train_weight, targets)

    # One layer at a time: its runs and strengths share every matrix product and fill the cores.
    def fit_layer(x):
        design, variance = _design(x.astype(jnp.float32), train_weight)
        problem = _Problem(design, targets, row_weight, variance)
        logits, gradient_norm = _regularisation_path(
            problem, l2, tolerance=tolerance, max_iterations=max_iterations
        )
        return _chosen(logits, targets, dev_weight, l2, gradient_norm, tolerance)

    return lax.map(fit_layer, features)


def _balanced(
    weight: Float32[Array, "F N"], targets: Float32[Array, "N C"]
) -> Float32[Array, "F N"]:
    """Row weights scaled so that every class has the total 1 / C in every run."""
    class_total = weight @ targets  # F C
    return weight * ((1.0 / (targets.shape[-1] * class_total)) @ targets.T)


def _design(
    x: Float32[Array, "N D"], train_weight: Float32[Array, "F N"]
) -> tuple[Float32[Array, "N K"], Float32[Array, "F K"]]:
    """One matrix for all runs, and each run's variances, which turn it into standardised features.

    With a free bias a run's mean is immaterial, and dividing a feature by its std is the same as
    penalising its weight by the variance. So runs differ in row weights and penalties alone; the
    matrix's own centre and scale only condition the arithmetic. The last column is the constant 1.
    """
    share = train_weight / jnp.sum(train_weight, axis=-1, keepdims=True)
    pooled = jnp.mean(share, axis=0)
    level = pooled @ jnp.abs(x)
    x = x - pooled @ x
    x = x - pooled @ x  # Again: the first mean of features far from zero is itself rounded.
    variance = jnp.maximum(share @ x**2 - (share @ x) ** 2, 0.0)
    varies = jnp.sqrt(variance) > CONSTANT_FEATURE * level
    scale = jnp.sqrt(jnp.max(variance, axis=0))
    x = jnp.where(varies.any(axis=0), x / jnp.where(scale > 0, scale, 1.0), 0.0)
    variance = jnp.where(varies, variance / jnp.where(scale > 0, scale, 1.0) ** 2, 1.0)
    return jnp.pad(x, ((0, 0), (0, 1)), constant_values=1.0), jnp.pad(variance, ((0, 0), (0, 1)))


class _Problem(NamedTuple):
    """One regression a run on one layer; the weights are K (features and bias) x F x C."""

    design: Float32[Array, "N K"]
    targets: Float32[Array, "N C"]
    row_weight: Float32[Array, "F N"]
    variance: Float32[Array, "F K"]


class _Search(NamedTuple):
    """Conjugate-gradient state. `logits` follow the weights by linearity, saving a matrix product."""

    weight: Float32[Array, "K F C"]
    logits: Float32[Array, "N F C"]
    gradient: Float32[Array, "K F C"]
    descent: Float32[Array, "K F C"]
    direction: Float32[Array, "K F C"]
    iteration: Int32[Array, ""]


def _gradient(problem, l2, weight, logits):
    residual = jax.nn.softmax(logits) - problem.targets[:, None]
    residual = residual * problem.row_weight.T[:, :, None]
    data_term = jnp.einsum("nk,nfc->kfc", problem.design, residual)
    return data_term + l2 * problem.variance.T[:, :, None] * weight


def _preconditioner(problem, l2, logits):
    """An approximate inverse Hessian that all runs and classes share, from the loss at `logits`."""
    probability = jax.nn.softmax(logits)
    curvature = jnp.mean(probability * (1.0 - probability), axis=-1)
    row_weight = jnp.mean(problem.row_weight.T * curvature, axis=-1)
    hessian = (problem.design * row_weight[:, None]).T @ problem.design
    ridge = l2 + 1e-6 * jnp.max(jnp.sum(jnp.abs(hessian), axis=0))
    factor = jax.scipy.linalg.cho_factor(hessian + ridge * jnp.eye(len(hessian)))

    def apply(gradient):
        flat = gradient.reshape(len(gradient), -1)
        return jax.scipy.linalg.cho_solve(factor, flat).reshape(gradient.shape)

    return apply


def _step_length(problem, l2, search, direction, direction_logits):
    """The exact minimum along the direction of every run: Newton's method on a convex curve."""
    penalty = l2 * problem.variance.T[:, :, None] * direction
    linear = jnp.sum(penalty * search.weight, axis=(0, 2))
    quadratic = jnp.sum(penalty * direction, axis=(0, 2))
    row_weight = problem.row_weight.T

    def newton(_, length):
        probability = jax.nn.softmax(search.logits + length[:, None] * direction_logits)
        mean = jnp.sum(probability * direction_logits, axis=-1)
        spread = jnp.sum(probability * direction_logits**2, axis=-1) - mean**2
        hit = jnp.sum(problem.targets[:, None] * direction_logits, axis=-1)
        slope = jnp.sum(row_weight * (mean - hit), axis=0) + linear + length * quadratic
        bend = jnp.sum(row_weight * spread, axis=0) + quadratic
        return jnp.maximum(length - slope / jnp.where(bend > 0, bend, 1.0), 0.0)

    return lax.fori_loop(0, 4, newton, jnp.zeros_like(quadratic))


def _largest(gradient):
    return jnp.max(jnp.abs(gradient), axis=(0, 2))


def _minimise(problem, l2, weight, *, tolerance, max_iterations):
    logits = jnp.einsum("nk,kfc->nfc", problem.design, weight)
    precondition = _preconditioner(problem, l2, logits)
    gradient = _gradient(problem, l2, weight, logits)
    descent = precondition(gradient)
    search = _Search(weight, logits, gradient, descent, -descent, jnp.asarray(0))

    def unfinished(search):
        return (search.iteration < max_iterations) & jnp.any(_largest(search.gradient) > tolerance)

    def step(search):
        direction_logits = jnp.einsum("nk,kfc->nfc", problem.design, search.direction)
        length = _step_length(problem, l2, search, search.direction, direction_logits)[:, None]
        weight = search.weight + length * search.direction
        logits = search.logits + length * direction_logits
        gradient = _gradient(problem, l2, weight, logits)
        descent = precondition(gradient)
        change = jnp.sum((gradient - search.gradient) * descent, axis=(0, 2))
        before = jnp.sum(search.gradient * search.descent, axis=(0, 2))
        momentum = jnp.maximum(change / jnp.where(before > 0, before, 1.0), 0.0)
        direction = momentum[:, None] * search.direction - descent
        # A direction that no longer descends (rounding, lost conjugacy) starts afresh.
        descends = jnp.sum(direction * gradient, axis=(0, 2)) < 0
        direction = jnp.where(descends[:, None], direction, -descent)
        return _Search(weight, logits, gradient, descent, direction, search.iteration + 1)

    search = lax.while_loop(unfinished, step, search)
    logits = jnp.einsum("nk,kfc->nfc", problem.design, search.weight)
    return search.weight, logits, _largest(_gradient(problem, l2, search.weight, logits))


def _regularisation_path(problem, l2, *, tolerance, max_iterations):
    """Solves from the strongest penalty to the weakest, each from the solution before."""

    def solve(weight, strength):
        weight, logits, gradient_norm = _minimise(
            problem, strength, weight, tolerance=tolerance, max_iterations=max_iterations
        )
        return weight, (logits, gradient_norm)

    num_columns, num_runs = problem.variance.shape[::-1]
    start = jnp.zeros((num_columns, num_runs, problem.targets.shape[-1]))
    _, (logits, gradient_norm) = lax.scan(solve, start, l2)
    return jnp.einsum("snfc->fsnc", logits), gradient_norm.T


def _chosen(logits, targets, dev_weight, l2, gradient_norm, tolerance) -> ProbeResult:
    predictions = jnp.argmax(logits, axis=-1).astype(jnp.int32)
    scores = _unweighted_accuracy(predictions, targets, dev_weight)
    # Strengths run from strong to weak, so argmax takes the strongest of those that tie.
    best = jnp.argmax(scores >= jnp.max(scores, axis=-1, keepdims=True) - SCORE_TIE, axis=-1)
    runs = jnp.arange(len(best))
    return ProbeResult(
        logits=logits[runs, best],
        predictions=predictions[runs, best],
        chosen_l2=l2[best],
        dev_score=scores[runs, best],
        gradient_norm=gradient_norm[runs, best],
        converged=jnp.all(gradient_norm <= tolerance, axis=-1),
    )


def _unweighted_accuracy(
    predictions: Int32[Array, "F S N"],
    targets: Float32[Array, "N C"],
    weight: Float32[Array, "F N"],
) -> Float32[Array, "F S"]:
    """Mean recall over the classes that have weight."""
    right = predictions == jnp.argmax(targets, axis=-1)
    total = weight @ targets  # F C
    hits = jnp.einsum("fsn,fn,nc->fsc", right.astype(weight.dtype), weight, targets)
    recall = hits / jnp.where(total > 0, total, 1.0)[:, None]
    return jnp.sum(recall, axis=-1) / jnp.sum(total > 0, axis=-1)[:, None]


def _check(features, labels, train_weight, dev_weight, num_classes, l2_strengths) -> None:
    problems = []
    features, labels = np.asarray(features), np.asarray(labels)
    parts = {"train_weight": np.asarray(train_weight), "dev_weight": np.asarray(dev_weight)}
    num_rows = features.shape[1]
    if labels.shape != (num_rows,) or any(w.shape[1] != num_rows for w in parts.values()):
        shapes = ", ".join(f"{name} {w.shape}" for name, w in parts.items())
        raise ValueError(
            f"features {features.shape} have {num_rows} rows; labels {labels.shape}, {shapes} "
            "must have one entry a row."
        )
    bad = np.flatnonzero(~np.isfinite(features.astype(np.float32)).all(axis=(0, 2)))
    if bad.size:
        problems.append(f"{bad.size} rows of features hold NaN or infinity ({bad[:8].tolist()})")
    if labels.min() < 0 or labels.max() >= num_classes:
        problems.append(
            f"labels run from {labels.min()} to {labels.max()}, not in [0, {num_classes})"
        )
    if min(l2_strengths, default=0.0) <= 0:
        problems.append(f"l2_strengths are {l2_strengths}; each must be above 0")
    for name, weight in parts.items():
        if not (np.isfinite(weight).all() and (weight >= 0).all()):
            problems.append(f"{name} holds negative or non-finite weights")
    one_hot = labels[:, None] == np.arange(num_classes)
    for run, missing in enumerate(parts["train_weight"] @ one_hot == 0):
        if missing.any():
            problems.append(
                f"run {run} trains on no row of classes {np.flatnonzero(missing).tolist()}"
            )
    empty = np.flatnonzero(parts["dev_weight"].sum(axis=1) == 0)
    if empty.size:
        problems.append(f"runs {empty.tolist()} have no dev row to choose the strength on")
    if problems:
        raise ValueError("Cannot fit probes: " + "; ".join(problems) + ".")
