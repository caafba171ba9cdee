"""The contract of an adaptation method.

The frozen base and the trainable tree are two pytrees from birth. A method never touches the encoder's
code: it is given `forward`, a function of the base parameters that runs the network, and calls it with
other parameters (full), or under linen method interceptors (LoRA, adapters). At init every method leaves
the network's output as it was.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from flax import traverse_util

Params = dict[str, Any]


class Method(NamedTuple):
    """One way to adapt an encoder.

    Attributes:
      name: As configs, checkpoints and tables call it.
      frozen_layers: How much of the network lies below the lowest trained parameter; its output is
        computed once per clip. 0: the stem alone; None: the whole encoder, so that training reads
        pooled layers.
      init: (key, base) -> trainable; the identity at birth.
      apply: (forward, base, trainable) -> forward's result under the adaptation.
      merge: (base, trainable) -> base with the adaptation folded in; None where the algebra forbids it.
    """

    name: str
    frozen_layers: int | None
    init: Callable[[jax.Array, Params], Params]
    apply: Callable[[Callable[[Params], Any], Params, Params], Any]
    merge: Callable[[Params, Params], Params] | None


def flatten(tree: Params) -> dict[str, Any]:
    """Nested parameters as one level, keys joined by '/': `encoder/layers/0/attention/q_proj/kernel`."""
    return traverse_util.flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> Params:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def count_parameters(tree: Params) -> int:
    """How many numbers the tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
