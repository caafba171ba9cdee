"""The head: learnt layer mixture, pooling over time, two dense layers.

Pure functions over a plain tree. Layers are pooled over time first and mixed afterwards: a frozen encoder
then needs only its pooled layers, computed once per clip. (Mixture and mean are both linear, so that
their order does not matter.) Attention needs the frames: it pools the mixture.
"""

import enum
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

# A constant feature (a dead channel of a random encoder) must not be blown up to infinity.
_MINIMUM_STD = 1e-6
# The root of a variance of 0, such as that of one frame, has no slope.
_MINIMUM_VARIANCE = 1e-10
# Of the attention's hidden layer.
_ATTENTION_WIDTH = 64


class Pooling(enum.StrEnum):
    """How the frames of a clip become one vector.

    MEAN: of each layer. MEAN_STD: mean and standard deviation of each layer, side by side. ATTENTIVE: both
    of the layers' mixture, its frames weighted by learnt attention.
    """

    MEAN = "mean"
    MEAN_STD = "mean_std"
    ATTENTIVE = "attentive"


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


def pool_spread(
    hidden_states: Float[Array, "L B T D"], frame_mask: Bool[Array | np.ndarray, "B T"]
) -> Float[Array, "B L D"]:
    """Standard deviation over each clip's valid frames, layer by layer, over their number."""
    mean = pool_frames(hidden_states, frame_mask).swapaxes(0, 1)[:, :, None]
    deviation = hidden_states.astype(jnp.float32) - mean
    squares = jnp.square(jnp.where(frame_mask[None, :, :, None], deviation, 0))
    return jnp.sqrt(jnp.maximum(pool_frames(squares, frame_mask), _MINIMUM_VARIANCE))


def pool_attentively(
    attention: dict[str, Any], frames: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]
) -> Float[Array, "B 2*D"]:
    """Attentive statistics pooling: mean and standard deviation of frames under learnt weights.

    a_t = softmax_t(v . tanh(W h_t + b)) over the valid frames
    m = sum_t a_t h_t,   s = sqrt(sum_t a_t h_t^2 - m^2)

    Reference: Okabe, Koshinaka & Shinoda 2018, arXiv 1803.10963, equations 3 to 6; their constant k
    leaves the softmax as it is.
    """
    valid = jnp.where(frame_mask[..., None], frames, 0)
    scores = jnp.tanh(_dense(attention["projection"], valid)) @ attention["score"]
    # Finite, so that a clip without a valid frame gives no NaN.
    lowest = jnp.finfo(scores.dtype).min
    weight = jax.nn.softmax(jnp.where(frame_mask, scores, lowest), axis=1)
    mean = jnp.einsum("bt,btd->bd", weight, valid)
    variance = jnp.einsum("bt,btd->bd", weight, jnp.square(valid - mean[:, None]))
    return jnp.concatenate([mean, jnp.sqrt(jnp.maximum(variance, _MINIMUM_VARIANCE))], axis=1)


def init_head(
    key: PRNGKeyArray,
    *,
    num_layers: int,
    width: int,
    hidden: int,
    num_outputs: int,
    form: HeadForm = HeadForm.STANDARDISED,
    pooling: Pooling = Pooling.MEAN,
) -> dict[str, Any]:
    """Head parameters: equal layer weights if the form has any, LeCun-normal kernels, zero biases.

    Args:
      num_layers: L, hidden states including the input of layer 0.
      width: D of each hidden state, or what pooling makes of it layer by layer.
      hidden: Width of the projection before the last layer.
      num_outputs: What the objective reads: one logit per class, or one value per dimension.
      pooling: Attention, whose weights are equal at first, has parameters and gives 2 D numbers.
    """
    projection_key, classifier_key = jax.random.split(key)
    kernel = jax.nn.initializers.lecun_normal()
    layer_weights = {"layer_weights": jnp.zeros(num_layers)} if form.mixes_layers else {}
    attention: dict[str, Any] = {}
    if pooling is Pooling.ATTENTIVE:
        first = kernel(jax.random.fold_in(key, 2), (width, _ATTENTION_WIDTH))
        attention["attention"] = {
            "projection": {"kernel": first, "bias": jnp.zeros(_ATTENTION_WIDTH)},
            "score": jnp.zeros(_ATTENTION_WIDTH),
        }
        width = 2 * width
    return (
        layer_weights
        | attention
        | {
            "projection": {
                "kernel": kernel(projection_key, (width, hidden)),
                "bias": jnp.zeros(hidden),
            },
            "classifier": {
                "kernel": kernel(classifier_key, (hidden, num_outputs)),
                "bias": jnp.zeros(num_outputs),
            },
        }
    )


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
    # The mixture of each row, though they are equal: XLA's CPU compiler has a fast product of this form
    # and of its gradient, and sums over an axis in the middle number by number.
    of_row = jnp.broadcast_to(mixture, standardised.shape[:2])
    mixed = jnp.einsum("bld,bl->bd", standardised, of_row, precision="highest")
    return _classified(head, mixed, form=form, dropout_rate=dropout_rate, dropout_key=dropout_key)


def apply_attentive_head(
    head: dict[str, Any],
    hidden_states: Float[Array, "L B T D"],
    frame_mask: Bool[Array, "B T"],
    *,
    statistics: LayerStatistics,
    dropout_rate: float = 0.0,
    dropout_key: PRNGKeyArray | None = None,
) -> Float[Array, "B O"]:
    """As a standardised `apply_head`, of sum_l w_l (h_lt - mean_l) / std_l pooled over frames by attention."""
    mixture = layer_mixture(head, num_layers=hidden_states.shape[0])
    scale = mixture[:, None] / statistics.std
    frames = jnp.einsum(
        "lbtd,ld->btd", hidden_states, scale, preferred_element_type=jnp.float32
    ) - jnp.sum(scale * statistics.mean, axis=0)
    pooled = pool_attentively(head["attention"], frames, frame_mask)
    return _classified(
        head,
        pooled,
        form=HeadForm.STANDARDISED,
        dropout_rate=dropout_rate,
        dropout_key=dropout_key,
    )


def _classified(
    head: dict[str, Any],
    pooled: Float[Array, "B I"],
    *,
    form: HeadForm,
    dropout_rate: float,
    dropout_key: PRNGKeyArray | None,
) -> Float[Array, "B O"]:
    projected = _dense(head["projection"], pooled)
    if form in _BETWEEN_DENSE_LAYERS:
        projected = _BETWEEN_DENSE_LAYERS[form](projected)
    if dropout_key is not None and dropout_rate > 0:
        keep = jax.random.bernoulli(dropout_key, 1 - dropout_rate, projected.shape)
        projected = jnp.where(keep, projected / (1 - dropout_rate), 0)
    return _dense(head["classifier"], projected)


def _dense(parameters: dict[str, Any], x: Float[Array, "... I"]) -> Float[Array, "... O"]:
    return jnp.dot(x, parameters["kernel"], precision="highest") + parameters["bias"]
