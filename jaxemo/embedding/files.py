"""Layerwise embeddings of a corpus on disk: a folder of memory-mapped arrays, a table and a description.

    FOLDER/pooled.npy      (n, L+1, D)             mean over each clip's frames, clip by clip
    FOLDER/frames.npy      (total_frames, L+1, D)  where frames are kept: clip i has the rows
                                                   first_frame_i : first_frame_i + num_frames_i
    FOLDER/clips.parquet   one row per clip, in the same order: path, labels, seconds, num_frames,
                           first_frame, and its pooled layers as float32 lists layer_0 ... layer_L
    FOLDER/about.json      encoder, corpus, settings, shapes, versions

Each opens in one line:

    np.load("FOLDER/pooled.npy", mmap_mode="r")
    pd.read_parquet("FOLDER/clips.parquet")
    datasets.load_dataset("parquet", data_files="FOLDER/clips.parquet")

While it is being made the folder is called FOLDER.partial. Rows count as written once they have been
flushed to disk and `progress.json` says so; a killed run goes on from there. The folder gets its name
when it is complete, so whatever bears the name is.
"""

import enum
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxemo.data.files import make_folder, write_whole, writing
from jaxemo.embedding.collectors import pooled_windows
from jaxemo.embedding.passes import Encoded
from jaxemo.embedding.plan import Pass

POOLED, FRAMES = "pooled.npy", "frames.npy"
CLIPS, ABOUT, PROGRESS = "clips.parquet", "about.json", "progress.json"
_ROWS_A_GROUP = 1024


class Stage(enum.Enum):
    """How far a folder has come."""

    ABSENT = "absent"
    PARTIAL = "partial"
    COMPLETE = "complete"


def find_stage(folder: Path, identity: dict[str, Any]) -> Stage:
    """How far `folder` has come, if it holds embeddings of this identity.

    Args:
      folder: The finished folder's name.
      identity: What fixes every number in it, flat: fingerprint, corpus, settings, shapes.

    Raises:
      ValueError: It holds something else; every difference is named. Nothing is changed.
    """
    if folder.exists() and not (folder / ABOUT).is_file():
        raise ValueError(f"{folder} exists and holds no embeddings. Choose another workdir.")
    for place, stage in ((folder, Stage.COMPLETE), (partial(folder), Stage.PARTIAL)):
        if (place / ABOUT).is_file():
            _check_identity(place, identity)
            return stage
    return Stage.ABSENT


def partial(folder: Path) -> Path:
    """What the folder is called while it is being made."""
    return folder.with_name(folder.name + ".partial")


class EmbeddingWriter:
    """Writes the rows of a folder in the making, in any order, and knows which are safe.

    Used as a context manager; leaving it closes the files and keeps what was committed.
    """

    def __init__(self, folder: Path) -> None:
        """Opens what `start` made.

        Raises:
          ValueError: The arrays are not those that about.json describes.
        """
        self.folder = partial(folder)
        self._finished_folder = folder
        about = json.loads((self.folder / ABOUT).read_text(encoding="utf-8"))
        self._files = {
            f"{name}.npy": _RowFile(self.folder / f"{name}.npy", shape)
            for name, shape in about["shapes"].items()
        }

    def __enter__(self) -> "EmbeddingWriter":
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    @property
    def num_committed(self) -> int:
        """Steps whose rows are on disk."""
        path = self.folder / PROGRESS
        return json.loads(path.read_text(encoding="utf-8"))["steps"] if path.is_file() else 0

    def write_pooled(self, clip: int, pooled: Float[np.ndarray, "M D"]) -> None:
        """Writes a clip's row of `pooled.npy`; it is safe after the next `commit`.

        Raises:
          ValueError: A value is not finite, or too large for the array's type.
        """
        self._files[POOLED].write(clip, pooled[None])

    def write_frames(self, first_row: int, frames: Float[np.ndarray, "T M D"]) -> None:
        """Writes consecutive rows of `frames.npy`; as `write_pooled`."""
        self._files[FRAMES].write(first_row, frames)

    def commit(self, steps: int) -> None:
        """Flushes every row to disk, and only then notes that `steps` steps are done."""
        for file in self._files.values():
            file.flush()
        _write_json({"steps": steps}, self.folder / PROGRESS)

    def finish(self, columns: dict[str, Any]) -> None:
        """Writes the table of clips and gives the folder its name.

        Args:
          columns: One list per column, one entry per clip; the pooled layers are added.
        """
        self._close()
        _write_clips(self.folder, columns)
        os.rename(self.folder, self._finished_folder)
        (self._finished_folder / PROGRESS).unlink(missing_ok=True)

    def _close(self) -> None:
        for file in self._files.values():
            file.close()


class FolderFiles:
    """The collector that fills a folder: every pass is kept, clips may be open between two.

    A clip's pooled row is the mean over all its windows.
    """

    def __init__(
        self,
        writer: EmbeddingWriter,
        *,
        first_frame: Int[np.ndarray, " n"],
        with_frames: bool,
        passes_done: int,
    ) -> None:
        """Args:
        writer: Of the folder.
        first_frame: The row of `frames.npy` that each clip's first frame has.
        with_frames: Whether frames are kept beside their means.
        passes_done: Passes that were committed before.
        """
        self._writer = writer
        self._first_frame = first_frame
        self._with_frames = with_frames
        self._passes_done = passes_done
        self._totals: dict[int, np.ndarray] = {}

    def missing(self) -> Bool[np.ndarray, " n"]:
        """All clips: what is done already is known by pass."""
        return np.ones(len(self._first_frame), bool)

    def reduce(self, encoded: Encoded) -> tuple[Array, Array | None]:
        return pooled_windows(encoded), encoded.hidden_states if self._with_frames else None

    def add(self, step: Pass, reduced: tuple[np.ndarray, np.ndarray | None]) -> None:
        means, hidden_states = np.asarray(reduced[0], np.float64), reduced[1]
        for place, (clip, window) in enumerate(step.rows):
            total = self._totals.pop(clip, 0.0) + means[place] * window.num_frames
            if hidden_states is not None:
                frames = np.asarray(hidden_states)[:, place, window.given].transpose(1, 0, 2)
                self._writer.write_frames(int(self._first_frame[clip]) + window.first_frame, frames)
            if window.first_frame + window.num_frames == step.clip_frames[place]:
                self._writer.write_pooled(clip, total / step.clip_frames[place])
            else:
                self._totals[clip] = total
        self._passes_done += 1

    def commit(self) -> None:
        """Flushes the rows, then notes how many passes are done."""
        self._writer.commit(self._passes_done)


def start(folder: Path, about: dict[str, Any]) -> None:
    """Makes FOLDER.partial with arrays of the shapes that `about` names; about.json comes last.

    Args:
      about: What about.json says; `identity`, `shapes` and `dtype` are read here.

    Raises:
      OSError: There is not enough room on the disk.
    """
    place = partial(folder)
    make_folder(place)
    for stale in (PROGRESS, CLIPS):
        (place / stale).unlink(missing_ok=True)
    dtype = np.dtype(about["dtype"])
    shapes = {f"{name}.npy": tuple(shape) for name, shape in about["shapes"].items()}
    _check_room(place, sum(int(np.prod(shape)) for shape in shapes.values()) * dtype.itemsize)
    for name, shape in shapes.items():
        _allocate(place / name, dtype=dtype, shape=shape)
    _write_json(about, place / ABOUT)


def _allocate(path: Path, *, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    """An array of zeros whose place on the disk is taken now, and not by a later write."""
    num_bytes = int(np.prod(shape)) * dtype.itemsize
    with writing(path, num_bytes=num_bytes):
        array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
        size = array.offset + num_bytes
        del array
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, max(size, 1))


class _RowFile:
    """Rows of a `.npy` file, written in place.

    Not through the memory map: on a full disk that ends the process, where a write raises OSError.
    """

    def __init__(self, path: Path, shape: list[int]) -> None:
        array = np.load(path, mmap_mode="r")
        if array.shape != tuple(shape):
            raise ValueError(
                f"{path} has shape {array.shape}; its {ABOUT} says {tuple(shape)}. Delete the folder."
            )
        self.path = path
        self._dtype, self._offset = array.dtype, array.offset
        self._row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
        self._file = path.open("r+b")

    def write(self, first: int, rows: np.ndarray) -> None:
        with np.errstate(over="ignore"):  # Raised below.
            stored = np.ascontiguousarray(rows, self._dtype)
        if not np.isfinite(stored).all():
            largest = np.abs(rows.astype(np.float32)).max()
            raise ValueError(
                f"{self.path}, row {first}: embeddings must be finite and fit in {self._dtype}; the "
                f"largest magnitude is {largest:g}. Store float32, or check the encoder's weights."
            )
        with writing(self.path, num_bytes=stored.nbytes):
            self._file.seek(self._offset + first * self._row_bytes)
            self._file.write(stored.data)

    def flush(self) -> None:
        with writing(self.path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _check_identity(place: Path, identity: dict[str, Any]) -> None:
    found = json.loads((place / ABOUT).read_text(encoding="utf-8")).get("identity", {})
    differing = [
        f"{key} is {found.get(key)!r} there and {identity.get(key)!r} now"
        for key in sorted({*found, *identity})
        if found.get(key) != identity.get(key)
    ]
    if differing:
        raise ValueError(
            f"{place} holds other embeddings:\n  " + "\n  ".join(differing) + "\nNothing was "
            "overwritten. Choose another workdir, or delete that folder."
        )


def _check_room(place: Path, needed: int) -> None:
    free = shutil.disk_usage(place).free
    if needed > free:
        raise OSError(
            f"{place} needs {needed / 1e9:.1f} GB and the disk has {free / 1e9:.1f} GB free. Choose "
            "another workdir, pooled embeddings instead of frames, or float16."
        )


def _write_clips(folder: Path, columns: dict[str, Any]) -> None:
    """The table, a group of rows at a time, so that memory does not grow with the corpus."""
    import pyarrow
    import pyarrow.parquet

    pooled = np.load(folder / POOLED, mmap_mode="r")
    num_clips, num_layers, width = pooled.shape
    labels = pyarrow.table(columns)
    layer = pyarrow.list_(pyarrow.float32(), width)
    fields = [pyarrow.field(f"layer_{index}", layer) for index in range(num_layers)]
    schema = pyarrow.schema([*labels.schema, *fields])
    with (
        writing(folder / CLIPS),
        pyarrow.parquet.ParquetWriter(folder / CLIPS, schema) as writer,
    ):
        for first in range(0, num_clips, _ROWS_A_GROUP):
            group = np.asarray(pooled[first : first + _ROWS_A_GROUP], np.float32)
            layers = [
                pyarrow.FixedSizeListArray.from_arrays(group[:, index].ravel(), width)
                for index in range(num_layers)
            ]
            part = labels.slice(first, len(group)).combine_chunks()
            arrays = [*(column.combine_chunks() for column in part.columns), *layers]
            writer.write_table(pyarrow.Table.from_arrays(arrays, schema=schema))


def _write_json(content: dict[str, Any], path: Path) -> None:
    write_whole(path, json.dumps(content, indent=1, allow_nan=False) + "\n")
