"""The head: learnt layer mixture, mean over time, two dense layers.

Pure functions over a plain tree. Mixture and mean are both linear, so the hidden states are pooled over
time first and mixed afterwards: a frozen encoder then needs only its pooled layers, computed once per
clip.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

# A constant feature (a dead channel of a random encoder) must not be blown up to infinity.
_MINIMUM_STD = 1e-6


class HeadForm(enum.StrEnum):
    """What the head makes of the pooled layers p_0 to p_L; projection and classifier are dense layers.

    STANDARDISED: classifier(relu(projection(sum_l w_l (p_l - mean_l) / std_l))).
    HUB_WEIGHTED: classifier(projection(sum_l w_l p_l)), which is what the classes
      `...ForSequenceClassification` of Hugging Face transformers compute with `use_weighted_layer_sum`.
    HUB_LAST: classifier(projection(p_L)), which is what they compute without.
    HUB_TANH: classifier(tanh(projection(p_L))), the head of many published emotion models.
    """

    STANDARDISED = "standardised"
    HUB_WEIGHTED = "hub_weighted"
    HUB_LAST = "hub_last"
    HUB_TANH = "hub_tanh"

    @property
    def mixes_layers(self) -> bool:
        """Whether it has layer weights; otherwise it reads the last layer alone."""
        return self in (HeadForm.STANDARDISED, HeadForm.HUB_WEIGHTED)


_BETWEEN_DENSE_LAYERS = {HeadForm.STANDARDISED: jax.nn.relu, HeadForm.HUB_TANH: jnp.tanh}


class LayerStatistics(NamedTuple):
    """Mean and standard deviation of each layer's pooled features over the training clips.

    0 and 1 for a head that takes the layers as they are.
    """

    mean: Float[np.ndarray | Array, "L D"]
    std: Float[np.ndarray | Array, "L D"]


def layer_statistics(
    pooled: Float[np.ndarray, "B L D"], form: HeadForm = HeadForm.STANDARDISED
) -> LayerStatistics:
    """Statistics that put every layer on one scale, so that a large-valued layer cannot swamp the mixture.

    Args:
      pooled: Time means of the training clips only; test clips would leak.
      form: Of the head that they are for.
    """
    if form is not HeadForm.STANDARDISED:
        return no_standardisation(*pooled.shape[1:])
    mean = pooled.mean(axis=0, dtype=np.float64)
    std = pooled.std(axis=0, dtype=np.float64)
    return LayerStatistics(
        mean.astype(np.float32), np.maximum(std, _MINIMUM_STD).astype(np.float32)
    )


def no_standardisation(num_layers: int, width: int) -> LayerStatistics:
    """Statistics that leave every layer as it is."""
    shape = (num_layers, width)
    return LayerStatistics(np.zeros(shape, np.float32), np.ones(shape, np.float32))


def pool_frames(
    hidden_states: Float[Array, "L B T D"], frame_mask: Bool[Array | np.ndarray, "B T"]
) -> Float[Array, "B L D"]:
    """Mean over each clip's valid frames, layer by layer."""
    weight = frame_mask.astype(hidden_states.dtype)
    valid = jnp.where(frame_mask[None, :, :, None], hidden_states, 0)
    total = jnp.einsum("lbtd,bt->bld", valid, weight, preferred_element_type=jnp.float32)
    # Counted in integers: bfloat16 holds no more than 256 of them exactly.
    return total / jnp.maximum(frame_mask.sum(axis=1), 1)[:, None, None]


def init_head(
    key: PRNGKeyArray,
    *,
    num_layers: int,
    width: int,
    hidden: int,
    num_outputs: int,
    form: HeadForm = HeadForm.STANDARDISED,
) -> dict[str, Any]:
    """Head parameters: equal layer weights if the form has any, LeCun-normal kernels, zero biases.

    Args:
      num_layers: L, hidden states including the input of layer 0.
      width: D of each hidden state.
      hidden: Width of the projection before the last layer.
      num_outputs: What the objective reads: one logit per class, or one value per dimension.
    """
    projection_key, classifier_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    layer_weights = {"layer_weights": jnp.zeros(num_layers)} if form.mixes_layers else {}
    return layer_weights | {
        "projection": {
            "kernel": kernel(projection_key, (width, hidden)),
            "bias": jnp.zeros(hidden),
        },
        "classifier": {
            "kernel": kernel(classifier_key, (hidden, num_outputs)),
            "bias": jnp.zeros(num_outputs),
        },
    }


def layer_mixture(head: dict[str, Any], *, num_layers: int) -> Float[Array, " L"]:
    """The share of each layer, summing to 1: softmax of the layer weights, or the last layer alone."""
    if "layer_weights" not in head:
        return jnp.zeros(num_layers).at[-1].set(1.0)
    return jax.nn.softmax(head["layer_weights"])


def apply_head(
    head: dict[str, Any],
    pooled: Float[Array, "B L D"],
    *,
    statistics: LayerStatistics,
    form: HeadForm = HeadForm.STANDARDISED,
    dropout_rate: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> Float[Array, "B O"]:
    """Raw outputs: classifier(dropout(f(projection(sum_l w_l (pooled_l - mean_l) / std_l)))).

    f is that of the form: relu, tanh or none. The mixture is that of SUPERB's downstream models;
    standardising each layer first is our choice.

    Args:
      dropout_rate: Share of projected features dropped; applied only when `dropout_key` is given.

    Reference: Yang et al. 2021, SUPERB, section 3 (weighted sum of layers).
    """
    standardised = (pooled - statistics.mean) / statistics.std
    mixture = layer_mixture(head, num_layers=pooled.shape[1])
    mixed = jnp.einsum("bld,l->bd", standardised, mixture, precision="highest")
    projected = _dense(head["projection"], mixed)
    if form in _BETWEEN_DENSE_LAYERS:
        projected = _BETWEEN_DENSE_LAYERS[form](projected)
    if dropout_key is not None and dropout_rate > 0:
        keep = jax.random.bernoulli(dropout_key, 1 - dropout_rate, projected.shape)
        projected = jnp.where(keep, projected / (1 - dropout_rate), 0)
    return _dense(head["classifier"], projected)


def _dense(parameters: dict[str, Any], x: Float[Array, "B I"]) -> Float[Array, "B O"]:
    return jnp.dot(x, parameters["kernel"], precision="highest") + parameters["bias"]
