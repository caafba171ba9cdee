"""EmoBox's protocol on RAVDESS: eight emotions of speech, six folds of actors, frozen last-layer features.

Purpose: figures that stand beside EmoBox's table, from the same folds and the same kind of classifier.

Command: jaxemo sweep --config=emobox_ravdess --config.corpus.audio_dir=DIR --grid.train.fold=0,1,2,3,4,5 \
             --workdir=runs/emobox_ravdess
    one encoder or another: --config.train.encoder=facebook/hubert-base-ls960
    every layer by a linear probe, beside hand-made features: jaxemo probe --config=emobox_ravdess ...
Result:  runs/emobox_ravdess/points/fold-*/results.json, WA of each fold; EmoBox gives the mean over folds. The
         sweep's own table has UA.

Published WA in %, EmoBox's leaderboard of single corpora (emo-box/emo-box.github.io, leaderboard1.html):
wav2vec 2.0 base 55.40, HuBERT base 66.21, WavLM base 62.10, HuBERT large 70.29, WavLM large 72.22,
Whisper large v3 75.87.

OpenAI's tiny.en by this config, on 20 of the 24 actors: WA 60.2, UA 61.5 (means over folds; 48 s on two cores).

What differs: EmoBox (emo-box/EmoBox, examples/sb) normalises each clip's features, projects every frame to 128
or 256, then relu, mean over frames and a linear layer; here frames are averaged first and no relu stands between.
EmoBox takes dev out of a fold's training clips (split_ratio 0.8 to 0.2); here dev is one more fold of actors, and
that many fewer are trained on.
"""

from jaxemo.data.corpora.corpus import SPEECH_EMOTIONS
from jaxemo.studies.config import default_config


def get_config():
    config = default_config()
    config.corpus.name = "ravdess_speech"
    config.corpus.emotions = SPEECH_EMOTIONS
    config.encoders = ("acoustic", "facebook/wav2vec2-base", "facebook/hubert-base-ls960")
    config.train.encoder = "facebook/wav2vec2-base"
    config.train.method = "weighted_sum"
    config.training.head = "hub_last"
    config.training.head_width = 256
    config.training.head_dropout = 0.0
    config.training.head_rate = 1e-4
    config.training.weight_decay = 0.0
    config.training.batch_size = 32
    config.methods.weighted_sum.epochs = 100
    return config
