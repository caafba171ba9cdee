"""An encoder, an adaptation method and the emotion head as one pure function of its parameters.

What is trained ({adaptation, head}) and what is not (`Frozen`) are apart from birth. Inputs are the
method's cached frozen prefix: stem features, or pooled layers when the whole encoder is frozen.
"""

from typing import Any, NamedTuple

import jax
from flax import linen as nn
from jaxtyping import Array, Float, Int, PRNGKeyArray

from jaxemo.models.encoder import StemOutput
from jaxemo.models.heads import LayerStatistics, apply_head, init_head, pool_frames
from jaxemo.peft.method import Method, Params

PooledLayers = Float[Array, "B L D"]


class Frozen(NamedTuple):
    """What training reads and never writes."""

    base: Params
    statistics: LayerStatistics


class Batch(NamedTuple):
    """One fixed-size batch; rows that only fill it up have weight 0."""

    inputs: StemOutput | PooledLayers
    labels: Int[Array, " B"]
    weight: Float[Array, " B"]


class Classifier(NamedTuple):
    """The pure functions of one (encoder, method, head) triple.

    Attributes:
      module: The encoder's linen module; None for representations without a network.
      method: How the encoder is adapted.
      head_width: Width of the head's projection.
      head_dropout: Dropout rate in the head while training.
      num_classes: C.
    """

    module: nn.Module | None
    method: Method
    head_width: int
    head_dropout: float
    num_classes: int

    def init(self, key: PRNGKeyArray, frozen: Frozen) -> dict[str, Any]:
        """A fresh trainable tree {adaptation, head}."""
        adaptation_key, head_key = jax.random.split(key)
        num_layers, width = frozen.statistics.mean.shape
        head = init_head(
            head_key,
            num_layers=num_layers,
            width=width,
            hidden=self.head_width,
            num_classes=self.num_classes,
        )
        return {"adaptation": self.method.init(adaptation_key, frozen.base), "head": head}

    def logits(
        self,
        trainable: dict[str, Any],
        frozen: Frozen,
        inputs: StemOutput | PooledLayers,
        *,
        dropout_key: PRNGKeyArray | None = None,
    ) -> Float[Array, "B C"]:
        """Class logits; dropout is on exactly when a `dropout_key` is given."""
        encoder_key, head_key = (
            (None, None) if dropout_key is None else jax.random.split(dropout_key)
        )
        pooled = self._pooled_layers(trainable["adaptation"], frozen.base, inputs, encoder_key)
        return apply_head(
            trainable["head"],
            pooled,
            statistics=frozen.statistics,
            dropout_rate=self.head_dropout,
            dropout_key=head_key,
        )

    def _pooled_layers(
        self,
        adaptation: Params,
        base: Params,
        inputs: StemOutput | PooledLayers,
        dropout_key: PRNGKeyArray | None,
    ) -> PooledLayers:
        if not isinstance(inputs, StemOutput):
            return inputs

        def forward(params: Params) -> Float[Array, "L B T D"]:
            return self.module.apply(
                {"params": params},
                inputs.features,
                inputs.frame_mask,
                deterministic=dropout_key is None,
                rngs=None if dropout_key is None else {"dropout": dropout_key},
                method="contextualise",
            )

        return pool_frames(self.method.apply(forward, base, adaptation), inputs.frame_mask)
