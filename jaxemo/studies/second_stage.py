"""What a second stage takes from the first, and by which method it goes on.

It continues the adaptation, or stands on a base into which that was merged and adapts it afresh, or takes
the head alone. What it does not take begins as in a run without a first stage.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxemo.peft.method import Params
from jaxemo.studies.config import Settings
from jaxemo.studies.methods import methods_of
from jaxemo.training.model import Network
from jaxemo.training.stack import RunInputs
from jaxemo.training.step import init_key

_MERGED = "merged"


class Start(NamedTuple):
    """What a run begins with.

    Attributes:
      trained: Parts of a trainable tree, `adaptation` or `head` or both; the rest is made afresh.
      merged: The adaptation that is merged into the run's base; () for none.
    """

    trained: dict[str, Any]
    merged: Any = ()


def start_after(trainable: dict[str, Any], inherits: Sequence[str]) -> Start:
    """The start of a second stage.

    Args:
      trainable: Of the first stage.
      inherits: As `config.transfer.inherits`.
    """
    parts = {part: trainable[part] for part in inherits if part != _MERGED}
    return Start(parts, trainable["adaptation"] if _MERGED in inherits else ())


def started(network: Network, base: Params, inputs: RunInputs, start: Start) -> RunInputs:
    """The run with what it begins with; parts made afresh are those of a run without a first stage."""
    initial: Any = start.trained
    if set(initial) != {"adaptation", "head"}:
        own_base = network.own_base(base, start.merged)
        fresh = network.init(init_key(inputs.key), own_base, inputs.statistics)
        initial = jax.tree.map(np.asarray, fresh) | initial
    return inputs._replace(initial=initial, inherited=start.merged)


def second_method_of(config: Settings, method_name: str) -> str:
    """The method of the second stage of runs that begin with this one."""
    return config.transfer.second_method or method_name


def merged_method_of(config: Settings, method_name: str) -> str:
    """The method whose adaptation is merged before a second stage; \"\" where none is."""
    return method_name if _MERGED in config.transfer.inherits else ""


def reads_stems(config: Settings) -> bool:
    """Whether second stages need the output of stems whatever their method: merged bases differ above it."""
    return _MERGED in config.transfer.inherits


def names_of_methods(config: Settings) -> tuple[str, ...]:
    """The methods of all stages, each once."""
    second = config.transfer.second_method
    return tuple(dict.fromkeys((*config.transfer.methods, *([second] if second else []))))


def second_stage_in_words(config: Settings) -> str:
    """What a reader of results must know of second stages; "" where they continue the first."""
    second, inherits = config.transfer.second_method, config.transfer.inherits
    if "adaptation" in inherits:
        return ""
    adapted = (
        "the base with the first stage's adaptation merged" if _MERGED in inherits else "the base"
    )
    by = f"`{second}`" if second else "the method of the first"
    head = "trained" if "head" in inherits else "fresh"
    return (
        f"Second stages, the placebo's too, adapt {adapted} afresh by {by}, under the {head} head."
    )


def check_merges(config: Settings) -> None:
    """Refuses second stages on merged bases of methods that cannot be merged, or that read no base.

    Raises:
      ValueError: Naming them.
    """
    if _MERGED not in config.transfer.inherits:
        return
    key = f"config.transfer.inherits is {config.transfer.inherits!r}"
    firsts = methods_of(config, config.transfer.methods)
    unmerged = [one.name for one in firsts if one.merge is None or one.frozen_layers is None]
    if unmerged:
        raise ValueError(
            f"{key}, and of config.transfer.methods there is nothing to merge of "
            f"{', '.join(unmerged)}: what they train is no part of the encoder's own parameters. "
            "Leave them out, or inherit 'adaptation' or 'head' alone."
        )
    seconds = {second_method_of(config, one.name) for one in firsts}
    for method in methods_of(config, sorted(seconds)):
        if method.frozen_layers is None:
            raise ValueError(
                f"{key}, and config.transfer.second_method is {method.name!r}, which is trained on "
                "stored layers of the encoder as it was before any merge. Take a method that trains "
                "inside the encoder."
            )
