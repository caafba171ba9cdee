"""The block `config.pretrain`: every key of `jaxemo pretrain`, with its default and range."""

from typing import Annotated

from jaxemo.studies.ranges import Between, Block, Items, OneOf, Text, settings

OBJECTIVES = OneOf(("hubert", "best_rq", "mert", "data2vec", "wav2vec2"))
LAYER = "layer"
FEATURES = OneOf(("log_mel", "mfcc", "log_mel_and_chroma", "constant_q", LAYER))
REGRESSED = OneOf(("constant_q", "log_mel", "mfcc", "log_mel_and_chroma"))
FAMILIES = OneOf(("wav2vec2", "hubert", "mert_model", "wavlm", "data2vec-audio"))


@settings
class PretrainSettings(Block):
    """An encoder from audio without labels; defaults are for a small one on a laptop."""

    # Folders of audio; DIR*WEIGHT draws crops by weights instead of by how much sound each holds.
    folders: Annotated[tuple[str, ...], Items(Text())] = ("audio",)
    # The encoder to go on from, with its own sizes; "" begins from random weights.
    initial: Annotated[str, Text(may_be_empty=True)] = ""
    # What of it is trained: 'full', or 'lora' with the options of config.methods.lora, merged at the end.
    method: Annotated[str, OneOf(("full", "lora"))] = "full"
    objective: Annotated[str, OBJECTIVES] = "hubert"
    # What codes are made of (hubert, best_rq, mert); 'layer' is one of `features_encoder`.
    features: Annotated[str, FEATURES] = "log_mel"
    features_encoder: Annotated[str, Text(may_be_empty=True)] = ""
    features_layer: Annotated[int, Between(0, 999)] = 6
    # What mert regresses beside its codes; a log-mel spectrum costs nothing, constant-Q tells pitch.
    regressed: Annotated[str, REGRESSED] = "constant_q"
    num_codes: Annotated[int, Between(2, 65_536)] = 256  # per codebook
    num_codebooks: Annotated[int, Between(1, 64)] = 4  # best_rq; wav2vec2 has 2
    # Of the loss on frames that the encoder sees (hubert, mert); small budgets gain by it.
    unmasked_weight: Annotated[float, Between(0, 100)] = 0.0
    # From random weights: family and sizes.
    family: Annotated[str, FAMILIES] = "hubert"
    sample_rate_hz: Annotated[int, Between(4_000, 192_000)] = 16_000
    hidden_size: Annotated[int, Between(16, 8192)] = 128
    num_layers: Annotated[int, Between(1, 200)] = 4
    num_heads: Annotated[int, Between(1, 256)] = 4
    stem_width: Annotated[int, Between(1, 8192)] = 64
    dropout: Annotated[float, Between(0, 0.95)] = 0.0
    # The budget: so many steps or, at 0, as many as make up the hours.
    steps: Annotated[int, Between(0, 100_000_000)] = 0
    audio_hours: Annotated[float, Between(0.0001, 10_000_000)] = 20.0
    crop_seconds: Annotated[float, Between(0.1, 120)] = 3.0
    batch_size: Annotated[int, Between(1, 65_536)] = 16
    micro_batches: Annotated[int, Between(1, 4096)] = 1
    learning_rate: Annotated[float, Between(1e-9, 1)] = 2e-3
    warmup: Annotated[float, Between(0, 1)] = 0.08  # share of the steps
    mask_start: Annotated[float, Between(0.0001, 1)] = 0.08  # share of frames that begin a span
    mask_frames: Annotated[int, Between(1, 1000)] = 10
    held_out: Annotated[float, Between(0.001, 0.5)] = 0.05  # share of the files
    evaluate_every: Annotated[int, Between(1, 1_000_000)] = 500  # steps between looks at these
    probe_every: Annotated[int, Between(0, 1_000_000)] = (
        0  # steps between probes of config.corpus; 0: none
    )
