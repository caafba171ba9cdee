"""How much of an encoder is computed once for each clip and kept, since a method trains nothing in it."""

from typing import NamedTuple

import jax

from jaxemo.data.audio import Extent
from jaxemo.models.heads import Pooling
from jaxemo.peft import Method
from jaxemo.peft.method import Params
from jaxemo.peft.targets import lowest_layer
from jaxemo.studies.augmentation_settings import is_augmented
from jaxemo.studies.config import Settings


class Kept(NamedTuple):
    """What is kept for a method.

    Attributes:
      layer: The one whose input is kept; 0: the stem's output; None: pooled layers alone.
      frozen_layers: How many layers lie below all that the method trains.
      reason: Why it is not their output that is kept; "" where it is.
    """

    layer: int | None
    frozen_layers: int = 0
    reason: str = ""


def kept_for(method: Method, base: Params, config: Settings, *, longest_seconds: float) -> Kept:
    """What is kept of clips, the longest of which lasts so many seconds.

    Args:
      base: The encoder's parameters; their shapes count.
    """
    if method.frozen_layers is None:
        return Kept(None)
    shapes = jax.eval_shape(method.init, jax.random.key(0), base)
    lowest = lowest_layer(shapes)
    reason = _reason_against(config, longest_seconds)
    return Kept(0, lowest, reason) if reason or lowest == 0 else Kept(lowest, lowest)


def _reason_against(config: Settings, longest_seconds: float) -> str:
    """Why the output of layers cannot be kept, if so."""
    audio = config.audio
    if config.training.keep_frozen == "stem":
        return "config.training.keep_frozen is 'stem'"
    if is_augmented(config.augmentation):
        return "config.augmentation changes what goes into them"
    if config.training.pooling == Pooling.ATTENTIVE.value:
        return "attention (config.training.pooling) reads the frames of every layer"
    if audio.excerpt == Extent.RANDOM.value:
        return "config.audio.excerpt lets training draw stretches of clips"
    if audio.excerpt == Extent.MIDDLE.value:
        longest_seconds = min(longest_seconds, audio.crop_seconds)
    if longest_seconds > audio.window_seconds:
        return "clips are longer than config.audio.window_seconds, and layers would see windows of them"
    return ""
