"""Memory that a command frees stays with its process."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
from jaxemo.cli.allocation import keep_freed_memory
keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = bytearray(200_000_000)
    del block
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
@pytest.mark.parametrize("users_own", [None, "GLIBC_TUNABLES"])
def test_a_large_block_is_faulted_in_once_unless_the_user_says_otherwise(users_own, monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    if users_own is not None:
        monkeypatch.setenv(users_own, "glibc.malloc.arena_test=1")
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)
    first, second = map(int, printed.stdout.split())
    assert first > 0
    if users_own is None:
        assert second < first / 4
    else:
        assert second > 0.5 * first
