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
    """`jax.lax.dot_general`, as `flax.linen.Dense` calls it, differentiated as `product` is.

    Under `kernels_gathered_at_use` the backward pass starts from inputs and kernel alone, behind a
    barrier. It needs no output of the product, so that nothing is computed twice.
    """
    assert dimension_numbers == (((inputs.ndim - 1,), (0,)), ((), ()))
    multiply = functools.partial(product, **how)
    if _gathered_at_use.get():
        multiply = jax.checkpoint(multiply)
    return multiply(inputs, kernel)


def product(
    inputs: Float[Array, "*B I"], kernel: Float[Array, "I O"], **how: Any
) -> Float[Array, "*B O"]:
    """inputs kernel, whose gradients take the output's gradient as it lies.

    jax's own gradient of the kernel asks XLA for the output's gradient transposed. Where that is the
    residual stream's, the copy is fused with the whole sum which it stands for, down from the last layer:
    a step of adapters on 24 layers took 8.0 s on two cores and takes 2.7 s (`tools/benchmark.py methods
    --size=large`).

    Args:
      how: `precision` and the like, for `jax.lax.dot_general`.
    """
    return _product(inputs, kernel, tuple(sorted(how.items())))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(inputs, kernel, how):
    return _contracted(inputs, (inputs.ndim - 1,), kernel, (0,), how)


def _kept(inputs, kernel, how):
    return _product(inputs, kernel, how), (inputs, kernel)


def _gradients(how, kept, gradient):
    inputs, kernel = kept
    rows = tuple(range(inputs.ndim - 1))
    of_inputs = _contracted(gradient, (gradient.ndim - 1,), kernel, (1,), how)
    of_kernel = _contracted(inputs, rows, gradient, rows, how)
    return of_inputs.astype(inputs.dtype), of_kernel.astype(kernel.dtype)


_product.defvjp(_kept, _gradients)


def _contracted(a, axes_of_a, b, axes_of_b, how):
    return jax.lax.dot_general(a, b, ((axes_of_a, axes_of_b), ((), ())), **dict(how))
