"""Each method's own options with their defaults and ranges: the block `methods` of a config."""

from typing import Annotated

from jaxemo.studies.ranges import Between, Block, Items, OneOf, settings

# Adam moves each weight by about this much in a step; below, float32 does not move at all.
Rate = Annotated[float, Between(1e-9, 1)]
Epochs = Annotated[int, Between(1, 100_000)]
KERNELS = OneOf(("q", "k", "v", "o", "ff_in", "ff_out"))
SCALINGS = OneOf(("rank", "sqrt_rank"))
PARTS = OneOf(
    (
        "bitfit",
        "dora",
        "lora",
        "ia3",
        "adapter",
        "pfeiffer_adapter",
        "parallel_adapter",
        "prefix_tuning",
    )
)
Kernels = Annotated[tuple[str, ...], Items(KERNELS)]
Bottleneck = Annotated[int, Between(1, 4096)]


@settings
class FullSettings(Block):
    """Full fine-tuning."""

    adaptation_rate: Rate = 1e-4
    layer_decay: Annotated[float, Between(0.01, 1)] = 1.0  # of the rate, from layer to layer down
    # Steps from the release of each layer to the next below; 0: all are trained from the start.
    unfreeze_steps: Annotated[int, Between(0, 1_000_000)] = 0


@settings
class TopLayersSettings(Block):
    """Full fine-tuning of the uppermost layers."""

    adaptation_rate: Rate = 1e-4
    layers: Annotated[int, Between(1, 1000)] = 2


@settings
class BitFitSettings(Block):
    """Biases alone."""

    adaptation_rate: Rate = 1e-3


@settings
class WeightedSumSettings(Block):
    """Frozen encoder; a step on pooled layers costs next to nothing."""

    epochs: Epochs = 100


@settings
class LoraSettings(Block):
    """LoRA."""

    adaptation_rate: Rate = 1e-3
    rank: Annotated[int, Between(1, 4096)] = 8
    # A rank for each layer from the lowest on, instead of `rank`; 0: none there.
    layer_ranks: Annotated[tuple[int, ...], Items(Between(0, 4096), least=0, may_repeat=True)] = ()
    alpha: Annotated[float, Between(1e-6, 1e4)] = 16.0
    # The update's scale: alpha / rank, or (rsLoRA) alpha / sqrt(rank).
    scaling: Annotated[str, SCALINGS] = "rank"
    targets: Kernels = ("q", "v")
    dropout: Annotated[float, Between(0, 0.95)] = 0.0  # of the update's input, in training


@settings
class DoraSettings(LoraSettings):
    """DoRA: the keys of LoRA."""


@settings
class Ia3Settings(Block):
    """(IA)^3; feed-forward kernels are scaled in their input, others in their output."""

    adaptation_rate: Rate = 1e-2
    targets: Kernels = ("k", "v", "ff_out")


@settings
class AdapterSettings(Block):
    """Bottleneck adapters after both blocks of each layer (Houlsby)."""

    adaptation_rate: Rate = 1e-3
    bottleneck: Bottleneck = 32


@settings
class PfeifferAdapterSettings(AdapterSettings):
    """Bottleneck adapters after the feed-forward block of each layer."""


@settings
class ParallelAdapterSettings(AdapterSettings):
    """Bottleneck adapters beside the feed-forward block of each layer."""

    scale: Annotated[float, Between(1e-6, 1e4)] = 4.0


@settings
class PrefixTuningSettings(Block):
    """Learnt keys and values that every frame attends to."""

    adaptation_rate: Rate = 1e-2
    prefix_length: Annotated[int, Between(1, 4096)] = 16
    # How the prefix comes in: by a gate that is born at zero, or at once, in one softmax.
    gate: Annotated[str, OneOf(("zero", "none"))] = "zero"


@settings
class CombinedSettings(Block):
    """Several methods at once, each with the options of its own block; the rate is this one."""

    adaptation_rate: Rate = 1e-3
    parts: Annotated[tuple[str, ...], Items(PARTS, least=2)] = ("lora", "adapter")


@settings
class MethodSettings(Block):
    """Each method's own options, and what it changes in the recipe of `training`."""

    full: FullSettings = FullSettings()
    top_layers: TopLayersSettings = TopLayersSettings()
    bitfit: BitFitSettings = BitFitSettings()
    weighted_sum: WeightedSumSettings = WeightedSumSettings()
    lora: LoraSettings = LoraSettings()
    dora: DoraSettings = DoraSettings()
    ia3: Ia3Settings = Ia3Settings()
    adapter: AdapterSettings = AdapterSettings()
    pfeiffer_adapter: PfeifferAdapterSettings = PfeifferAdapterSettings()
    parallel_adapter: ParallelAdapterSettings = ParallelAdapterSettings()
    prefix_tuning: PrefixTuningSettings = PrefixTuningSettings()
    combined: CombinedSettings = CombinedSettings()


METHODS = OneOf(MethodSettings.keys_of())
