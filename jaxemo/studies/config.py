"""The configuration of everything: each key once, with its default and its range.

A key is a field of one of the blocks below; `default_config` and the check of values are both made
from it. Files under configs/ change defaults. A command reads its config once, by `read_settings`;
what comes after takes settings.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import SPEECH_EMOTIONS
from jaxemo.results.layer_rows import CONTROLS
from jaxemo.studies.corpus_settings import (
    PUBLISHED_NAMES,
    RAVDESS_NAMES,
    Corpora,
    CorpusSettings,
    Domains,
    FoldSettings,
    NumFolds,
    PathText,
    Seed,
    known_emotions,
)
from jaxemo.studies.editable import editable
from jaxemo.studies.method_settings import METHODS, Epochs, MethodSettings, Rate
from jaxemo.studies.pretrain_settings import PretrainSettings
from jaxemo.studies.ranges import (
    Between,
    Block,
    Items,
    OneOf,
    SomeBlock,
    Text,
    read_block,
    settings,
    shown,
)

# One frame of the published encoders has 25 ms; attention takes 4 GB per head for 10 minutes.
Seconds = Annotated[float, Between(0.025, 600)]
Overlap = Annotated[float, Between(0, 300)]
AxisSize = Annotated[int, Between(1, 65_536, also=(-1,))]
# Less than 1 dB would leave a clip its loudest 20 ms; 24-bit audio has 144 dB.
Decibels = Annotated[float, Between(1, 150, also=(0,))]
BatchSize = Annotated[int, Between(1, 65_536)]
Width = Annotated[int, Between(1, 65_536)]
NumSeeds = Annotated[int, Between(1, 1000)]
# The values of `models.encoder.Remat`, whose module takes a second to import.
REMAT = OneOf(("nothing", "layers", "all_but_matmuls"))
ComputeDtype = Annotated[str, OneOf(("float32", "bfloat16"))]


@settings
class EmbedSettings(Block):
    """`jaxemo embed`: whole clips, no crop."""

    # 'pooled' (a mean by clip and layer) or 'frames' (and every frame).
    frames: Annotated[str, OneOf(("pooled", "frames"))] = "pooled"
    dtype: Annotated[str, OneOf(("float32", "float16"))] = "float32"  # of the stored arrays
    compute_dtype: ComputeDtype = "float32"
    window_seconds: Seconds = 30.0  # longer clips go through in overlapping windows
    overlap_seconds: Overlap = 4.0
    batch_size: BatchSize = 8


@settings
class AudioSettings(Block):
    """What of each clip the studies take."""

    # What studies 1 and 2 look at: 'whole' clips, their 'middle', or whole clips of which training
    # draws a 'random' stretch in every step.
    excerpt: Annotated[str, OneOf(("whole", "middle", "random"))] = "whole"
    crop_seconds: Seconds = 3.0  # of the middle or of a random stretch
    # Edges this far below a clip's loudest 20 ms go first; 0: none.
    trim_silence_db: Decibels = 0.0
    window_seconds: Seconds = 30.0  # longer clips go through in overlapping windows
    overlap_seconds: Overlap = 4.0
    batch_size: BatchSize = 16


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
    # What else is asked of every layer, and of the emotion without it; see docs/statistics.md.
    controls: Annotated[tuple[str, ...], Items(OneOf(CONTROLS), least=0)] = CONTROLS


REGIMES = OneOf(
    ("target_only", "target_only_longer", "source_only", "joint", "placebo", "two_stage")
)
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
    # What the second stage takes from the first; the rest begins as in target-only training.
    inherits: Annotated[tuple[str, ...], Items(OneOf(("adaptation", "head")))] = (
        "adaptation",
        "head",
    )
    # Of the target's training speakers, for low-resource curves: smaller shares are parts of larger ones.
    shares: Annotated[tuple[float, ...], Items(_SHARE, most=20)] = (1.0,)
    num_folds: NumFolds = 6
    num_seeds: NumSeeds = 1


@settings
class TrainingSettings(Block):
    """The recipe of every training run."""

    epochs: Epochs = 20
    batch_size: BatchSize = 32
    micro_batches: Annotated[int, Between(1, 4096)] = 1
    head_rate: Rate = 1e-3
    head_width: Width = 256
    head_dropout: Annotated[float, Between(0, 0.95)] = 0.1
    weight_decay: Annotated[float, Between(0, 1)] = 1e-2
    clip_norm: Annotated[float, Between(1e-6, 1e6)] = 1.0
    warmup: Annotated[float, Between(0, 1)] = 0.1  # share of the steps
    compute_dtype: ComputeDtype = "float32"  # of the encoder; parameters and optimiser stay float32
    # Of the encoder's layers, what the backward pass computes again instead of keeping it in memory.
    remat: Annotated[str, REMAT] = "nothing"
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
    permutations: Annotated[int, Between(1, 1_000_000)] = 9999  # of emotions within speakers


@settings
class MeshSettings(Block):
    """How devices are shared out; -1, for one axis, means all devices that the others leave."""

    run: AxisSize = 1
    data: AxisSize = -1
    fsdp: AxisSize = 1
    tensor: AxisSize = 1


@settings
class Settings(Block):
    """All three studies on the embedded corpus with the embedded encoders.

    Every default of the recipe is our choice.
    """

    seed: Seed = 0
    cache_dir: PathText = ""  # "" means $JAXEMO_CACHE, else the user's cache folder.
    # 10^9 bytes of audio, embeddings and programs; what was not used for longest goes, at the end.
    cache_gigabytes: Annotated[float, Between(0.001, 1_000_000)] = 200.0
    # 'acoustic', 'untrained/speech', 'untrained/music', hub ids or folders in hub layout.
    encoders: Annotated[tuple[str, ...], Items(Text())] = (
        "acoustic",
        "untrained/speech",
        "untrained/music",
    )
    corpus: CorpusSettings = CorpusSettings()
    # Several corpora as one, each as 'NAME=FOLDER' or 'manifest=FILE'; then corpus.name,
    # corpus.audio_dir and corpus.manifest are not read, and the rest of the block is of all.
    corpora: Corpora = ()
    folds: FoldSettings = FoldSettings()
    embed: EmbedSettings = EmbedSettings()
    audio: AudioSettings = AudioSettings()
    layers: LayerSettings = LayerSettings()
    transfer: TransferSettings = TransferSettings()
    methods: MethodSettings = MethodSettings()
    training: TrainingSettings = TrainingSettings()
    train: TrainSettings = TrainSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    pretrain: PretrainSettings = PretrainSettings()
    mesh: MeshSettings = MeshSettings()


class Rule(NamedTuple):
    """What ties several keys together: the first must fit the others."""

    keys: tuple[str, ...]
    holds: Callable[[Settings], bool]
    expected: str


def _is_joined(values: Settings) -> bool:
    return bool(values.corpora)


def _emotions_fit(values: Settings) -> bool:
    known = known_emotions(values.corpus.name)
    named = values.corpus.classes == "quadrants" or _is_joined(values) or not known
    return named or set(values.corpus.emotions) <= set(known)


RULES = (
    Rule(
        ("corpus.audio_dir", "corpus.name"),
        lambda s: _is_joined(s) or s.corpus.name not in CATALOGUE or bool(s.corpus.audio_dir),
        "a folder above the files of the corpus (`jaxemo corpora NAME` says how to obtain it)",
    ),
    Rule(
        ("corpus.manifest", "corpus.name"),
        lambda s: _is_joined(s) or s.corpus.name != "manifest" or bool(s.corpus.manifest),
        "a table with columns path, domain, emotion, speaker (see docs/corpora.md)",
    ),
    Rule(
        ("corpus.emotions", "corpus.name"),
        lambda s: (
            _is_joined(s)
            or s.corpus.name in ("manifest", *PUBLISHED_NAMES)
            or bool(s.corpus.emotions)
        ),
        "at least one emotion",
    ),
    Rule(
        ("corpus.emotions", "corpus.name"),
        _emotions_fit,
        "emotions that the corpus has: "
        f"of {', '.join(SPEECH_EMOTIONS)} for RAVDESS, the first six for the synthetic corpus, those "
        "that `jaxemo corpora NAME` prints for the others",
    ),
    Rule(
        ("folds.num_folds", "corpus.name"),
        lambda s: s.corpus.name in RAVDESS_NAMES or s.folds.num_folds >= 3,
        "3 or more: train, dev and test need a group of speakers each",
    ),
    Rule(
        ("train.fold", "folds.num_folds"),
        lambda s: s.train.fold < s.folds.num_folds,
        "less than the number of folds",
    ),
    Rule(
        ("corpus.manifest", "corpus.name"),
        lambda s: s.corpus.name != "embeddings" or bool(s.corpus.manifest),
        "a folder that `jaxemo embed` wrote",
    ),
    Rule(
        ("audio.overlap_seconds", "audio.window_seconds"),
        lambda s: s.audio.overlap_seconds <= s.audio.window_seconds / 2,
        "at most half of the window",
    ),
    Rule(
        ("embed.overlap_seconds", "embed.window_seconds"),
        lambda s: s.embed.overlap_seconds <= s.embed.window_seconds / 2,
        "at most half of the window",
    ),
    Rule(
        ("mesh.data", "mesh.run", "mesh.fsdp", "mesh.tensor"),
        lambda s: [s.mesh[axis] for axis in s.mesh.keys_of()].count(-1) <= 1,
        "-1 for one axis at most",
    ),
    Rule(
        ("training.micro_batches", "training.batch_size"),
        lambda s: s.training.batch_size % s.training.micro_batches == 0,
        "a divisor of the batch size",
    ),
)


def default_config() -> Any:
    """A locked `ConfigDict` of all defaults.

    `Any`, because a type checker knows no attribute of a ConfigDict: config files would be all faults.
    """
    return editable(Settings().to_dict())


def read_settings(config: Any) -> Settings:
    """The settings of a config.

    Args:
      config: Such as `default_config` gives, with values changed.

    Raises:
      ValueError: Listing every value that cannot be used by its full name, with what was expected.
    """
    faults: dict[str, str] = {}
    values = read_block(Settings, config, name="config", faults=faults)
    for rule in RULES:
        names = [f"config.{key}" for key in rule.keys]
        if not any(name in faults for name in names) and not rule.holds(values):
            faults[names[0]] = _rule_fault(rule, values)
    if faults:
        raise ValueError("The config cannot be used:\n  " + "\n  ".join(faults.values()))
    return values


def read_corpus(record: Mapping[str, Any]) -> CorpusSettings:
    """The corpus block that a checkpoint's record keeps; what it lacks has its default.

    Raises:
      ValueError: Listing every value that cannot be used.
    """
    return _read_recorded(CorpusSettings, record, name="corpus")


def read_audio(record: Mapping[str, Any]) -> AudioSettings:
    """The audio block that a checkpoint's record keeps; what it lacks has its default.

    Raises:
      ValueError: Listing every value that cannot be used.
    """
    return _read_recorded(AudioSettings, record, name="audio")


def _read_recorded(kind: type[SomeBlock], record: Mapping[str, Any], *, name: str) -> SomeBlock:
    known = {key: record[key] for key in kind.keys_of() if key in record}
    faults: dict[str, str] = {}
    block = read_block(kind, kind().to_dict() | known, name=name, faults=faults)
    if faults:
        raise ValueError(
            f"The checkpoint's {name} cannot be used:\n  " + "\n  ".join(faults.values())
        )
    return block


def _rule_fault(rule: Rule, values: Settings) -> str:
    first, *others = rule.keys
    context = ", ".join(f"config.{key} is {shown(_value_at(values, key))}" for key in others)
    value = shown(_value_at(values, first))
    return f"config.{first} is {value}; expected {rule.expected} ({context})"


def _value_at(values: Block, key: str) -> Any:
    block, dot, rest = key.partition(".")
    return _value_at(values[block], rest) if dot else values[block]
