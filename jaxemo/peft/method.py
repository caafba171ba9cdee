"""The contract of an adaptation method.

The frozen base and the trainable tree are two pytrees from birth. A method never touches the encoder's
code: it is given `forward`, a function of the base parameters that runs the network, and calls it with
other parameters (full), or under linen method interceptors (LoRA, adapters). At init every method leaves
the network's output as it was.
"""

import contextlib
import zlib
from collections.abc import Callable, Container, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from jaxtyping import Array, Float, PRNGKeyArray

Params = dict[str, Any]


@runtime_checkable  # For the tests, which check types.
class Apply(Protocol):
    """`forward`'s result under the adaptation.

    The method's own dropout acts exactly when a `dropout_key` is given; the network's own is
    `forward`'s affair.
    """

    def __call__(
        self,
        forward: Callable[[Params], Any],
        base: Params,
        trainable: Params,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Any: ...


class LayerRates(NamedTuple):
    """How learning goes down the layers.

    Attributes:
      decay: Factor on the rate from each layer to the one below it.
      unfreeze_steps: Steps before the uppermost layer begins to move, and from each layer to the one
        below it; 0: all move from the first step on.
    """

    decay: float = 1.0
    unfreeze_steps: int = 0


class Method(NamedTuple):
    """One way to adapt an encoder.

    Attributes:
      name: As configs, checkpoints and tables call it.
      frozen_layers: How much of the network lies below what the method trains, whatever its options.
        0: the stem, and the layers below `targets.lowest_layer`; None: the whole encoder, so that
        training reads pooled layers.
      init: (key, base) -> trainable; the identity at birth. It raises ValueError where the options do
        not fit the base, from shapes alone.
      apply: (forward, base, trainable, dropout_key) -> forward's result under the adaptation.
      merge: (base, trainable) -> base with the adaptation folded in; None where the algebra forbids it.
      layer_rates: Learning rates by layer; None where all are alike.
    """

    name: str
    frozen_layers: int | None
    init: Callable[[jax.Array, Params], Params]
    apply: Apply
    merge: Callable[[Params, Params], Params] | None
    layer_rates: LayerRates | None = None


class Call(NamedTuple):
    """A call of one module's method, held up on its way.

    Attributes:
      path: The module's parameters in the base, for example `encoder/layers/0/attention/q_proj`.
      run: The method as it would have run, called as `run(*arguments, **keywords)`.
    """

    path: str
    module: nn.Module
    run: Callable[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]

    def output(self) -> Any:
        """What the call gives without the adaptation."""
        return self.run(*self.arguments, **self.keywords)


@contextlib.contextmanager
def intercepted(
    paths: Container[str], change: Callable[[Call], Any], *, method_name: str = "__call__"
) -> Iterator[None]:
    """While it lasts, `change(call)` stands for every call of the modules at `paths`.

    Of several in each other the innermost acts first.
    """

    def intercept(next_function, arguments, keywords, context):
        path = "/".join(context.module.path)
        if context.method_name != method_name or path not in paths:
            return next_function(*arguments, **keywords)
        return change(Call(path, context.module, next_function, arguments, keywords))

    with nn.intercept_methods(intercept):
        yield


def dropped(
    values: Float[Array, "*shape"], *, rate: float, key: PRNGKeyArray | None, path: str
) -> Float[Array, "*shape"]:
    """Inverted dropout: zero with probability `rate`, else value / (1 - rate); all values without a key.

    Args:
      path: Of the module, so that each draws for itself.
    """
    if key is None or rate == 0:
        return values
    own_key = jax.random.fold_in(key, zlib.crc32(path.encode()))
    keep = jax.random.bernoulli(own_key, 1 - rate, values.shape)
    return jnp.where(keep, values / (1 - rate), 0)


def flatten(tree: Params) -> dict[str, Any]:
    """Nested parameters as one level, keys joined by '/': `encoder/layers/0/attention/q_proj/kernel`."""
    return traverse_util.flatten_dict(tree, sep="/")


def unflatten(flat: dict[str, Any]) -> Params:
    """The inverse of `flatten`."""
    return traverse_util.unflatten_dict(flat, sep="/")


def count_parameters(tree: Params) -> int:
    """How many numbers the tree holds."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
