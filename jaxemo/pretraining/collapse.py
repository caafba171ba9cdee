"""Signs of collapse: codes out of use, hidden states that say the same everywhere.

Figures are made from sums over the steps since the last look. A look gives advice where a run can no
longer be worth its time; what is merely slow gives none.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxemo.pretraining.objectives.objective import CodeUse

# Codes that all predictions share out, as exp(entropy); one code has 1.
_FEWEST_CODES = 1.5
# Share of the hidden states' power that differs between frames, as a root.
_LEAST_SPREAD = 0.02


class HiddenUse(NamedTuple):
    """Sums over the frames of the last hidden state."""

    total: Float[Array, " D"]
    square: Float[Array, " D"]
    frames: Float[Array, ""]


class Health(NamedTuple):
    """How a run is, from the sums of some steps.

    Attributes:
      target_codes: exp(entropy) of how often each code was a target, mean over codebooks; 0 where an
        objective has no codes.
      predicted_codes: The same for predictions.
      target_entropy: Cross entropy in nats of telling each code by its frequency alone.
      entropy: Mean entropy of the predictions in nats.
      hidden_spread: sqrt(var / mean square) of the last hidden state over frames, from 0 to 1.
    """

    target_codes: float
    predicted_codes: float
    target_entropy: float
    entropy: float
    hidden_spread: float


class Collapse(ValueError):
    """A run that has collapsed: what is seen, since when, and what helps."""


def hidden_use(hidden: Float[Array, "B T D"], frame_mask: Bool[Array, "B T"]) -> HiddenUse:
    """The sums of one batch."""
    hidden = jnp.where(frame_mask[:, :, None], hidden, 0).astype(jnp.float32)
    return HiddenUse(
        total=hidden.sum(axis=(0, 1)),
        square=jnp.square(hidden).sum(axis=(0, 1)),
        frames=frame_mask.sum().astype(jnp.float32),
    )


def health(code_use: CodeUse, hidden: HiddenUse, count: float) -> Health:
    """Figures from sums.

    Args:
      count: Masked frames that the sums are over.
    """
    target, predicted = (_entropy(np.asarray(counts)) for counts in code_use[:2])
    frames = max(float(hidden.frames), 1.0)
    mean, square = np.asarray(hidden.total) / frames, np.asarray(hidden.square) / frames
    spread = np.maximum(square - mean**2, 0).mean() / max(square.mean(), 1e-30)
    return Health(
        target_codes=float(np.exp(target).mean()) if target.size else 0.0,
        predicted_codes=float(np.exp(predicted).mean()) if predicted.size else 0.0,
        target_entropy=float(target.mean()) if target.size else 0.0,
        entropy=float(code_use.entropy) / max(count, 1.0),
        hidden_spread=float(np.sqrt(spread)),
    )


def check_health(figures: Health, *, step: int, settled_step: int) -> None:
    """Stops a run that has collapsed.

    Args:
      step: Steps done.
      settled_step: Before it predictions may still be the same everywhere, as they are at first.

    Raises:
      Collapse: Says what is seen and what helps.
    """
    if 0 < figures.target_codes < _FEWEST_CODES:
        _stop(
            f"targets use {figures.target_codes:.2f} codes",
            step,
            "the clusters tell the audio's frames apart no more: fit them on more or other audio, take "
            "other features (config.pretrain.features), or for wav2vec2 raise the diversity weight",
        )
    if step < settled_step:
        return
    if 0 < figures.predicted_codes < _FEWEST_CODES:
        _stop(
            f"predictions use {figures.predicted_codes:.2f} codes where targets use "
            f"{figures.target_codes:.1f}",
            step,
            "lower config.pretrain.learning_rate or lengthen config.pretrain.warmup",
        )
    if figures.hidden_spread < _LEAST_SPREAD:
        _stop(
            f"hidden states differ between frames by {100 * figures.hidden_spread:.2f} % of their "
            f"size, expected at least {100 * _LEAST_SPREAD:g} %",
            step,
            "lower config.pretrain.learning_rate, or for data2vec let the teacher follow more slowly",
        )


def _stop(seen: str, step: int, advice: str) -> None:
    raise Collapse(f"pre-training has collapsed by step {step}: {seen}. What helps: {advice}.")


def _entropy(counts: Float[np.ndarray, "Q K"]) -> Float[np.ndarray, " Q"]:
    """-sum p log p of each codebook's shares, in nats; nothing where there are no codebooks."""
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1e-30)
    return -np.sum(share * np.log(np.maximum(share, 1e-30)), axis=1)
