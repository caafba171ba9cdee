"""What hearing speech or music before does: nine small encoders that differ in their audio and seed alone.

Purpose: published speech and music encoders differ in size, data, rate, objective and budget at once, so
that no difference between them has one cause. Here {speech, music, both} x 3 seeds share architecture, steps,
hours, band and level, beside the same network untrained; what is left is what was heard.

Command: bash tools/pretraining_cause.sh DIR      (DIR holds RAVDESS; trains what is missing, then this study)
    or   jaxemo study --config=configs/pretraining_cause.py:runs/cause --config.corpus.audio_dir=DIR \
             --workdir=runs/cause/study
Result:  runs/cause/study/report.html, section "Pre-training"
"""

from jaxemo.studies.config import default_config

KINDS = ("speech", "music", "both")
SEEDS = (0, 1, 2)


def get_config(folder="runs/cause"):
    config = default_config()
    config.corpus.name = "ravdess"
    trained = tuple(f"{folder}/{kind}-{seed}" for seed in SEEDS for kind in KINDS)
    config.encoders = ("acoustic", *trained, "untrained/small")
    # Speakers give the intervals within an encoder; seeds of pre-training those between them.
    config.layers.num_seeds = 1
    # Training on stretches is several times as fast; probes, dev and test clips stay whole.
    config.audio.excerpt = "random"
    config.audio.crop_seconds = 2.0
    config.transfer.methods = ("weighted_sum",)
    config.transfer.regimes = ("target_only", "two_stage")
    config.training.epochs = 10
    config.training.head_rate = 3e-3
    return config
