"""What killed processes left half written is told from what is being written."""

import os
import subprocess
import sys

import pytest

from jaxemo.data.temporary import remove_leftovers, temporary_beside


def left_by_the_dead(path):
    """The name that a process that has ended would have given to what becomes `path`."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    name = temporary_beside(path).name
    return path.with_name(name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))


@pytest.fixture
def leftovers(tmp_path):
    """A file and a folder of a process that was killed."""
    file, folder = (left_by_the_dead(tmp_path / name) for name in ("shard", "corpus"))
    file.write_text("half a shard")
    (folder / "corpus").mkdir(parents=True)
    return tmp_path


def test_leftovers_of_the_dead_go(leftovers):
    remove_leftovers(leftovers)
    assert list(leftovers.iterdir()) == []


def test_what_is_being_written_stays(tmp_path):
    growing = temporary_beside(tmp_path / "shard")
    growing.write_text("half a shard")
    remove_leftovers(tmp_path)
    assert growing.exists()


@pytest.mark.parametrize(("mtime", "stays"), [(None, True), (0, False)])
def test_what_another_machine_writes_is_known_by_its_age(tmp_path, mtime, stays):
    other = tmp_path / f"shard.elsewhere-1-{0:012x}.tmp"
    other.write_text("half a shard")
    if mtime is not None:
        os.utime(other, (mtime, mtime))
    remove_leftovers(tmp_path)
    assert other.exists() == stays


def test_whole_files_stay(tmp_path):
    (tmp_path / "shard").write_text("a shard")
    remove_leftovers(tmp_path)
    assert (tmp_path / "shard").exists()
