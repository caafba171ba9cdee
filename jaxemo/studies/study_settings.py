"""The blocks `config.layers`, `config.transfer` and `config.similarity`: what the three studies ask."""

from typing import Annotated

from jaxemo.results.layer_rows import CONTROLS
from jaxemo.studies.audio_settings import Decibels, Seconds
from jaxemo.studies.corpus_settings import NumFolds
from jaxemo.studies.method_settings import METHODS
from jaxemo.studies.ranges import Between, Block, Items, OneOf, settings

BASELINES = ("majority", "speaker_only")
OTHER_PROBES = ("weighted_sum", "mlp")
COMPARISONS = ("cka", "rsa", "variance")
NumSeeds = Annotated[int, Between(1, 1000)]


@settings
class LayerSettings(Block):
    """Study 1."""

    num_seeds: NumSeeds = 3
    # What a probe is fitted on once dev speakers have chosen its strength: 'train_and_dev' or 'train'.
    final_fit: Annotated[str, OneOf(("train_and_dev", "train"))] = "train_and_dev"
    l2_strengths: Annotated[tuple[float, ...], Items(Between(1e-9, 1e6), most=100)] = (
        1e-4,
        1e-3,
        1e-2,
        1e-1,
        1.0,
    )
    # Beside the linear probe of every layer: 'weighted_sum', a learnt mixture of all layers, and 'mlp', one
    # hidden layer on each, which takes as long as all else together.
    other_probes: Annotated[tuple[str, ...], Items(OneOf(OTHER_PROBES), least=0)] = (
        "weighted_sum",
    )
    # What else is asked of every layer, and of the emotion without it; see docs/statistics.md.
    controls: Annotated[tuple[str, ...], Items(OneOf(CONTROLS), least=0)] = CONTROLS
    # What is known without any encoder: the most frequent emotion, and who speaks alone.
    baselines: Annotated[tuple[str, ...], Items(OneOf(BASELINES), least=0)] = BASELINES
    # How layers compare with each other, and what their variance goes with.
    comparisons: Annotated[tuple[str, ...], Items(OneOf(COMPARISONS), least=0)] = COMPARISONS


REGIMES = OneOf(
    ("target_only", "target_only_longer", "source_only", "joint", "placebo", "two_stage")
)
INHERITABLE = ("adaptation", "merged", "head")
_SHARE = Between(0, 1, above=True)


@settings
class TransferSettings(Block):
    """Study 2."""

    methods: Annotated[tuple[str, ...], Items(METHODS)] = (
        "full",
        "weighted_sum",
        "lora",
        "adapter",
    )
    # Whether two-stage training helps shows beside the controls alone: the target for as many updates,
    # and a placebo, whose first stage learns shuffled labels.
    regimes: Annotated[tuple[str, ...], Items(REGIMES)] = REGIMES.names
    # What the second stage takes from the first; the rest begins as in target-only training. 'merged': a
    # base into which the adaptation is merged, to be adapted afresh; of it each run has its own.
    inherits: Annotated[tuple[str, ...], Items(OneOf(INHERITABLE))] = ("adaptation", "head")
    # Of the second stage; '' for that of the first.
    second_method: Annotated[str, OneOf(("", *METHODS.names))] = ""
    # Of the target's training speakers, for low-resource curves: smaller shares are parts of larger ones.
    shares: Annotated[tuple[float, ...], Items(_SHARE, most=20)] = (1.0,)
    num_folds: NumFolds = 6
    num_seeds: NumSeeds = 1


@settings
class SimilaritySettings(Block):
    """Study 3.

    Where domains are compared, every clip gives the middle of what is left once its quiet edges are
    gone: RAVDESS's songs are longer than its speech, which has more quiet.
    """

    crop_seconds: Seconds = 3.0
    trim_silence_db: Decibels = 40.0
    # Kept for everything that is resampled; two give each clip a spread.
    frames_per_clip: Annotated[int, Between(2, 1000)] = 8
    # Leading principal directions of each layer, for the same.
    resampling_dimensions: Annotated[int, Between(1, 4096)] = 64
    # Of emotions within speakers; of the domains of each speaker for the kernel distance.
    permutations: Annotated[int, Between(1, 1_000_000)] = 9999
