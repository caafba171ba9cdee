"""Which dense kernels of an encoder a method adapts: by their names in papers, or by a pattern."""

import re
from typing import Any

from jaxemo.peft.method import Params, flatten

# Names in papers and configs -> module within a layer.
KERNELS = {
    "q": "attention/q_proj",
    "k": "attention/k_proj",
    "v": "attention/v_proj",
    "o": "attention/out_proj",
    "ff_in": "feed_forward/intermediate_dense",
    "ff_out": "feed_forward/output_dense",
}
_LAYER = re.compile(r"encoder/layers/(\d+)/")
# Methods that are combined put their names in front.
_ANY_LAYER = re.compile(r"(?:^|/)encoder/layers/(\d+)/")

# Names of `KERNELS`, or one regular expression over module paths.
Targets = str | tuple[str, ...] | list[str]


def target_pattern(targets: Targets, *, name: str) -> re.Pattern[str]:
    """What the paths of the targets' modules match in full.

    Args:
      targets: Names of `KERNELS`, or a regular expression over module paths such as
        `encoder/layers/0/attention/q_proj`.
      name: Of the method, for the message.

    Raises:
      ValueError: For a name that there is not, no name at all, or no regular expression.
    """
    if not isinstance(targets, str):
        if not targets or (unknown := sorted(set(targets) - set(KERNELS))):
            raise ValueError(
                f"Targets of {name!r} are {list(targets)}; expected of {', '.join(KERNELS)}"
                f"{f', not {unknown}' if targets else ''}."
            )
        places = "|".join(KERNELS[target] for target in targets)
        return re.compile(rf"encoder/layers/\d+/({places})")
    try:
        return re.compile(targets)
    except re.error as error:
        raise ValueError(f"Target {targets!r} of {name!r} is no pattern: {error}.") from error


def dense_kernels(base: Params, pattern: re.Pattern[str], *, name: str) -> dict[str, Any]:
    """The kernel at each matching module path, in the base's order.

    Raises:
      ValueError: When nothing matches.
    """
    found = {
        path.removesuffix("/kernel"): leaf
        for path, leaf in flatten(base).items()
        if path.endswith("/kernel")
        and pattern.fullmatch(path.removesuffix("/kernel"))
        and leaf.ndim == 2
    }
    if not found:
        raise ValueError(
            f"Target {pattern.pattern!r} of {name!r} matches no dense kernel of this encoder; "
            "paths look like 'encoder/layers/0/attention/q_proj'."
        )
    return found


def layer_index(path: str) -> int | None:
    """The transformer layer that a path lies in; None outside of them."""
    match = _LAYER.match(path)
    return int(match[1]) if match else None


def lowest_layer(trainable: Params) -> int:
    """The lowest transformer layer of which anything is trained; 0 where something lies in no layer.

    Args:
      trainable: What a method's `init` gives, or its shapes.
    """
    matches = [_ANY_LAYER.search(path) for path in flatten(trainable)]
    return min((int(match[1]) if match else 0 for match in matches), default=0)


def num_layers(base: Params) -> int:
    """How many transformer layers the base has."""
    return len({layer_index(path) for path in flatten(base)} - {None})
