"""Statistics made on eight devices against those of one."""

import jax
import numpy as np
import pytest
from jax.sharding import AxisType

from jaxemo.distances.frechet import covariance, empty_statistics, merge_cells, update
from jaxemo.distances.sharded_statistics import empty_on_mesh, update_on_mesh

NUM_CELLS, NUM_DIMENSIONS = 3, 6
# What the project promises; float64 reaches about 1e-13.
RELATIVE_TOLERANCE = 1e-6


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
