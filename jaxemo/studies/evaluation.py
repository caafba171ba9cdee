"""Scoring a saved model on a corpus, in a process of its own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped

from jaxemo.data.clip_store import ClipStore, UnusablePolicy, apply_policy, open_clip_store
from jaxemo.data.corpora.corpus import DOMAINS, Corpus, Utterance, identity_of
from jaxemo.data.progress import Progress
from jaxemo.embedding.passes import Waveforms
from jaxemo.embedding.stream import Clips
from jaxemo.results.schema import FigureRow, LeftOutRow, PredictedValueRow, PredictionRow
from jaxemo.studies.calibration import scored_figures
from jaxemo.studies.config import CorpusSettings, read_audio
from jaxemo.studies.corpora import open_places
from jaxemo.studies.published_models import asked_for, is_published
from jaxemo.studies.recognition import EMOTION_CLASSES, Task, targets_of
from jaxemo.studies.saved_models import SavedModel, calibrated, raw_predictions_of
from jaxemo.studies.sources import recognised_excerpt


def evaluate(
    model: SavedModel,
    corpus_settings: CorpusSettings,
    *,
    cache_dir: Path,
    progress: Progress,
    corpora: Sequence[str] = (),
) -> dict[str, Any]:
    """Scores the model on every clip of a corpus whose speaker and content it has not seen.

    Args:
      corpora: Several corpora in place of the one of `corpus_settings`, as `config.corpora` has them.

    Returns:
      `figures` (rows by domain and metric), `predictions` (one row per clip) or `predicted_values` (one
      per clip and rating or tag), `left_out`, how many clips of seen speakers were not scored, and
      `notes` on how the model answered.

    Raises:
      ValueError: When the label sets differ, or no clip is left to score.
    """
    corpus = open_places(corpus_settings, corpora, cache_dir)
    notes: list[str] = []
    if is_published(model):
        model, notes = asked_for(model, corpus)
    _check_labels(model, corpus, corpus_settings)
    store = open_clip_store(
        corpus.utterances,
        sample_rate_hz=model.source.sample_rate_hz,
        cache_dir=cache_dir,
        progress=progress.count("decoding"),
    )
    store = apply_policy(store, policy=UnusablePolicy(corpus_settings.unusable))
    rows = _unseen_rows(model, store)
    if not rows:
        raise ValueError(
            f"All {len(store)} usable clips come from speakers (or are copies of clips) that the "
            "checkpoint was trained or selected on; scoring them would say nothing. Pass another corpus."
        )
    chosen = store.select(np.array(rows))
    raw = raw_predictions_of(
        model, _clips(chosen.digests, chosen.waveform, chosen.num_samples, model)
    )
    predictions = calibrated(model, raw)
    scored = [store.utterances[row] for row in rows]
    targets = targets_of(model.task, scored)
    if model.task.objective == EMOTION_CLASSES:
        answers = {"predictions": _prediction_rows(scored, predictions, model.task.outputs)}
    else:
        answers = {"predicted_values": _value_rows(scored, model.task, targets, predictions)}
    return {
        "figures": _figures(scored, model, targets, raw),
        **answers,
        "left_out": [LeftOutRow(**item._asdict()) for item in (*corpus.left_out, *store.left_out)],
        "seen_clips_not_scored": len(store) - len(rows),
        "notes": notes,
    }


def _clips(
    digests: tuple[str, ...], waveforms: Waveforms, num_samples: np.ndarray, model: SavedModel
) -> Clips:
    """The clips as the model looks at them."""
    excerpt = recognised_excerpt(read_audio(model.record["audio"]))
    return Clips(digests, waveforms, num_samples, model.source.sample_rate_hz, excerpt)


def _check_labels(model: SavedModel, corpus: Corpus, settings: CorpusSettings) -> None:
    objective, expected = model.task
    if objective != EMOTION_CLASSES:
        if settings.classes != objective:
            raise ValueError(
                f"The checkpoint predicts {objective} ({', '.join(expected)}); the corpus config asks for "
                f"{settings.classes}. Set --config.corpus.classes={objective}."
            )
    elif tuple(corpus.emotions) != expected:
        raise ValueError(
            f"The checkpoint knows the emotions {', '.join(expected)}; the corpus config asks for "
            f"{', '.join(corpus.emotions)}. Set --config.corpus.emotions and --config.corpus.calm to match."
        )


def _unseen_rows(model: SavedModel, store: ClipStore) -> list[int]:
    speakers = {identity_of(name) for name in model.record["seen_speakers"]}
    seen = set(model.record["seen_digests"])
    return [
        row
        for row, (utterance, digest) in enumerate(zip(store.utterances, store.digests, strict=True))
        if identity_of(utterance.speaker) not in speakers and digest not in seen
    ]


def _figures(
    scored: list[Utterance],
    model: SavedModel,
    targets: Shaped[np.ndarray, "n ..."],
    raw: Float[np.ndarray, "n O"],
) -> list[FigureRow]:
    figures: list[FigureRow] = []
    for domain in DOMAINS:
        keep = np.array([utterance.domain == domain for utterance in scored])
        if keep.any():
            figures += scored_figures(
                model.task,
                targets[keep],
                raw[keep],
                temperature=model.record["temperature"],
                domain=domain,
            )
    return figures


def _value_rows(
    scored: list[Utterance],
    task: Task,
    targets: Float[np.ndarray, "n O"],
    predictions: Float[np.ndarray, "n O"],
) -> list[PredictedValueRow]:
    return [
        PredictedValueRow(
            path=utterance.path,
            domain=utterance.domain,
            speaker=utterance.speaker,
            output=name,
            truth=float(truth),
            predicted=float(predicted),
        )
        for utterance, *values in zip(scored, targets, predictions, strict=True)
        for name, truth, predicted in zip(task.outputs, *values, strict=True)
    ]


def _prediction_rows(scored: list[Utterance], probabilities, emotions) -> list[PredictionRow]:
    return [
        PredictionRow(
            path=utterance.path,
            domain=utterance.domain,
            speaker=utterance.speaker,
            emotion=utterance.emotion,
            predicted=emotions[int(row.argmax())],
            probability=float(row.max()),
        )
        for utterance, row in zip(scored, probabilities, strict=True)
    ]
