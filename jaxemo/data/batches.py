"""Seeded, fixed-size batches of row numbers; what the rows hold is the caller's business.

An epoch's order depends on (seed, epoch) alone, so that a run can be resumed at any batch. The last
batch is filled up with repeats of weight 0: every batch has one shape and compiles once.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int


class RowBatch(NamedTuple):
    """Row numbers of one batch; `valid` is False where a row only fills it up."""

    rows: Int[np.ndarray, " B"]
    valid: Bool[np.ndarray, " B"]


def shuffled_batches(
    rows: Int[np.ndarray, " n"], *, batch_size: int, seed: int, epoch: int
) -> Iterator[RowBatch]:
    """One epoch over `rows` in the order of (seed, epoch)."""
    order = np.random.default_rng((seed, epoch)).permutation(len(rows))
    return ordered_batches(rows[order], batch_size=batch_size)


def ordered_batches(rows: Int[np.ndarray, " n"], *, batch_size: int) -> Iterator[RowBatch]:
    """`rows` as they come, in batches of exactly `batch_size`."""
    for start in range(0, len(rows), batch_size):
        chunk = rows[start : start + batch_size]
        filler = batch_size - len(chunk)
        yield RowBatch(
            np.concatenate([chunk, np.repeat(chunk[:1], filler)]),
            np.arange(batch_size) < len(chunk),
        )


def num_batches(num_rows: int, *, batch_size: int) -> int:
    """Batches in an epoch: ceil(num_rows / batch_size)."""
    return -(-num_rows // batch_size)
