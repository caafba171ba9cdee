import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.data.batches import num_batches, ordered_batches, shuffled_batches
from jaxemo.embedding.clock import DeviceClock

sizes = st.tuples(st.integers(1, 50), st.integers(1, 9))


@given(sizes)
def test_every_row_comes_exactly_once_an_epoch(size):
    num_rows, batch_size = size
    rows = np.arange(100, 100 + num_rows)
    batches = list(shuffled_batches(rows, batch_size=batch_size, seed=1, epoch=2))
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
