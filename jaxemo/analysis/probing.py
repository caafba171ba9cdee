"""Linear probes: how well does each layer's representation predict the emotion, and nothing more.

A probe is L2-regularised multinomial logistic regression on standardised features with
class-balanced weights (the metric is unweighted accuracy, UA). All layers, runs (fold x seed) and
strengths are one compiled program on fixed shapes: membership of a part is a row weight, never a
row subset. The test rows are left to the caller to score (`analysis.scores`).
"""

import enum
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float32, Int, Int32

from jaxemo.analysis.regression_path import (
    Problem,
    Stop,
    fit_at,
    gradient_target,
    regularisation_path,
)
from jaxemo.distances.arrays import AnyArray

# Our choice: from nearly free weights to a handful of effective directions; the loss is a mean.
L2_STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Strengths are compared at this many times the tolerance, which takes half the steps; of 5,000 weights the
# loss is then within l2 / 40 of its least. What is handed out is fitted to the tolerance itself.
COMPARED_AT = 10.0
# UA is a ratio of small counts; a smaller difference is float32 rounding, so a tie.
SCORE_TIE = 1e-5
# A deviation below this share of a feature's size is float32 rounding of a constant.
CONSTANT_FEATURE = 1e-6


class FinalFit(enum.Enum):
    """What a probe is fitted on once its strength is chosen."""

    TRAIN = "train"
    TRAIN_AND_DEV = "train_and_dev"


class ProbeResult(NamedTuple):
    """Probes at the strength chosen for each layer and run, applied to every row.

    Attributes:
      logits: z @ coefficients + intercept, with z as in `fit_probes`.
      coefficients: 0 for a feature that is constant over the rows of the final fit.
      dev_score: UA on the dev rows of the probe that was fitted on the training rows alone.
      gradient_norm: Largest entry of the loss gradient where the optimiser stopped.
      converged: Whether it reached the tolerance at every strength compared, and in the final fit.
    """

    logits: Float32[Array, "L F N C"]
    coefficients: Float32[Array, "L F D C"]
    intercept: Float32[Array, "L F C"]
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
    final_fit: FinalFit = FinalFit.TRAIN,
    tolerance: float = 3e-4,
    max_iterations: int = 500,
) -> ProbeResult:
    """Fits one probe per layer and run, with the L2 strength chosen on the run's dev rows by UA.

    loss(W, b) = sum_i c_i (logsumexp(W z_i + b) - (W z_i + b)[label_i]) + l2 / 2 |W|^2
    z = (x - mean) / std, weighted population moments over the run's training rows alone
    c_i = train_weight_i / (C * total train_weight of class label_i)

    The bias is not penalised; a feature that is constant over the training rows is ignored. The
    strength with the best dev UA (mean recall over the classes among the dev rows) wins, the
    strongest among ties. The final fit at that strength is on the training rows, or on training and
    dev rows together, standardised and balanced over them. The loss is strictly convex and nothing
    is random, so a result depends, to the tolerance, on its own layer and run alone.

    Args:
      features: One pooled embedding per layer and clip, in float32 or cast to it.
      labels: Classes in [0, num_classes).
      train_weight: Weight >= 0 of each row in each run's training part, 0 for rows outside it.
      dev_weight: Likewise for the part that chooses the strength.
      l2_strengths: Candidates, > 0. scikit-learn's C is 1 / (l2 * n).
      final_fit: Whether dev rows join the training rows once they have chosen the strength.
      tolerance: The optimiser stops when no entry of the gradient exceeds tolerance * l2 (the
        penalty's own gradient is l2 * W), or what float32 can resolve; ten times that while
        strengths are compared.
      max_iterations: Steps at each strength; a run that uses them up has `converged` False.

    Raises:
      ValueError: For non-finite features, labels out of range, negative weights, a strength <= 0,
        a run whose training part lacks a class or whose dev part is empty; all listed together.

    Reference: Alain & Bengio 2016, arXiv 1610.01644 (linear probes of intermediate layers).
    """
    _check(features, labels, train_weight, dev_weight, num_classes, l2_strengths)
    return _fit_layers(
        jnp.asarray(features),
        jnp.asarray(labels, jnp.int32),
        train_weight=jnp.asarray(train_weight, jnp.float32),
        dev_weight=jnp.asarray(dev_weight, jnp.float32),
        l2=jnp.asarray(sorted(l2_strengths, reverse=True), jnp.float32),
        num_classes=num_classes,
        final_fit=final_fit,
        stop=Stop(jnp.float32(tolerance), jnp.int32(max_iterations)),
    )


@functools.partial(jax.jit, static_argnames=("num_classes", "final_fit"))
@jax.default_matmul_precision("highest")
def _fit_layers(features, labels, *, train_weight, dev_weight, l2, num_classes, final_fit, stop):
    targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
    both = train_weight + dev_weight
    weights = [train_weight] if final_fit is FinalFit.TRAIN else [train_weight, both]
    compared = stop._replace(tolerance=COMPARED_AT * stop.tolerance)

    # One layer at a time: its runs share every matrix product, which is enough to fill a device.
    def fit_layer(x):
        design, variances = _design(x.astype(jnp.float32), jnp.stack(weights))
        problems = [
            Problem(design, targets[..., None], _balanced(w, targets).T[:, None], v.T[:, None])
            for w, v in zip(weights, variances, strict=True)
        ]
        path = regularisation_path(problems[0], l2, compared)
        predictions = jnp.argmax(path.logits, axis=2).transpose(2, 0, 1)  # F S N
        scores = _unweighted_accuracy(predictions, targets, dev_weight)
        best = _strongest_of_the_best(scores)
        runs = jnp.arange(len(best))
        final = fit_at(problems[-1], l2, best, start=path.weight, stop=stop)
        converged = jnp.all(gradient_target(l2, compared) >= path.gradient_norm.T, axis=-1)
        converged &= final.gradient_norm <= gradient_target(l2[best], stop)
        coefficients, intercept = _standardised(final.weight, design, weights[-1], variances[-1])
        logits = final.logits.transpose(2, 0, 1)
        return ProbeResult(
            logits=logits,
            coefficients=coefficients,
            intercept=intercept,
            predictions=jnp.argmax(logits, axis=-1).astype(jnp.int32),
            chosen_l2=l2[best],
            dev_score=scores[runs, best],
            gradient_norm=final.gradient_norm,
            converged=converged,
        )

    return lax.map(fit_layer, features)


def _standardised(
    weight: Float32[Array, "K C F"],
    design: Float32[Array, "N K"],
    row_weight: Float32[Array, "F N"],
    variance: Float32[Array, "F K"],
) -> tuple[Float32[Array, "F D C"], Float32[Array, "F C"]]:
    """The same probes as coefficients of features standardised over each run's rows."""
    share = row_weight / jnp.sum(row_weight, axis=-1, keepdims=True)
    intercept = jnp.einsum("fn,nk,kcf->fc", share, design, weight)
    coefficients = jnp.einsum("kcf,fk->fkc", weight, jnp.sqrt(variance))
    return coefficients[:, :-1], intercept


def _balanced(
    weight: Float32[Array, "F N"], targets: Float32[Array, "N C"]
) -> Float32[Array, "F N"]:
    """Row weights scaled so that every class has the total 1 / C in every run."""
    class_total = weight @ targets  # F C
    return weight * ((1.0 / (targets.shape[-1] * class_total)) @ targets.T)


def _design(
    x: Float32[Array, "N D"], weights: Float32[Array, "P F N"]
) -> tuple[Float32[Array, "N K"], Float32[Array, "P F K"]]:
    """One matrix for all runs, and each run's variances, which turn it into standardised features.

    With a free bias a run's mean is immaterial, and dividing a feature by its std is the same as
    penalising its weight by the variance. So runs differ in row weights and penalties alone; the
    matrix's own centre and scale only condition the arithmetic. The last column is the constant 1.
    """
    share = weights / jnp.sum(weights, axis=-1, keepdims=True)
    pooled = jnp.mean(share, axis=(0, 1))
    size = pooled @ jnp.abs(x)
    x = x - pooled @ x
    x = x - pooled @ x  # Again: the first mean of features far from zero is itself rounded.
    variance = jnp.maximum(share @ x**2 - (share @ x) ** 2, 0.0)
    varies = jnp.sqrt(variance) > CONSTANT_FEATURE * size
    scale = jnp.sqrt(jnp.max(variance, axis=(0, 1)))
    scale = jnp.where(scale > 0, scale, 1.0)
    x = jnp.where(varies.any(axis=(0, 1)), x / scale, 0.0)
    variance = jnp.where(varies, variance / scale**2, 1.0)
    ones = ((0, 0), (0, 1))
    return jnp.pad(x, ones, constant_values=1.0), jnp.pad(variance, ((0, 0), *ones))


def _unweighted_accuracy(
    predictions: Int32[Array, "F S N"],
    targets: Float32[Array, "N C"],
    weight: Float32[Array, "F N"],
) -> Float32[Array, "F S"]:
    """Mean recall over the classes that have weight in a run."""
    right = predictions == jnp.argmax(targets, axis=-1)
    total = weight @ targets  # F C
    hits = jnp.einsum("fsn,fn,nc->fsc", right.astype(weight.dtype), weight, targets)
    recall = hits / jnp.where(total > 0, total, 1.0)[:, None]
    return jnp.sum(recall, axis=-1) / jnp.sum(total > 0, axis=-1)[:, None]


def _strongest_of_the_best(scores: Float32[Array, "F S"]) -> Int32[Array, " F"]:
    """Strengths run from strong to weak, so the first that ties with the best is the strongest."""
    ties = scores >= jnp.max(scores, axis=-1, keepdims=True) - SCORE_TIE
    return jnp.argmax(ties, axis=-1).astype(jnp.int32)


def _check(features, labels, train_weight, dev_weight, num_classes, l2_strengths) -> None:
    num_rows = features.shape[1]
    labels, train, dev = (np.asarray(a) for a in (labels, train_weight, dev_weight))
    if labels.shape != (num_rows,) or not train.shape == dev.shape == (len(train), num_rows):
        raise ValueError(
            f"features hold {num_rows} rows; labels {labels.shape}, train_weight {train.shape} and "
            f"dev_weight {dev.shape} must be ({num_rows},), (runs, {num_rows}) and the same."
        )
    faults = [
        *_faults_of_values(features, labels, num_classes, l2_strengths),
        *_faults_of_parts(train, dev, labels[:, None] == np.arange(num_classes)),
    ]
    if faults:
        raise ValueError("Cannot fit probes: " + "; ".join(faults) + ".")


def _faults_of_values(features, labels, num_classes, l2_strengths) -> list[str]:
    finite = np.asarray(jnp.isfinite(jnp.asarray(features)).all(axis=(0, 2)))
    faults = faults_of_rows("features", finite)
    outside = sorted({int(c) for c in labels if not 0 <= c < num_classes})
    if outside:
        faults.append(f"labels hold classes {outside}, not in 0 to {num_classes - 1}")
    return faults + faults_of_strengths(l2_strengths)


def faults_of_rows(name: str, finite: Bool[np.ndarray, " N"]) -> list[str]:
    """What to say of rows that are not finite."""
    rows = np.flatnonzero(~finite)
    if rows.size == 0:
        return []
    return [f"{rows.size} rows of {name} hold NaN or infinity {rows[:8].tolist()}"]


def faults_of_strengths(l2_strengths: tuple[float, ...]) -> list[str]:
    """What to say of strengths that are not above 0, or none."""
    if min(l2_strengths, default=0.0) > 0:
        return []
    return [f"l2_strengths are {l2_strengths}; give at least one, each above 0"]


def _faults_of_parts(train, dev, one_hot) -> list[str]:
    faults = []
    for name, weight in (("train_weight", train), ("dev_weight", dev)):
        if not (np.isfinite(weight) & (weight >= 0)).all():
            faults.append(f"{name} holds negative or non-finite weights")
    for run, absent in enumerate(train @ one_hot <= 0):
        if absent.any():
            classes = np.flatnonzero(absent).tolist()
            faults.append(f"run {run} has no training row of classes {classes}")
    empty = np.flatnonzero(dev.sum(axis=1) <= 0).tolist()
    if empty:
        faults.append(f"runs {empty} have no dev row to choose the strength on")
    return faults
