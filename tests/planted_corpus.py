"""A small corpus whose embeddings are drawn with what a probe is to find in them, layer by layer."""

from pathlib import Path

import numpy as np

from jaxemo.data.corpora.corpus import Corpus, Utterance
from jaxemo.data.folds import audit, make_folds
from jaxemo.data.progress import Progress
from jaxemo.embedding.stream import Embedding
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.recognition import Task
from jaxemo.studies.sources import Embedded, Source

EMOTIONS = ("happy", "sad", "angry")
WIDTH = 8
SILENT = Progress(lambda items, description, total: items, lambda description: lambda *_: None)
NUM_LAYERS = 4
NOISE, EMOTION = (
    0,
    3,
)  # layers: nothing in any but the last, which has emotion alike in both domains


def planted_utterances(*, speakers=6, domains=("speech", "music")) -> tuple[Utterance, ...]:
    """Every speaker says and sings every emotion in two sentences, two strengths and two takes."""
    return tuple(
        Utterance(
            f"{domain}-{speaker}-{emotion}-{statement}-{intensity}-{take}.wav",
            corpus="planted",
            domain=domain,
            emotion=emotion,
            speaker=f"planted/{speaker:02d}",
            intensity=intensity,
            statement=statement,
            repetition=take,
        )
        for domain in domains
        for speaker in range(speakers)
        for emotion in EMOTIONS
        for statement in ("kids", "dogs")
        for intensity in ("normal", "strong")
        for take in ("1", "2")
    )


def planted_experiment(utterances, *, num_folds=3, num_seeds=2) -> Experiment:
    """The corpus with its folds, as `prepare_experiment` gives it; no audio behind it."""
    folds = tuple(
        make_folds(utterances, num_folds=num_folds, rotation=seed) for seed in range(num_seeds)
    )
    digests = tuple(row.path for row in utterances)
    empty = [cell for one in folds for cell in audit(utterances, one, digests=digests)]
    return Experiment(
        corpus=Corpus("planted", tuple(utterances), EMOTIONS, (), {}),
        task=Task("emotion_classes", EMOTIONS),
        labels=np.array([EMOTIONS.index(row.emotion) for row in utterances]),
        digests=digests,
        duration_s=np.ones(len(utterances)),
        folds=folds,
        protocol="",
        empty_cells=tuple(empty),
        left_out=(),
        stores={},
        cache_dir=Path(),
        progress=SILENT,
    )


def column(utterances, name) -> np.ndarray:
    """A label of each clip as a number."""
    return np.unique([getattr(row, name) for row in utterances], return_inverse=True)[1]


def planted_layers(utterances, *, strength=2.0, seed=0) -> np.ndarray:
    """Noise, and emotion in one layer. (n, NUM_LAYERS, WIDTH)"""
    draw = np.random.default_rng(seed)
    layers = draw.normal(size=(len(utterances), NUM_LAYERS, WIDTH))
    layers[:, EMOTION] += strength * np.eye(WIDTH)[column(utterances, "emotion")]
    return layers.astype(np.float32)


def embedded_as(pooled: np.ndarray) -> Embedded:
    """An encoder that gives these layers."""
    source = Source("planted", "planted", "untrained", 16_000, "")
    return Embedded(source, Embedding(pooled, None, None, None, None), None)


def planted_settings(**layers):
    """The defaults with changes in `config.layers`."""
    config = default_config()
    config.corpus.audio_dir = "."
    config.layers.update({"num_seeds": 2, "l2_strengths": (1e-2, 1.0), **layers})
    return read_settings(config)
