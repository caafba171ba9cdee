"""The blocks `config.training`, `config.train` and `config.mesh`: how, what and on which devices to train."""

from typing import Annotated

from jaxemo.studies.audio_settings import BatchSize, ComputeDtype
from jaxemo.studies.corpus_settings import Domains
from jaxemo.studies.method_settings import METHODS, Epochs, Rate
from jaxemo.studies.ranges import Between, Block, OneOf, Text, settings

AxisSize = Annotated[int, Between(1, 65_536, also=(-1,))]
Width = Annotated[int, Between(1, 65_536)]
# Values of `models.heads.HeadForm` that can be trained, and those of `models.encoder.Remat`; either module
# takes a second to import.
HEADS = OneOf(("standardised", "hub_weighted", "hub_last"))
REMAT = OneOf(("nothing", "layers", "all_but_matmuls"))
# The values of `models.heads.Pooling`, likewise.
POOLING = OneOf(("mean", "mean_std", "attentive"))


@settings
class TrainingSettings(Block):
    """The recipe of every training run."""

    epochs: Epochs = 20
    batch_size: BatchSize = 32
    micro_batches: Annotated[int, Between(1, 4096)] = 1
    head_rate: Rate = 1e-3
    # 'standardised', or as transformers computes it, which `jaxemo export` can then write: of all
    # layers ('hub_weighted') or of the last one ('hub_last'). See docs/methods.md.
    head: Annotated[str, HEADS] = "standardised"
    head_width: Width = 256
    head_dropout: Annotated[float, Between(0, 0.95)] = 0.1
    # How much less an example counts in the loss that is right already (focal loss); 0: cross entropy.
    focal_gamma: Annotated[float, Between(0, 10)] = 0.0
    label_smoothing: Annotated[float, Between(0, 1, below=True)] = 0.0
    # Of frames into one vector: 'mean'; 'mean_std', which adds each layer's standard deviation; 'attentive'
    # (mean and deviation under learnt attention), for methods that train inside the encoder.
    pooling: Annotated[str, POOLING] = "mean"
    weight_decay: Annotated[float, Between(0, 1)] = 1e-2
    clip_norm: Annotated[float, Between(1e-6, 1e6)] = 1.0
    warmup: Annotated[float, Between(0, 1)] = 0.1  # share of the steps
    # Decay of a moving average of what is trained, which is then scored and kept; 0: none.
    ema_decay: Annotated[float, Between(0, 1, below=True)] = 0.0
    compute_dtype: ComputeDtype = "float32"  # of the encoder; parameters and optimiser stay float32
    # Of the encoder's layers, what the backward pass computes again instead of keeping it in memory.
    remat: Annotated[str, REMAT] = "nothing"
    # What nothing trains is computed once for each clip and kept: the stem and the frozen 'layers' above
    # it, or the 'stem' alone.
    keep_frozen: Annotated[str, OneOf(("layers", "stem"))] = "layers"
    # Runs of one method in memory at a time; 0: as many as half of a device's memory holds, or 2 GiB of a CPU's.
    runs_at_once: Annotated[int, Between(0, 65_536)] = 0
    # Time between two snapshots of what is being trained; 0: after every call of the device.
    save_seconds: Annotated[float, Between(0, 86_400)] = 60.0


@settings
class TrainSettings(Block):
    """`jaxemo train`: one model."""

    encoder: Annotated[str, Text()] = "untrained/speech"
    method: Annotated[str, METHODS] = "lora"
    domains: Domains = ("speech",)
    fold: Annotated[int, Between(0, 999)] = 0
    seed: Annotated[int, Between(0, 999)] = 0  # of initialisation, batches and folds


@settings
class DebugSettings(Block):
    """Looking into training."""

    # Steps of which jax's profiler writes a trace to WORKDIR/profile, after the first call; 0: none.
    profile_steps: Annotated[int, Between(0, 10_000)] = 0
    # Clips that `jaxemo train` is to learn by heart, without dropout, instead of training a model; 0: none.
    overfit: Annotated[int, Between(0, 4096)] = 0


@settings
class MeshSettings(Block):
    """How devices are shared out; -1, for one axis, means all devices that the others leave."""

    run: AxisSize = 1
    data: AxisSize = -1
    fsdp: AxisSize = 1
    tensor: AxisSize = 1
