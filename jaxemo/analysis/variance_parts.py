"""What the variance of a layer goes with: emotion, speaker, sentence, domain, and how they interact.

A linear model of all dimensions at once; sums of squares are of type II, so that a factor is credited with
what no other term without it explains, whether or not the design is balanced. Arithmetic is float64.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

# Squared singular values of a term's columns, per clip, below which others explain it.
_RANK_TOLERANCE = 1e-9
# Fewest clips beside the model's columns, so that the residual variance is one.
_FEWEST_RESIDUAL = 10

# A factor by its name, an interaction by those of its two factors.
Term = tuple[str, ...]


class Model(NamedTuple):
    """Orthonormal bases of what each term adds, and of the whole model, over the same clips.

    Attributes:
      terms: Those that add anything.
      added: Basis of each: what its columns add to all terms that do not contain it.
      whole: Basis of all terms together, the mean among them.
    """

    terms: tuple[Term, ...]
    added: tuple[Float64[np.ndarray, "n _"], ...]
    whole: Float64[np.ndarray, "n _"]

    @property
    def degrees_of_freedom(self) -> tuple[int, ...]:
        """Dimensions that each term adds."""
        return tuple(basis.shape[1] for basis in self.added)


def variance_model(
    factors: Mapping[str, Int[np.ndarray, " n"]], terms: Sequence[Term]
) -> Model | None:
    """The model of some terms; None where it leaves too few clips for the residual.

    Args:
      factors: Level of each clip in each factor.
      terms: Names of one factor or two; those that others explain wholly are left out.
    """
    columns = {term: _columns([factors[name] for name in term]) for term in terms}
    mean = np.ones((len(next(iter(factors.values()))), 1))
    added = {
        term: _beyond(
            columns[term],
            [mean, *(columns[other] for other in terms if not set(term) <= set(other))],
        )
        for term in terms
    }
    whole = _basis(np.concatenate([mean, *columns.values()], axis=1))
    if len(mean) - whole.shape[1] < _FEWEST_RESIDUAL:
        return None
    kept = tuple(term for term in terms if added[term].shape[1])
    return Model(kept, tuple(added[term] for term in kept), whole)


def variance_parts(rows: Float[np.ndarray, "n D"], model: Model) -> Float64[np.ndarray, " T"]:
    """Omega squared of each term: its share of the variance of all dimensions together, without bias of fit.

    omega2 = (SS_term - df_term MS_residual) / (SS_total + MS_residual)

    SS are summed over the dimensions; SS_term is what the term adds to all terms that do not contain it.
    A term that explains nothing is 0 on average, below as often as above. In unbalanced designs shares
    need not add up. NaN for rows that do not vary.

    Reference: Hays 1973, Statistics for the Social Sciences, chapter 12 (omega squared); Langsrud 2003,
    Statistics and Computing 13:163-167 (type II); Anderson 2001, Austral Ecology 26:32-46 (sums of squares
    over many dimensions).
    """
    centred = np.asarray(rows, np.float64)
    centred = centred - centred.mean(axis=0)
    total = (centred**2).sum()
    residual = total - ((model.whole.T @ centred) ** 2).sum()
    mean_square = residual / (len(rows) - model.whole.shape[1])
    squares = np.array([((basis.T @ centred) ** 2).sum() for basis in model.added])
    expected = np.array(model.degrees_of_freedom) * mean_square
    return (
        (squares - expected) / (total + mean_square) if total > 0 else np.full(len(squares), np.nan)
    )


def _columns(levels: Sequence[Int[np.ndarray, " n"]]) -> Float64[np.ndarray, "n _"]:
    """One column of ones and zeros for each combination of levels that occurs."""
    _, place = np.unique(np.stack(levels), axis=1, return_inverse=True)
    return np.eye(int(place.max()) + 1)[place.reshape(-1)]


def _beyond(
    columns: Float64[np.ndarray, "n _"], others: list[Float64[np.ndarray, "n _"]]
) -> Float64[np.ndarray, "n _"]:
    """Orthonormal basis of what columns add to others."""
    basis = _basis(np.concatenate(others, axis=1))
    return _basis(columns - basis @ (basis.T @ columns))


def _basis(columns: Float64[np.ndarray, "n _"]) -> Float64[np.ndarray, "n _"]:
    """Orthonormal basis of the columns' span, by their products: few columns, of ones and zeros."""
    values, vectors = np.linalg.eigh(columns.T @ columns)
    kept = values > _RANK_TOLERANCE * len(columns)
    return columns @ (vectors[:, kept] / np.sqrt(values[kept]))
