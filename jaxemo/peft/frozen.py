"""Frozen encoder: only the head's weighted sum of layers and its classifier are trained.

The trainable tree of the encoder is empty: `frozen_layers` is None, and a training step touches pooled
layer features alone. This is SUPERB's protocol (Yang et al. 2021).
"""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from jaxemo.peft.method import Method, Params


def weighted_sum() -> Method:
    """No adaptation of the encoder; the head's layer weights are the result of interest."""
    return Method("weighted_sum", None, init=_init, apply=_apply, merge=_merge)


def _init(key: jax.Array, base: Params) -> Params:
    del key, base
    return {}


def _merge(base: Params, trainable: Params) -> Params:
    del trainable
    return base


def _apply(
    forward: Callable[[Params], Any],
    base: Params,
    trainable: Params,
    *,
    dropout_key: PRNGKeyArray | None = None,
) -> Any:
    del trainable, dropout_key
    return forward(base)
