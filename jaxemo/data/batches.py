"""Seeded, fixed-size batches of row numbers; what the rows hold is the caller's business.

An epoch's order depends on (seed, epoch) alone, so that a run can be resumed at any batch. The last
batch is filled up with repeats of weight 0: every batch has one shape and compiles once. Where clips
differ in length, clips of like length share a batch, so that little of it is padding.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

# Batches whose clips are sorted among each other. More leave less padding and mix lengths, and what goes
# with them, less; beyond eight little is gained (see docs/scale.md).
_SORTED_BATCHES = 8


class RowBatch(NamedTuple):
    """Row numbers of one batch; `valid` is False where a row only fills it up."""

    rows: Int[np.ndarray, " B"]
    valid: Bool[np.ndarray, " B"]


def shuffled_batches(
    rows: Int[np.ndarray, " n"],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    lengths: Int[np.ndarray, " n"] | None = None,
) -> Iterator[RowBatch]:
    """One epoch over `rows` in the order of (seed, epoch).

    Args:
      lengths: Of the rows' clips, in any unit. The shuffled rows are then sorted by length within every
        few batches, and these batches are put in an order of the epoch's own, the same for all seeds:
        runs that are trained side by side have their long clips in the same steps. None: no sorting.
    """
    order = np.random.default_rng((seed, epoch)).permutation(len(rows))
    if lengths is not None:
        order = _of_like_length(order, lengths, batch_size=batch_size, epoch=epoch)
    return ordered_batches(rows[order], batch_size=batch_size)


def _of_like_length(
    order: Int[np.ndarray, " n"], lengths: Int[np.ndarray, " n"], *, batch_size: int, epoch: int
) -> Int[np.ndarray, " n"]:
    """`order` with its whole batches sorted, window by window; the rows that fill none stay last."""
    num_whole = len(order) // batch_size
    if num_whole == 0:
        return order
    batches = order[: num_whole * batch_size].reshape(num_whole, batch_size)
    generator = np.random.default_rng(epoch)
    arranged = []
    for window in np.array_split(batches, -(-num_whole // _SORTED_BATCHES)):
        rows = window.ravel()
        by_length = rows[np.argsort(lengths[rows], kind="stable")].reshape(window.shape)
        arranged.append(by_length[generator.permutation(len(window))].ravel())
    return np.concatenate([*arranged, order[num_whole * batch_size :]])


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
