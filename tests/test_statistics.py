"""Frechet statistics: streamed, merged, masked and spread over devices, against numpy on all the rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from jaxemo.distances.statistics import (
    covariance,
    empty_on_mesh,
    empty_statistics,
    merge,
    merge_cells,
    update,
    update_on_mesh,
)

NUM_CELLS, NUM_DIMENSIONS = 3, 6
# What the project promises of several devices; float64 reaches about 1e-13.
RELATIVE_TOLERANCE = 1e-6
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=20)


def sample(seed, *, num_rows, shift=0.0):
    random = np.random.default_rng(seed)
    return (random.normal(size=(num_rows, NUM_DIMENSIONS)) + shift).astype(np.float32)


def statistics_of(rows):
    return update(
        empty_statistics(rows.shape[-1], cells=rows.shape[:-2]),
        rows,
        np.ones(rows.shape[:-1], bool),
    )


def cell_of(statistics, cell):
    return jax.tree.map(lambda leaf: leaf[cell], statistics)


def assert_describes(statistics, rows, *, rtol=1e-10):
    rows = np.asarray(rows, np.float64)
    assert int(statistics.num_rows) == len(rows)
    np.testing.assert_allclose(statistics.mean, rows.mean(0), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(covariance(statistics), np.cov(rows.T), rtol=rtol, atol=rtol)


@quick
@given(seeds, st.lists(st.sampled_from([0, 1, 3, 8]), min_size=2, max_size=5), st.floats(-1e3, 1e3))
def test_statistics_do_not_depend_on_how_rows_were_split(seed, sizes, shift):
    rows = sample(seed, num_rows=sum(sizes) + 8, shift=shift)
    order = np.random.default_rng(seed).permutation(len(rows))
    parts = np.split(rows[order], np.cumsum(sizes))
    streamed = empty_statistics(NUM_DIMENSIONS)
    for part in parts:
        streamed = update(streamed, part, np.ones(len(part), bool))
    assert_describes(streamed, rows)


def test_masked_rows_contribute_nothing_even_when_nan():
    rows = sample(0, num_rows=20)
    padded = np.concatenate([rows, np.full((5, NUM_DIMENSIONS), np.nan, np.float32)])
    mask = np.arange(25) < 20
    order = np.random.default_rng(0).permutation(25)
    statistics = update(empty_statistics(NUM_DIMENSIONS), padded[order], mask[order])
    assert_describes(statistics, rows)


def test_an_empty_batch_changes_nothing():
    before = statistics_of(sample(0, num_rows=20))
    after = update(before, np.full((4, NUM_DIMENSIONS), np.inf, np.float32), np.zeros(4, bool))
    assert_describes(after, sample(0, num_rows=20))


def test_merge_describes_the_union_in_either_order():
    rows = sample(0, num_rows=30, shift=100.0)
    a, b = statistics_of(rows[:7]), statistics_of(rows[7:])
    assert_describes(merge(a, b), rows)
    assert_describes(merge(b, a), rows)
    assert_describes(merge(empty_statistics(NUM_DIMENSIONS), merge(a, b)), rows)


def test_many_cells_merge_on_the_host_as_they_do_in_one_program():
    a, b = (statistics_of(sample(seed, num_rows=30).reshape(2, 3, 5, -1)) for seed in range(2))
    on_host, compiled = merge(a, b), jax.jit(merge)(a, b)
    assert isinstance(on_host.factor, np.ndarray)
    np.testing.assert_array_equal(on_host.num_rows, compiled.num_rows)
    np.testing.assert_allclose(on_host.mean, compiled.mean, rtol=1e-12)
    np.testing.assert_allclose(covariance(on_host), covariance(compiled), rtol=1e-12)


def test_merge_cells_joins_the_first_axis():
    rows = sample(0, num_rows=60).reshape(5, 2, 6, NUM_DIMENSIONS)
    joined = merge_cells(statistics_of(rows))
    for cell in range(2):
        assert_describes(cell_of(joined, cell), rows[:, cell].reshape(30, -1))


def test_cells_are_updated_independently_and_vmap_agrees():
    rows = sample(0, num_rows=24).reshape(3, 8, NUM_DIMENSIONS)
    mask = np.random.default_rng(0).random((3, 8)) > 0.3
    cells = empty_statistics(NUM_DIMENSIONS, cells=(3,))
    batched, mapped = update(cells, rows, mask), jax.vmap(update)(cells, rows, mask)
    for cell in range(3):
        for statistics in (batched, mapped):
            assert_describes(cell_of(statistics, cell), rows[cell][mask[cell]])


def test_statistics_stream_through_a_jitted_scan_in_float64():
    rows = sample(0, num_rows=24, shift=1e3).reshape(3, 8, NUM_DIMENSIONS)

    def add(statistics, batch):
        return update(statistics, batch, jnp.ones(8, bool)), None

    scan = jax.jit(lambda batches: jax.lax.scan(add, empty_statistics(NUM_DIMENSIONS), batches)[0])
    assert_describes(scan(rows), rows.reshape(24, -1))


def test_statistics_gathered_inside_shard_map_join_into_those_of_all_rows():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    rows = sample(0, num_rows=80)

    def local_then_joined(part):
        statistics = update(empty_statistics(NUM_DIMENSIONS), part, jnp.ones(len(part), bool))
        return merge_cells(jax.lax.all_gather(statistics, "data"))

    joined = jax.jit(
        jax.shard_map(
            local_then_joined,
            mesh=mesh,
            in_specs=PartitionSpec("data"),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )
    assert_describes(joined(rows), rows)


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((4, 2), ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)


def batches():
    random = np.random.default_rng(0)
    for num_rows in (40, 8, 64):
        rows = random.normal(size=(NUM_CELLS, num_rows, NUM_DIMENSIONS)) + 1e3
        mask = random.random((NUM_CELLS, num_rows)) > 0.2
        rows[~mask] = np.nan
        yield rows.astype(np.float32), mask


@pytest.mark.parametrize("shape", [(8, 1), (4, 2)])
def test_statistics_made_on_eight_devices_equal_one_devices(shape):
    mesh = jax.make_mesh(shape, ("data", "tensor"), axis_types=(AxisType.Auto,) * 2)
    alone = empty_statistics(NUM_DIMENSIONS, cells=(NUM_CELLS,))
    spread = empty_on_mesh(NUM_DIMENSIONS, mesh=mesh, cells=(NUM_CELLS,))
    for rows, mask in batches():
        alone = update(alone, rows, mask)
        spread = update_on_mesh(spread, rows, mask, mesh=mesh)
    assert len(spread.factor.sharding.device_set) == 8
    assert spread.factor.addressable_shards[0].data.shape[0] == 1
    joined = merge_cells(spread)
    np.testing.assert_array_equal(joined.num_rows, alone.num_rows)
    np.testing.assert_allclose(joined.mean, alone.mean, rtol=RELATIVE_TOLERANCE)
    np.testing.assert_allclose(
        covariance(joined),
        covariance(alone),
        atol=RELATIVE_TOLERANCE * float(np.abs(covariance(alone)).max()),
    )


def test_rows_that_the_devices_do_not_divide_are_refused(mesh):
    statistics = empty_on_mesh(NUM_DIMENSIONS, mesh=mesh)
    with pytest.raises(ValueError, match=r"There are 7 rows .* 4 parts for 4 devices"):
        update_on_mesh(statistics, np.ones((7, NUM_DIMENSIONS)), np.ones(7, bool), mesh=mesh)


def test_a_second_batch_of_one_shape_compiles_nothing_on_a_mesh(mesh, caplog):
    rows, mask = np.ones((8, NUM_DIMENSIONS), np.float32), np.ones(8, bool)
    statistics = update_on_mesh(empty_on_mesh(NUM_DIMENSIONS, mesh=mesh), rows, mask, mesh=mesh)
    with jax.log_compiles():
        update_on_mesh(statistics, rows, mask, mesh=mesh)
    assert not [record for record in caplog.records if "Compiling" in record.getMessage()]
