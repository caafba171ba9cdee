"""The compiled parts of training: one (network, objective, recipe) on a mesh, for any number of runs."""

from collections.abc import Callable
from typing import Any, NamedTuple

from jax.sharding import Mesh

from jaxemo.training.model import Network
from jaxemo.training.objectives import Objective
from jaxemo.training.optim import Rates, make_optimiser, warmup_cosine
from jaxemo.training.predict import Predictor
from jaxemo.training.step import RunState, Steps, make_init_runs, make_keep_better, make_train_steps


class TrainingSettings(NamedTuple):
    """The recipe; every default is our choice.

    Attributes:
      epochs: Passes over the training rows.
      batch_size: Clips per step and run, over all devices.
      micro_batches: Gradient-accumulation pieces that a batch is cut into.
      head_rate: Peak learning rate of the head.
      adaptation_rate: Peak learning rate of the encoder's trainable part.
      weight_decay: AdamW's decoupled decay.
      clip_norm: Largest global gradient norm.
      warmup: Share of the steps over which the rates rise.
      ema_decay: Of a moving average of what is trained, which is then scored and kept; 0 for none.
      compute_dtype: Of the encoder's products; parameters, norms, softmax, head and optimiser are float32.
      remat: What of the encoder's layers the backward pass computes again (`models.encoder.Remat`).
    """

    epochs: int = 20
    batch_size: int = 32
    micro_batches: int = 1
    head_rate: float = 1e-3
    adaptation_rate: float = 1e-4
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    warmup: float = 0.1
    ema_decay: float = 0.0
    compute_dtype: str = "float32"
    remat: str = "nothing"

    @property
    def rates(self) -> Rates:
        """Of every run that has none of its own."""
        return Rates(self.head_rate, self.adaptation_rate)


class TrainingProgram(NamedTuple):
    """The compiled parts of one (network, objective, recipe) on a mesh; they serve any number of runs."""

    network: Network
    objective: Objective
    settings: TrainingSettings
    mesh: Mesh
    init_runs: Callable[..., RunState]
    train_steps: Steps
    keep_better: Callable[..., Any]
    predictor: Predictor


def make_program(
    network: Network, objective: Objective, settings: TrainingSettings, *, mesh: Mesh
) -> TrainingProgram:
    """Prepares the compiled parts.

    Raises:
      ValueError: When `micro_batches` does not divide `batch_size`.
    """
    if settings.batch_size % settings.micro_batches:
        raise ValueError(
            f"micro_batches={settings.micro_batches} does not divide batch_size={settings.batch_size}; "
            "take a divisor, so that every piece has as many clips."
        )
    optimiser = make_optimiser(
        weight_decay=settings.weight_decay,
        clip_norm=settings.clip_norm,
        layer_rates=network.method.layer_rates,
    )
    schedule = warmup_cosine(warmup=settings.warmup)
    return TrainingProgram(
        network,
        objective,
        settings,
        mesh,
        make_init_runs(network, optimiser, mesh=mesh, ema_decay=settings.ema_decay),
        make_train_steps(
            network,
            objective,
            optimiser,
            schedule=schedule,
            mesh=mesh,
            ema_decay=settings.ema_decay,
        ),
        make_keep_better(mesh),
        Predictor(network, objective, mesh=mesh, batch_size=settings.batch_size),
    )
