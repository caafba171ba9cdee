"""Clocks for the benchmarks: runs in turns, on as many cores as were asked for, without jaxtyping."""

import argparse
import atexit
import contextlib
import importlib.util
import multiprocessing
import os
import resource
import statistics
import sys
import time
import types
from collections.abc import Callable
from typing import Any, NamedTuple

_ANNOTATIONS = (
    "Array",
    "Bool",
    "Float",
    "Float32",
    "Float64",
    "Int",
    "Int32",
    "Int64",
    "Key",
    "PRNGKeyArray",
)


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def use_threads(count: int) -> None:
    """Binds this process to `count` cores; before jax starts, whose pool has a thread for each."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def with_one_blas_thread(run: Callable[[], Any]) -> Callable[[], Any]:
    """As `jaxemo` runs, OPENBLAS_NUM_THREADS=1, while the peer beside it keeps its BLAS threads."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return run
    from threadpoolctl import threadpool_limits

    def limited():
        with threadpool_limits(1, user_api="blas"):
            return run()

    return limited


def do_without_jaxtyping() -> None:
    """Puts empty annotations where jaxtyping is not installed; only the tests check them."""
    if importlib.util.find_spec("jaxtyping") is None:
        annotation = type("Annotation", (), {"__class_getitem__": classmethod(lambda cls, _: cls)})
        stand_in = types.ModuleType("jaxtyping")
        for name in _ANNOTATIONS:
            setattr(stand_in, name, annotation)
        sys.modules["jaxtyping"] = stand_in


class Run(NamedTuple):
    """One run's duration, and what this process's threads took of the cores meanwhile."""

    seconds: float
    core_seconds: float


def time_run(run: Callable[[], Any]) -> Run:
    """A peer in a process of its own (`in_own_process`) brings its durations along."""
    start = time.perf_counter(), time.process_time()
    found = run()
    if isinstance(found, Run):
        return found
    return Run(time.perf_counter() - start[0], time.process_time() - start[1])


def in_own_process(
    make: Callable[[argparse.Namespace], Callable[[], Any]], arguments: argparse.Namespace
) -> Callable[[], Run]:
    """A peer as its users run it, on the same cores, and at rest between its turns.

    In one process its threads and its allocations get in our way and ours in its: a step of
    pre-training took 4.2 s alone and 5 to 6 s after PyTorch's.

    Args:
      make: At the top of a module; makes, from the arguments, what is run in each turn.
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(make, arguments, theirs)).start()
    theirs.close()
    # The other end then ends by itself, and this process waits for that.
    atexit.register(ours.close)

    def run() -> Run:
        ours.send("go")
        return ours.recv()

    return run


def _serve(make: Callable, arguments: argparse.Namespace, connection: Any) -> None:
    do_without_jaxtyping()
    run = make(arguments)
    # Until the other end is closed.
    with contextlib.suppress(EOFError):
        while connection.recv() == "go":
            connection.send(time_run(run))


def time_in_turns(sides: dict[str, Callable[[], Any]], *, repeats: int) -> dict[str, list[Run]]:
    """Every counted run; the sides take turns, so that a busy machine slows both alike."""
    for name, run in sides.items():
        say(f"{name}: first run {time_run(run).seconds:.2f} s (not counted)")
    runs: dict[str, list[Run]] = {name: [] for name in sides}
    for repeat in range(repeats):
        for name, run in sides.items():
            runs[name].append(time_run(run))
        latest = ", ".join(f"{name} {values[-1].seconds:.4f} s" for name, values in runs.items())
        say(f"{repeat + 1}/{repeats}: {latest}")
    return runs


def median_seconds(runs: list[Run]) -> float:
    return statistics.median(run.seconds for run in runs)


def median_core_seconds(runs: list[Run]) -> float:
    """Less swayed by other work on the machine than `median_seconds`."""
    return statistics.median(run.core_seconds for run in runs)


def peak_gigabytes() -> float:
    """Largest resident size of this process so far, in 10^9 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def versions(*names: str) -> dict[str, str]:
    from importlib import metadata

    found = {name: importlib.util.find_spec(name) is not None for name in names}
    return {name: metadata.version(name) for name in names if found[name]}


def matmul_rate(dtype: Any, *, size: int, repeats: int = 5) -> float:
    """FLOP/s of this device on square matrices: 2 size^3 over the median time of a product."""
    import jax

    key = jax.random.key(0)
    left = jax.random.normal(key, (size, size), dtype)
    product = jax.jit(lambda a, b: a @ b)
    runs = time_in_turns(
        {"matmul": lambda: product(left, left).block_until_ready()}, repeats=repeats
    )
    return 2 * size**3 / median_seconds(runs["matmul"])
