"""The contract of an objective: where its targets come from, what it learns beside the encoder, its loss.

An `Objective` is a value of pure functions, so that one program trains them all. Losses come as sums
with a count, and so do the figures by which collapse is noticed: micro-batches and devices are added
up and divided once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, Shaped

Params = Any


class Clips(NamedTuple):
    """Waveforms as the encoder is given them; whatever lies from `num_samples` on is padding."""

    waveform: Float[Array, "B N"]
    num_samples: Int[Array, " B"]


class Encoded(NamedTuple):
    """What the encoder made of masked clips.

    Attributes:
      features: The stem's output after the projection's layer norm, which no mask has touched.
      hidden_states: As `EncoderOutput` has them.
      mask: True on the frames that the encoder did not see.
      frame_mask: True on the frames of each clip.
    """

    features: Float[Array, "B T C"]
    hidden_states: Float[Array, "M B T D"]
    mask: Bool[Array, "B T"]
    frame_mask: Bool[Array, "B T"]


class Draw(NamedTuple):
    """What a loss may be random by, and how far the run is.

    Attributes:
      key: Of this step and micro-batch; a loss that draws nothing does not use it.
      step: Steps done.
    """

    key: Key[Array, ""]
    step: Int[Array, ""]


class CodeUse(NamedTuple):
    """Sums that tell how many codes are in use; K = 0 where an objective has none.

    Attributes:
      target: How often each code was the target of a masked frame.
      predicted: How often each was the likeliest prediction there, or (wav2vec 2.0) its probability.
      entropy: Sum over masked frames of the predictions' entropy in nats.
    """

    target: Float[Array, "Q K"]
    predicted: Float[Array, "Q K"]
    entropy: Float[Array, ""]


class Loss(NamedTuple):
    """The loss of a micro-batch.

    Attributes:
      total: Sum that is minimised; divided by `count` it is the loss.
      count: Masked frames.
      parts: Sums of the loss's named parts, before their weights.
      code_use: See there.
    """

    total: Float[Array, ""]
    count: Float[Array, ""]
    parts: dict[str, Float[Array, ""]]
    code_use: CodeUse


# From clips to hidden states without a mask, by given encoder parameters.
Forward = Callable[[Params, Clips], Float[Array, "M B T D"]]


class Teacher(NamedTuple):
    """How an objective's teacher follows the encoder: decay rises linearly from `start` to `end`.

    teacher <- decay teacher + (1 - decay) encoder, after each step.
    """

    start: float
    end: float
    rising_steps: int

    def decay(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """The decay after `step` steps."""
        progress = jnp.minimum(step / self.rising_steps, 1.0)
        return self.start + (self.end - self.start) * progress


class Objective(NamedTuple):
    """One way of pre-training.

    Attributes:
      name: As settings and model cards call it.
      fit_targets: (key, sample) -> state of the targets, fitted once and then fixed.
      targets: (clips, state, teacher's hidden states or None) -> what `loss` is given; no gradient
        goes through it.
      init: key -> parameters that are trained beside the encoder's.
      loss: (parameters, encoded, targets, draw) -> `Loss`.
      teacher: How the teacher follows, for objectives that have one.
    """

    name: str
    fit_targets: Callable[[Key[Array, ""], Clips], Any]
    targets: Callable[[Clips, Any, Float[Array, "M B T D"] | None], Any]
    init: Callable[[Key[Array, ""]], Params]
    loss: Callable[[Params, Encoded, Any, Draw], Loss]
    teacher: Teacher | None = None


def masked_sum(values: Float[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, ""]:
    """Sum over the frames in `mask`, whatever the others hold."""
    return jnp.sum(values, where=mask)


def dense_init(key: Key[Array, ""], inputs: int, outputs: int) -> dict[str, Float[Array, "..."]]:
    """A dense layer's kernel, normal with variance 1 / inputs, and its bias of zeros."""
    kernel = jax.random.normal(key, (inputs, outputs)) / jnp.sqrt(inputs)
    return {"kernel": kernel, "bias": jnp.zeros(outputs)}


def dense(layer: dict[str, Any], inputs: Float[Array, "... D"]) -> Float[Array, "... E"]:
    """x kernel + bias."""
    return inputs @ layer["kernel"] + layer["bias"]


def code_use(
    logits: Float[Array, "B T Q K"], codes: Int[Array, "B T Q"], mask: Bool[Array, "B T"]
) -> CodeUse:
    """Counts over the masked frames; the entropy is a mean over codebooks."""
    _, _, num_codebooks, num_codes = logits.shape
    log_probabilities = jax.nn.log_softmax(logits)
    entropy = -jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1).mean(axis=-1)

    def counts(chosen: Int[Array, "B T Q"]) -> Float[Array, "Q K"]:
        index = chosen + num_codes * jnp.arange(num_codebooks)
        weight = jnp.broadcast_to(mask[:, :, None], index.shape).astype(jnp.float32)
        flat = jnp.zeros(num_codebooks * num_codes).at[index].add(weight)
        return flat.reshape(num_codebooks, num_codes)

    return CodeUse(counts(codes), counts(logits.argmax(axis=-1)), masked_sum(entropy, mask))


def cross_entropy(logits: Float[Array, "... K"], codes: Int[Array, "..."]) -> Float[Array, "..."]:
    """-log softmax(logits)[code], in float32."""
    log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32))
    return -jnp.take_along_axis(log_probabilities, codes[..., None], axis=-1)[..., 0]


def no_codes() -> CodeUse:
    """Of objectives that regress."""
    return CodeUse(jnp.zeros((0, 0)), jnp.zeros((0, 0)), jnp.zeros(()))


def valid_rows(
    vectors: Float[Array, "B T F"], num_frames: Int[Array, " B"]
) -> tuple[Float[Array, "n F"], Shaped[Array, " n"]]:
    """All frames as rows, and 1 for those of the clips, 0 for padding."""
    weight = jnp.arange(vectors.shape[1]) < num_frames[:, None]
    return vectors.reshape(-1, vectors.shape[2]), weight.reshape(-1).astype(jnp.float32)
