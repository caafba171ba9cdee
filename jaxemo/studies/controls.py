"""Controls of study 1: what else a layer holds, and what of the emotion is left without it.

Each control is a task for the same probes on the same folds (those of the first seed): another label, other
clips to train on, or the other domain's probe. Where the emotion is asked for, its UA is compared with
the plain probe's on the same clips, paired by speaker.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from jaxemo.analysis.intervals import SpeakerInterval
from jaxemo.analysis.probing import FinalFit, fit_probes
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.layer_rows import ControlRow
from jaxemo.studies.config import Settings
from jaxemo.studies.control_tasks import Task, cross_domain_tasks, tasks_of
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import Probed, fit_options, interval_columns, parts_of
from jaxemo.studies.sources import Embedded
from jaxemo.studies.tallies import (
    UA,
    Tallies,
    chance_of,
    difference_interval,
    score_interval,
    tally,
)

CLIP_LENGTH = "clip length"


def control_rows(
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    *,
    plain: dict[str, Probed],
    cues: Float32[np.ndarray, "n Q"] | None,
) -> list[ControlRow]:
    """The controls that the config names, as far as the corpus has what they need.

    Args:
      plain: The emotion's own probes in each domain, as `probe_domain` fits them.
      cues: Acoustic cues of each clip; None where there is no audio to measure them in.
    """
    found = []
    place = {"encoder": embedded.source.name, "origin": embedded.source.origin}
    pooled = embedded.embedding.pooled
    left_out = {"duration"} | ({"cues_removed"} if cues is None else set())
    of_layers = [control for control in config.layers.controls if control not in left_out]
    for task in tasks_of(experiment, of_layers):
        features = pooled[task.rows].transpose(1, 0, 2)
        if task.control == "cues_removed" and cues is not None:
            tallies = _probe_without(task, features, cues[task.rows], config)
        else:
            tallies = _probe(task, features, config)
        found += _rows(task, tallies, _reference(experiment, task, plain), place)
    for domain in plain if len(plain) == len(DOMAINS) else ():
        for task in cross_domain_tasks(experiment, config.layers.controls, domain):
            tallies = _zero_shot(experiment, task, pooled, plain, config)
            found += _rows(task, tallies, _reference(experiment, task, plain), place)
    return found


def length_rows(
    experiment: Experiment, config: Settings, plain: dict[str, Probed]
) -> list[ControlRow]:
    """The emotion from the logarithm of a clip's length alone, which no encoder has a part in."""
    place = {"encoder": CLIP_LENGTH, "origin": "hand-made"}
    lengths = np.log(np.maximum(experiment.duration_s, 1e-3)).astype(np.float32)
    found = []
    for task in tasks_of(experiment, ("duration",) if "duration" in config.layers.controls else ()):
        if task.domain in plain:
            tallies = _probe(task, lengths[None, task.rows, None], config)
            found += _rows(task, tallies, None, place)
    return found


def _probe(task: Task, features: Float32[np.ndarray, "L m D"], config: Settings) -> Tallies:
    return _tally(task, _answers(task, features, config))


def _probe_without(
    task: Task,
    features: Float32[np.ndarray, "L m D"],
    cues: Float32[np.ndarray, "m Q"],
    config: Settings,
) -> Tallies:
    """Probes of what is left of the features once what is linear in the cues is taken away.

    left = x - [1, cues] B,   B by least squares over the training clips of each run
    """
    answers = []
    width = features.shape[-1]
    flat = features.transpose(1, 0, 2).reshape(len(cues), -1).astype(np.float64)
    for run in task.runs:
        scaled = _standardised(cues, cues[run.train])
        design = np.concatenate([np.ones((len(cues), 1)), scaled], axis=1)
        weights = np.linalg.lstsq(design[run.train], flat[run.train], rcond=None)[0]
        left = (flat - design @ weights).reshape(len(cues), -1, width).transpose(1, 0, 2)
        alone = task._replace(runs=[run])
        answers.append(_answers(alone, left.astype(np.float32), config)[:, 0])
    return _tally(task, np.stack(answers, axis=1))


def _answers(
    task: Task, features: Float32[np.ndarray, "L m D"], config: Settings
) -> Int[np.ndarray, "L F m"]:
    probes = fit_probes(
        features,
        task.labels,
        num_classes=task.num_classes,
        **parts_of(task.runs),
        **fit_options(config),
    )
    return np.asarray(probes.predictions)


def _tally(task: Task, predictions: Int[np.ndarray, "L F m"]) -> Tallies:
    return tally(
        predictions,
        task.labels,
        speakers=task.speakers,
        held_out=np.stack([run.test for run in task.runs]),
        seeds=[0] * len(task.runs),
        num_classes=task.num_classes,
    )


def _reference(experiment: Experiment, task: Task, plain: dict[str, Probed]) -> Tallies | None:
    """The plain probes' answers on a task's test clips.

    None where the task is not the emotion's, or no plain probe held those clips out.
    """
    probed = plain.get(task.domain)
    if not task.is_of_emotion or probed is None:
        return None
    domain_rows = experiment.rows_of(task.domain)
    asked = np.zeros(len(domain_rows), bool)
    asked[np.searchsorted(domain_rows, task.rows)] = np.any([run.test for run in task.runs], axis=0)
    chosen = [place for place, run in enumerate(probed.runs) if run.seed == 0]
    _, labels = np.unique(experiment.labels[domain_rows], return_inverse=True)
    return tally(
        np.asarray(probed.probes.predictions)[:, chosen],
        labels,
        speakers=[experiment.utterances[row].speaker for row in domain_rows],
        held_out=np.stack([probed.runs[place].test & asked for place in chosen]),
        seeds=[0] * len(chosen),
        num_classes=len(probed.emotions),
    )


def _zero_shot(
    experiment: Experiment,
    task: Task,
    pooled: Float32[np.ndarray, "n L D"],
    plain: dict[str, Probed],
    config: Settings,
) -> Tallies:
    """Answers of the other domain's probes of the same fold, among the emotions that both have.

    z = (x - mean) / std, over the clips that the probe was fitted on; or, standardised, over those of the
    same part in the scored domain, whose labels are not looked at.
    """
    [other] = [name for name in plain if name != task.domain]
    probed, other_rows = plain[other], experiment.rows_of(other)
    by_fold = {run.fold: place for place, run in enumerate(probed.runs) if run.seed == 0}
    with_dev = FinalFit(config.layers.final_fit) is FinalFit.TRAIN_AND_DEV
    classes = [probed.emotions.index(emotion) for emotion in task.classes]
    answers = []
    for run in task.runs:
        place = by_fold[run.fold]
        trained = probed.runs[place]
        if task.control == "zero_shot_standardised":
            rows = task.rows[run.train | run.dev if with_dev else run.train]
        else:
            rows = other_rows[trained.train | trained.dev if with_dev else trained.train]
        z = _standardised(pooled[task.rows], pooled[rows])
        logits = np.einsum("mld,ldc->lmc", z, np.asarray(probed.probes.coefficients)[:, place])
        logits += np.asarray(probed.probes.intercept)[:, place][:, None]
        answers.append(logits[..., classes].argmax(axis=-1))
    return _tally(task, np.stack(answers, axis=1))


def _standardised(
    x: Float[np.ndarray, "m ..."], over: Float[np.ndarray, "k ..."]
) -> Float[np.ndarray, "m ..."]:
    std = over.std(axis=0)
    return (x - over.mean(axis=0)) / np.where(std > 0, std, 1.0)


def _rows(
    task: Task, tallies: Tallies, reference: Tallies | None, place: dict[str, Any]
) -> Iterator[ControlRow]:
    common = {
        **place,
        "control": task.control,
        "value": task.value,
        "domain": task.domain,
        "n": int(np.sum([run.test.sum() for run in task.runs])),
        "folds": len({run.fold for run in task.runs}),
    }
    chance = chance_of(tallies)
    for layer in range(tallies.counts.shape[1]):
        found = score_interval(tallies, layer, UA)
        assert found is not None
        yield _row(found, {**common, "layer": layer, "metric": "UA", "chance": chance})
        if reference is not None:
            here, plain = (tallies, layer), (reference, layer)
            if task.control == "control_labels":
                metric, sides = "selectivity", (plain, here)
            else:
                metric, sides = "UA_difference", (here, plain)
            difference = difference_interval(*sides, UA)
            if difference is not None:
                yield _row(difference, {**common, "layer": layer, "metric": metric, "chance": None})


def _row(found: SpeakerInterval, columns: dict[str, Any]) -> ControlRow:
    p_value = None if columns["metric"] == "UA" else found.p_value
    return ControlRow(**columns, **interval_columns(found), p_value=p_value)


def control_notes(experiment: Experiment, controls: Sequence[str]) -> list[str]:
    """Which controls are left out, since the corpus does not have what they need."""
    cross = [
        task.control
        for domain in DOMAINS
        for task in cross_domain_tasks(experiment, controls, domain)
    ]
    made = {task.control for task in tasks_of(experiment, controls)} | set(cross)
    if not experiment.stores:
        made -= {"cues_removed"}
    lacking = [control for control in controls if control not in made]
    if not lacking:
        return []
    return [
        f"Controls left out: {', '.join(lacking)}. The corpus has no labels, no audio, or too few "
        "speakers or sentences for them."
    ]
