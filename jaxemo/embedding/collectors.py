"""What is made of a stream of encoded batches: means of layers, stem features, frames, statistics.

Each collector reduces a batch on the device and keeps its share under the digests of the clips, in
memory or in the store (`store.py`), so that clips that were seen before need not be seen again.
"""

import functools
from collections import Counter, deque
from collections.abc import MutableMapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Bool, Float, Int

from jaxemo.distances.arrays import AnyArray, on_host
from jaxemo.distances.statistics import (
    FrechetStatistics,
    PackedStatistics,
    empty_on_mesh,
    empty_statistics,
    merge_cells,
    pack,
    unpack,
    update,
    update_on_mesh,
)
from jaxemo.embedding.frames import rows_of, sampled_positions
from jaxemo.embedding.passes import Encoded
from jaxemo.embedding.plan import Pass
from jaxemo.embedding.store import KeptStatistics, RowStore, StatisticsStore, held
from jaxemo.models.heads import pool_frames, pool_spread

Rows = RowStore | MutableMapping[str, np.ndarray]

_pool = jax.jit(lambda hidden_states, given: pool_frames(hidden_states, given).astype(jnp.float32))


def pooled_windows(encoded: Encoded) -> Float[Array, "B L D"]:
    """Mean over the frames that each row of the batch gives, layer by layer."""
    return _pool(encoded.hidden_states, jnp.asarray(encoded.given))


class _ClipRows:
    """One row per clip, whole once the last of its windows has been seen."""

    def __init__(self, digests: Sequence[str], rows: Rows) -> None:
        self._digests = digests
        self._rows = rows
        self._open: dict[int, list[np.ndarray]] = {}
        self._finished: dict[str, np.ndarray] = {}

    def missing(self) -> Bool[np.ndarray, " n"]:
        """The clips without a row."""
        return ~held(self._rows, self._digests)

    def commit(self) -> None:
        """Moves finished rows to where they are kept."""
        self._rows.update(self._finished)
        self._finished = {}

    def result(self) -> list[np.ndarray]:
        """The row of each clip, in order."""
        return rows_of(self._rows, self._digests)

    def _collect(self, step: Pass, parts: Sequence[np.ndarray]) -> None:
        """Takes one part per row of the pass and joins those of clips that are complete."""
        for place, (row, part) in enumerate(zip(step.rows, parts, strict=True)):
            self._open.setdefault(row.clip, []).append(part)
            if row.window.first_frame + row.window.num_frames == step.clip_frames[place]:
                joined = self._join(self._open.pop(row.clip), step.clip_frames[place])
                self._finished[self._digests[row.clip]] = joined

    def _join(self, parts: list[np.ndarray], num_frames: int) -> np.ndarray:
        del num_frames
        return np.concatenate(parts)


class PooledLayers(_ClipRows):
    """Mean over the frames of each clip at each layer: rows (L, D), float32."""

    def reduce(self, encoded: Encoded) -> Float[Array, "B L D"]:
        return pooled_windows(encoded)

    def add(self, step: Pass, reduced: Float[np.ndarray, "B L D"]) -> None:
        means = np.asarray(reduced, np.float64)
        self._collect(
            step, [means[place] * row.window.num_frames for place, row in enumerate(step.rows)]
        )

    def _join(self, parts: list[np.ndarray], num_frames: int) -> np.ndarray:
        # Summed one by one, in order, whatever the number of windows.
        return (functools.reduce(np.add, parts) / num_frames).astype(np.float32)


@jax.jit
def _mean_and_spread(
    hidden_states: Float[Array, "L B T D"], given: Bool[Array, "B T"]
) -> Float[Array, "2 B L D"]:
    mean, spread = pool_frames(hidden_states, given), pool_spread(hidden_states, given)
    return jnp.stack([mean, spread]).astype(jnp.float32)


class LayerSpreads(_ClipRows):
    """Standard deviation over the frames of each clip at each layer: rows (L, D), float32."""

    def reduce(self, encoded: Encoded) -> Float[Array, "2 B L D"]:
        return _mean_and_spread(encoded.hidden_states, jnp.asarray(encoded.given))

    def add(self, step: Pass, reduced: Float[np.ndarray, "2 B L D"]) -> None:
        mean, spread = np.asarray(reduced, np.float64)
        sums = np.stack([mean, spread**2 + mean**2], axis=1)  # B 2 L D
        self._collect(
            step, [sums[place] * row.window.num_frames for place, row in enumerate(step.rows)]
        )

    def _join(self, parts: list[np.ndarray], num_frames: int) -> np.ndarray:
        mean, square = functools.reduce(np.add, parts) / num_frames
        return np.sqrt(np.maximum(square - mean**2, 0)).astype(np.float32)


class _AllFrames(_ClipRows):
    """All frames of each clip: rows (T, C), float32."""

    def add(self, step: Pass, reduced: Float[np.ndarray, "B T C"]) -> None:
        features = np.asarray(reduced, np.float32)
        self._collect(
            step, [features[place, row.window.given] for place, row in enumerate(step.rows)]
        )


class StemFeatures(_AllFrames):
    """All frames of the convolutional stem."""

    def reduce(self, encoded: Encoded) -> Float[AnyArray, "B T C"]:
        return encoded.stem.features


class HiddenState(_AllFrames):
    """All frames of one hidden state, the input of the layer of that number."""

    def __init__(self, digests: Sequence[str], rows: Rows, *, layer: int) -> None:
        super().__init__(digests, rows)
        self._layer = layer

    def reduce(self, encoded: Encoded) -> Float[AnyArray, "B T D"]:
        return encoded.hidden_states[self._layer]


class SampledFrames(_ClipRows):
    """At most K evenly spaced frames of each clip at each layer: rows (K, L, D), float32."""

    def __init__(self, digests: Sequence[str], rows: Rows, *, per_clip: int) -> None:
        super().__init__(digests, rows)
        self._per_clip = per_clip

    def reduce(self, encoded: Encoded) -> Float[Array, "L B K D"]:
        index = np.zeros((encoded.given.shape[0], self._per_clip), np.int32)
        for place in range(len(encoded.step.rows)):
            positions = self._positions(encoded.step, place)
            index[place, : len(positions)] = positions
        return _frames_at(encoded.hidden_states, jnp.asarray(index))

    def add(self, step: Pass, reduced: Float[np.ndarray, "L B K D"]) -> None:
        frames = np.asarray(reduced, np.float32)
        self._collect(
            step,
            [
                frames[:, place, : len(self._positions(step, place))].transpose(1, 0, 2)
                for place in range(len(step.rows))
            ],
        )

    def _positions(self, step: Pass, place: int) -> Int[np.ndarray, " K"]:
        """Those of the clip's sampled frames that this window gives, as frames of the window."""
        window = step.rows[place].window
        positions = sampled_positions(step.clip_frames[place], per_clip=self._per_clip)
        inside = positions - window.first_frame
        inside = inside[(inside >= 0) & (inside < window.num_frames)]
        return inside + window.skipped_frames


@jax.jit
def _frames_at(
    hidden_states: Float[Array, "L B T D"], index: Int[Array, "B K"]
) -> Float[Array, "L B K D"]:
    return jnp.take_along_axis(hidden_states, index[None, :, :, None], axis=2)


class Cells(NamedTuple):
    """Which cell each clip's frames count in, such as (domain, emotion, half of the speakers)."""

    cell_of_clip: Int[np.ndarray, " n"]
    num_cells: int


class CellStatistics:
    """Frechet statistics of all frames of each cell of clips; passes come cell by cell.

    Each device keeps its own while a cell grows, and they are merged once it is complete. A CPU's are
    counted by the host's threads, while the encoder is at the next batch: XLA would wait for one to begin
    the other.
    """

    def __init__(
        self,
        digests: Sequence[str],
        cells: Cells,
        *,
        mesh: Mesh,
        store: StatisticsStore | None,
    ) -> None:
        self._digests = digests
        self._mesh = mesh
        self._counts_on_host = mesh.size == 1 and on_host()
        self._store = store
        self._cells: dict[int, KeptStatistics] = {}
        self._clips = [
            np.flatnonzero(cells.cell_of_clip == cell).tolist() for cell in range(cells.num_cells)
        ]
        if store is not None:
            for cell, clips in enumerate(self._clips):
                part = store.largest_part(digests[clip] for clip in clips)
                if part is not None:
                    self._cells[cell] = part
        self._wanted = self.missing()
        self._started: deque[FrechetStatistics] = deque()
        self._latest: tuple[int, FrechetStatistics] | None = None
        self._growing: tuple[int, FrechetStatistics] | None = None
        self._counted: list[str] = []

    def missing(self) -> Bool[np.ndarray, " n"]:
        """The clips that are not in their cell's statistics."""
        missing = np.ones(len(self._digests), bool)
        for cell, clips in enumerate(self._clips):
            kept = Counter(self._cells[cell].digests) if cell in self._cells else Counter()
            for clip in clips:
                if kept[self._digests[clip]] > 0:
                    kept[self._digests[clip]] -= 1
                    missing[clip] = False
        return missing

    def reduce(self, encoded: Encoded) -> Any:
        """Counts the batch's frames in, and gives how many were so far; or leaves all of it to `add`."""
        cell, wanted = encoded.step.group, self._wanted_frames(encoded)
        if self._counts_on_host:
            return encoded.hidden_states, wanted
        if self._latest is None or self._latest[0] != cell:
            self._latest = cell, self._start(cell, encoded.hidden_states)
        statistics = self._updated(self._latest[1], encoded.hidden_states, wanted)
        self._latest = cell, statistics
        self._started.append(statistics)
        return statistics.num_rows

    def add(self, step: Pass, reduced: Any) -> None:
        if self._growing is not None and self._growing[0] != step.group:
            self._close()
        if self._counts_on_host:
            hidden_states, wanted = reduced
            before = self._growing[1] if self._growing else self._start(step.group, hidden_states)
            statistics = self._updated(before, hidden_states, wanted)
        else:
            statistics = self._started.popleft()
        self._growing = step.group, statistics
        self._counted += [
            self._digests[row.clip]
            for place, row in enumerate(step.rows)
            if self._wanted[row.clip]
            and row.window.first_frame + row.window.num_frames == step.clip_frames[place]
        ]

    def commit(self) -> None:
        """Keeps the statistics of the cell that is growing."""
        if self._growing is not None:
            self._keep(self._growing[0], pack(self._growing[1]))

    def result(self) -> PackedStatistics:
        """Leading axes (layer, cell); a cell without clips is empty (its n is 0)."""
        self._close()
        example = next(iter(self._cells.values())).statistics
        num_layers, width = example.mean.shape[-2:]
        shape = (num_layers, len(self._clips))
        stacked = PackedStatistics(
            np.zeros(shape, np.int32),
            np.zeros((*shape, width)),
            np.zeros((*shape, example.triangle.shape[-1])),
        )
        for cell in sorted(self._cells):
            # Popped: at 25 layers of 1024 dimensions all cells are 2.5 GB, once.
            statistics = _merged(self._cells.pop(cell).statistics)
            for target, leaf in zip(stacked, statistics, strict=True):
                target[:, cell] = leaf
        return stacked

    def _start(self, cell: int, hidden_states: Float[AnyArray, "L B T D"]) -> FrechetStatistics:
        """What the cell's statistics are so far, one part per device of a mesh of several."""
        num_layers, *_, width = hidden_states.shape
        kept = self._cells.get(cell)
        if self._mesh.size == 1:
            if kept is None:
                return empty_statistics(width, cells=(num_layers,))
            return unpack(_merged(kept.statistics))
        empty = empty_on_mesh(width, mesh=self._mesh, axis=_axis(self._mesh), cells=(num_layers,))
        if kept is None:
            return empty
        if kept.statistics.num_rows.shape[:-1] == (self._mesh.size,):
            parts = unpack(kept.statistics)
        else:
            whole = unpack(_merged(kept.statistics))
            parts = jax.tree.map(
                lambda leaf, like: np.concatenate([leaf[None], np.zeros_like(like)[1:]]),
                whole,
                _on_host(empty),
            )
        with jax.enable_x64(True):
            return jax.tree.map(
                lambda leaf, like: jax.device_put(np.asarray(leaf), like.sharding), parts, empty
            )

    def _wanted_frames(self, encoded: Encoded) -> Bool[np.ndarray, "B T"]:
        """The frames that are to be counted: those of clips that are not yet."""
        wanted = encoded.given.copy()
        for place, row in enumerate(encoded.step.rows):
            wanted[place] &= self._wanted[row.clip]
        return wanted

    def _updated(
        self,
        statistics: FrechetStatistics,
        hidden_states: Float[AnyArray, "L B T D"],
        wanted: Bool[np.ndarray, "B T"],
    ) -> FrechetStatistics:
        num_layers, *_, width = hidden_states.shape
        rows = hidden_states.reshape(num_layers, -1, width)
        mask = np.broadcast_to(wanted.reshape(-1), rows.shape[:2])
        if self._mesh.size == 1:
            return update(statistics, rows, mask)
        return update_on_mesh(statistics, rows, mask, mesh=self._mesh, axis=_axis(self._mesh))

    def _close(self) -> None:
        """Merges the parts of the cell that has grown to its end."""
        if self._growing is not None:
            cell, statistics = self._growing
            self._keep(cell, _merged(pack(statistics)))
            self._growing = None

    def _keep(self, cell: int, statistics: PackedStatistics) -> None:
        before = self._cells[cell].digests if cell in self._cells else ()
        kept = KeptStatistics((*before, *self._counted), statistics)
        self._counted = []
        self._cells[cell] = kept
        if self._store is not None:
            self._store.write(kept, replaces=before)


def _axis(mesh: Mesh) -> str:
    [axis] = mesh.axis_names
    return axis


def _on_host(statistics: FrechetStatistics) -> FrechetStatistics:
    return jax.tree.map(np.asarray, statistics)


def _merged(statistics: PackedStatistics) -> PackedStatistics:
    """Without the axis of devices."""
    if statistics.num_rows.ndim == 1:
        return statistics
    return pack(merge_cells(unpack(statistics)))
