"""Means and covariances in fadtk's `.npz` form, so that published baselines can be used, and made.

A file holds pairs `NAME.mu` (d,) and `NAME.cov` (d, d), one per layer of a model. Headers are read
and sizes checked before any array, and nothing is ever unpickled. What comes back is float64 numpy,
which `frechet_distance_from_moments` takes as it is.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxemo.distances.statistics import FrechetStatistics, covariance

# A covariance of this width takes 512 MiB; encoders in use have at most 1280 dimensions.
MAX_DIMENSIONS = 8192
_PARTS = ("mu", "cov")
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError)


class Moments(NamedTuple):
    """Mean and covariance (over n - 1) of a set of embeddings, with a leading axis if per layer."""

    mean: Float64[np.ndarray, "*layers D"]
    covariance: Float64[np.ndarray, "*layers D D"]


def moments_of(statistics: FrechetStatistics) -> Moments:
    """What a file keeps of the statistics; their row counts are not part of the format.

    Raises:
      ValueError: If a cell has fewer than two rows, and so no covariance.
    """
    num_rows = np.asarray(statistics.num_rows)
    if (num_rows < 2).any():
        raise ValueError(
            f"{int((num_rows < 2).sum())} cells have fewer than 2 rows, so no covariance. "
            "Leave them out."
        )
    return Moments(np.asarray(statistics.mean), np.asarray(covariance(statistics)))


def layer_names(model: str, *, num_layers: int) -> list[str]:
    """fadtk's names of layers 1 to `num_layers`: `MODEL-1`, `MODEL-2`, ..., the last plain `MODEL`.

    Layer i is the output of transformer layer i, `hidden_states[i]`; layer 0 has no name there.
    """
    return [f"{model}-{layer}" for layer in range(1, num_layers)] + [model]


def names_in(path: str | os.PathLike[str]) -> list[str]:
    """Names of the pairs in a file, in the file's order.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not an `.npz`.
    """
    # Names hold dots of their own ("clap-0.3"), so only the last one parts name and field.
    split = (key.rpartition(".") for key in _keys(Path(path)))
    return [name for name, _, part in split if part == _PARTS[0]]


def read_layer_moments(path: str | os.PathLike[str], model: str, *, num_layers: int) -> Moments:
    """Layers 1 to `num_layers` of one model, stacked along a first axis; see `layer_names`.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not an `.npz`, lacks a layer, or a layer's types or shapes are not
        those of a mean and a covariance, hold NaN or infinity, or differ in width from the others.
    """
    path, names = Path(path), layer_names(model, num_layers=num_layers)
    _check_present(path, names)
    with zipfile.ZipFile(path) as archive:
        layers = [
            Moments(*(_array(archive, f"{name}.{part}") for part in _PARTS)) for name in names
        ]
    if faults := _faults(names, layers):
        raise ValueError(f"'{path}' cannot be used:\n  " + "\n  ".join(faults))
    widths = sorted({layer.mean.size for layer in layers})
    if len(widths) > 1:
        raise ValueError(f"'{path}': the layers of {model!r} have widths {widths}; expected one.")
    return Moments(*(np.stack(leaves) for leaves in zip(*layers, strict=True)))


def write_layer_moments(path: str | os.PathLike[str], model: str, *, moments: Moments) -> None:
    """Writes layers 1 to L of one model, stacked along the first axis; see `layer_names`.

    Raises:
      ValueError: If there is no layer, or its shapes are not (d,) and (d, d), or not finite.
    """
    names = layer_names(model, num_layers=len(moments.mean))
    layers = [Moments(*leaves) for leaves in zip(*moments, strict=True)]
    if not layers:
        raise ValueError("There is no layer to write; expected at least one mean and covariance.")
    if faults := _faults(names, layers):
        raise ValueError("Cannot write these moments:\n  " + "\n  ".join(faults))
    arrays: dict[str, Any] = {
        f"{name}.{part}": np.asarray(leaf, np.float64)
        for name, layer in zip(names, layers, strict=True)
        for part, leaf in zip(_PARTS, layer, strict=True)
    }
    unfinished = Path(f"{os.fspath(path)}.unfinished")
    with open(unfinished, "wb") as file:
        np.savez(file, **arrays)
    os.replace(unfinished, path)


def _keys(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry.removesuffix(".npy") for entry in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"'{path}' is not an .npz file: {error}.") from error


def _check_present(path: Path, names: list[str]) -> None:
    present = set(_keys(path))
    missing = [key for name in names for part in _PARTS if (key := f"{name}.{part}") not in present]
    if missing:
        raise ValueError(
            f"'{path}' has no {', '.join(map(repr, missing))}. "
            f"It holds these names: {', '.join(map(repr, names_in(path))) or 'none'}."
        )


def _array(archive: zipfile.ZipFile, key: str) -> Float64[np.ndarray, "..."]:
    """One array of the file, its header checked before anything of its size is allocated."""
    entry = archive.getinfo(f"{key}.npy")
    try:
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if file.tell() + num_bytes != entry.file_size:
                raise ValueError(f"shape {shape} does not fit its {entry.file_size} bytes")
        with archive.open(entry) as file:
            return np.lib.format.read_array(file, allow_pickle=False).astype(np.float64)
    except _UNREADABLE as error:
        raise ValueError(f"'{archive.filename}', key {key!r} cannot be read: {error}.") from error


def _header(file) -> tuple[tuple[int, ...], np.dtype]:
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"npy format {version} is not one of {list(readers)}")
    shape, _, dtype = readers[version](file)
    if dtype.kind != "f" or dtype.itemsize > 8:
        raise ValueError(f"type {dtype}; expected float16, float32 or float64")
    if len(shape) > 2 or max(shape, default=1) > MAX_DIMENSIONS:
        raise ValueError(
            f"shape {shape}; expected (d,) or (d, d) with d at most MAX_DIMENSIONS, "
            f"{MAX_DIMENSIONS}"
        )
    return shape, dtype


def _faults(names: list[str], layers: list[Moments]) -> list[str]:
    faults = []
    for name, (mean, cov) in zip(names, layers, strict=True):
        pair = " and ".join(repr(f"{name}.{part}") for part in _PARTS)
        if mean.ndim != 1 or mean.size == 0 or cov.shape != (mean.size, mean.size):
            shapes = f"{mean.shape} and {cov.shape}"
            faults.append(f"{pair} have shapes {shapes}; expected (d,) and (d, d).")
        elif not (np.isfinite(mean).all() and np.isfinite(cov).all()):
            faults.append(f"{pair} hold NaN or infinity.")
    return faults
