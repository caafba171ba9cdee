"""A check of a recipe: can it learn a few clips by heart? What it trains is kept nowhere."""

import dataclasses
import itertools
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Int, Shaped

from jaxemo.data.batches import num_batches
from jaxemo.data.progress import Progress
from jaxemo.models.heads import layer_statistics
from jaxemo.studies.augmentation_settings import AugmentationSettings
from jaxemo.studies.config import Settings
from jaxemo.studies.runs import Bench, train_rows
from jaxemo.studies.train import place_of, prepare
from jaxemo.studies.watching import watch_epochs
from jaxemo.training.loop import fit_runs
from jaxemo.training.model import Dropout
from jaxemo.training.program import make_program
from jaxemo.training.stack import RunInputs

_NUM_STEPS = 200
# Nats; with it the true class has a probability of 0.95.
_FITTED_LOSS = 0.05


class Overfit(NamedTuple):
    """How well some clips were learnt by heart.

    Attributes:
      first_loss: Mean over the steps of the first epoch.
      loss: Of the last epoch.
      score: Over the same clips, at the end; unweighted accuracy where they have classes.
    """

    num_clips: int
    num_steps: int
    first_loss: float
    loss: float
    score: float


def overfit_clips(
    config: Settings, *, workdir: Path, cache_dir: Path, progress: Progress
) -> Overfit:
    """Trains `config.train` on `config.debug.overfit` training clips, without dropout, and scores it on them.

    All else is the recipe's, for 200 steps, but that the clips stay the same in every epoch (no
    augmentation, middle excerpts for random ones) and labels are not smoothed.

    Args:
      workdir: Where a trace of steps goes, if the config asks for one.

    Raises:
      ValueError: As `train_models`, and for more clips than there are.
    """
    config = _unchanging(config)
    experiment, bench = prepare([config], workdir=workdir, cache_dir=cache_dir, progress=progress)
    place = place_of(config)
    rows = _mixed(train_rows(experiment, place), experiment.labels, num_clips=config.debug.overfit)
    program = make_program(
        bench.program.network._replace(dropout=Dropout.NOWHERE),
        bench.program.objective,
        bench.program.settings,
        mesh=bench.program.mesh,
    )
    epochs = -(-_NUM_STEPS // num_batches(len(rows), batch_size=program.settings.batch_size))
    on_epoch = watch_epochs(
        bench,
        progress=progress,
        total=epochs,
        name_of=lambda place: "overfit",
        log_epoch=lambda name, record, timing: None,
    )
    [fit] = fit_runs(
        program,
        bench.base,
        bench.examples,
        [_run_on(rows, bench, seed=place.seed)],
        on_epoch=lambda run, record, timing: on_epoch(place, record, timing),
        trace=bench.trace,
    )
    last = fit.history[-1]
    return Overfit(
        num_clips=len(rows),
        num_steps=_NUM_STEPS,
        first_loss=fit.history[0].train_loss,
        loss=last.train_loss,
        score=last.dev_score,
    )


def _unchanging(config: Settings) -> Settings:
    excerpt = "middle" if config.audio.excerpt == "random" else config.audio.excerpt
    return dataclasses.replace(
        config,
        audio=dataclasses.replace(config.audio, excerpt=excerpt),
        augmentation=AugmentationSettings(),
        training=dataclasses.replace(config.training, label_smoothing=0.0),
    )


def _run_on(rows: Int[np.ndarray, " n"], bench: Bench, *, seed: int) -> RunInputs:
    return RunInputs(
        key=jax.random.key(seed),
        seed=seed,
        train_rows=rows,
        dev_rows=rows,
        statistics=layer_statistics(bench.pooled[rows], bench.program.network.head_form),
        num_updates=_NUM_STEPS,
    )


def _mixed(
    rows: Int[np.ndarray, " n"], labels: Shaped[np.ndarray, "m ..."], *, num_clips: int
) -> Int[np.ndarray, " k"]:
    """Of every label alike, as far as there are clips.

    Raises:
      ValueError: There are too few.
    """
    if num_clips > len(rows):
        raise ValueError(
            f"config.debug.overfit is {num_clips}; there are {len(rows)} clips to train on."
        )
    _, kinds = np.unique(labels[rows], axis=0, return_inverse=True)
    by_label = [rows[kinds.ravel() == kind] for kind in range(kinds.max() + 1)]
    in_turns = [row for turn in itertools.zip_longest(*by_label) for row in turn]
    return np.sort([row for row in in_turns if row is not None][:num_clips])


def in_words(found: Overfit) -> str:
    """One sentence: whether the loss got to zero."""
    begin = (
        f"overfit check of {found.num_clips} clips, no model is kept: in {found.num_steps} steps without "
        f"dropout their loss went from {found.first_loss:.3g} to {found.loss:.3g}, their score to "
        f"{found.score:.3f}"
    )
    if found.loss < _FITTED_LOSS:
        return f"{begin}. The recipe can fit what it is given."
    return (
        f"{begin}. The loss did not get below {_FITTED_LOSS}: raise the learning rates or look at the clips "
        "and their labels before anything is trained for long."
    )
