"""All three studies on the embedded corpus with the embedded, untrained encoders.

Purpose: shows every part of the instrument in minutes, without any download. The encoders have random
weights, so the figures say nothing about learnt representations; the acoustic baseline's row does.

Command: bash tools/demo.sh
    or   jaxemo study --config=configs/demo.py --workdir=runs/demo
Result:  runs/demo/report.html
"""

from jaxemo.studies.default_config import default_config


def get_config():
    config = default_config()
    config.audio.crop_seconds = 1.5
    config.layers.num_seeds = 2
    config.transfer.num_folds = 3
    config.training.epochs = 6
    return config
