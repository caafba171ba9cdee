"""What a Frechet distance can be computed of; each check raises one ValueError that says what to do.

Values are looked at only outside jit.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxemo.distances.arrays import is_concrete

# Relative to the largest entry or eigenvalue: the rounding of a float32 covariance of a thousand
# dimensions.
MOMENT_TOLERANCE = 1e-5


def check_rows(x, y) -> None:
    """Two sets of embeddings of one width, two rows and more each, without NaN or infinity."""
    for name, rows in (("x", x), ("y", y)):
        if rows.ndim != 2 or rows.shape[0] < 2:
            raise ValueError(
                f"{name} has shape {rows.shape}; expected (n, d) with n >= 2 rows of embeddings."
            )
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"x has {x.shape[1]} dimensions and y {y.shape[1]}; use one encoder and layer for both."
        )
    for name, rows in (("x", x), ("y", y)):
        if is_concrete(rows):
            bad = np.flatnonzero(~np.isfinite(np.asarray(rows, np.float64)).all(axis=1))
            if bad.size:
                raise ValueError(
                    f"{name} has {bad.size} rows with NaN or infinity ({_listed(bad)}). Drop them."
                )


def check_statistics(a, b) -> None:
    """Two `FrechetStatistics` of one width, every cell finite."""
    if a.mean.shape[-1] != b.mean.shape[-1]:
        raise ValueError(
            f"The cells have {a.mean.shape[-1]} and {b.mean.shape[-1]} dimensions; "
            "use one encoder and layer for both."
        )
    for name, statistics in (("first", a), ("second", b)):
        if is_concrete(statistics.factor) and is_concrete(statistics.mean):
            # Sums are enough to find a bad cell, and leave the factors on the accelerator.
            with jax.enable_x64(True):
                finite = np.isfinite(_cell_sums(statistics))
            if not finite.all():
                bad = [tuple(map(int, cell)) for cell in np.argwhere(~finite)]
                raise ValueError(
                    f"The {name} statistics are not finite in {len(bad)} cells ({_listed(bad)}): "
                    "a row with NaN or infinity was counted. Mask such rows in `update`."
                )


@jax.jit
def _cell_sums(statistics):
    return jnp.sum(jnp.abs(statistics.mean), axis=-1) + jnp.sum(
        jnp.abs(statistics.factor), axis=(-1, -2)
    )


def check_moments(name: str, mean, cov) -> None:
    """A mean, and a matrix that a covariance can be up to the rounding of float32."""
    mean, cov = np.asarray(mean, np.float64), np.asarray(cov, np.float64)
    if mean.ndim != 1 or cov.shape != (mean.size, mean.size):
        raise ValueError(
            f"The {name} mean and covariance have shapes {mean.shape} and {cov.shape}; "
            "expected (d,) and (d, d)."
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise ValueError(f"The {name} mean or covariance holds NaN or infinity.")
    tolerance = MOMENT_TOLERANCE * np.abs(cov).max(initial=0.0)
    if np.abs(cov - cov.T).max(initial=0.0) > tolerance:
        raise ValueError(
            f"The {name} covariance is not symmetric to {MOMENT_TOLERANCE} of its largest entry."
        )
    smallest = np.linalg.eigvalsh(cov).min(initial=0.0)
    if smallest < -tolerance * mean.size:
        raise ValueError(
            f"The {name} covariance has a negative eigenvalue, {smallest:.3g}: not a covariance."
        )


def _listed(items) -> str:
    return ", ".join(str(item) for item in items[:8]) + (", ..." if len(items) > 8 else "")
