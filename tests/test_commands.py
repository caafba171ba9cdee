"""What every command does around its work: here, keeping compiled programs for the next process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("cli")

COUNTING = """
import json, sys
import jax
counts = {"cache_hits": 0, "cache_misses": 0}
def count(event, **_):
    name = event.split("/")[-1]
    if name in counts:
        counts[name] += 1
jax.monitoring.register_event_listener(count)
from jaxemo.cli.main import main
assert main(sys.argv[1:]) == 0
print(json.dumps(counts))
"""


def embed_in_new_process(workdir, cache_dir, **environment):
    """(events of jax's compilation cache, what went to stderr)."""
    # One device, as users have it: programs for eight take several times as long to compile.
    hidden = (
        "JAX_COMPILATION_CACHE_DIR",
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS",
        "XLA_FLAGS",
    )
    inherited = {key: value for key, value in os.environ.items() if key not in hidden}
    arguments = [
        "embed",
        f"--config={Path(__file__).parent / 'tiny_config.py'}",
        f"--config.cache_dir={cache_dir}",
        f"--workdir={workdir}",
    ]
    done = subprocess.run(
        [sys.executable, "-c", COUNTING, *arguments],
        capture_output=True,
        text=True,
        env={**inherited, **environment},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


@pytest.mark.slow
def test_a_second_process_compiles_nothing_and_says_nothing_of_it(tmp_path):
    cache_dir = tmp_path / "cache"
    first, _ = embed_in_new_process(tmp_path / "one", cache_dir)
    second, said = embed_in_new_process(tmp_path / "two", cache_dir)
    assert first["cache_misses"] > 0 and second == {
        "cache_hits": first["cache_misses"] + first["cache_hits"],
        "cache_misses": 0,
    }
    # Progress begins with the time of day; a warning would not.
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in said.splitlines()), said


@pytest.mark.slow
def test_the_environment_chooses_where_compiled_programs_go(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    embed_in_new_process(
        tmp_path / "one", tmp_path / "cache", JAX_COMPILATION_CACHE_DIR=str(elsewhere)
    )
    assert any(elsewhere.iterdir()) and not (tmp_path / "cache" / "xla").exists()
