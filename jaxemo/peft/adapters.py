"""Bottleneck adapters: a small network beside the blocks of each layer, in three placements.

With f(x) = relu(x W_down + b_down) W_up + b_up, and before the residual sum and norm of the block:

Houlsby:   y = block(x) + f(block(x)), for attention and feed-forward blocks.
Pfeiffer:  the same, for feed-forward blocks alone.
Parallel:  y = block(x) + scale f(x), for feed-forward blocks.

W_up and b_up are zero at init, so that training starts at the base. The nonlinearity rules out merging.

Reference: Houlsby et al. 2019, arXiv 1902.00751, section 2.1 and figure 2; Pfeiffer et al. 2021, arXiv
2005.00247 (one adapter per layer; norms and residual stay the base's here); He et al. 2022, arXiv
2110.04366, table 1.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from jaxemo.models.kernel_products import product
from jaxemo.peft.method import Apply, Call, Method, Params, flatten, intercepted, unflatten

_BLOCKS = r"encoder/layers/\d+/(attention|feed_forward)"
_FEED_FORWARD = r"encoder/layers/\d+/feed_forward"


def houlsby_adapter(*, bottleneck: int = 32, targets: str = _BLOCKS) -> Method:
    """An adapter behind each block whose path matches `targets` in full.

    Args:
      bottleneck: Inner width of the network.
      targets: Regular expression over block paths such as `encoder/layers/0/feed_forward`.

    Raises:
      ValueError: From `init`, when no block of the base matches `targets`.
    """
    return _adapter("adapter", _sequential, bottleneck=bottleneck, targets=targets)


def pfeiffer_adapter(*, bottleneck: int = 32) -> Method:
    """An adapter behind each feed-forward block."""
    return _adapter("pfeiffer_adapter", _sequential, bottleneck=bottleneck, targets=_FEED_FORWARD)


def parallel_adapter(*, bottleneck: int = 32, scale: float = 4.0) -> Method:
    """An adapter beside each feed-forward block, its output times `scale`."""

    def beside(call: Call, flat: dict[str, Array]) -> Float[Array, "B T D"]:
        return call.output() + scale * _bottleneck(call.arguments[0], flat, call.path)

    return _adapter("parallel_adapter", beside, bottleneck=bottleneck, targets=_FEED_FORWARD)


def _adapter(
    name: str,
    place: Callable[[Call, dict[str, Array]], Array],
    *,
    bottleneck: int,
    targets: str,
) -> Method:
    if bottleneck < 1:
        raise ValueError(f"{name!r} needs a bottleneck of at least 1; got {bottleneck}.")

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

    return Method(name, 0, init=init, apply=_make_apply(place), merge=None)


def _make_apply(place: Callable[[Call, dict[str, Array]], Array]) -> Apply:
    def apply(
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any:
        del dropout_key
        flat = flatten(trainable)
        blocks = [path.removesuffix("/up/kernel") for path in flat if path.endswith("/up/kernel")]
        with intercepted(blocks, lambda call: place(call, flat)):
            return forward(base)

    return apply


def _sequential(call: Call, flat: dict[str, Array]) -> Float[Array, "B T D"]:
    output = call.output()
    return output + _bottleneck(output, flat, call.path)


def _bottleneck(x: Float[Array, "*B D"], flat: dict[str, Array], path: str) -> Float[Array, "*B D"]:
    return _dense(jax.nn.relu(_dense(x, flat, f"{path}/down")), flat, f"{path}/up")


def _dense(x: jax.Array, flat: dict[str, Any], path: str) -> jax.Array:
    kernel, bias = (flat[f"{path}/{name}"].astype(x.dtype) for name in ("kernel", "bias"))
    return product(x, kernel, precision="highest") + bias


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
