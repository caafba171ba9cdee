"""What a probe is asked for: one of several classes, ratings or tags, each with its loss and dev score.

Targets have one column per output: one-hot classes, ratings, or 1 for each tag that a row has.
"""

import enum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Shaped

from jaxemo.distances.arrays import AnyArray


class Kind(enum.Enum):
    """Kinds of targets."""

    CLASSES = "classes"
    RATINGS = "ratings"
    TAGS = "tags"


class Rows(NamedTuple):
    """Rows as one fit sees them: standardised features, targets, and how much each loss counts."""

    features: Float32[Array, "L N D"]
    targets: Float32[Array, "N O"]
    term_weight: Float32[Array, "N _"]


def columns_of(kind: Kind, targets: Shaped[np.ndarray, "N ..."]) -> Float32[np.ndarray, "N O"]:
    """One column per output; class numbers become one-hot."""
    if kind is Kind.CLASSES:
        return np.eye(int(targets.max()) + 1, dtype=np.float32)[targets]
    return targets.astype(np.float32)


def term_weights(
    kind: Kind, targets: Float32[Array, "N O"], weight: Float32[Array, " N"]
) -> Float32[Array, "N _"]:
    """How much each row's loss counts: sum to 1 per output, as `outputs_loss` has its columns.

    classes: weight_i / (C * total weight of i's class)
    ratings: weight_i / total weight
    tags:    weight_i / (2 * total weight of the rows that have the tag, or have not, as i)
             and weight_i / total weight where all rows agree
    """
    if kind is Kind.CLASSES:
        total = weight @ targets
        share = targets @ (1.0 / jnp.where(total > 0, total, 1.0))
        return (weight * share / jnp.sum(total > 0))[:, None]
    if kind is Kind.RATINGS:
        return (weight / jnp.sum(weight))[:, None]
    both = jnp.stack([targets, 1.0 - targets])  # 2 N O
    total = jnp.einsum("n,kno->ko", weight, both)
    share = both / jnp.where(total > 0, total, 1.0)[:, None]
    return weight[:, None] * jnp.sum(share, axis=0) / jnp.sum(total > 0, axis=0)


def outputs_loss(
    kind: Kind,
    outputs: Float[Array, "N O"],
    targets: Float[Array, "N O"],
    *,
    term_weight: Float[Array, "N _"],
) -> Float[Array, ""]:
    """The loss of some outputs, without a penalty.

    classes: sum_i c_i (logsumexp(o_i) - o_i[label_i])
    ratings: sum_i c_i sum_k (o_ik - y_ik)^2 / 2
    tags:    sum_k sum_i c_ik (log(1 + exp(o_ik)) - y_ik o_ik)
    """
    match kind:
        case Kind.CLASSES:
            terms = jax.nn.logsumexp(outputs, axis=1) - jnp.sum(outputs * targets, axis=1)
            return jnp.sum(term_weight[:, 0] * terms)
        case Kind.RATINGS:
            return jnp.sum(term_weight * (outputs - targets) ** 2) / 2
        case Kind.TAGS:
            return jnp.sum(term_weight * (jax.nn.softplus(outputs) - targets * outputs))


def dev_score(
    kind: Kind,
    outputs: Float[AnyArray, "N O"],
    targets: Float[AnyArray, "N O"],
    weight: Float[AnyArray, " N"],
) -> Float[Array, ""]:
    """What chooses the strength, larger is better.

    classes: UA, the mean recall over the classes that have weight
    ratings: mean CCC; 0 for a rating that is constant in both
    tags:    mean over tags of the mean recall of rows that have it and rows that have not, at o = 0
    """
    match kind:
        case Kind.CLASSES:
            right = jnp.argmax(outputs, axis=1) == jnp.argmax(targets, axis=1)
            return _mean_recall(right[None], targets.T[None], weight)[0]
        case Kind.RATINGS:
            return jnp.mean(_concordance(outputs, targets, weight / jnp.sum(weight)))
        case Kind.TAGS:
            right = (outputs > 0) == (targets > 0.5)
            sides = jnp.stack([targets.T, 1.0 - targets.T], axis=1)  # O 2 N
            return jnp.mean(_mean_recall(right.T, sides, weight))


def labels_of_tag(targets: Shaped[np.ndarray, "N G"], tag: int) -> Int[np.ndarray, " N"]:
    """1 for each row that has the tag."""
    return (targets[:, tag] > 0).astype(np.int64)


def _mean_recall(right, sides, weight):
    """right [P N], sides [P C N] -> [P]: over the sides that have weight."""
    total = jnp.einsum("pcn,n->pc", sides, weight)
    hits = jnp.einsum("pcn,n,pn->pc", sides, weight, right.astype(weight.dtype))
    recall = hits / jnp.where(total > 0, total, 1.0)
    return jnp.sum(recall, axis=1) / jnp.sum(total > 0, axis=1)


def _concordance(outputs, targets, share):
    mean_o, mean_t = share @ outputs, share @ targets
    o, t = outputs - mean_o, targets - mean_t
    spread = share @ (o**2 + t**2) + (mean_o - mean_t) ** 2
    return 2 * (share @ (o * t)) / jnp.where(spread > 0, spread, 1.0)
