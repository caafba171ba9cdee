"""Bottleneck adapters: a small residual network after each attention and feed-forward block.

y = f(x) + relu(f(x) W_down + b_down) W_up + b_up, placed before the residual sum and norm; W_up and
b_up are zero at init, so that training starts at the base. The nonlinearity rules out merging.

Reference: Houlsby et al. 2019, arXiv 1902.00751, section 2.1 and figure 2.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.peft.method import Call, Method, Params, flatten, intercepted, unflatten

DEFAULT_TARGETS = r"encoder/layers/\d+/(attention|feed_forward)"


def bottleneck_adapter(*, bottleneck: int = 32, targets: str = DEFAULT_TARGETS) -> Method:
    """Houlsby adapters on the blocks whose path matches `targets` in full.

    Args:
      bottleneck: Inner width of the residual network.
      targets: Regular expression over block paths such as `encoder/layers/0/feed_forward`.

    Raises:
      ValueError: From `init`, when no block of the base matches `targets`.
    """
    if bottleneck < 1:
        raise ValueError(f"An adapter needs a bottleneck of at least 1; got {bottleneck}.")

    def init(key: jax.Array, base: Params) -> Params:
        widths = _target_widths(base, targets)
        make = jax.nn.initializers.lecun_normal()
        trainable = {}
        for sub_key, (path, width) in zip(
            jax.random.split(key, len(widths)), widths.items(), strict=True
        ):
            trainable[f"{path}/down/kernel"] = make(sub_key, (width, bottleneck))
            trainable[f"{path}/down/bias"] = jnp.zeros(bottleneck)
            trainable[f"{path}/up/kernel"] = jnp.zeros((bottleneck, width))
            trainable[f"{path}/up/bias"] = jnp.zeros(width)
        return unflatten(trainable)

    return Method("adapter", 0, init=init, apply=_apply, merge=None)


def _apply(
    forward: Callable[[Params], Any],
    base: Params,
    trainable: Params,
    *,
    dropout_key: PRNGKeyArray | None = None,
) -> Any:
    del dropout_key
    flat = flatten(trainable)
    blocks = [path.removesuffix("/up/kernel") for path in flat if path.endswith("/up/kernel")]

    def add_bottleneck(call: Call) -> Float[Array, "B T D"]:
        output = call.output()
        inner = jax.nn.relu(_dense(output, flat, f"{call.path}/down"))
        return output + _dense(inner, flat, f"{call.path}/up")

    with intercepted(blocks, add_bottleneck):
        return forward(base)


def _dense(x: jax.Array, flat: dict[str, Any], path: str) -> jax.Array:
    kernel, bias = (flat[f"{path}/{name}"].astype(x.dtype) for name in ("kernel", "bias"))
    return jnp.dot(x, kernel, precision="highest") + bias


def _target_widths(base: Params, targets: str) -> dict[str, int]:
    """Output width of each matching block: that of its last dense layer."""
    pattern = re.compile(rf"({targets})/(out_proj|output_dense)/kernel")
    matches = ((pattern.fullmatch(path), leaf) for path, leaf in flatten(base).items())
    found = {match[1]: leaf.shape[-1] for match, leaf in matches if match}
    if not found:
        raise ValueError(
            f"Adapter target {targets!r} matches no block of this encoder; "
            "paths look like 'encoder/layers/0/feed_forward'."
        )
    return found
