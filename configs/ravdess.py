"""The full study: RAVDESS speech and song with published speech and music encoders.

Purpose: which layers carry emotion in either domain, what the domains give each other, and how near
they lie, for a speech model of two kinds and a music model. Needs an accelerator for the transfer part.

Command: jaxemo study --config=configs/ravdess.py --config.corpus.audio_dir=DIR --workdir=runs/ravdess
    weights from local folders: --config.encoders="('acoustic','/models/wav2vec2-base')"
Result:  runs/ravdess/report.html
"""

from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.corpus.name = "ravdess"
    config.encoders = (
        "acoustic",
        "facebook/wav2vec2-base",
        "facebook/hubert-base-ls960",
        "m-a-p/MERT-v1-95M",
    )
    config.transfer.num_seeds = 3
    config.layers.num_seeds = 5
    return config
