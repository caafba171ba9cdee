"""Discrete targets: k-means clusters of spectra or hidden states, and random-projection codes.

Both turn vectors into codes by a state that is fitted once, on a sample, and then stays as it is.
Fitting and coding are traced by JAX; the same key and sample give the same state. Rows of weight 0
(padding) take no part.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

_VARIANCE_FLOOR = 1e-8
# Rows among which each next centre of k-means++ is chosen.
_CANDIDATES = 4


class Scaling(NamedTuple):
    """What makes each column of a sample of mean 0 and variance 1."""

    mean: Float[Array, " F"]
    deviation: Float[Array, " F"]

    def __call__(self, vectors: Float[Array, "... F"]) -> Float[Array, "... F"]:
        """(x - mean) / deviation."""
        return (vectors - self.mean) / self.deviation


def fit_scaling(vectors: Float[Array, "n F"], weight: Float[Array, " n"]) -> Scaling:
    """Weighted mean and deviation of each column, in two passes."""
    share = (weight / jnp.maximum(weight.sum(), 1.0))[:, None]
    # Not a product with the weight: padding may hold anything, and 0 times NaN is NaN.
    vectors = jnp.where(share > 0, vectors, 0)
    mean = jnp.sum(share * vectors, axis=0)
    variance = jnp.sum(share * jnp.square(vectors - mean), axis=0)
    return Scaling(mean, jnp.sqrt(variance + _VARIANCE_FLOOR))


# k-means -----------------------------------------------------------------------------------------


class KMeansSettings(NamedTuple):
    """How clusters are looked for.

    Attributes:
      num_clusters: K.
      num_seeding: Rows among which the first centres are chosen.
      batch_size: Rows of one step.
      num_rounds: How often the sample is gone through; empty clusters move after each round.
    """

    num_clusters: int = 256
    num_seeding: int = 8192
    batch_size: int = 4096
    num_rounds: int = 8


class KMeans(NamedTuple):
    """Fitted clusters: centres of the scaled vectors."""

    scaling: Scaling
    centres: Float[Array, "K F"]

    def codes(self, vectors: Float[Array, "... F"]) -> Int[Array, "..."]:
        """The nearest centre of each vector; the first of several that are equally near."""
        return jnp.argmin(squared_distances(self.scaling(vectors), self.centres), axis=-1)


def fit_kmeans(
    key: Key[Array, ""],
    vectors: Float[Array, "n F"],
    weight: Float[Array, " n"],
    settings: KMeansSettings,
) -> KMeans:
    """Clusters by k-means++ on some rows, then minibatch steps with the centres' running means.

    In a round the rows come in random order, in batches. For each batch the nearest centre c_k of every
    row is found, and c_k <- c_k + (sum of its rows - n_k c_k) / (N_k + n_k), with n_k its rows in the
    batch and N_k in the round so far. A centre without any row in a round moves to one of the last
    batch's rows that lie farthest from their centres.

    Args:
      weight: 1 for a row that takes part, 0 for padding; at least one is 1.

    Reference: Arthur & Vassilvitskii 2007, SODA (k-means++); Sculley 2010, WWW (minibatches).
    """
    scaling = fit_scaling(vectors, weight)
    scaled = jnp.where(weight[:, None] > 0, scaling(vectors), 0)
    seeding_key, rounds_key = jax.random.split(key)
    row_key, plus_key = jax.random.split(seeding_key)
    rows = _drawn_rows(row_key, weight, settings.num_seeding)
    centres = _plus_plus(plus_key, scaled[rows], settings.num_clusters)

    def one_round(centres, key):
        return _round(key, centres, scaled, weight, settings), None

    centres, _ = jax.lax.scan(one_round, centres, jax.random.split(rounds_key, settings.num_rounds))
    return KMeans(scaling, centres)


def squared_distances(
    vectors: Float[Array, "... F"], centres: Float[Array, "K F"]
) -> Float[Array, "... K"]:
    """|x - c|^2 = |x|^2 - 2 x c + |c|^2, at least 0."""
    products = jnp.matmul(vectors, centres.T, precision="highest")
    own = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    return jnp.maximum(own - 2.0 * products + jnp.sum(jnp.square(centres), axis=-1), 0.0)


def _drawn_rows(key: Key[Array, ""], weight: Float[Array, " n"], count: int) -> Int[Array, " m"]:
    """Rows of positive weight, with replacement."""
    return jax.random.choice(key, weight.shape[0], (count,), p=weight / weight.sum())


def _plus_plus(
    key: Key[Array, ""], rows: Float[Array, "m F"], num_clusters: int
) -> Float[Array, "K F"]:
    """Each next centre is the best of a few rows, drawn by squared distance from the nearest so far.

    The best is the one that leaves the smallest sum of squared distances (greedy k-means++).
    """
    first_key, next_key = jax.random.split(key)
    first = rows[jax.random.randint(first_key, (), 0, rows.shape[0])]
    centres = jnp.zeros((num_clusters, rows.shape[1])).at[0].set(first)
    nearest = jnp.sum(jnp.square(rows - first), axis=1)

    def add(index, carry):
        centres, nearest = carry
        logits = jnp.log(nearest + jnp.finfo(jnp.float32).tiny)
        draw_key = jax.random.fold_in(next_key, index)
        drawn = rows[jax.random.categorical(draw_key, logits, shape=(_CANDIDATES,))]
        left = jnp.minimum(nearest[:, None], squared_distances(rows, drawn))
        best = left.sum(axis=0).argmin()
        return centres.at[index].set(drawn[best]), left[:, best]

    return jax.lax.fori_loop(1, num_clusters, add, (centres, nearest))[0]


def _round(
    key: Key[Array, ""],
    centres: Float[Array, "K F"],
    vectors: Float[Array, "n F"],
    weight: Float[Array, " n"],
    settings: KMeansSettings,
) -> Float[Array, "K F"]:
    num_rows, size = vectors.shape[0], min(settings.batch_size, vectors.shape[0])
    num_batches = num_rows // size
    order = jax.random.permutation(key, num_rows)[: num_batches * size].reshape(num_batches, size)

    def one_batch(carry, rows):
        centres, seen = carry
        batch, row_weight = vectors[rows], weight[rows]
        distances = squared_distances(batch, centres)
        member = jax.nn.one_hot(distances.argmin(axis=1), centres.shape[0]) * row_weight[:, None]
        count = member.sum(axis=0)
        total = jnp.matmul(member.T, batch, precision="highest")
        step = (total - count[:, None] * centres) / jnp.maximum(seen + count, 1.0)[:, None]
        far = jnp.where(row_weight > 0, distances.min(axis=1), -1.0)
        return (centres + step, seen + count), far

    start = centres, jnp.zeros(centres.shape[0])
    (centres, seen), far = jax.lax.scan(one_batch, start, order)
    farthest = vectors[order[-1]][jnp.argsort(-far[-1])]
    rank = jnp.cumsum(seen == 0) - 1
    # With more empty clusters than rows in a batch some share a row, until the next round.
    moved = farthest[jnp.clip(rank, 0, size - 1)]
    return jnp.where((seen == 0)[:, None], moved, centres)


# Random projections --------------------------------------------------------------------------------


class RandomProjectionSettings(NamedTuple):
    """Sizes of BEST-RQ's quantiser.

    Attributes:
      num_codebooks: Q, each with a projection of its own.
      num_codes: K of each.
      width: Of the projected vectors.
    """

    num_codebooks: int = 4
    num_codes: int = 1024
    width: int = 16


class RandomProjection(NamedTuple):
    """A quantiser that is drawn and never trained."""

    scaling: Scaling
    projection: Float[Array, "Q F W"]
    codebooks: Float[Array, "Q K W"]

    def codes(self, vectors: Float[Array, "... F"]) -> Int[Array, "... Q"]:
        """argmin_k | norm(c_k) - norm(P x) |, which is argmax_k of their cosine, for each codebook."""
        projected = jnp.einsum(
            "...f,qfw->...qw", self.scaling(vectors), self.projection, precision="highest"
        )
        # The length of P x does not move the maximum over codes.
        cosine = jnp.einsum("...qw,qkw->...qk", projected, self.codebooks, precision="highest")
        return jnp.argmax(cosine, axis=-1)


def fit_random_projection(
    key: Key[Array, ""],
    vectors: Float[Array, "n F"],
    weight: Float[Array, " n"],
    settings: RandomProjectionSettings,
) -> RandomProjection:
    """Xavier-uniform projections and unit-length normal codes; only the scaling looks at the sample.

    Reference: Chiu et al. 2022, arXiv 2202.01855, section 3.1; several codebooks: Zhang et al. 2023,
    arXiv 2303.01037, section 3.2.
    """
    projection_key, codebook_key = jax.random.split(key)
    num_codebooks, num_codes, width = settings
    bound = jnp.sqrt(6.0 / (vectors.shape[1] + width))
    shape = num_codebooks, vectors.shape[1], width
    projection = jax.random.uniform(projection_key, shape, minval=-bound, maxval=bound)
    codes = jax.random.normal(codebook_key, (num_codebooks, num_codes, width))
    codes /= jnp.linalg.norm(codes, axis=-1, keepdims=True)
    return RandomProjection(fit_scaling(vectors, weight), projection, codes)
