"""Kernel distance: unbiased squared maximum mean discrepancy with a Gaussian kernel.

The second opinion beside the Frechet distance: it assumes no Gaussian and has no small-sample bias.
Everything follows from kernel sums between units of rows (a set, or one speaker's part of a set),
made in one blockwise pass, so a thousand permutations of speakers cost no further kernel.
Arithmetic is float64 whatever `jax_enable_x64` says: 2000 rows of 768 dimensions agree with numpy
to 1e-10, where float32 reaches 3e-6 centred and loses 2 % to a common shift of 1000 deviations.
Distances compare only under one shared bandwidth.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Float64, Int, Int32, PRNGKeyArray

from jaxemo.distances.arrays import AnyArray, is_concrete

# Rounding of a sum of kernels, each at most 1: arrangements this near the observed one are ties.
_TIE_TOLERANCE = 1e-12


class KernelSums(NamedTuple):
    """Sums of the kernel over all pairs of rows of two units; a row is not paired with itself."""

    num_rows: Int32[Array, " U"]
    total: Float64[Array, "U U"]


class PermutationTest(NamedTuple):
    """A distance with the share of exchanges of speakers that give one at least as large."""

    distance: float
    p_value: float
    num_permutations: int
    num_speakers: int


def kernel_distance(
    x: Float[AnyArray, "N D"],
    y: Float[AnyArray, "M D"],
    *,
    bandwidth: float | Float[AnyArray, ""] | None = None,
    x_mask: Bool[AnyArray, " N"] | None = None,
    y_mask: Bool[AnyArray, " M"] | None = None,
    block_size: int = 512,
) -> Float64[Array, ""]:
    """Unbiased squared maximum mean discrepancy (MMD) of two sets of embeddings.

    k(a, b) = exp(-|a - b|^2 / (2 bandwidth^2))
    distance = sum_{i != j} k(x_i, x_j) / (n (n - 1)) + sum_{i != j} k(y_i, y_j) / (m (m - 1))
               - 2 sum_{i, j} k(x_i, y_j) / (n m)

    Unbiased, so about 0 and as often below as above it where both sets are of one distribution.
    Unscaled, so that it reads on the scale of the kernel: two sets far apart reach 2, two of one
    distribution lie about 0. Times 100 it is what kadtk 1.1.0 prints, but for three choices: kadtk takes its bandwidth
    from the second, evaluated set alone (`median_bandwidth` of it), which makes it asymmetric and puts
    every evaluated set on a scale of its own; of an even number of pairs it takes the lower middle one
    as the median; and it works in float32.
    Memory beyond one copy of the rows is that of one block; compiles once per pair of shapes.

    Args:
      x: Embeddings of any float type, at least two valid rows.
      y: Embeddings of the same width.
      bandwidth: In embedding units; by default the median distance within both sets pooled. Give
        one value to all distances that are to be compared.
      x_mask: True where a row counts; masked rows may hold anything, NaN included.
      y_mask: As `x_mask`.
      block_size: Rows per block; a pair of blocks costs 8 block_size^2 bytes.

    Returns:
      The distance, at most 2.

    Raises:
      ValueError: If the shapes do not fit, a set has fewer than two valid rows, a valid value is
        not finite, or the bandwidth is not above 0 (values are looked at only outside jit).

    References:
      Gretton et al. 2012, JMLR 13:723-773, eq. 3 (the estimator; the median heuristic, section 8).
      Chung et al. 2025, arXiv 2502.15602 (Kernel Audio Distance).
    """
    x_mask, y_mask = _mask_or_all(x, x_mask), _mask_or_all(y, y_mask)
    _check_sets(x, y, x_mask, y_mask)
    if bandwidth is None:
        bandwidth = _pooled_bandwidth(x, y, x_mask, y_mask)
    _check_options(bandwidth, block_size)
    with jax.enable_x64(True):
        rows = jnp.concatenate([jnp.asarray(x), jnp.asarray(y)])
        unit_of_row = jnp.concatenate([jnp.where(x_mask, 0, -1), jnp.where(y_mask, 1, -1)])
        sums = _kernel_sums(rows, unit_of_row, bandwidth, 2, block_size)
        return _distance_of_labels(sums, jnp.array([True, False]), jnp.array([False, True]))


def kernel_sums(
    rows: Float[AnyArray, "N D"],
    unit_of_row: Int[AnyArray, " N"],
    *,
    num_units: int,
    bandwidth: float | Float[AnyArray, ""],
    block_size: int = 512,
) -> KernelSums:
    """Kernel sums between units, from which every distance between unions of units follows.

    total[u, v] = sum over rows i of u and j of v, i != j, of k(row_i, row_j)

    Args:
      rows: Embeddings of any float type.
      unit_of_row: Unit of each row in [0, num_units); -1 leaves the row out, whatever it holds.
      num_units: U.
      bandwidth: As in `kernel_distance`.
      block_size: As in `kernel_distance`.

    Raises:
      ValueError: If a unit is outside [-1, num_units), a valid value is not finite, the bandwidth is
        not above 0, or the block size is below 1 (values are looked at only outside jit).
    """
    _check_options(bandwidth, block_size)
    _check_units(rows, unit_of_row, num_units)
    with jax.enable_x64(True):
        return _kernel_sums(rows, unit_of_row, bandwidth, num_units, block_size)


def median_bandwidth(
    key: PRNGKeyArray,
    rows: Float[AnyArray, "N D"],
    *,
    row_mask: Bool[AnyArray, " N"] | None = None,
    max_rows: int = 1000,
) -> Float64[Array, ""]:
    """Median distance between rows: the bandwidth for all cells whose rows these are.

    Args:
      key: Draws the rows where there are more than `max_rows`.
      rows: Rows of all the cells together, of any float type.
      row_mask: True where a row counts.
      max_rows: All pairs of this many rows are measured.

    Returns:
      The bandwidth in embedding units.

    Raises:
      ValueError: If there are fewer than two rows, a valid value is not finite, or the median is 0
        (values are looked at only outside jit).

    Reference: Gretton et al. 2012, JMLR 13:723-773, section 8.
    """
    row_mask = _mask_or_all(rows, row_mask)
    _check_set("rows", rows, row_mask)
    with jax.enable_x64(True):
        return _checked_median(*_subsample(key, rows, row_mask, max_rows))


def exchange_test(
    key: PRNGKeyArray, sums: KernelSums, *, num_permutations: int = 999
) -> PermutationTest:
    """Tests whether two sets differ by more than an exchange of whole speakers would make them.

    p_value = (1 + number of exchanges with a distance >= the observed one) / (1 + num_permutations)

    Rows of one speaker are not independent, so they move together. A speaker in both sets has their
    two parts swapped or not, with equal chance; speakers in one set only are shuffled between the
    sets, as many to each as before. With few speakers the p-value cannot be small, whatever the
    rows: 5 speakers in both sets have 16 distinct distances.

    Args:
      key: Draws the exchanges.
      sums: Over units (set, speaker) under one bandwidth: unit s of the S speakers is speaker s in
        x, unit S + s the same speaker in y; a unit without rows is a speaker who is not in that set.
      num_permutations: Exchanges drawn.

    Raises:
      ValueError: If the units are no pairs, a set has fewer than two speakers, or no exchange is
        asked for.

    Reference: Phipson & Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9(1):39 (the added one).
    """
    _check_exchange(sums, num_permutations)
    observed, exchanged = _observed_and_exchanged(key, sums, num_permutations)
    at_least = int((exchanged >= observed - _TIE_TOLERANCE).sum())
    return PermutationTest(
        distance=float(observed),
        p_value=(1 + at_least) / (1 + num_permutations),
        num_permutations=num_permutations,
        num_speakers=int((np.asarray(sums.num_rows).reshape(2, -1) > 0).any(axis=0).sum()),
    )


def distances_of_unions(
    sums: KernelSums, in_x: Bool[np.ndarray, "P U"], in_y: Bool[np.ndarray, "P U"]
) -> Float64[np.ndarray, " P"]:
    """`kernel_distance` of P pairs of disjoint unions of units; NaN where a union has under two rows."""
    with jax.enable_x64(True):
        each = jax.vmap(_distance_of_labels, in_axes=(None, 0, 0))
        return np.asarray(each(sums, jnp.asarray(in_x), jnp.asarray(in_y)))


def _observed_and_exchanged(
    key: PRNGKeyArray, sums: KernelSums, num_permutations: int
) -> tuple[Float64[np.ndarray, ""], Float64[np.ndarray, " P"]]:
    in_x, in_y = np.asarray(sums.num_rows).reshape(2, -1) > 0
    labels = _exchanges(key, in_x, in_y, num_permutations)
    original = np.concatenate([in_x, np.zeros_like(in_y)])
    with jax.enable_x64(True):
        observed = _distance_of_labels(sums, jnp.asarray(original), jnp.asarray(~original))
    return np.asarray(observed), distances_of_unions(sums, labels, ~labels)


def _exchanges(
    key: PRNGKeyArray,
    in_x: Bool[np.ndarray, " S"],
    in_y: Bool[np.ndarray, " S"],
    num_permutations: int,
) -> Bool[np.ndarray, "P U"]:
    """For each exchange, which units count as x; units are speakers in x, then speakers in y."""
    swap_key, shuffle_key = jax.random.split(key)
    swapped = np.asarray(jax.random.bernoulli(swap_key, 0.5, (num_permutations, in_x.size)))
    alone = np.flatnonzero(in_x != in_y)
    shuffle = jax.vmap(lambda key: jax.random.permutation(key, in_x[alone]))
    shuffled = np.asarray(shuffle(jax.random.split(shuffle_key, num_permutations)))
    x_part, y_part = ~swapped, swapped.copy()
    x_part[:, alone] = y_part[:, alone] = shuffled
    return np.concatenate([x_part, y_part], axis=1)


@functools.partial(jax.jit, static_argnums=(3, 4))
def _kernel_sums(rows, unit_of_row, bandwidth, num_units, block_size):
    valid = unit_of_row >= 0
    membership = jax.nn.one_hot(unit_of_row, num_units, dtype=jnp.float64)
    rows = jnp.where(valid[:, None], rows, 0)
    # Distances do not depend on the centre, but their rounding does.
    centre = jnp.sum(rows, axis=0, dtype=jnp.float64) / jnp.maximum(jnp.sum(valid), 1)
    rows, membership = _blocks(rows, block_size), _blocks(membership, block_size)
    itself = jnp.eye(rows.shape[1], dtype=bool)

    def add_pair(total, pair):
        i, j = pair
        squared = _squared_distances(rows[i] - centre, rows[j] - centre)
        kernel = jnp.exp(-squared / (2.0 * jnp.asarray(bandwidth, jnp.float64) ** 2))
        kernel = jnp.where(itself & (i == j), 0.0, kernel)
        # A block against itself holds each pair in both orders already.
        weight = jnp.where(i == j, 0.5, 1.0)
        return total + weight * (membership[i].T @ kernel @ membership[j]), None

    pairs = tuple(jnp.asarray(indices) for indices in np.triu_indices(rows.shape[0]))
    half, _ = lax.scan(add_pair, jnp.zeros((num_units, num_units), jnp.float64), pairs)
    num_rows = jnp.sum(membership, axis=(0, 1)).astype(jnp.int32)
    return KernelSums(num_rows, half + half.T)


def _blocks(rows, block_size):
    """(n, ...) -> (blocks, rows, ...), in blocks as even as can be, zeros at the end."""
    num_blocks = max(-(-rows.shape[0] // block_size), 1)
    size = -(-rows.shape[0] // num_blocks)
    padding = num_blocks * size - rows.shape[0]
    return jnp.pad(rows, ((0, padding), (0, 0))).reshape(num_blocks, size, -1)


def _squared_distances(a, b):
    norms = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)
    return jnp.maximum(norms - 2.0 * jnp.dot(a, b.T, precision=lax.Precision.HIGHEST), 0.0)


@jax.jit
def _distance_of_labels(sums, in_x, in_y):
    """The equation of `kernel_distance`, x and y each the union of the units labelled True."""
    x, y = in_x.astype(jnp.float64), in_y.astype(jnp.float64)
    n, m = x @ sums.num_rows.astype(jnp.float64), y @ sums.num_rows.astype(jnp.float64)
    within = x @ sums.total @ x / (n * (n - 1.0)) + y @ sums.total @ y / (m * (m - 1.0))
    return within - 2.0 * (x @ sums.total @ y) / (n * m)


def _pooled_bandwidth(x, y, x_mask, y_mask, *, max_rows=1000):
    """Median over both sets, each drawn with one key in its own share: swapping them is no change."""
    key = jax.random.key(0)
    share = min(max_rows / (x.shape[0] + y.shape[0]), 1.0)
    with jax.enable_x64(True):
        parts = [
            _subsample(key, rows, mask, max(round(share * rows.shape[0]), 2))
            for rows, mask in ((x, x_mask), (y, y_mask))
        ]
        rows, masks = (jnp.concatenate(leaves) for leaves in zip(*parts, strict=True))
        return _checked_median(rows, masks)


def _subsample(key, rows, mask, max_rows):
    """At most `max_rows` rows with their mask, valid ones first; without replacement."""
    if rows.shape[0] <= max_rows:
        return jnp.asarray(rows), jnp.asarray(mask)
    order = jnp.argsort(jnp.where(mask, jax.random.uniform(key, mask.shape), 2.0))[:max_rows]
    return jnp.asarray(rows)[order], jnp.asarray(mask)[order]


def _checked_median(rows, mask):
    median = _median_distance(rows, mask)
    if is_concrete(median) and not float(median) > 0.0:
        raise ValueError(
            "The median distance between rows is 0: most rows are equal. Give a bandwidth."
        )
    return median


@jax.jit
def _median_distance(rows, mask):
    rows = jnp.where(mask[:, None], rows.astype(jnp.float64), 0.0)
    rows = rows - jnp.sum(rows, axis=0) / jnp.maximum(jnp.sum(mask), 1)
    above = np.triu_indices(rows.shape[0], k=1)
    distances = jnp.sqrt(_squared_distances(rows, rows)[above])
    return jnp.nanmedian(jnp.where(mask[above[0]] & mask[above[1]], distances, jnp.nan))


def _mask_or_all(rows, mask):
    return np.ones(rows.shape[:1], bool) if mask is None else mask


def _check_options(bandwidth, block_size) -> None:
    if is_concrete(bandwidth) and not (np.isfinite(float(bandwidth)) and float(bandwidth) > 0):
        raise ValueError(f"bandwidth is {float(bandwidth)}; expected a finite number above 0.")
    if block_size < 1:
        raise ValueError(f"block_size is {block_size}; expected at least 1.")


def _check_units(rows, unit_of_row, num_units) -> None:
    if is_concrete(unit_of_row):
        units = np.asarray(unit_of_row)
        outside = np.unique(units[(units < -1) | (units >= num_units)]).tolist()
        if outside:
            raise ValueError(f"unit_of_row holds {outside}; expected -1 to {num_units - 1}.")
        _check_finite("rows", rows, units >= 0)


def _check_sets(x, y, x_mask, y_mask) -> None:
    _check_set("x", x, x_mask)
    _check_set("y", y, y_mask)
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} dimensions and y {y.shape[1]}; use one encoder and layer for both."
        )


def _check_set(name: str, rows, mask) -> None:
    if rows.ndim != 2 or mask.shape != rows.shape[:1]:
        raise ValueError(
            f"{name} has shape {rows.shape} and its mask {mask.shape}; expected (n, d) and (n,)."
        )
    if is_concrete(mask):
        valid = np.asarray(mask)
        if valid.sum() < 2:
            raise ValueError(f"{name} has {valid.sum()} valid rows; expected at least 2.")
        _check_finite(name, rows, valid)


def _check_finite(name: str, rows, valid) -> None:
    if is_concrete(rows):
        bad = valid & ~np.isfinite(np.asarray(rows, np.float64)).all(axis=1)
        if bad.any():
            raise ValueError(f"{name} has {bad.sum()} valid rows with NaN or infinity. Mask them.")


def _check_exchange(sums: KernelSums, num_permutations: int) -> None:
    num_units = sums.num_rows.shape[0]
    if num_units % 2:
        raise ValueError(f"There are {num_units} units; expected each speaker in x, then in y.")
    if num_permutations < 1:
        raise ValueError(f"num_permutations is {num_permutations}; expected at least 1.")
    for name, num_rows in zip("xy", np.asarray(sums.num_rows).reshape(2, -1), strict=True):
        if (num_rows > 0).sum() < 2:
            raise ValueError(
                f"{name} has {(num_rows > 0).sum()} speakers; an exchange needs at least 2 in each set."
            )
