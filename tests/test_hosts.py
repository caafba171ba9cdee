"""Several processes embed one corpus together: each its own clips, and all have everything."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxemo.embedding.hosts import own_clips

LENGTHS = np.array([5, 1, 1, 1, 9, 2, 2, 3])
CELLS = np.array([0, 0, 1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize("cells", [None, CELLS])
@pytest.mark.parametrize("num_hosts", [1, 2, 3, 20])
def test_every_clip_has_one_host(cells, num_hosts):
    shares = [
        own_clips(LENGTHS, cells, host=host, num_hosts=num_hosts) for host in range(num_hosts)
    ]
    np.testing.assert_array_equal(np.sum(shares, axis=0), 1)


def test_a_cell_stays_on_one_host():
    share = own_clips(LENGTHS, CELLS, host=0, num_hosts=2)
    np.testing.assert_array_equal(share[::2], share[1::2])


def test_hosts_get_alike_amounts_of_audio():
    shares = [own_clips(LENGTHS, None, host=host, num_hosts=3) for host in range(3)]
    loads = [int(LENGTHS[share].sum()) for share in shares]
    assert max(loads) - min(loads) <= LENGTHS.max() - 1


PROGRAM = """
import json, sys
import jax
host, port, cache, out, tests = int(sys.argv[1]), *sys.argv[2:]
if port:
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(f"localhost:{port}", num_processes=2, process_id=host)
sys.path.insert(0, tests)
import numpy as np
from test_store import CELLS, corpus_of, embed
from pathlib import Path
from jaxemo.distances.statistics import unpack
from jaxemo.models.pretrained import load_encoder
generator = np.random.default_rng(0)
waveforms = [generator.normal(size=n).astype(np.float32) for n in (3000, 4000, 5000, 1200, 800, 4000)]
corpus, read = corpus_of(waveforms)
found = embed(load_encoder("untrained/speech"), corpus, Path(cache))
statistics = unpack(found.statistics)
np.savez(out, pooled=found.pooled, mean=statistics.mean, factor=statistics.factor)
print(json.dumps(sorted(set(read))))
"""


def program(*arguments):
    command = [sys.executable, "-c", PROGRAM, *map(str, arguments), str(Path(__file__).parent)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def test_two_processes_give_what_one_gives_and_read_each_clip_once(tmp_path):
    port = free_port()
    running = [
        program(host, port, tmp_path / "shared", tmp_path / f"{host}.npz") for host in range(2)
    ]
    running.append(program(0, "", tmp_path / "alone", tmp_path / "alone.npz"))
    printed = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    first, second = (set(json.loads(text.splitlines()[-1])) for text in printed[:2])
    assert first | second == set(range(6))
    assert not first & second
    alone = np.load(tmp_path / "alone.npz")
    for host in range(2):
        together = np.load(tmp_path / f"{host}.npz")
        np.testing.assert_allclose(together["pooled"], alone["pooled"], atol=1e-5)
        np.testing.assert_allclose(together["mean"], alone["mean"], rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            squared(together["factor"]), squared(alone["factor"]), rtol=1e-6, atol=1e-6
        )


def squared(factor):
    return factor.swapaxes(-1, -2) @ factor
