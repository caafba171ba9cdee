"""The methods of a config: their options, made and held against the encoders before any compute."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax

from jaxemo.models.heads import HeadForm, Pooling
from jaxemo.peft import Method, make_method
from jaxemo.studies.augmentation_settings import is_augmented
from jaxemo.studies.config import Settings
from jaxemo.studies.sources import Source
from jaxemo.studies.training_inputs import check_augmentation
from jaxemo.training.program import TrainingSettings


class ChosenMethod(NamedTuple):
    """A method as a config has it.

    Attributes:
      options: Its keyword options, as a checkpoint's record keeps them.
      recipe: What its block says instead of the config's `training` block.
    """

    method: Method
    options: dict[str, Any]
    recipe: dict[str, Any]


def choose_method(config: Settings, name: str) -> ChosenMethod:
    """The method of that name with the options of its block.

    Raises:
      ValueError: For options that do not go together.
    """
    options, recipe = _split(config, name)
    if name == "combined":
        options["options"] = {part: _split(config, part)[0] for part in options["parts"]}
    return ChosenMethod(make_method(name, **options), options, recipe)


def _split(config: Settings, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A block's options of the method, and what it says of the recipe."""
    options = dict(config.methods.get(name, {}))
    recipe = {key: options.pop(key) for key in TrainingSettings._fields if key in options}
    return options, recipe


def methods_of(config: Settings, names: Iterable[str]) -> tuple[Method, ...]:
    """The methods of those names as a config has them."""
    return tuple(choose_method(config, name).method for name in names)


def check_options(sources: Iterable[Source], config: Settings, names: Iterable[str]) -> None:
    """Holds the options of every method against every encoder, by shapes alone.

    Raises:
      ValueError: For options that fit no encoder, or not this one: its name is told; or for a method
        that cannot be trained on clips that change.
    """
    methods = methods_of(config, names)
    encoders = [source for source in sources if source.encoder is not None]
    if is_augmented(config.augmentation):
        check_augmentation(config.augmentation, methods, encoders)
    for source, method in [(one, other) for one in encoders for other in methods]:
        assert source.encoder is not None
        try:
            jax.eval_shape(method.init, jax.random.key(0), source.encoder.params)
        except ValueError as error:
            raise ValueError(f"{source.name}, config.methods.{method.name}: {error}") from error


def needs_spread(config: Settings) -> bool:
    """Whether training reads the standard deviations of layers beside their means."""
    return Pooling(config.training.pooling) is Pooling.MEAN_STD


def check_pooling(sources: Iterable[Source], config: Settings, names: Iterable[str]) -> None:
    """Holds `config.training.pooling` against what the sources have of each clip.

    Raises:
      ValueError: A source has no frames, or the head or a method reads means over them alone.
    """
    pooling = Pooling(config.training.pooling)
    if pooling is Pooling.MEAN:
        return
    if config.training.head != HeadForm.STANDARDISED:
        raise ValueError(
            f"config.training.head is {config.training.head!r}, which is over means of frames; "
            f"config.training.pooling is {pooling.value!r}. Take 'mean', or the head 'standardised'."
        )
    for source in sources:
        if source.encoder is None:
            raise ValueError(
                f"config.training.pooling is {pooling.value!r}, which needs the frames of an encoder; "
                f"{source.name} has one vector per clip. Take 'mean', or leave it out."
            )
    frozen = [name for name in names if choose_method(config, name).method.frozen_layers is None]
    if pooling is Pooling.ATTENTIVE and frozen:
        raise ValueError(
            f"config.training.pooling is 'attentive', which needs frames; {', '.join(frozen)} is trained "
            "on stored means of whole layers. Take 'mean_std', or a method that trains inside the encoder."
        )
