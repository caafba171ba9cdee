"""What training and prediction read of each clip, dense or ragged, behind one small protocol.

Small dense features are kept on the device as a table, and a compiled step looks its rows up there;
all others are taken on the host, call by call.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, Int, Shaped

from jaxemo.data.augmentation import Draw
from jaxemo.embedding.frames import StemFrames
from jaxemo.training.model import LowerLayers
from jaxemo.training.sharding import grid_shardings, placed, replicated, rows_sharding

# Beyond this the device's memory belongs to the parameters.
TABLE_BYTES = 512 * 2**20


@runtime_checkable
class Features(Protocol):
    """Inputs of all clips of a corpus, by row number.

    Attributes:
      training_lengths: Of what training reads of each clip, in any unit; None where all clips are padded
        to one length.
    """

    @property
    def training_lengths(self) -> Int[np.ndarray, " n"] | None: ...

    def take(
        self,
        rows: Int[np.ndarray, "..."],
        *,
        draw: Draw | None,
        beside: Int[np.ndarray, "..."] | None = None,
    ) -> Any:
        """Arrays with the shape of `rows` as leading axes.

        Axes behind those may differ from call to call (padding to one of a few widths); each new width
        compiles once.

        Args:
          rows: Row numbers; a row may stand there several times.
          draw: Of the same shape; decides all that is random in training; None gives whole clips,
            unchanged. What a clip becomes depends on its run's seed, the epoch and its row number alone,
            not on its place in `rows`: a run then sees the same whether it is trained alone or among
            others.
          beside: All rows of the call, where other processes take the rest: padding is to the width that
            they have in common.
        """
        ...


class DenseFeatures:
    """Features of one shape for all clips: a tree of arrays (in memory or memory-mapped), clip first."""

    def __init__(self, tree: Any, *, table_bytes: int = TABLE_BYTES):
        """`table_bytes` is the size up to which the tree is kept on the device."""
        self.training_lengths = None
        self._tree = tree
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(tree))
        self._fits = size <= table_bytes

    def take(
        self,
        rows: Int[np.ndarray, "..."],
        *,
        draw: Draw | None,
        beside: Int[np.ndarray, "..."] | None = None,
    ) -> Any:
        """See `Features`; there is nothing to draw or to pad."""
        del draw, beside
        return jax.tree.map(lambda leaf: np.asarray(leaf[rows]), self._tree)

    def table(self) -> Any:
        """The whole tree where it is small enough for the device, else None."""
        return self._tree if self._fits else None


class LowerLayerFeatures:
    """What frozen layers give of clips of any length: pooled hidden states, and frames of the last."""

    def __init__(self, pooled: Float32[np.ndarray, "n K D"], frames: StemFrames) -> None:
        """`pooled` are the hidden states 0 to K - 1, `frames` those of number K - 1."""
        self._pooled, self._frames = pooled, frames
        self.training_lengths = frames.training_lengths

    def take(
        self,
        rows: Int[np.ndarray, "..."],
        *,
        draw: Draw | None,
        beside: Int[np.ndarray, "..."] | None = None,
    ) -> LowerLayers:
        """See `Features`; there is nothing to draw."""
        frames = self._frames.take(rows, draw=draw, beside=beside)
        return LowerLayers(self._pooled[rows], *frames)


class Examples(NamedTuple):
    """All clips of a corpus, one row each.

    Attributes:
      inputs: What the network reads.
      targets: What the objective compares its outputs with.
      duration_s: Length of each clip's audio; None where it is not known.
    """

    inputs: Features
    targets: Shaped[np.ndarray, "n ..."]
    duration_s: Float[np.ndarray, " n"] | None = None


class Feed(NamedTuple):
    """Features as a compiled step reads them.

    Attributes:
      features: Where inputs are taken from when there is no table.
      table: All inputs on the device; None when they are taken call by call.
    """

    features: Features
    table: Any

    def inputs(self, rows: Int[np.ndarray, "S R M B"], mesh: Mesh, *, draw: Draw | None) -> Any:
        """What to hand to a step with `table`, on the mesh: row numbers, or the arrays themselves.

        Of several processes each takes the rows of its own devices alone.
        """
        if self.table is not None:
            numbers = rows.astype(np.int32)
            return placed(numbers, grid_shardings(numbers, mesh))
        if jax.process_count() == 1:
            taken = self.features.take(rows, draw=draw)
            return placed(taken, grid_shardings(taken, mesh))
        return _taken_by_devices(self.features, rows, mesh, draw=draw)


def make_feed(features: Features, mesh: Mesh) -> Feed:
    """Places the table of small dense features on every device of the mesh."""
    table = features.table() if isinstance(features, DenseFeatures) else None
    if table is not None:
        table = placed(table, jax.tree.map(lambda _: replicated(mesh), table))
    return Feed(features, table)


def _taken_by_devices(
    features: Features,
    rows: Int[np.ndarray, "S R M B"],
    mesh: Mesh,
    *,
    draw: Draw | None,
) -> Any:
    """The arrays of all rows, of which this process takes those that its devices hold."""
    sharding = rows_sharding(mesh)

    def bounds(index: Any) -> tuple[tuple[int, int, int], ...]:
        return tuple(part.indices(n) for part, n in zip(index, rows.shape, strict=False))

    own = sharding.addressable_devices_indices_map(rows.shape).values()
    taken = {
        bounds(index): features.take(
            rows[index], draw=None if draw is None else draw.at(index), beside=rows
        )
        for index in {bounds(index): index for index in own}.values()
    }
    leaves = {place: jax.tree.leaves(tree) for place, tree in taken.items()}
    example = next(iter(taken.values()))
    whole = [
        jax.make_array_from_callback(
            (*rows.shape, *leaf.shape[rows.ndim :]),
            sharding,
            lambda index, number=number: leaves[bounds(index)][number],
        )
        for number, leaf in enumerate(jax.tree.leaves(example))
    ]
    return jax.tree.unflatten(jax.tree.structure(example), whole)


def look_up(table: Any, inputs: Any) -> Any:
    """The arrays behind `Feed.inputs`, inside a compiled step."""
    if table is None:
        return inputs
    return jax.tree.map(lambda leaf: leaf[inputs], table)
