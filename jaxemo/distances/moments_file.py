"""Means and covariances in fadtk's `.npz` form, so that published baselines can be used, and made.

A file holds pairs `NAME.mu` (d,) and `NAME.cov` (d, d), one for each model, or one for each layer
of a model; a bare `mu` and `cov` is a pair whose name is empty. Headers are read and sizes checked
before any array, and nothing is ever unpickled. What comes back is float64 numpy, which
`frechet_distance_from_moments` takes as it is.
"""

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64

from jaxemo.distances.frechet import FrechetStatistics, covariance

# A covariance of this width takes 512 MiB; encoders in use have at most 1280 dimensions.
MAX_DIMENSIONS = 8192
_MEAN, _COVARIANCE = "mu", "cov"
_UNREADABLE = (zipfile.BadZipFile, zlib.error, RuntimeError, ValueError, EOFError)


class Moments(NamedTuple):
    """Mean and covariance (over n - 1) of one set of embeddings, or of one a layer."""

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


def read_moments(path: str | os.PathLike[str], *, name: str = "") -> Moments:
    """The pair called `name`.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not an `.npz`, has no such pair, or the pair's types or shapes are
        not those of a mean and a covariance, or hold NaN or infinity.
    """
    return _read(Path(path), [name])[0]


def read_layer_moments(path: str | os.PathLike[str], model: str, *, num_layers: int) -> Moments:
    """Layers 1 to `num_layers` of one model, stacked along a first axis; see `layer_names`.

    Raises:
      FileNotFoundError, ValueError: As `read_moments`; also if the layers differ in width.
    """
    layers = _read(Path(path), layer_names(model, num_layers=num_layers))
    widths = sorted({layer.mean.size for layer in layers})
    if len(widths) > 1:
        raise ValueError(f"'{path}': the layers of {model!r} have widths {widths}; expected one.")
    return Moments(*(np.stack(leaves) for leaves in zip(*layers, strict=True)))


def names_in(path: str | os.PathLike[str]) -> list[str]:
    """Names of the pairs in a file, in the file's order.

    Raises:
      FileNotFoundError: If there is no such file.
      ValueError: If the file is not an `.npz`.
    """
    keys = _keys(Path(path))
    return [_name_of(key) for key in keys if _splits_into(key)[1] == _MEAN]


def write_moments(path: str | os.PathLike[str], moments: Mapping[str, Moments]) -> None:
    """Writes pairs under their names; the name "" gives the bare keys `mu` and `cov`.

    Raises:
      ValueError: If there is no pair, or a pair's shapes are not (d,) and (d, d), or not finite.
    """
    if not moments:
        raise ValueError("There is no pair to write; expected at least one mean and covariance.")
    problems = [
        problem for name, pair in moments.items() for problem in _problems(name, pair, where="")
    ]
    if problems:
        raise ValueError("Cannot write these moments:\n  " + "\n  ".join(problems))
    arrays = {}
    for name, pair in moments.items():
        arrays[_key(name, _MEAN)] = np.asarray(pair.mean, np.float64)
        arrays[_key(name, _COVARIANCE)] = np.asarray(pair.covariance, np.float64)
    unfinished = Path(f"{os.fspath(path)}.unfinished")
    with open(unfinished, "wb") as file:
        np.savez(file, **arrays)
    os.replace(unfinished, path)


def write_layer_moments(path: str | os.PathLike[str], model: str, *, moments: Moments) -> None:
    """Writes layers 1 to L of one model, stacked along the first axis; see `layer_names`."""
    names = layer_names(model, num_layers=len(moments.mean))
    layers = (Moments(*leaves) for leaves in zip(*moments, strict=True))
    write_moments(path, dict(zip(names, layers, strict=True)))


def _key(name: str, part: str) -> str:
    return f"{name}.{part}" if name else part


def _splits_into(key: str) -> tuple[str, str]:
    # Names hold dots of their own ("clap-0.3"), so only the last one parts name and field.
    name, _, part = key.rpartition(".")
    return name, part


def _name_of(key: str) -> str:
    return _splits_into(key)[0]


def _keys(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [entry.removesuffix(".npy") for entry in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise ValueError(f"'{path}' is not an .npz file: {error}.") from error


def _read(path: Path, names: list[str]) -> list[Moments]:
    present = _keys(path)
    wanted = [_key(name, part) for name in names for part in (_MEAN, _COVARIANCE)]
    missing = [key for key in wanted if key not in present]
    if missing:
        raise ValueError(
            f"'{path}' has no {', '.join(map(repr, missing))}. "
            f"It holds these names: {', '.join(map(repr, names_in(path))) or 'none'}."
        )
    with zipfile.ZipFile(path) as archive:
        moments = [
            Moments(_array(archive, _key(name, _MEAN)), _array(archive, _key(name, _COVARIANCE)))
            for name in names
        ]
    problems = [
        problem
        for name, pair in zip(names, moments, strict=True)
        for problem in _problems(name, pair, where=f"'{path}': ")
    ]
    if problems:
        raise ValueError("\n".join(problems))
    return moments


def _array(archive: zipfile.ZipFile, key: str) -> Float64[np.ndarray, "..."]:
    """One array of the file, its header checked before anything of its size is allocated."""
    entry = archive.getinfo(f"{key}.npy")
    where = f"'{archive.filename}', key {key!r}"
    try:
        with archive.open(entry) as file:
            shape, dtype = _header(file)
            num_bytes = int(np.prod(shape, dtype=object)) * dtype.itemsize
            if file.tell() + num_bytes != entry.file_size:
                raise ValueError(f"shape {shape} does not fit its {entry.file_size} bytes")
        with archive.open(entry) as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except _UNREADABLE as error:
        raise ValueError(f"{where} cannot be read: {error}.") from error
    return array.astype(np.float64)


def _header(file: zipfile.ZipExtFile) -> tuple[tuple[int, ...], np.dtype]:
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


def _problems(
    name: str, pair: tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]], *, where: str
) -> list[str]:
    mean, cov = pair
    keys = f"{_key(name, _MEAN)!r} and {_key(name, _COVARIANCE)!r}"
    if mean.ndim != 1 or mean.size == 0 or cov.shape != (mean.size, mean.size):
        return [f"{where}{keys} have shapes {mean.shape} and {cov.shape}; expected (d,), (d, d)."]
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        return [f"{where}{keys} hold NaN or infinity."]
    return []
