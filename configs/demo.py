"""All three studies on the embedded corpus with a small encoder that has learnt, and one that has not.

Purpose: shows every part of the instrument in minutes, without any download. `small/both` was pre-trained on
speech and music without labels; `untrained/small` is the same network with random weights, so that what
learning changes shows between the two. The corpus is synthetic: no figure says anything of real emotion.

Command: bash tools/demo.sh
    or   jaxemo study --config=configs/demo.py --workdir=runs/demo
Result:  runs/demo/report.html
"""

from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.encoders = ("acoustic", "small/both", "untrained/small")
    config.audio.excerpt = "middle"
    config.audio.crop_seconds = config.similarity.crop_seconds = 1.2
    config.audio.trim_silence_db = config.similarity.trim_silence_db
    config.layers.num_seeds = 2
    # The controls would take three times as long; configs/transfer.py has them.
    config.transfer.regimes = ("target_only", "two_stage")
    config.transfer.num_folds = 3
    # Small networks and few steps ask for large rates.
    config.training.epochs = 5
    config.training.head_rate = 3e-3
    config.methods.full.adaptation_rate = 1e-3
    config.methods.lora.adaptation_rate = 5e-3
    config.methods.adapter.adaptation_rate = 5e-3
    return config
