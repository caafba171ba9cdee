"""The whole instrument on as little as it can run on; see test_cli.py."""

from jaxemo.studies.config import default_config


def get_config(argument="speech"):
    config = default_config()
    config.encoders = ("acoustic", f"untrained/{argument}")
    config.corpus.clips_per_cell = 1
    config.audio.excerpt = "middle"
    config.audio.crop_seconds = config.similarity.crop_seconds = 0.6
    config.audio.trim_silence_db = config.similarity.trim_silence_db
    config.folds.num_folds = 3
    config.layers.num_seeds = 2
    # Those that need no probe of their own, and one that does.
    config.layers.controls = ("zero_shot", "zero_shot_standardised", "duration")
    config.layers.baselines = ("majority",)
    config.layers.other_probes = ()
    config.transfer.methods = ("weighted_sum", "lora")
    config.transfer.regimes = ("target_only", "two_stage")
    config.transfer.num_folds = 2
    config.training.epochs = 2
    config.methods.weighted_sum.epochs = 2
    config.train.domains = ("music",)
    return config
