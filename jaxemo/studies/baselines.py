"""Baselines of study 1 that no encoder has a part in: the most frequent emotion, and who speaks alone.

They are scored on the folds, seeds and test clips of the probes. `speaker_only` is told one thing of a
clip, its speaker: his or her sex, and the mean acoustic cues of all his or her clips in the domain, whose
emotions are not looked at. It is one vector for all clips of a speaker, so that where every speaker has
every emotion equally often its UA is chance exactly; above chance, speakers give emotions away, as songs
of one mood do that stand for speakers.
"""

import numpy as np
from jaxtyping import Float32, Int

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.embedding.stream import Embedding
from jaxemo.results.schema import LayerRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import (
    Run,
    domain_classes,
    runs_of,
    score_rows,
    size_of,
    study_layers,
    tally_runs,
)
from jaxemo.studies.sources import Embedded, Source

MAJORITY = "majority emotion"
SPEAKER_ONLY = "speaker alone"


def baseline_rows(
    experiment: Experiment, config: Settings, *, cues: Float32[np.ndarray, "n Q"] | None
) -> list[LayerRow]:
    """The baselines that the config names.

    `speaker_only` is left out where the corpus has neither audio nor the speakers' sex.

    Args:
      cues: Acoustic cues of each clip; None where there is no audio to measure them in.
    """
    rows = []
    if "majority" in config.layers.baselines:
        for domain in DOMAINS:
            rows += _majority_rows(experiment, config, domain)
    if "speaker_only" in config.layers.baselines:
        known = speaker_features(experiment, cues)
        if known.shape[1]:
            rows += _speaker_rows(experiment, config, known)
    return rows


def speaker_features(
    experiment: Experiment, cues: Float32[np.ndarray, "n Q"] | None
) -> Float32[np.ndarray, "n _"]:
    """What each clip's speaker is known by: sex, and mean cues over his or her clips of the domain."""
    sexes = np.array([row.sex for row in experiment.utterances])
    columns = [sexes == sex for sex in sorted(set(sexes.tolist()) - {""})]
    if cues is not None:
        speakers = [(row.speaker, row.domain) for row in experiment.utterances]
        _, place = np.unique([" in ".join(key) for key in speakers], return_inverse=True)
        counts = np.bincount(place)
        columns += [(np.bincount(place, cue) / counts)[place] for cue in cues.T]
    return np.array(columns, np.float32).reshape(len(columns), len(sexes)).T


def _majority_rows(experiment: Experiment, config: Settings, domain: str) -> list[LayerRow]:
    rows = experiment.rows_of(domain)
    if len(rows) == 0:
        return []
    emotions, labels = domain_classes(experiment, rows)
    runs = runs_of(experiment, rows, labels, domain=domain)
    with_dev = config.layers.final_fit == "train_and_dev"
    answers = [_most_frequent(labels, run, with_dev) for run in runs]
    predictions = np.repeat(np.array(answers)[None, :, None], len(rows), axis=2)
    place = {"encoder": MAJORITY, "origin": "hand-made", "domain": domain, **size_of(runs)}
    tallies = tally_runs(experiment, predictions, labels, runs, rows=rows)
    return score_rows(tallies, emotions, place, converged=np.ones(1))


def _most_frequent(labels: Int[np.ndarray, " m"], run: Run, with_dev: bool) -> int:
    """The first of those that are equally frequent."""
    fitted = run.train | run.dev if with_dev else run.train
    return int(np.bincount(labels[fitted]).argmax())


def _speaker_rows(
    experiment: Experiment, config: Settings, known: Float32[np.ndarray, "n Q"]
) -> list[LayerRow]:
    source = Source(SPEAKER_ONLY, SPEAKER_ONLY, "hand-made", 0, "")
    embedding = Embedding(known[:, None], None, None, None, None)
    return study_layers(experiment, Embedded(source, embedding, None), config).rows
