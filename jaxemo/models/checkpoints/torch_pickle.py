"""Reads `pytorch_model.bin` without PyTorch and without running any code from the file.

A pickle is a program; this reader admits only the few names that rebuild a dictionary of tensors,
each with a stand-in of our own, and refuses any other by name. Tensors are checked against the
bytes that are there before they are made, and are views of those bytes, so memory stays within the
size of the file. Both the zip format (PyTorch 1.6 on) and the older stream of pickles are read.
"""

import collections
import io
import math
import pickle
import pickletools
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

_STORAGE_DTYPES = {
    "DoubleStorage": np.dtype(np.float64),
    "FloatStorage": np.dtype(np.float32),
    "HalfStorage": np.dtype(np.float16),
    "BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
    "LongStorage": np.dtype(np.int64),
    "IntStorage": np.dtype(np.int32),
    "ShortStorage": np.dtype(np.int16),
    "CharStorage": np.dtype(np.int8),
    "ByteStorage": np.dtype(np.uint8),
    "BoolStorage": np.dtype(np.bool_),
}

# First object of a file from before PyTorch 1.6, then the protocol version it goes with.
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

# Opcodes that make an object by other means than the names admitted below, or carry out-of-band
# data.
_REFUSED_OPCODES = frozenset(
    [
        "PERSID",
        "INST",
        "OBJ",
        "NEWOBJ",
        "NEWOBJ_EX",
        "EXT1",
        "EXT2",
        "EXT4",
        "NEXT_BUFFER",
        "READONLY_BUFFER",
    ]
)
_MEMO_OPCODES = frozenset(["PUT", "BINPUT", "LONG_BINPUT"])

# A tensor takes about 25 opcodes, the largest models have 2,000 tensors; a look through this many
# takes half a second.
_MOST_OPCODES = 200_000

# Names in a hostile file may be as long as the file.
_LONGEST_REASON = 500


class _Storage(NamedTuple):
    """A run of numbers: bytes in a zip entry, or bytes that follow the pickles of an old file."""

    dtype: np.dtype
    key: str
    count: int


class _Tensor(NamedTuple):
    """A view of a storage, checked only when its bytes are at hand."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint, by name.

    Args:
      path: A file written by `torch.save` of a state dict.

    Raises:
      ValueError: naming the file, if it is damaged, names anything but tensors and plain
        containers, holds anything but a dictionary of tensors, or claims more numbers than it has
        bytes.
    """
    return _read(path, lambda content: content)


def read_whisper(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The sizes and the tensors of a Whisper model as OpenAI publishes it.

    Raises:
      ValueError: as `read`, of a dictionary of `dims` and `model_state_dict`.
    """
    dims: dict[str, Any] = {}

    def state_dict(content: Any) -> Any:
        sizes, tensors = (_items(content).get(name) for name in ("dims", "model_state_dict"))
        if not isinstance(sizes, dict) or not isinstance(tensors, dict):
            raise ValueError("expected the dictionaries `dims` and `model_state_dict`")
        dims.update(sizes)
        return tensors

    return dims, _read(path, state_dict)


def _read(path: Path, state_dict: Callable[[Any], Any]) -> dict[str, np.ndarray]:
    """The tensors of the dictionary that `state_dict` picks from the file's content."""
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path, state_dict)
        return _read_legacy(path, state_dict)
    except Exception as error:
        # Bytes out of place make zipfile, pickle and numpy raise errors of any type.
        raise ValueError(
            f"{path.name} is no usable PyTorch checkpoint: {_in_one_line(error)}"
        ) from error


def _in_one_line(error: Exception) -> str:
    """What went wrong, without what a hostile file would write on a terminal."""
    kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    text = f"{kind}{error}"
    if len(text) > _LONGEST_REASON:
        text = f"{text[:_LONGEST_REASON]}..."
    return text if text.isprintable() else ascii(text)


def _read_zip(path: Path, state_dict: Callable[[Any], Any]) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        entries = _checked_entries(archive, path.stat().st_size)
        pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"expected one data.pkl in the archive, found {len(pickles)}")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in entries and archive.read(f"{root}byteorder") != b"little":
            raise ValueError("its numbers are not little-endian")
        content = state_dict(_unpickle(io.BytesIO(archive.read(pickles[0]))))
        loaded: dict[str, bytes] = {}

        def storage_bytes(storage: _Storage) -> bytes:
            name = f"{root}data/{storage.key}"
            if name not in entries:
                raise ValueError(f"storage {storage.key!r} is not in the archive")
            if name not in loaded:
                loaded[name] = archive.read(name)
            return loaded[name]

        return _tensors(content, storage_bytes)


def _checked_entries(archive: zipfile.ZipFile, file_size: int) -> set[str]:
    """Names of the entries, if none is compressed and together they are no larger than the file."""
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if len(names) != len(entries):
        raise ValueError("the archive has two entries of one name")
    packed = [
        entry.filename
        for entry in entries
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size
    ]
    if packed:
        raise ValueError(f"compressed entries, which PyTorch never writes: {', '.join(packed[:5])}")
    total = sum(entry.file_size for entry in entries)
    if total > file_size:
        raise ValueError(f"its entries claim {total} bytes in a file of {file_size}")
    return names


def _read_legacy(path: Path, state_dict: Callable[[Any], Any]) -> dict[str, np.ndarray]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        if _unpickle(stream) != _LEGACY_MAGIC:
            raise ValueError("neither a zip archive nor PyTorch's older format")
        protocol = _unpickle(stream)
        if protocol != _LEGACY_PROTOCOL:
            raise ValueError(f"protocol {protocol!r}, expected {_LEGACY_PROTOCOL}")
        system = _unpickle(stream)
        if not isinstance(system, dict) or system.get("little_endian") is not True:
            raise ValueError("its numbers are not little-endian")
        content = state_dict(_unpickle(stream))
        keys = _unpickle(stream)
        storages = {
            value.storage.key: value.storage
            for value in _items(content).values()
            if isinstance(value, _Tensor)
        }
        loaded = {}
        for key in keys:
            count = int.from_bytes(_exactly(stream, 8), "little")
            if key not in storages or count * storages[key].dtype.itemsize > size:
                raise ValueError(f"storage {key!r} claims {count} numbers")
            loaded[key] = _exactly(stream, count * storages[key].dtype.itemsize)
        return _tensors(content, lambda storage: loaded[storage.key])


def _exactly(stream: io.BytesIO | io.BufferedReader, count: int) -> bytes:
    content = stream.read(count)
    if len(content) != count:
        raise ValueError(f"the file ends {count - len(content)} bytes early")
    return content


def _unpickle(stream: io.BytesIO | io.BufferedReader) -> Any:
    """The next pickle of a stream, after a look through its opcodes."""
    start = stream.tell()
    end = start
    for count, (opcode, argument, position) in enumerate(pickletools.genops(stream)):
        if count >= _MOST_OPCODES:
            raise ValueError(f"a pickle of more than {_MOST_OPCODES} opcodes is refused")
        if opcode.name in _REFUSED_OPCODES:
            raise ValueError(f"pickle opcode {opcode.name} is refused")
        assert position is not None  # Every stream here can tell.
        # A memo index makes the unpickler allocate as much as the index says.
        if opcode.name in _MEMO_OPCODES and int(argument or 0) > position:
            raise ValueError(f"pickle memo index {argument} at byte {position} is refused")
        end = position + 1
    stream.seek(start)
    content = _Unpickler(io.BytesIO(stream.read(end - start))).load()
    stream.seek(end)
    return content


class _Unpickler(pickle.Unpickler):
    """Admits what rebuilds tensors, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        admitted = {
            ("collections", "OrderedDict"): collections.OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        }
        if module == "torch" and name in _STORAGE_DTYPES:
            return _STORAGE_DTYPES[name]
        if (module, name) not in admitted:
            raise ValueError(
                f"it names {module}.{name}, which no dictionary of tensors needs; refused"
            )
        return admitted[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _, count = pid[:5]
        if kind != "storage" or not isinstance(dtype, np.dtype) or type(count) is not int:
            raise ValueError(f"persistent object {pid!r} is refused")
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError(f"storage {key!r} is a view of another, which is not read")
        return _Storage(dtype, str(key), count)


def _rebuild_tensor(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    requires_grad: Any = False,
    backward_hooks: Any = None,
    metadata: Any = None,
) -> _Tensor:
    """Stands in for `torch._utils._rebuild_tensor_v2`; its arguments are whatever the file says."""
    del requires_grad, backward_hooks, metadata
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError(f"a tensor of shape {shape}, strides {strides}, offset {offset}")
    if len(shape) != len(strides) or len(shape) > 8:
        raise ValueError(f"a tensor of shape {shape} with strides {strides}")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, requires_grad: Any = False, backward_hooks: Any = None) -> Any:
    """Stands in for `torch._utils._rebuild_parameter`."""
    del requires_grad, backward_hooks
    return data


def _items(content: Any) -> dict[Any, Any]:
    if not isinstance(content, dict):
        raise ValueError(f"it holds {type(content).__name__}, expected a dictionary of tensors")
    return content


def _tensors(content: Any, storage_bytes: Callable[[_Storage], bytes]) -> dict[str, np.ndarray]:
    wrong = [
        f"{name!r} is {type(value).__name__}"
        for name, value in _items(content).items()
        if not isinstance(value, _Tensor) or not isinstance(name, str)
    ]
    if wrong:
        raise ValueError(f"expected a dictionary of tensors: {', '.join(wrong[:5])}")
    return {name: _view(value, name, storage_bytes) for name, value in content.items()}


def _view(tensor: _Tensor, name: str, storage_bytes: Callable[[_Storage], bytes]) -> np.ndarray:
    """The tensor as a view of its storage's bytes, if it lies wholly within them."""
    numbers = np.frombuffer(storage_bytes(tensor.storage), np.uint8)
    itemsize = tensor.storage.dtype.itemsize
    available = min(len(numbers) // itemsize, tensor.storage.count)
    needed = math.prod(tensor.shape)
    last = tensor.offset + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    if needed and (last >= available or needed > available):
        raise ValueError(
            f"{name} needs {max(last + 1, needed)} numbers of a storage with {available}"
        )
    if not needed:
        return np.zeros(tensor.shape, tensor.storage.dtype)
    return np.lib.stride_tricks.as_strided(
        numbers[: available * itemsize].view(tensor.storage.dtype)[tensor.offset :],
        tensor.shape,
        tuple(stride * itemsize for stride in tensor.strides),
        writeable=False,
    )
