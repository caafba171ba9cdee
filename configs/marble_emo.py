"""MARBLE's EMO: valence and arousal of EmoMusic's songs, by a small network on frozen features.

Purpose: R2 that stands beside MARBLE's, of MERT-v1-95M and any other encoder.

Command: jaxemo train --config=marble_emo --config.corpus.audio_dir=DIR --workdir=runs/marble_emo
    one encoder or another: --config.train.encoder=facebook/wav2vec2-base
Result:  runs/marble_emo/results.json, R2 of valence and of arousal.

Published R2 of MERT-v1-95M in MARBLE: not found in what could be read. On the same corpus, another network on
MERT's features: valence 0.5957, arousal 0.7489 (Kang & Herremans 2025; Zeb-Kuyper/Music2Emotion, README.md,
"single dataset training").

What differs: MARBLE (a43992899/MARBLE-Benchmark, benchmark/tasks/EMO) reads one layer, the fifth of
MERT-v1-95M, or a weighted sum; here it is the weighted sum of standardised layers. It averages windows of 5 s
of the first 30 s; here clips are whole. Its split (504, 115 and 125 songs) is jukemir's; here the corpus's own
development and evaluation sets are, with dev taken from development.
"""

from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.corpus.name = "emomusic"
    config.corpus.classes = "ratings"
    config.corpus.ratings = ("valence", "arousal")
    config.folds.protocol = "published"
    config.audio.window_seconds = 5.0
    config.audio.overlap_seconds = 0.5
    config.encoders = ("acoustic", "m-a-p/MERT-v1-95M")
    config.train.encoder = "m-a-p/MERT-v1-95M"
    config.train.method = "weighted_sum"
    config.train.domains = ("music",)
    config.training.head_width = 512
    config.training.head_dropout = 0.2
    config.training.head_rate = 1e-3
    config.training.weight_decay = 0.0
    config.training.batch_size = 64
    config.methods.weighted_sum.epochs = 100
    return config
