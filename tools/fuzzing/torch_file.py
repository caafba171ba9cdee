"""`pytorch_model.bin` as torch.save writes it, made without torch, and its pickle spoilt within."""

import collections
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fuzzing.spoiling import Generator, spoil_bytes

_PICKLE = "archive/data.pkl"


class _Global(NamedTuple):
    """Pickles as a reference to `module.name`, called with `arguments` if there are any."""

    module: str
    name: str
    arguments: tuple = ()


class _Storage(NamedTuple):
    """Pickles as the persistent object that stands for a file of the archive."""

    key: str
    size: int


# The one that is written in Python; the other has no `save` to override.
_PythonPickler: Any = vars(pickle)["_Pickler"]


class _Pickler(_PythonPickler):
    """Protocol 2, as torch.save."""

    def save(self, value: Any, save_persistent_id: bool = True) -> None:
        if isinstance(value, _Storage):
            kind = _Global("torch", "FloatStorage")
            super().save(("storage", kind, value.key, "cpu", value.size))
            self.write(pickle.BINPERSID)
        elif isinstance(value, _Global):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
            if value.arguments:
                super().save(value.arguments)
                self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def write_torch_file(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Contiguous float32 tensors."""
    arrays = {name: np.ascontiguousarray(array, np.float32) for name, array in tensors.items()}
    content = collections.OrderedDict(
        (name, _tensor(array, str(index))) for index, (name, array) in enumerate(arrays.items())
    )
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(_PICKLE, stream.getvalue())
        for index, array in enumerate(arrays.values()):
            archive.writestr(f"archive/data/{index}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def spoil_pickle(rng: Generator, path: Path) -> str:
    """The pickle alone is spoilt, so that the archive's own checksums are right."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries[_PICKLE], words = spoil_bytes(rng, entries[_PICKLE])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return f"{path.name}: {words} of the pickle"


def _tensor(array: np.ndarray, key: str) -> _Global:
    strides = tuple(step // array.itemsize for step in array.strides)
    arguments = (
        _Storage(key, array.size),
        0,
        array.shape,
        strides,
        False,
        collections.OrderedDict(),
    )
    return _Global("torch._utils", "_rebuild_tensor_v2", arguments)
