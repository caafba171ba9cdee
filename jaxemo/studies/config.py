"""The configuration of everything: each key once, with its default and its range.

A key is a field of one of the blocks, which stand by subject in the `*_settings.py` beside this file;
`default_config` and the check of values are both made from them. Files under configs/ change defaults.
A command reads its config once, by `read_settings`; what comes after takes settings.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import SPEECH_EMOTIONS
from jaxemo.studies.audio_settings import AudioSettings, EmbedSettings
from jaxemo.studies.augmentation_settings import AugmentationSettings
from jaxemo.studies.corpus_settings import (
    PUBLISHED_NAMES,
    RAVDESS_NAMES,
    Corpora,
    CorpusSettings,
    FoldSettings,
    PathText,
    Seed,
    known_emotions,
)
from jaxemo.studies.editable import editable
from jaxemo.studies.method_settings import MethodSettings
from jaxemo.studies.pretrain_settings import PretrainSettings
from jaxemo.studies.ranges import (
    Between,
    Block,
    Items,
    SomeBlock,
    Text,
    read_block,
    settings,
    shown,
)
from jaxemo.studies.study_settings import LayerSettings, SimilaritySettings, TransferSettings
from jaxemo.studies.training_settings import (
    DebugSettings,
    MeshSettings,
    TrainingSettings,
    TrainSettings,
)


@settings
class Settings(Block):
    """All three studies on the embedded corpus with the embedded encoders.

    Every default of the recipe is our choice.
    """

    seed: Seed = 0
    cache_dir: PathText = ""  # "" means $JAXEMO_CACHE, else the user's cache folder.
    # 10^9 bytes of audio, embeddings and programs; what was not used for longest goes, at the end.
    cache_gigabytes: Annotated[float, Between(0.001, 1_000_000)] = 200.0
    # Hand-made features ('acoustic', 'log_mel', 'egemaps', 'compare'), encoders of the package ('small/both',
    # 'untrained/speech' and the like), hub ids or folders in hub layout.
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
    augmentation: AugmentationSettings = AugmentationSettings()
    train: TrainSettings = TrainSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    pretrain: PretrainSettings = PretrainSettings()
    debug: DebugSettings = DebugSettings()
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
    named = values.corpus.classes != "emotions" or _is_joined(values) or not known
    return named or set(values.corpus.emotions) <= set(known)


def _is_range(key: str, values: Settings) -> bool:
    ends = values.augmentation[key]
    return not ends or (len(ends) == 2 and ends[0] <= ends[1])


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
        ("transfer.inherits",),
        lambda s: not {"adaptation", "merged"} <= set(s.transfer.inherits),
        "'adaptation' (it is continued) or 'merged' (into the base), not both",
    ),
    Rule(
        ("transfer.second_method", "transfer.inherits", "transfer.methods"),
        lambda s: (
            "adaptation" not in s.transfer.inherits
            or not s.transfer.second_method
            or set(s.transfer.methods) == {s.transfer.second_method}
        ),
        "'': an adaptation is continued by its own method; another goes with 'merged' or 'head' alone",
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
        ("training.pooling", "training.head"),
        lambda s: s.training.pooling == "mean" or s.training.head == "standardised",
        "'mean': the hub's heads read means",
    ),
    Rule(
        ("training.label_smoothing", "corpus.classes"),
        lambda s: not s.training.label_smoothing or s.corpus.classes in ("emotions", "quadrants"),
        "0: ratings and tags have no other classes to give a share to",
    ),
    Rule(
        ("training.focal_gamma", "corpus.classes"),
        lambda s: not s.training.focal_gamma or s.corpus.classes != "ratings",
        "0: the loss of ratings is one minus their concordance",
    ),
    Rule(
        ("training.micro_batches", "training.batch_size"),
        lambda s: s.training.batch_size % s.training.micro_batches == 0,
        "a divisor of the batch size",
    ),
    *(
        Rule(
            (f"augmentation.{key}",),
            functools.partial(_is_range, key),
            "(), or a low and a high end",
        )
        for key in ("speed", "noise_snr_db", "gain_db")
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
    expected = f"{rule.expected} ({context})" if context else rule.expected
    return f"config.{first} is {value}; expected {expected}"


def _value_at(values: Block, key: str) -> Any:
    block, dot, rest = key.partition(".")
    return _value_at(values[block], rest) if dot else values[block]
