"""What no key takes, and the few values among it that a key takes with a reason; see test_settings.py."""

import math

import numpy as np

HUGE = 10**12
DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]
SPOILT = {
    "wrong type": object(),
    "none": None,
    "truth": True,
    "text": "spoilt\0",
    "text that is no UTF-8": "spoilt\udcff",
    "blank": "  ",
    "long text": "x" * 5000,
    "bytes": b"speech",
    "list of text": ["spoilt\0"],
    "list of numbers": (1, 2),
    "list of truths": (True,),
    "list of nothing": (None,),
    "list of blanks": ("", " "),
    "array": np.zeros(3),
    "complex": 1 + 2j,
    "negative": -3,
    "negative float": -0.5,
    "zero": 0,
    "zero float": 0.0,
    "tiny": 5e-324,
    "nan": math.nan,
    "infinite": math.inf,
    "minus infinite": -math.inf,
    "huge": HUGE,
    "huge float": 1e300,
    "beyond floats": 10**400,
    "beyond text": 10**5000,
    "empty": "",
    "empty tuple": (),
    "duplicated": ("speech", "speech"),
    "duplicated numbers": (1.0, 1.0),
    "list of zero": (0.0,),
    "list of negative": (1.0, -1.0),
    "list of nan": (1.0, math.nan),
    "list of infinite": (math.inf,),
    "list of huge": (1e300,),
    "a million items": tuple(str(number) for number in range(1_000_000)),
    "nested": (("speech",),),
    "endless": DEEP,
    "block": {"a": 1},
}
ZERO, ZERO_OR_TINY = ("zero", "zero float"), ("zero", "zero float", "tiny")
# Every spoilt value that is in a key's range, and why; all others must be refused by the key's name.
REASONS = {
    "a seed like any other": {"seed": ("zero",), "corpus.seed": ("zero",)},
    "the first fold": {"train.fold": ("zero",)},
    "the first seed": {"train.seed": ("zero",)},
    "after every call of the device": {"training.save_seconds": ZERO_OR_TINY},
    "the user's own cache folder": {"cache_dir": ("empty",)},
    "one corpus alone": {"corpora": ("empty tuple",)},
    "all tags that occur": {"corpus.tags": ("empty tuple",)},
    "no controls": {"layers.controls": ("empty tuple",)},
    "no baselines": {"layers.baselines": ("empty tuple",)},
    "no comparisons": {"layers.comparisons": ("empty tuple",)},
    "no other probes": {"layers.other_probes": ("empty tuple",)},
    "the method of the first stage": {"transfer.second_method": ("empty",)},
    "not needed by the synthetic corpus": {
        "corpus.audio_dir": ("empty",),
        "corpus.manifest": ("empty",),
    },
    "windows side by side": {
        "embed.overlap_seconds": ZERO_OR_TINY,
        "audio.overlap_seconds": ZERO_OR_TINY,
    },
    "speakers alike, or the same in both domains": {
        "corpus.synthetic.speaker_spread": ZERO_OR_TINY,
        "corpus.synthetic.speaker_domain_spread": ZERO_OR_TINY,
    },
    "nothing is trimmed": {
        "audio.trim_silence_db": ZERO,
        "similarity.trim_silence_db": ZERO,
    },
    "two strengths": {"layers.l2_strengths": ("list of numbers",)},
    "the same rank in every layer": {
        "methods.lora.layer_ranks": ("empty tuple",),
        "methods.dora.layer_ranks": ("empty tuple",),
    },
    "ranks of two layers": {
        "methods.lora.layer_ranks": ("list of numbers",),
        "methods.dora.layer_ranks": ("list of numbers",),
    },
    "no change of this kind": {
        "augmentation.speed": ("empty tuple",),
        "augmentation.noise_snr_db": ("empty tuple",),
        "augmentation.gain_db": ("empty tuple",),
        "augmentation.frame_mask_share": ZERO_OR_TINY,
        "augmentation.channel_mask_share": ZERO_OR_TINY,
    },
    "a low and a high end": {
        "augmentation.speed": ("list of numbers", "duplicated numbers"),
        "augmentation.noise_snr_db": ("list of numbers", "duplicated numbers"),
        "augmentation.gain_db": ("list of numbers", "duplicated numbers"),
    },
    "as many as fit": {"training.runs_at_once": ("zero",)},
    "nothing to look into": {"debug.profile_steps": ("zero",), "debug.overfit": ("zero",)},
    "no probe on the way": {"pretrain.probe_every": ("zero",)},
    "all layers from the start": {"methods.full.unfreeze_steps": ("zero",)},
    "none of it": {
        "training.head_dropout": ZERO_OR_TINY,
        "methods.lora.dropout": ZERO_OR_TINY,
        "methods.dora.dropout": ZERO_OR_TINY,
        "training.weight_decay": ZERO_OR_TINY,
        "training.focal_gamma": ZERO_OR_TINY,
        "training.label_smoothing": ZERO_OR_TINY,
        "training.warmup": ZERO_OR_TINY,
        "pretrain.unmasked_weight": ZERO_OR_TINY,
        "training.ema_decay": ZERO_OR_TINY,
        "pretrain.warmup": ZERO_OR_TINY,
        "pretrain.dropout": ZERO_OR_TINY,
    },
    "the input of the first layer": {
        "pretrain.features_layer": ("zero",),
    },
    "from random weights, by spectra": {
        "pretrain.initial": ("empty",),
        "pretrain.features_encoder": ("empty",),
    },
    "as many as make up the hours": {"pretrain.steps": ("zero",)},
}
IN_RANGE = {
    (key, name) for keys in REASONS.values() for key, names in keys.items() for name in names
}
# Those that ml_collections would refuse or change by itself.
IN_FILES = ("wrong type", "none", "truth", "text", "list of numbers", "array", "infinite", "zero")
IN_FILES += ("beyond floats", "block")
# Texts after `--config.KEY=` that no key takes, but for those that take any text.
TYPED = {
    "empty": "",
    "negative": "-3",
    "zero": "0",
    "nan": "nan",
    "infinite": "inf",
    "huge": "1000000000000",
    "beyond text": "9" * 5000,
    "text": "many",
    "none": "None",
    "nested": "(('speech',),)",
    "duplicated": "speech,speech",
    "half a list": "('speech'",
    "long text": "x" * 5000,
}
# Names and paths; a manifest has emotions of its own.
ANY_NAMES = (
    "cache_dir",
    "encoders",
    "corpus.audio_dir",
    "corpus.manifest",
    "corpus.emotions",
    "corpus.tags",
    "train.encoder",
    "pretrain.folders",
    "pretrain.initial",
    "pretrain.features_encoder",
)
# Typed texts that a key takes: these lists may be empty.
TYPED_IN_RANGE = {
    (key, "empty")
    for key in (
        "methods.lora.layer_ranks",
        "methods.dora.layer_ranks",
        "augmentation.speed",
        "augmentation.noise_snr_db",
        "augmentation.gain_db",
    )
}
# Lists that may be empty, with what they hold else; as a text, nothing is an empty list.
MAY_BE_EMPTY = {
    "corpora": ("crema_d=data",),
    "layers.controls": ("zero_shot",),
    "layers.baselines": ("majority",),
    "corpus.tags": ("happy",),
    "layers.comparisons": ("cka",),
    "layers.other_probes": ("mlp",),
}
