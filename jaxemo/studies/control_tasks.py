"""The controls as tasks: which clips, which labels, and who trains, develops and tests in each run."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import Run

ATTRIBUTES = ("sex", "statement", "intensity")
CROSS_DOMAIN = ("zero_shot", "zero_shot_standardised")
OF_EMOTION = (
    *CROSS_DOMAIN,
    "statement_held_out",
    "intensity_matched",
    "cues_removed",
    "control_labels",
)
BOTH = "both"
_SPEAKER_PARTS = 3
# A probe has a row of weights for each; beyond this the control would cost more than the study.
_MOST_SPEAKERS = 128


class Task(NamedTuple):
    """What the probes of a control are fitted to.

    Attributes:
      control: Its name.
      value: The intensity of `intensity_matched`; empty for the others.
      domain: Whose clips are scored; `both` for the probe of the domain.
      rows: Clips that take part, ascending.
      labels: Of those clips, in [0, number of classes).
      classes: Names of the classes.
      speakers: Of those clips.
      runs: Parts of each run, as masks over those clips.
    """

    control: str
    value: str
    domain: str
    rows: Int[np.ndarray, " m"]
    labels: Int[np.ndarray, " m"]
    classes: tuple[str, ...]
    speakers: list[str]
    runs: list[Run]

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def is_of_emotion(self) -> bool:
        """Whether its UA is to be held against that of the plain probe of the emotion."""
        return self.control in OF_EMOTION


def tasks_of(experiment: Experiment, controls: Sequence[str]) -> Iterator[Task]:
    """Every task of the controls for which the corpus has labels and enough speakers."""
    if "domain" in controls:
        everything = np.arange(len(experiment.utterances))
        names = [row.domain for row in experiment.utterances]
        yield from _task(experiment, "domain", BOTH, everything, names)
    for domain in DOMAINS:
        rows = experiment.rows_of(domain)
        for control in controls:
            yield from _tasks_in(experiment, control, domain, rows)


def cross_domain_tasks(
    experiment: Experiment, controls: Sequence[str], domain: str
) -> Iterator[Task]:
    """Emotions that both domains have, scored in `domain`."""
    rows = experiment.rows_of(domain)
    [other] = [name for name in DOMAINS if name != domain]
    others = {experiment.utterances[row].emotion for row in experiment.rows_of(other)}
    if not others or len(rows) == 0:
        return
    shared = rows[[experiment.utterances[row].emotion in others for row in rows]]
    for control in controls:
        if control in CROSS_DOMAIN:
            tested = _folds_with(experiment, other)
            for task in _task(experiment, control, domain, shared, _emotions(experiment, shared)):
                runs = [run for run in task.runs if run.fold in tested]
                if runs:
                    yield task._replace(runs=runs)


def _tasks_in(
    experiment: Experiment, control: str, domain: str, rows: Int[np.ndarray, " m"]
) -> Iterator[Task]:
    if len(rows) == 0:
        return
    if control in ATTRIBUTES:
        names = np.array([getattr(experiment.utterances[row], control) for row in rows], object)
        known = names != ""
        yield from _task(experiment, control, domain, rows[known], names[known].tolist())
    elif control in ("duration", "cues_removed"):
        yield from _task(experiment, control, domain, rows, _emotions(experiment, rows))
    elif control == "speaker":
        yield from _speaker_task(experiment, domain, rows)
    elif control == "intensity_matched":
        intensity = np.array([experiment.utterances[row].intensity for row in rows], object)
        values = sorted(set(intensity.tolist()) - {""})
        for value in values if len(values) > 1 else ():
            chosen = rows[intensity == value]
            names = _emotions(experiment, chosen)
            yield from _task(experiment, control, domain, chosen, names, value=value)
    elif control == "statement_held_out":
        yield from _held_out_task(experiment, domain, rows)
    elif control == "control_labels":
        yield from _arbitrary_task(experiment, domain, rows)


def _emotions(experiment: Experiment, rows: Int[np.ndarray, " m"]) -> list[str]:
    return [experiment.utterances[row].emotion for row in rows]


def _task(
    experiment: Experiment,
    control: str,
    domain: str,
    rows: Int[np.ndarray, " m"],
    names: Sequence[str],
    *,
    value: str = "",
    runs: list[Run] | None = None,
) -> Iterator[Task]:
    """The task on the first seed's folds, or on runs of its own; none with fewer than two classes."""
    order = {name: place for place, name in enumerate(experiment.emotions)}
    classes = tuple(sorted(set(names), key=lambda name: (order.get(name, 0), name)))
    if len(classes) < 2:
        return
    labels = np.array([classes.index(name) for name in names])
    speakers = [experiment.utterances[row].speaker for row in rows]
    if runs is None:
        parts = [experiment.split(0, fold) for fold in range(len(experiment.folds[0]))]
        runs = [
            Run(fold, 0, *(np.isin(rows, part) for part in split))
            for fold, split in enumerate(parts)
        ]
    task = Task(control, value, domain, rows, labels, classes, speakers, runs)
    yield from _usable(task)


def _usable(task: Task) -> Iterator[Task]:
    """The task with the runs that have every class to train on; none if they test fewer than two."""
    runs = [
        run
        for run in task.runs
        if run.dev.any() and run.test.any() and len(set(task.labels[run.train])) == task.num_classes
    ]
    tested = task.labels[np.any([run.test for run in runs], axis=0)] if runs else ()
    if len(set(tested)) > 1:
        yield task._replace(runs=runs)


def _folds_with(experiment: Experiment, domain: str) -> set[int]:
    """Folds whose training part has every emotion of a domain, with clips of it in the other parts."""
    rows = experiment.rows_of(domain)
    for task in _task(experiment, "", domain, rows, _emotions(experiment, rows)):
        return {run.fold for run in task.runs}
    return set()


def _speaker_task(
    experiment: Experiment, domain: str, rows: Int[np.ndarray, " m"]
) -> Iterator[Task]:
    """Who speaks: each speaker's clips are dealt into parts, since he or she must be trained on."""
    speakers = np.array([experiment.utterances[row].speaker for row in rows], object)
    names, place, counts = np.unique(speakers.astype(str), return_inverse=True, return_counts=True)
    enough = counts[place] >= _SPEAKER_PARTS
    if not 2 <= len(set(place[enough])) <= _MOST_SPEAKERS:
        return
    part = np.empty(len(rows), int)
    draw = np.random.default_rng(0)
    for speaker in range(len(names)):
        own = np.flatnonzero(place == speaker)
        part[draw.permutation(own)] = np.arange(len(own)) % _SPEAKER_PARTS
    chosen, part = rows[enough], part[enough]
    runs = [
        Run(fold, 0, *(part == (fold + step) % _SPEAKER_PARTS for step in (2, 1, 0)))
        for fold in range(_SPEAKER_PARTS)
    ]
    yield from _task(experiment, "speaker", domain, chosen, speakers[enough].tolist(), runs=runs)


def _held_out_task(
    experiment: Experiment, domain: str, rows: Int[np.ndarray, " m"]
) -> Iterator[Task]:
    """Trained on half of the sentences, tested on the other half, both ways."""
    statements = [experiment.utterances[row].statement for row in rows]
    known = sorted(set(statements) - {""})
    if len(known) < 2 or "" in statements:
        return
    half = np.array([known.index(one) % 2 for one in statements])
    for task in _task(experiment, "statement_held_out", domain, rows, _emotions(experiment, rows)):
        runs = [
            Run(run.fold, 0, run.train & ~held, run.dev & ~held, run.test & held)
            for held in (half == 0, half == 1)
            for run in task.runs
        ]
        yield from _usable(task._replace(runs=runs))


def _arbitrary_task(
    experiment: Experiment, domain: str, rows: Int[np.ndarray, " m"]
) -> Iterator[Task]:
    """Classes that mean nothing: every combination of emotion, intensity and sentence gets one by chance.

    As many classes as emotions, spread evenly. What a probe learns of them it has by heart.

    Reference: Hewitt & Liang 2019, EMNLP, "Designing and Interpreting Probes with Control Tasks".
    """
    clips = [experiment.utterances[row] for row in rows]
    kinds = [(clip.emotion, clip.intensity, clip.statement) for clip in clips]
    known = sorted(set(kinds))
    emotions = sorted(set(_emotions(experiment, rows)))
    if len(known) < 2 * len(emotions):
        return
    given = np.random.default_rng(0).permutation(np.arange(len(known)) % len(emotions))
    names = [f"class {given[known.index(kind)]}" for kind in kinds]
    yield from _task(experiment, "control_labels", domain, rows, names)
