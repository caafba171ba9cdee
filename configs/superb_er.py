"""SUPERB's emotion recognition: IEMOCAP, four classes, five sessions, a learnt weighted sum of frozen layers.

Purpose: figures that stand beside SUPERB's, from the same head: weighted sum, projection to 256, mean over
frames, linear layer.

Command: jaxemo sweep --config=superb_er --config.corpus.audio_dir=DIR --grid.train.fold=0,1,2,3,4 \
             --workdir=runs/superb_er
    one encoder or another: --config.train.encoder=facebook/hubert-base-ls960
    every layer by a linear probe: jaxemo probe --config=superb_er ...
Result:  runs/superb_er/points/*/results.json, WA (accuracy) of each fold; SUPERB gives the mean over folds. The
         sweep's own table has UA.

Published accuracy, session 1 held out: wav2vec 2.0 base 0.6343, HuBERT base 0.6492 (model cards of
superb/wav2vec2-base-superb-er and superb/hubert-base-superb-er, column s3prl). The means over five folds were
not found in what could be read.

What differs: s3prl (s3prl/s3prl, s3prl/downstream/emotion) draws dev at random from a fifth of the training
clips, so that it has train's speakers; here dev is a session of its own, and one less is trained on. s3prl
trains 30,000 steps of 4 x 8 clips and keeps the best on dev.
"""

from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.corpus.name = "iemocap_4"
    config.corpus.emotions = ("neutral", "happy", "sad", "angry")
    config.folds.num_folds = 5
    config.encoders = ("acoustic", "facebook/wav2vec2-base", "facebook/hubert-base-ls960")
    config.train.encoder = "facebook/wav2vec2-base"
    config.train.method = "weighted_sum"
    config.training.head = "hub_weighted"
    config.training.head_width = 256
    config.training.head_dropout = 0.0
    config.training.head_rate = 1e-4
    config.training.weight_decay = 0.0
    config.training.batch_size = 32
    config.methods.weighted_sum.epochs = 100
    return config
