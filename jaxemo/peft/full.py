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

from jaxemo.peft.method import Method, Params, flatten, unflatten

# masked_spec_embed has no gradient: nothing is masked in fine-tuning here.
_FROZEN = re.compile(r"^(feature_extractor/|encoder/embed_positions/|masked_spec_embed$)")


def full_fine_tuning() -> Method:
    """The trainable tree is a copy of the base above the stem."""
    return Method("full", 0, init=_init, apply=_apply, merge=_merge)


def _init(key: jax.Array, base: Params) -> Params:
    del key  # Nothing is drawn: training starts from the base itself.
    return unflatten(
        {path: jnp.array(leaf) for path, leaf in flatten(base).items() if not _FROZEN.match(path)}
    )


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
