"""The product of a dense layer with its kernel, and what of the kernel is kept for the backward pass."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any

import jax
from jaxtyping import Array, Float

_gathered_at_use = contextvars.ContextVar("kernels are gathered at use", default=False)


@contextlib.contextmanager
def kernels_gathered_at_use() -> Iterator[None]:
    """What is traced within keeps a sharded kernel as it lies, and puts it together once per pass.

    The product x W needs W again for the gradient of x. Left to itself the compiler puts W together once
    and keeps the whole from the forward to the backward pass, that of all layers at a time.
    """
    token = _gathered_at_use.set(True)
    try:
        yield
    finally:
        _gathered_at_use.reset(token)


def kernel_product(
    inputs: Float[Array, "*B I"], kernel: Float[Array, "I O"], dimension_numbers: Any, **how: Any
) -> Float[Array, "*B O"]:
    """`jax.lax.dot_general`, as `flax.linen.Dense` calls it.

    Under `kernels_gathered_at_use` the backward pass starts from inputs and kernel alone, behind a
    barrier. It needs no output of the product, so that nothing is computed twice.
    """
    product = functools.partial(jax.lax.dot_general, dimension_numbers=dimension_numbers, **how)
    if _gathered_at_use.get():
        product = jax.checkpoint(product)
    return product(inputs, kernel)
