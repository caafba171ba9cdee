import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.data.batches import num_batches, ordered_batches, shuffled_batches
from jaxemo.embedding.clock import DeviceClock

sizes = st.tuples(st.integers(1, 50), st.integers(1, 9))


@given(sizes, st.booleans())
def test_every_row_comes_exactly_once_an_epoch(size, by_length):
    num_rows, batch_size = size
    rows = np.arange(100, 100 + num_rows)
    lengths = np.arange(num_rows) * 7 % 5 if by_length else None
    batches = list(shuffled_batches(rows, batch_size=batch_size, seed=1, epoch=2, lengths=lengths))
    seen = np.concatenate([batch.rows[batch.valid] for batch in batches])
    assert sorted(seen) == rows.tolist()
    assert len(batches) == num_batches(num_rows, batch_size=batch_size)
    assert {batch.rows.shape for batch in batches} == {(batch_size,)}


@given(sizes)
def test_order_is_kept_where_it_is_asked_for(size):
    num_rows, batch_size = size
    rows = np.arange(num_rows)[::-1]
    batches = ordered_batches(rows, batch_size=batch_size)
    np.testing.assert_array_equal(np.concatenate([b.rows[b.valid] for b in batches]), rows)


def test_an_epochs_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        batches = shuffled_batches(np.arange(40), batch_size=8, seed=seed, epoch=epoch)
        return np.concatenate([batch.rows for batch in batches]).tolist()

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(*place)) for place in [(0, 0), (0, 1), (1, 0)]}) == 3


LENGTHS = np.random.default_rng(0).permutation(np.arange(1, 321))


def widths_of_epoch(*, seed, epoch, lengths):
    """The longest clip of each batch of eight."""
    order = {"batch_size": 8, "seed": seed, "epoch": epoch, "lengths": lengths}
    return np.array([LENGTHS[b.rows].max() for b in shuffled_batches(np.arange(320), **order)])


def test_batches_of_like_length_are_padded_a_third_as_much():
    padding = [
        8 * widths_of_epoch(seed=0, epoch=0, lengths=lengths).sum() - LENGTHS.sum()
        for lengths in (None, LENGTHS)
    ]
    assert padding[1] < padding[0] / 3


def test_runs_side_by_side_have_their_long_clips_in_the_same_steps():
    one, other = (widths_of_epoch(seed=seed, epoch=0, lengths=LENGTHS) for seed in (0, 1))
    assert np.corrcoef(one, other)[0, 1] > 0.9
    # Within an epoch they do not come from short to long, and the next one has another order.
    assert abs(np.corrcoef(one, np.arange(40))[0, 1]) < 0.5
    later = widths_of_epoch(seed=0, epoch=1, lengths=LENGTHS)
    assert abs(np.corrcoef(one, later)[0, 1]) < 0.5


class Late:
    """An array that a device has not finished."""

    is_ready = False

    def block_until_ready(self):
        time.sleep(0.1)
        self.is_ready = True


def test_no_thread_waits_for_a_device_once_a_signal_has_left_the_clock():
    array = Late()
    with pytest.raises(KeyboardInterrupt), DeviceClock() as clock:
        clock.watch(time.monotonic(), array)
        raise KeyboardInterrupt
    assert array.is_ready
