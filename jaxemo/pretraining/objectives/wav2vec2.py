"""wav2vec 2.0: the quantised features of a masked frame, told from those of the clip's other ones.

Reference: Baevski et al. 2020, arXiv 2006.11477, sections 2 and 3.2.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from jaxemo.pretraining.objectives.hubert import unit_length
from jaxemo.pretraining.objectives.objective import (
    Clips,
    CodeUse,
    Draw,
    Encoded,
    Loss,
    Objective,
    Params,
    cross_entropy,
    dense,
    dense_init,
    masked_sum,
)


class Wav2vec2Settings(NamedTuple):
    """wav2vec 2.0's quantiser and loss.

    Attributes:
      num_codebooks: G.
      num_codes: V of each codebook.
      code_width: Of the concatenated code vectors; a multiple of G.
      compared_width: Of what is compared.
      num_negatives: Other masked frames of the clip that each one is compared with.
      temperature: Of the softmax over cosines.
      diversity_weight: Of the second part of the loss.
      gumbel_start: Temperature of the Gumbel softmax at step 0.
      gumbel_end: Where it stops falling.
      gumbel_decay: Its factor in each step.
    """

    num_codebooks: int = 2
    num_codes: int = 320
    code_width: int = 256
    compared_width: int = 256
    num_negatives: int = 100
    temperature: float = 0.1
    diversity_weight: float = 0.1
    gumbel_start: float = 2.0
    gumbel_end: float = 0.5
    gumbel_decay: float = 0.999995


class Quantised(NamedTuple):
    """Code vectors of each frame, the codes, and the probabilities before any noise."""

    vectors: Float[Array, "B T E"]
    codes: Int[Array, "B T G"]
    probabilities: Float[Array, "B T G V"]


class Negatives(NamedTuple):
    """Frames of the same clip that each frame is compared with; `valid` is False without another."""

    frames: Int[Array, "B T J"]
    valid: Bool[Array, "B T J"]


def wav2vec2(*, width: int, stem_width: int, settings: Wav2vec2Settings) -> Objective:
    """The objective.

    total = contrast + diversity_weight * count * (G V - sum_g exp H(p_g)) / (G V), with p_g the mean
    over masked frames of the code probabilities of codebook g, and H the entropy in nats.

    Args:
      width: D of the encoder.
      stem_width: C of its stem.
    """

    def fit(key: Key[Array, ""], sample: Clips) -> tuple[()]:
        return ()

    def targets(clips: Clips, state: tuple[()], teacher: Any = None) -> tuple[()]:
        return ()

    def init(key: Key[Array, ""]) -> Params:
        return init_wav2vec2(key, width, stem_width, settings=settings)

    def loss(params: Params, encoded: Encoded, targets: tuple[()], draw: Draw) -> Loss:
        gumbel_key, negative_key = jax.random.split(draw.key)
        falling = settings.gumbel_start * settings.gumbel_decay**draw.step
        temperature = jnp.maximum(falling, settings.gumbel_end)
        quantised = quantise(gumbel_key, params, encoded.features, temperature)
        negatives = draw_negatives(negative_key, encoded.mask, settings.num_negatives)
        logits = contrast_logits(
            dense(params["project_hid"], encoded.hidden_states[-1]),
            dense(params["project_q"], quantised.vectors),
            quantised.codes,
            negatives=negatives,
            temperature=settings.temperature,
        )
        return contrast_loss(
            logits, quantised, encoded.mask, diversity_weight=settings.diversity_weight
        )

    return Objective("wav2vec2", fit, targets, init, loss)


def init_wav2vec2(
    key: Key[Array, ""], width: int, stem_width: int, *, settings: Wav2vec2Settings
) -> Params:
    """Logits of unit variance, code vectors uniform in [0, 1), and both projections."""
    keys = jax.random.split(key, 4)
    groups, codes = settings.num_codebooks, settings.num_codes
    shape = groups, codes, settings.code_width // groups
    return {
        "weight_proj": dense_init(keys[0], stem_width, groups * codes),
        "codevectors": jax.random.uniform(keys[1], shape),
        "project_q": dense_init(keys[2], settings.code_width, settings.compared_width),
        "project_hid": dense_init(keys[3], width, settings.compared_width),
    }


def quantise(
    key: Key[Array, ""],
    params: Params,
    features: Float[Array, "B T C"],
    temperature: Float[Array, ""],
) -> Quantised:
    """Code vectors by the straight-through Gumbel softmax.

    Forward the code is argmax_v (l_v + n_v) with Gumbel noise n; the gradient is that of
    softmax((l + n) / temperature).
    """
    codevectors = params["codevectors"]
    groups, codes, _ = codevectors.shape
    logits = dense(params["weight_proj"], features).astype(jnp.float32)
    logits = logits.reshape(*features.shape[:2], groups, codes)
    soft = jax.nn.softmax((logits + jax.random.gumbel(key, logits.shape)) / temperature)
    chosen = soft.argmax(axis=-1)
    hard = jax.nn.one_hot(chosen, codes)
    weight = hard + soft - jax.lax.stop_gradient(soft)
    vectors = jnp.einsum("btgv,gvw->btgw", weight, codevectors)
    vectors = vectors.reshape(*features.shape[:2], -1)
    return Quantised(vectors, chosen, jax.nn.softmax(logits))


def draw_negatives(key: Key[Array, ""], mask: Bool[Array, "B T"], num_negatives: int) -> Negatives:
    """For each masked frame other masked frames of its clip, uniform, with replacement."""
    count = mask.sum(axis=1)[:, None, None]
    # Masked frames first, in order; a masked frame's rank is its place among them.
    order = jnp.argsort(~mask, axis=1, stable=True)
    rank = (jnp.cumsum(mask, axis=1) - 1)[:, :, None]
    uniform = jax.random.uniform(key, (*mask.shape, num_negatives))
    others = jnp.maximum(count - 1, 1)
    drawn = jnp.minimum((uniform * others).astype(jnp.int32), others - 1)
    drawn = jnp.minimum(drawn + (drawn >= rank), jnp.maximum(count - 1, 0))
    frames = jnp.take_along_axis(order[:, None, :], drawn, axis=2)
    valid = mask[:, :, None] & (count > 1)
    return Negatives(frames, jnp.broadcast_to(valid, frames.shape))


def contrast_logits(
    predicted: Float[Array, "B T E"],
    quantised: Float[Array, "B T E"],
    codes: Int[Array, "B T G"],
    *,
    negatives: Negatives,
    temperature: float,
) -> Float[Array, "B T J_and_1"]:
    """cos(prediction, own and other frames' quantised vectors) / temperature, the own one first.

    Other frames of the same codes are left out: nothing tells them apart.
    """
    # All frames of a clip against each other: far fewer numbers than one vector for each negative.
    cosine = jnp.einsum("bte,bse->bts", unit_length(predicted), unit_length(quantised))
    equal = jnp.all(codes[:, :, None] == codes[:, None], axis=-1)
    own = jnp.diagonal(cosine, axis1=1, axis2=2)[:, :, None]
    others = jnp.take_along_axis(cosine, negatives.frames, axis=2)
    usable = negatives.valid & ~jnp.take_along_axis(equal, negatives.frames, axis=2)
    others = jnp.where(usable, others / temperature, -jnp.inf)
    return jnp.concatenate([own / temperature, others], axis=2)


def contrast_loss(
    logits: Float[Array, "B T J"],
    quantised: Quantised,
    mask: Bool[Array, "B T"],
    *,
    diversity_weight: float,
) -> Loss:
    """Contrast and diversity; see `wav2vec2`."""
    contrast = masked_sum(cross_entropy(logits, jnp.zeros(mask.shape, jnp.int32)), mask)
    count = mask.sum().astype(jnp.float32)
    summed = jnp.sum(quantised.probabilities, axis=(0, 1), where=mask[:, :, None, None])
    mean = summed / jnp.maximum(count, 1.0)
    perplexity = jnp.sum(jnp.exp(-jnp.sum(jax.scipy.special.xlogy(mean, mean), axis=-1)))
    num_codes = mean.size
    diversity = count * (num_codes - perplexity) / num_codes
    return Loss(
        total=contrast + diversity_weight * diversity,
        count=count,
        parts={"contrast": contrast, "diversity": diversity},
        code_use=_code_use(quantised, summed, mask),
    )


def _code_use(
    quantised: Quantised, summed: Float[Array, "G V"], mask: Bool[Array, "B T"]
) -> CodeUse:
    chosen = jax.nn.one_hot(quantised.codes, summed.shape[1])
    probabilities = quantised.probabilities
    entropy = -jnp.sum(jax.scipy.special.xlogy(probabilities, probabilities), axis=-1).mean(-1)
    return CodeUse(
        target=jnp.sum(chosen, axis=(0, 1), where=mask[:, :, None, None]),
        predicted=summed,
        entropy=masked_sum(entropy, mask),
    )
