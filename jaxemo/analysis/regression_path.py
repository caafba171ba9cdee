"""The optimum of many generalised linear regressions on one design matrix, all runs in step.

Preconditioned conjugate gradients with a line search along the whole path of L2 strengths. The loss is
strictly convex and nothing is random: where the search stops is the optimum, to the tolerance.
"""

import enum
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float32, Int32

# Keeps the float32 Cholesky factor of a thousand-dimensional, rank-deficient Hessian defined.
PRECONDITIONER_RIDGE = 1e-5
PRECONDITIONER_STEPS = 20
# Up to so many columns a preconditioner is inverted: its product with the gradients of many runs takes a fifth
# of two triangular solves. Beyond, the inverse costs more than the steps that it serves.
WIDEST_INVERSE = 2048
LINE_SEARCH_STEPS = 10
SLOPE_SHARE = 0.1
# The gradient of a mean loss is not resolved below this in float32 (it stalls near 1e-8).
GRADIENT_ROUNDING = 5e-8


class Stop(NamedTuple):
    """When a search ends: no entry of the gradient exceeds tolerance * l2, or this many steps."""

    tolerance: Float32[Array, ""]
    max_iterations: Int32[Array, ""]


class Link(enum.Enum):
    """What a regression predicts from its logits o: the mean of its targets, and the loss of a row.

    SOFTMAX: one of C classes; logsumexp(o) - o[label].
    LOGISTIC: each of C yes or no; sum_c log(1 + exp(o_c)) - y_c o_c.
    IDENTITY: C numbers; sum_c (o_c - y_c)^2 / 2.
    """

    SOFTMAX = "softmax"
    LOGISTIC = "logistic"
    IDENTITY = "identity"


class Problem(NamedTuple):
    """One regression per run on one layer; K = D + 1 columns, the bias with variance 0 last.

    Runs are the last axis throughout, so that what differs by run broadcasts and softmax sums over
    an outer axis (twice as fast on a CPU).
    """

    design: Float32[Array, "N K"]
    targets: Float32[Array, "N C 1"]
    row_weight: Float32[Array, "N _ F"]
    variance: Float32[Array, "K 1 F"]
    link: Link = Link.SOFTMAX


class Search(NamedTuple):
    """Where conjugate gradients stand. Logits follow the weights linearly, which saves a product."""

    weight: Float32[Array, "K C F"]
    logits: Float32[Array, "N C F"]
    gradient: Float32[Array, "K C F"]
    preconditioned: Float32[Array, "K C F"]
    direction: Float32[Array, "K C F"]
    iteration: Int32[Array, ""]


class Path(NamedTuple):
    """The optimum at each strength: weights of the design's columns, logits, largest gradient entry."""

    weight: Float32[Array, "S K C F"]
    logits: Float32[Array, "S N C F"]
    gradient_norm: Float32[Array, "S F"]


class Fit(NamedTuple):
    """One optimum per run."""

    weight: Float32[Array, "K C F"]
    logits: Float32[Array, "N C F"]
    gradient_norm: Float32[Array, " F"]


def regularisation_path(problem: Problem, l2: Float32[Array, " S"], stop: Stop) -> Path:
    """From the strongest penalty to the weakest, each begun at the last."""
    num_columns, _, num_runs = problem.variance.shape
    every_run = jnp.ones(num_runs, bool)

    def solve(weight, strength):
        search = minimise(problem, strength, weight, asked=every_run, stop=stop)
        return search.weight, Path(search.weight, search.logits, _largest(search.gradient))

    start = jnp.zeros((num_columns, problem.targets.shape[1], num_runs), jnp.float32)
    return lax.scan(solve, start, l2)[1]


def fit_at(
    problem: Problem,
    l2: Float32[Array, " S"],
    chosen: Int32[Array, " F"],
    *,
    start: Float32[Array, "S K C F"],
    stop: Stop,
) -> Fit:
    """Each run's optimum at its own strength, begun at `start`: the path on nearly the same rows.

    All runs go along at each strength, which shares the products; only those that chose it decide
    when it is done.
    """

    def solve(found, at_strength):
        number, strength, weight = at_strength
        asked = chosen == number
        search = minimise(problem, strength, weight, asked=asked, stop=stop)
        fit = Fit(search.weight, search.logits, _largest(search.gradient))
        return jax.tree.map(lambda new, old: jnp.where(asked, new, old), fit, found), None

    num_rows, num_classes, num_runs = problem.targets.shape[0], *start.shape[2:]
    unset = Fit(
        jnp.zeros(start.shape[1:], jnp.float32),
        jnp.zeros((num_rows, num_classes, num_runs), jnp.float32),
        jnp.zeros(num_runs, jnp.float32),
    )
    strengths = (jnp.arange(len(l2)), l2, start)
    return lax.scan(solve, unset, strengths)[0]


def minimise(
    problem: Problem,
    l2: Float32[Array, ""],
    weight: Float32[Array, "K C F"],
    *,
    asked: Bool[Array, " F"],
    stop: Stop,
) -> Search:
    """Preconditioned conjugate gradients (Polak-Ribiere+) with a line search, all runs in step.

    Every PRECONDITIONER_STEPS the preconditioner is made anew where the search stands. It ends when
    the runs that are asked for are there.

    Reference: Nocedal & Wright 2006, Numerical Optimization, 2nd ed., section 5.2.
    """
    target = gradient_target(l2, stop)

    def unfinished(search):
        largest = jnp.max(jnp.where(asked, _largest(search.gradient), 0.0))
        return (search.iteration < stop.max_iterations) & (largest > target)

    def sweep(search):
        precondition = _preconditioner(problem, l2, search.logits)
        preconditioned = precondition(search.gradient)
        search = search._replace(preconditioned=preconditioned, direction=-preconditioned)
        end = search.iteration + PRECONDITIONER_STEPS
        return lax.while_loop(
            lambda search: unfinished(search) & (search.iteration < end),
            lambda search: _step(problem, l2, search, precondition),
            search,
        )

    logits = _times(problem.design, weight)
    gradient = _gradient(problem, l2, weight, logits)
    unset = jnp.zeros_like(weight)
    start = Search(weight, logits, gradient, unset, unset, jnp.int32(0))
    return lax.while_loop(unfinished, sweep, start)


def gradient_target(l2, stop: Stop):
    return jnp.maximum(stop.tolerance * l2, GRADIENT_ROUNDING)


def _step(problem: Problem, l2, search: Search, precondition: Callable) -> Search:
    change_in_logits = _times(problem.design, search.direction)
    length = _step_length(problem, l2, search, change_in_logits)
    weight = search.weight + length * search.direction
    logits = search.logits + length * change_in_logits
    gradient = _gradient(problem, l2, weight, logits)
    preconditioned = precondition(gradient)
    direction = _next_direction(search, gradient, preconditioned)
    return Search(weight, logits, gradient, preconditioned, direction, search.iteration + 1)


def _times(
    matrix: Float32[Array, "N K"], columns: Float32[Array, "K C F"]
) -> Float32[Array, "N C F"]:
    return jnp.einsum("nk,kcf->ncf", matrix, columns)


def _gradient(problem: Problem, l2, weight, logits) -> Float32[Array, "K C F"]:
    error = problem.row_weight * (_mean(problem.link, logits) - problem.targets)
    penalty = l2 * problem.variance * weight
    return jnp.einsum("nk,ncf->kcf", problem.design, error) + penalty


def _mean(link: Link, logits: Float32[Array, "N C F"]) -> Float32[Array, "N C F"]:
    match link:
        case Link.SOFTMAX:
            return jax.nn.softmax(logits, axis=1)
        case Link.LOGISTIC:
            return jax.nn.sigmoid(logits)
        case Link.IDENTITY:
            return logits


def _bend(
    link: Link, mean: Float32[Array, "N C F"], change: Float32[Array, "N C F"]
) -> Float32[Array, "N C F"]:
    """The second derivative of the loss along a change of the logits; its sum over C counts."""
    match link:
        case Link.SOFTMAX:
            return mean * (change - jnp.sum(mean * change, axis=1, keepdims=True)) ** 2
        case Link.LOGISTIC:
            return mean * (1.0 - mean) * change**2
        case Link.IDENTITY:
            return change**2


def _largest(gradient: Float32[Array, "K C F"]) -> Float32[Array, " F"]:
    return jnp.max(jnp.abs(gradient), axis=(0, 1))


def _preconditioner(
    problem: Problem, l2, logits: Float32[Array, "N C F"]
) -> Callable[[Float32[Array, "K C F"]], Float32[Array, "K C F"]]:
    """One approximate inverse Hessian for all runs and classes, from the loss at `logits`.

    hessian ~ design^T diag(mean of c_i v_ic over runs and classes) design + l2,   v = dm_ic / do_ic
    with the mean m of the link: v = m (1 - m), or 1 for the identity.

    It decides how fast the optimum is reached, not which: at 900 x 768 a path of five strengths
    takes tens of steps, where accelerated gradients under a fixed curvature bound took hundreds.
    """
    mean = _mean(problem.link, logits)
    curvature = jnp.ones_like(mean) if problem.link is Link.IDENTITY else mean * (1.0 - mean)
    row_weight = jnp.mean(problem.row_weight * curvature, axis=(1, 2))
    hessian = (problem.design * row_weight[:, None]).T @ problem.design
    ridge = l2 + PRECONDITIONER_RIDGE * jnp.max(jnp.sum(jnp.abs(hessian), axis=0))
    identity = jnp.eye(len(hessian))
    factor = jnp.linalg.cholesky(hessian + ridge * identity)
    if len(hessian) > WIDEST_INVERSE:

        def solve(gradient):
            columns = gradient.reshape(len(gradient), -1)
            return jax.scipy.linalg.cho_solve((factor, True), columns).reshape(gradient.shape)

        return solve
    # The square of the factor's inverse, which rounding leaves symmetric and positive.
    inverse = jax.scipy.linalg.solve_triangular(factor, identity, lower=True)
    inverse = inverse.T @ inverse
    return lambda gradient: _times(inverse, gradient)


def _step_length(problem: Problem, l2, search: Search, change_in_logits) -> Float32[Array, " F"]:
    """Where each run's loss is least along its direction: Newton's method, kept in a bracket.

    The loss along a line is convex; the search ends once every slope is a tenth of the first.
    """
    penalty = l2 * problem.variance * search.direction
    linear = jnp.sum(penalty * search.weight, axis=(0, 1))
    quadratic = jnp.sum(penalty * search.direction, axis=(0, 1))
    first_slope = jnp.abs(_inner(search.gradient, search.direction))

    def slope_and_bend(length):
        mean = _mean(problem.link, search.logits + length * change_in_logits)
        spread = _bend(problem.link, mean, change_in_logits)
        slope = problem.row_weight * (mean - problem.targets) * change_in_logits
        bend = jnp.sum(problem.row_weight * spread, axis=(0, 1)) + quadratic
        return jnp.sum(slope, axis=(0, 1)) + linear + length * quadratic, bend

    def refine(state):
        length, low, high, _, count = state
        slope, bend = slope_and_bend(length)
        low, high = jnp.where(slope < 0, length, low), jnp.where(slope < 0, high, length)
        newton = length - slope / jnp.where(bend > 0, bend, 1.0)
        inside = (newton >= low) & (newton <= high)
        proposal = jnp.where(inside, newton, 0.5 * (low + high))
        done = jnp.abs(slope) <= SLOPE_SHARE * first_slope
        return jnp.where(done, length, proposal), low, high, done, count + 1

    def unfinished(state):
        _, _, _, done, count = state
        return (count < LINE_SEARCH_STEPS) & ~jnp.all(done)

    zero = jnp.zeros_like(quadratic)
    state = (zero, zero, zero + jnp.inf, jnp.zeros(zero.shape, bool), jnp.int32(0))
    return lax.while_loop(unfinished, refine, state)[0]


def _next_direction(search: Search, gradient, preconditioned) -> Float32[Array, "K C F"]:
    """Conjugate to the last direction; straight down where that no longer descends."""
    before = _inner(search.gradient, search.preconditioned)
    change = _inner(gradient - search.gradient, preconditioned)
    momentum = jnp.maximum(change / jnp.where(before > 0, before, 1.0), 0.0)
    direction = momentum * search.direction - preconditioned
    return jnp.where(_inner(direction, gradient) < 0, direction, -preconditioned)


def _inner(a: Float32[Array, "K C F"], b: Float32[Array, "K C F"]) -> Float32[Array, " F"]:
    return jnp.sum(a * b, axis=(0, 1))
