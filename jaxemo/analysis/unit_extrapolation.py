"""Frechet distance extrapolated to infinitely many independent units: speakers, or files.

Frames and clips of one speaker are not independent: thinning them leaves in the intercept what few
speakers add to a distance. Here whole speakers are left out instead.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float64, Int

from jaxemo.analysis.resampling import (
    Jackknife,
    RowSums,
    influence_of,
    pair_distances,
    whole_and_lacking,
)

# Units are dealt into halves and into thirds, two units to a third at least.
FEWEST_UNITS = 6
_NUM_PARTS = (1, 2, 3)
# Deals of each kind; their scatter is in the interval.
_NUM_DEALS = 12


class UnitExtrapolation(NamedTuple):
    """A distance at infinitely many units, which may be below 0, and what it rests on.

    Attributes:
      low: Lower end of the 95 % interval.
      high: Upper end.
      standard_error: Over units, by jackknife, and over deals.
      fit_error: Over deals alone.
      d: Dimensions that it was computed in.
    """

    distance: float
    low: float
    high: float
    standard_error: float
    fit_error: float
    d: int


def infinite_units_distance(
    random: np.random.Generator, a: RowSums, b: RowSums
) -> UnitExtrapolation | None:
    """Frechet distance of two sets, extrapolated to infinitely many units.

    distance = sum over k = 1, 2, 3 of w_k D_k,   w_k = prod over j != k of x_j / (x_j - x_k)

    D_k is the mean distance of parts of 1 / k of the units, and x_k the mean number of units over that
    of a part: 3 D_1 - 3 D_2 + D_3 where parts are equal. It is the value at x = 0 of the parabola through
    the three (Richardson's extrapolation), since the bias of a rank-deficient distance bends over 1 / n:
    in 16 dimensions a straight line keeps a tenth of it, and a quarter of it where dimensions are as many
    as units. Dimensions are at most two thirds of the units of the smaller set. A unit of both sets is on
    both sides of a part. The interval is a jackknife's over units: to first order, the extrapolation moves
    with each unit as the distance itself.

    Args:
      random: Deals the units.
      a: Sums over each unit's rows in the first set, zeros for those that it lacks; rows along principal
        directions, the leading ones last (`resampling.principal_rows`).
      b: The same units' in the second.

    Returns:
      None where a set has fewer than six units or a part too few rows.

    Reference: Schucany, Gray & Owen 1971, J. Am. Stat. Assoc. 66(335):524-533 (second-order jackknife).
    """
    from scipy import special

    there = np.stack([a.num_rows > 0, b.num_rows > 0])
    smaller = int(there.sum(axis=1).min())
    if smaller < FEWEST_UNITS:
        return None
    a, b = (_leading(side, 2 * smaller // 3) for side in (a, b))
    deals = [_parts(random, there, num_parts) for num_parts in _NUM_PARTS]
    members = np.flatnonzero(there.any(axis=0))
    taken = np.concatenate([parts.reshape(-1, there.shape[1]) for parts in deals[1:]])
    distances = _distances(a, b, members, taken)
    if not np.isfinite(distances).all():
        return None
    whole, lacking, dealt = np.split(distances, [1, 1 + len(members)])
    influence = influence_of(lacking)
    ends = np.cumsum([parts.shape[0] * parts.shape[1] for parts in deals[1:]])
    by_kind = [
        found.reshape(parts.shape[:2]).mean(axis=1)
        for found, parts in zip((whole, *np.split(dealt, ends)[:-1]), deals, strict=True)
    ]
    weights = _weights(np.array([_shrinking(parts, there) for parts in deals]))
    distance = float(weights @ [found.mean() for found in by_kind])
    of_deals = [found.std(ddof=1) / np.sqrt(len(found)) for found in by_kind[1:]]
    fit_error = float(np.hypot(*(weights[1:] * of_deals)))
    error = float(np.hypot(Jackknife(distance, influence).standard_error, fit_error))
    half_width = float(special.stdtrit(len(members) - 1, 0.975)) * error
    limits = (distance - half_width, distance + half_width)
    return UnitExtrapolation(distance, *limits, error, fit_error, a.total.shape[-1])


def _leading(sums: RowSums, num_dimensions: int) -> RowSums:
    kept = slice(-num_dimensions, None)
    return RowSums(sums.num_rows, sums.total[..., kept], sums.outer[..., kept, kept])


def _parts(
    random: np.random.Generator, there: Bool[np.ndarray, "2 U"], num_parts: int
) -> Bool[np.ndarray, "deals parts U"]:
    """Which units are in each part; units of both sets, of one and of the other are dealt apart."""
    num_deals = _NUM_DEALS if num_parts > 1 else 1
    taken = np.zeros((num_deals, num_parts, there.shape[1]), bool)
    kinds = [there.all(axis=0), there[0] & ~there[1], there[1] & ~there[0]]
    for deal in taken:
        order = np.concatenate([random.permutation(np.flatnonzero(kind)) for kind in kinds])
        for part in range(num_parts):
            deal[part, order[part::num_parts]] = True
    return taken


def _shrinking(taken: Bool[np.ndarray, "deals parts U"], there: Bool[np.ndarray, "2 U"]) -> float:
    """Mean over parts and sets of the number of units over that of a part."""
    sizes = np.sum(taken[..., None, :] & there, axis=-1)
    return float((there.sum(axis=-1) / sizes).mean())


def _weights(places: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Of values at these places in the value at 0 of the polynomial through them (Lagrange)."""
    others = places[None] - places[:, None]
    np.fill_diagonal(others, 1.0)
    numerators = np.tile(places, (len(places), 1))
    np.fill_diagonal(numerators, 1.0)
    return np.prod(numerators / others, axis=1)


def _distances(
    a: RowSums, b: RowSums, members: Int[np.ndarray, " M"], taken: Bool[np.ndarray, "P U"]
) -> Float64[np.ndarray, " 1+M+P"]:
    """Distances between the two sides: of all units, of all but each member, of the unions taken."""

    def unions(leaf: np.ndarray) -> np.ndarray:
        dealt = np.tensordot(taken.astype(np.float64), leaf, 1)
        return np.concatenate([whole_and_lacking(leaf, members), dealt])

    table = RowSums(
        *(np.concatenate([unions(side) for side in sides]) for sides in zip(a, b, strict=True))
    )
    first = np.arange(1 + len(members) + len(taken))
    return pair_distances(table, first, len(first) + first)
