"""Arrays of jax or numpy, and arithmetic in float64 whatever `jax_enable_x64` says."""

import functools
from collections.abc import Callable
from typing import Any

import jax
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
