"""Transfer on real RAVDESS with every control: the small encoders here, base-size ones on an accelerator.

Purpose: does music help speech emotion recognition, and the reverse, and which way of fine-tuning gets there
with the fewest parameters. Two-stage training stands beside target-only training, as many updates on the
target, the source alone, both at once, and a placebo; all six folds, since fewer allow no verdict.

Command: jaxemo transfer --config=configs/transfer.py --config.corpus.audio_dir=DIR --workdir=runs/transfer
    on an accelerator: --config=configs/transfer.py:base
    low-resource curves: --config.transfer.shares=0.1,0.25,0.5,1
Result:  runs/transfer/report.html
"""

from jaxemo.studies.config import default_config


def get_config(size="small"):
    config = default_config()
    config.corpus.name = "ravdess"
    config.transfer.methods = ("weighted_sum", "lora")
    if size == "base":
        config.encoders = (
            "acoustic",
            "facebook/wav2vec2-base",
            "facebook/hubert-base-ls960",
            "m-a-p/MERT-v1-95M",
        )
        config.transfer.methods = (
            *("weighted_sum", "bitfit", "ia3", "prefix_tuning", "lora", "dora"),
            *("pfeiffer_adapter", "parallel_adapter", "adapter", "combined", "top_layers", "full"),
        )
        config.transfer.num_seeds = 3
        return config
    config.encoders = ("acoustic", "small/both")
    # Of one stretch per clip the frozen stem is computed once; random ones ask for it in every step.
    config.audio.excerpt = "middle"
    config.audio.crop_seconds = 2.0
    # Small networks and few steps ask for large rates.
    config.training.epochs = 3
    config.training.head_rate = 3e-3
    config.methods.lora.adaptation_rate = 5e-3
    return config
