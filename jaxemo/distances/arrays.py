"""Arrays of jax or numpy, arithmetic in float64 whatever `jax_enable_x64` says, and work shared over cores."""

import functools
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

AnyArray = jax.Array | np.ndarray


def in_float64(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiles `function` and runs it in float64, leaving the caller's jax_enable_x64 alone."""
    compiled = jax.jit(function)

    @functools.wraps(function)
    def call(*arguments):
        # The context must open outside jit: float64 numpy arguments are cut to float32 at the
        # boundary otherwise.
        with jax.enable_x64(True):
            return compiled(*arguments)

    return call


def is_concrete(array: Any) -> bool:
    """Whether its values can be looked at: not under jit."""
    return not isinstance(array, Tracer)


def array_module(array: Any) -> Any:
    """numpy for an array of numpy's, jax.numpy for all others."""
    return np if isinstance(array, np.ndarray) else jnp


def on_host(*arrays: Any) -> bool:
    """Whether numpy can take the arrays as fast as jax: their values are known, and a CPU computes."""
    return jax.default_backend() == "cpu" and all(is_concrete(array) for array in arrays)


def over_cores(function: Callable[..., Any], *columns: Iterable[Any]) -> list[Any]:
    """`function` of each row of the columns, in as many threads as there are cores.

    For numpy's decompositions, which leave the interpreter to other threads. XLA on a CPU takes the
    matrices of a batch one after another, and two of its programs that decompose batches at once
    wait for each other for ever, so no program of jax may run in `function`.
    """
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        return list(threads.map(function, *columns))
