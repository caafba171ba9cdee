"""All three studies on real RAVDESS with the acoustic baseline and the small untrained encoders.

Purpose: the whole instrument on real audio, without any download and without an accelerator.

Command: jaxemo study --config=configs/ravdess_quick.py --config.corpus.audio_dir=DIR --workdir=runs/ravdess_quick
Result:  runs/ravdess_quick/report.html
"""

from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.corpus.name = "ravdess"
    # Training on stretches is several times as fast; probes, dev and test clips stay whole.
    config.audio.excerpt = "random"
    config.audio.crop_seconds = 2.0
    # Full fine-tuning and adapters take longer on two cores than all the rest.
    config.transfer.methods = ("weighted_sum", "lora")
    # The controls would take three times as long; configs/transfer.py has them.
    config.transfer.regimes = ("target_only", "two_stage")
    config.transfer.num_folds = 2
    # Small networks and few steps ask for large rates.
    config.training.epochs = 3
    config.training.head_rate = 3e-3
    config.methods.lora.adaptation_rate = 5e-3
    return config
