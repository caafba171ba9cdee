"""Full fine-tuning: everything above the convolutional stem is trained.

The stem stays frozen, as is customary for wav2vec 2.0 downstream tasks (Baevski et al. 2020, section
4.4), which also makes its output cacheable.
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from jaxemo.peft.method import LayerRates, Method, Params, flatten, unflatten

# The mask embedding stays what pre-training made it; without SpecAugment it has no gradient at all.
_FROZEN = re.compile(r"^(feature_extractor/|encoder/embed_positions/|masked_spec_embed$)")


def full_fine_tuning(*, layer_decay: float = 1.0, unfreeze_steps: int = 0) -> Method:
    """The trainable tree is a copy of the base above the stem.

    Args:
      layer_decay: Factor on the learning rate from each layer to the one below it.
      unfreeze_steps: Steps from the release of each layer to that of the one below it; the head alone
        is trained before the first. 0: no gradual unfreezing.

    Raises:
      ValueError: For options out of range.

    Reference: Howard & Ruder 2018, ULMFiT, arXiv 1801.06146, sections 3.2 and 3.3.
    """
    if not 0 < layer_decay <= 1 or unfreeze_steps < 0:
        raise ValueError(
            f"'full' has layer_decay {layer_decay} and unfreeze_steps {unfreeze_steps}; expected more "
            "than 0 and at most 1, and 0 or more."
        )
    method = retrained("full", paths_above_stem)
    if layer_decay == 1 and unfreeze_steps == 0:
        return method
    return method._replace(layer_rates=LayerRates(layer_decay, unfreeze_steps))


def paths_above_stem(base: Params) -> list[str]:
    """Paths of all parameters that fine-tuning may train."""
    return [path for path in flatten(base) if not _FROZEN.match(path)]


def retrained(name: str, choose: Callable[[Params], list[str]]) -> Method:
    """A method that goes on training parameters of the base itself.

    Args:
      choose: base -> paths of what is trained.
    """

    def init(key: jax.Array, base: Params) -> Params:
        del key  # Nothing is drawn: training starts from the base itself.
        leaves = flatten(base)
        return unflatten({path: jnp.array(leaves[path]) for path in choose(base)})

    return Method(name, 0, init=init, apply=_apply, merge=_merge)


def _merge(base: Params, trainable: Params) -> Params:
    return unflatten(flatten(base) | flatten(trainable))


def _apply(
    forward: Callable[[Params], Any],
    base: Params,
    trainable: Params,
    *,
    dropout_key: PRNGKeyArray | None = None,
) -> Any:
    del dropout_key
    return forward(_merge(base, trainable))
