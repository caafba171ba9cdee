"""Full disks, absent homes and devices: one line that names the path and what moves it."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemo.data.files import WriteError, make_folder, write_whole, writing

ROOT = Path(__file__).parent.parent


def prepare(tmp_path, *, environment=(), kilobytes=None, **flags):
    """`jaxemo prepare` in a process of its own, no file above a size; (exit code, stderr)."""
    options = {"workdir": tmp_path / "work", **flags}
    command = [sys.executable, "-m", "jaxemo.cli.main", "prepare", "--config=demo"]
    command += [f"--{name}={value}" for name, value in options.items()]
    if kilobytes:
        command = ["bash", "-c", f'ulimit -f {kilobytes}; exec "$@"', "bash", *command]
    inherited = {"JAXEMO_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        env=os.environ | inherited | dict(environment),
    )
    return done.returncode, done.stderr


def test_a_platform_without_devices_says_what_to_set(tmp_path):
    code, said = prepare(tmp_path, environment={"JAX_PLATFORMS": "cuda"})
    assert code == 2
    assert "jax finds no device (JAX_PLATFORMS is 'cuda')" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("place", ["workdir", "config.cache_dir"])
def test_a_place_that_cannot_be_written_is_named_with_what_moves_it(tmp_path, place):
    (tmp_path / "file").write_text("in the way")
    code, said = prepare(tmp_path, **{place: tmp_path / "file" / "x"})
    assert code == 2
    assert f"{tmp_path / 'file' / 'x'} could not be written" in said
    assert f"--{place}" in said


def test_a_limit_of_file_sizes_names_the_file_and_its_size(tmp_path):
    code, said = prepare(tmp_path, kilobytes=200)
    assert code == 2
    assert f"{tmp_path / 'cache'}" in said
    assert "could not be written" in said
    assert "GB free" in said


def test_the_old_content_stays_where_the_new_cannot_be_written(tmp_path):
    path = tmp_path / "results.json"
    write_whole(path, "old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(WriteError, match=r"results\.json of 0\.1 MB could not be written"):
            write_whole(path, "new" * 33_333)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["results.json"]


def test_what_is_not_about_the_disk_passes(tmp_path):
    with pytest.raises(ZeroDivisionError), writing(tmp_path):
        _ = 1 / 0
    with pytest.raises(ValueError, match="not finite"), writing(tmp_path):
        raise ValueError("not finite")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file/below could not be written"):
        make_folder(tmp_path / "file" / "below")


def test_arrays_are_allocated_before_they_are_filled(tmp_path):
    from jaxemo.embedding.files import start

    start(tmp_path / "e", {"dtype": "float32", "shapes": {"pooled": [1000, 100]}})
    path = tmp_path / "e.partial" / "pooled.npy"
    assert path.stat().st_blocks * 512 >= 400_000
    assert not np.load(path, mmap_mode="r").any()
