"""Reading PyTorch checkpoints without PyTorch: right tensors, and nothing but tensors.

The files are made here by hand, opcode by opcode where the pickle module would not write them.
"""

import collections
import io
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from jaxemo.models.checkpoints import torch_pickle

STORAGES = {
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "bfloat16": "BFloat16Storage",
    "int64": "LongStorage",
}


class Named:
    """Pickles as a reference to `module.name`, called with `arguments` if there are any."""

    def __init__(self, module, name, *arguments):
        self.module, self.name, self.arguments = module, name, arguments


class Persistent:
    """Pickles as a persistent object, the way torch.save writes a storage."""

    def __init__(self, *pid):
        self.pid = pid


class Writer(pickle._Pickler):
    """Protocol 2, as torch.save; knows the two classes above."""

    def save(self, value, save_persistent_id=True):
        if isinstance(value, Persistent):
            super().save(value.pid)
            self.write(pickle.BINPERSID)
        elif isinstance(value, Named):
            self.write(b"c" + f"{value.module}\n{value.name}\n".encode())
            if value.arguments:
                super().save(value.arguments)
                self.write(pickle.REDUCE)
        else:
            super().save(value, save_persistent_id)


def pickled(content):
    stream = io.BytesIO()
    Writer(stream, protocol=2).dump(content)
    return stream.getvalue()


def tensor(array, key, *, offset=0, shape=None, strides=None, count=None):
    """The pickled form of a tensor whose storage is `key`."""
    shape = array.shape if shape is None else shape
    if strides is None:
        strides = tuple(step // array.itemsize for step in array.strides)
    storage = Persistent(
        "storage",
        Named("torch", STORAGES[array.dtype.name]),
        key,
        "cpu",
        array.size if count is None else count,
    )
    hooks = collections.OrderedDict()
    return Named(
        "torch._utils", "_rebuild_tensor_v2", storage, offset, shape, strides, False, hooks
    )


def write_zip(path, content, storages, *, compression=zipfile.ZIP_STORED, pickle_bytes=None):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickle_bytes or pickled(content))
        archive.writestr("archive/byteorder", "little")
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
        archive.writestr("archive/version", "3\n")
    return path


def write_checkpoint(path, tensors):
    """A `pytorch_model.bin` of plain contiguous tensors; also used by the tests of `pretrained`."""
    keys = {name: str(index) for index, name in enumerate(tensors)}
    content = collections.OrderedDict(
        (name, tensor(array, keys[name])) for name, array in tensors.items()
    )
    return write_zip(path, content, {keys[name]: array for name, array in tensors.items()})


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "int64"])
def test_tensors_come_back_bit_equal(tmp_path, dtype):
    numbers = np.random.default_rng(0).standard_normal((3, 5)) * 9
    array = numbers.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    path = write_checkpoint(tmp_path / "a.bin", {"w": array, "scalar": array[0, 0].reshape(())})
    loaded = torch_pickle.read(path)
    assert loaded["w"].dtype == array.dtype
    assert loaded["scalar"].shape == ()
    np.testing.assert_array_equal(loaded["w"].view(np.uint8), array.view(np.uint8))


def test_views_of_one_storage_share_its_bytes(tmp_path):
    base = np.arange(24, dtype=np.float32)
    content = {
        "turned": tensor(base, "0", shape=(4, 6), strides=(1, 4)),
        "tail": tensor(base, "0", offset=20, shape=(4,), strides=(1,)),
        "none": tensor(base, "0", offset=24, shape=(0, 3), strides=(3, 1)),
    }
    loaded = torch_pickle.read(write_zip(tmp_path / "a.bin", content, {"0": base}))
    np.testing.assert_array_equal(loaded["turned"], base.reshape(6, 4).T)
    np.testing.assert_array_equal(loaded["tail"], base[20:])
    assert loaded["none"].shape == (0, 3)
    assert np.shares_memory(loaded["turned"], loaded["tail"])


def test_parameters_and_dictionary_metadata_are_read_as_tensors(tmp_path):
    array = np.ones((2, 2), np.float32)
    parameter = Named("torch._utils", "_rebuild_parameter", tensor(array, "0"), True, {})
    path = write_zip(tmp_path / "a.bin", {"w": parameter}, {"0": array})
    np.testing.assert_array_equal(torch_pickle.read(path)["w"], array)


def write_legacy(path, tensors):
    content = collections.OrderedDict()
    for index, (name, array) in enumerate(tensors.items()):
        named = tensor(array, str(index))
        storage = named.arguments[0]
        named.arguments = (Persistent(*storage.pid, None), *named.arguments[1:])
        content[name] = named
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}
    keys = [str(index) for index in range(len(tensors))]
    with path.open("wb") as stream:
        for value in (0x1950A86A20F9469CFC6C, 1001, system, content, keys):
            stream.write(pickled(value))
        for array in tensors.values():
            stream.write(struct.pack("<q", array.size) + array.tobytes())
    return path


def test_files_from_before_pytorch_1_6_are_read(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(4, np.float16)}
    loaded = torch_pickle.read(write_legacy(tmp_path / "a.bin", tensors))
    for name, array in tensors.items():
        np.testing.assert_array_equal(loaded[name], array)


def test_truncated_old_file_is_one_error_naming_it(tmp_path):
    path = write_legacy(tmp_path / "old.bin", {"a": np.ones(100, np.float32)})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"old\.bin.*early"):
        torch_pickle.read(path)


@pytest.mark.parametrize(
    "module, name",
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "getattr"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch._utils", "_rebuild_sparse_tensor"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("collections", "OrderedDict.fromkeys"),
    ],
)
def test_every_other_name_is_refused_by_name(tmp_path, module, name):
    evil = {"w": Named(module, name, "touch never")}
    path = write_zip(tmp_path / "evil.bin", evil, {})
    with pytest.raises(ValueError, match=rf"evil\.bin.*{module}\.{name}.*refused"):
        torch_pickle.read(path)


@pytest.mark.parametrize(
    "program, complaint",
    [
        (b"\x80\x02(cos\nsystem\nS'true'\no.", "OBJ"),
        (b"\x80\x02(S'true'\nios\nsystem\n.", "INST"),
        (b"\x80\x02ccollections\nOrderedDict\n)\x81.", "NEWOBJ"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", "memo index"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\x00\x00.", "bytearray8"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f.", "long4"),
        (b"\x80\x02}q\x00", "pickle"),
        (b"\x80\x02]q\x00.", "list, expected a dictionary"),
        (b"\x80\x02}q\x00X\x01\x00\x00\x00aK\x01s.", "'a' is int"),
        (b"not a pickle", "no usable"),
    ],
)
def test_hostile_pickles_are_refused_without_allocating_what_they_claim(
    tmp_path, program, complaint
):
    path = write_zip(tmp_path / "evil.bin", None, {}, pickle_bytes=program)
    with pytest.raises(ValueError, match=rf"evil\.bin.*{complaint}"):
        torch_pickle.read(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": (1 << 40,), "strides": (0,)},
        {"shape": (10,), "strides": (1,), "offset": 1},
        {"shape": (2, 5), "strides": (6, 1)},
        {"shape": (10,), "strides": (1,), "offset": -1},
        {"shape": (10,), "strides": (-1,), "offset": 9},
        {"shape": (10,), "strides": (1, 1)},
        {"shape": (20,), "strides": (1,), "count": 20},
        {"shape": (1.5,), "strides": (1,)},
    ],
)
def test_tensors_that_claim_more_than_their_storage_are_refused(tmp_path, changes):
    array = np.ones(10, np.float32)
    path = write_zip(tmp_path / "evil.bin", {"w": tensor(array, "0", **changes)}, {"0": array})
    with pytest.raises(ValueError, match=r"evil\.bin.* (w needs|a tensor of shape) "):
        torch_pickle.read(path)


def test_endless_pickles_are_refused_after_a_bounded_look(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    path.write_bytes(b"\x80\x02" + b"]" * 300_000 + b".")
    with pytest.raises(ValueError, match="more than 200000 opcodes"):
        torch_pickle.read(path)


def test_storage_outside_the_archive_is_refused(tmp_path):
    array = np.ones(10, np.float32)
    content = {"w": tensor(array, "../../../etc/passwd")}
    with pytest.raises(ValueError, match="not in the archive"):
        torch_pickle.read(write_zip(tmp_path / "evil.bin", content, {"0": array}))


def test_compressed_archives_are_refused_before_they_are_opened(tmp_path):
    bomb = np.zeros(1 << 22, np.uint8)
    content = {"w": tensor(np.zeros(1 << 20, np.float32), "0")}
    path = write_zip(tmp_path / "bomb.bin", content, {"0": bomb}, compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < bomb.nbytes / 100
    with pytest.raises(ValueError, match=r"bomb\.bin.*compressed"):
        torch_pickle.read(path)


@pytest.mark.parametrize("keep", [0, 10, 0.5, 0.95])
def test_truncated_archive_is_one_error_naming_it(tmp_path, keep):
    path = write_checkpoint(tmp_path / "cut.bin", {"w": np.ones(500, np.float32)})
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(ValueError, match=r"cut\.bin"):
        torch_pickle.read(path)


def test_flipped_bytes_are_noticed_by_the_checksum(tmp_path):
    path = write_checkpoint(tmp_path / "flip.bin", {"w": np.ones(500, np.float32)})
    content = bytearray(path.read_bytes())
    position = content.find(np.ones(8, np.float32).tobytes())
    content[position + 100] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"flip\.bin.*CRC"):
        torch_pickle.read(path)


def test_two_entries_of_one_name_are_refused(tmp_path):
    path = write_checkpoint(tmp_path / "twice.bin", {"w": np.ones(5, np.float32)})
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/0", bytes(20))
    with pytest.raises(ValueError, match=r"twice\.bin.*two entries"):
        torch_pickle.read(path)


def test_an_error_of_the_operating_system_is_a_damaged_file_too(tmp_path):
    path = write_checkpoint(tmp_path / "place.bin", {"w": np.ones(50, np.float32)})
    content = path.read_bytes()
    # The directory's offset, in the last record but six bytes: far before the file's beginning.
    path.write_bytes(content[:-6] + b"\xff\xff\xff\xff" + content[-2:])
    with pytest.raises(ValueError, match=r"^place\.bin is no usable.*"):
        torch_pickle.read(path)


def test_a_name_in_the_file_reaches_the_message_short_and_printable(tmp_path):
    evil = {"w": Named("os", "sys\x1b[2Jtem" + "m" * 5000, "touch never")}
    with pytest.raises(ValueError, match=r"refused|usable") as caught:
        torch_pickle.read(write_zip(tmp_path / "evil.bin", evil, {}))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000
