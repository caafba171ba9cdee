"""Predictions of trained models: a compiled forward pass, without optimiser or training step.

Used by the loop on dev rows, by studies on held-out rows, and by models restored from a checkpoint.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Int

from jaxemo.models.heads import LayerStatistics
from jaxemo.peft.method import Params
from jaxemo.training.features import Features, Feed, look_up, make_feed
from jaxemo.training.grids import RowGrid, make_row_grid
from jaxemo.training.model import Network
from jaxemo.training.objectives import Objective
from jaxemo.training.sharding import (
    compiler_options,
    pad_to_multiple,
    placed,
    replicated,
    stacked_shardings,
    tree_shardings,
)
from jaxemo.training.step import Shared


class TrainedModel(NamedTuple):
    """What one run adds to the base: its trainable tree and its layer statistics.

    Attributes:
      inherited: What is merged into the base for this run alone (`Network.own_base`); () for nothing.
    """

    trainable: dict[str, Any]
    statistics: LayerStatistics
    inherited: Any = ()


class Predictor:
    """Predictions of one (network, objective) on a mesh; batches that do not divide over it are filled up."""

    def __init__(self, network: Network, objective: Objective, *, mesh: Mesh, batch_size: int):
        """`batch_size` is the number of clips per call and model, over all devices."""
        self.network = network
        self.mesh = mesh
        self.batch_size = batch_size
        self._step = _make_predict_step(network, objective, mesh)

    def predict(
        self, model: TrainedModel, base: Params, features: Features, rows: Int[np.ndarray, " n"]
    ) -> Float[np.ndarray, "n ..."]:
        """The model's predictions for the given rows, in their order."""
        return self.predict_runs([model], base, features, [rows])[0]

    def predict_runs(
        self,
        models: Sequence[TrainedModel],
        base: Params,
        features: Features,
        rows: Sequence[Int[np.ndarray, " _"]],
        *,
        models_at_once: int = 0,
    ) -> list[Float[np.ndarray, "_ ..."]]:
        """Each model's predictions for its own rows, `models_at_once` (0: all) in one program."""
        feed = make_feed(features, self.mesh)
        shared = Shared(place(base, self.mesh), feed.table)
        size = models_at_once or max(len(models), 1)
        predictions = []
        for start in range(0, len(models), size):
            stacked = stack_trees(models[start : start + size], self.mesh)
            models_on_mesh = place_stacked(stacked, self.mesh)
            predictions += self.predict_stacked(
                models_on_mesh, shared, feed, rows[start : start + size]
            )
        return predictions

    def predict_stacked(
        self,
        models: TrainedModel,
        shared: Shared,
        feed: Feed,
        rows: Sequence[Int[np.ndarray, " _"]],
    ) -> list[Float[np.ndarray, "_ ..."]]:
        """As `predict_runs`, of models that are stacked and placed."""
        grid = make_row_grid(rows, self.mesh, batch_size=self.batch_size)
        parts = []
        for step in range(len(grid.rows)):
            inputs = feed.inputs(grid.rows[step : step + 1], self.mesh, draw=None)
            parts.append(self._step(models, shared, inputs))
        return _rows_of_runs(np.stack(jax.device_get(parts)), grid, num_runs=len(rows))


def place(tree: Any, mesh: Mesh) -> Any:
    """A tree of one model on the mesh, sharded by the parameter rules."""
    return placed(tree, tree_shardings(tree, mesh))


def place_stacked(tree: Any, mesh: Mesh) -> Any:
    """A stacked tree on the mesh, its runs over the run axis."""
    num_runs = jax.tree.leaves(tree)[0].shape[0]
    return placed(tree, stacked_shardings(tree, mesh, num_runs=num_runs))


def stack_trees(trees: Sequence[Any], mesh: Mesh) -> Any:
    """One tree with the runs first; the last one is repeated until they divide over the mesh."""
    filler = pad_to_multiple(len(trees), mesh.shape["run"]) - len(trees)
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees, *[trees[-1]] * filler)


def _make_predict_step(network: Network, objective: Objective, mesh: Mesh):
    """The jitted (models, shared, inputs [1, R, 1, B]) -> predictions [R, B, ...]."""

    def one_run(model: TrainedModel, shared: Shared, inputs: Any):
        outputs = network.outputs(
            model.trainable,
            network.own_base(shared.base, model.inherited),
            look_up(shared.table, inputs),
            statistics=model.statistics,
        )
        return objective.predict(outputs)

    def all_runs(models: TrainedModel, shared: Shared, inputs: Any):
        inputs = jax.tree.map(lambda leaf: leaf[0, :, 0], inputs)
        return jax.vmap(one_run, in_axes=(0, None, 0))(models, shared, inputs)

    return jax.jit(
        all_runs, out_shardings=replicated(mesh), compiler_options=compiler_options(mesh)
    )


def _rows_of_runs(
    predictions: Float[np.ndarray, "S R B ..."], grid: RowGrid, *, num_runs: int
) -> list[Float[np.ndarray, "_ ..."]]:
    return [predictions[:, run][grid.valid[:, run, 0]] for run in range(num_runs)]
