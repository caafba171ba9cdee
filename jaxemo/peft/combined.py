"""Several methods at once, as one method: a tree for each under its name.

Their order is fixed, whatever order they are named in: parameters of the base first (BitFit), then
what changes a dense layer from the inside out, then what stands beside whole blocks. Applied and
merged in this order they give the same.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from jaxemo.peft.adapters import houlsby_adapter, parallel_adapter, pfeiffer_adapter
from jaxemo.peft.bitfit import bitfit
from jaxemo.peft.dora import dora
from jaxemo.peft.ia3 import ia3
from jaxemo.peft.lora import lora
from jaxemo.peft.method import Method, Params
from jaxemo.peft.prefix_tuning import prefix_tuning

# From the innermost to the outermost.
_MAKERS: dict[str, Callable[..., Method]] = {
    "bitfit": bitfit,
    # Its norm is that of the base's kernel, so nothing may change the kernel before it.
    "dora": dora,
    "lora": lora,
    "ia3": ia3,
    "adapter": houlsby_adapter,
    "pfeiffer_adapter": pfeiffer_adapter,
    "parallel_adapter": parallel_adapter,
    "prefix_tuning": prefix_tuning,
}
COMBINABLE = tuple(_MAKERS)


def combined(
    *,
    parts: Sequence[str] = ("lora", "adapter"),
    options: Mapping[str, Mapping[str, Any]] | None = None,
) -> Method:
    """The methods named in `parts`, together.

    Args:
      parts: Two or more of `COMBINABLE`.
      options: Keyword options of each part by its name.

    Raises:
      ValueError: For parts that there are not, that stand twice, or that do not go together.
    """
    _check_parts(parts, options or {})
    methods = {
        name: make(**(options or {}).get(name, {}))
        for name, make in _MAKERS.items()
        if name in parts
    }

    def init(key: jax.Array, base: Params) -> Params:
        keys = jax.random.split(key, len(methods))
        return {
            name: method.init(own_key, base)
            for own_key, (name, method) in zip(keys, methods.items(), strict=True)
        }

    def apply(
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any:
        run = forward
        for number, (name, method) in enumerate(methods.items()):
            key = None if dropout_key is None else jax.random.fold_in(dropout_key, number)
            run = _within(method, run, trainable[name], key)
        return run(base)

    def merge(base: Params, trainable: Params) -> Params:
        for name, method in methods.items():
            assert method.merge is not None
            base = method.merge(base, trainable[name])
        return base

    mergeable = all(method.merge is not None for method in methods.values())
    return Method("combined", 0, init=init, apply=apply, merge=merge if mergeable else None)


def _within(
    method: Method,
    run: Callable[[Params], Any],
    trainable: Params,
    dropout_key: PRNGKeyArray | None,
) -> Callable[[Params], Any]:
    return lambda base: method.apply(run, base, trainable, dropout_key=dropout_key)


def _check_parts(parts: Sequence[str], options: Mapping[str, Any]) -> None:
    unknown = sorted({*parts, *options} - set(COMBINABLE))
    if unknown or len(set(parts)) != len(parts) or len(parts) < 2:
        raise ValueError(
            f"'combined' has parts {list(parts)}{f' and options of {unknown}' if unknown else ''}; "
            f"expected two or more of {', '.join(COMBINABLE)}, each once."
        )
    if {"lora", "dora"} <= set(parts):
        raise ValueError("'combined' has parts 'lora' and 'dora', two updates of the same kernels.")
