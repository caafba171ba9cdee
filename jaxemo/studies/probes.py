"""Study 1's other probes of the emotion: the learnt weighted sum of layers, and an MLP on each layer.

They have the runs of the linear probes (`layers.probe_domain`), and each is compared with them on the same
clips, paired by speaker.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped

from jaxemo.analysis.intervals import SpeakerInterval
from jaxemo.analysis.probe_targets import Kind
from jaxemo.analysis.scores import CLASS_SCORES
from jaxemo.analysis.trained_probing import Form, TrainedProbes, fit_trained_probes
from jaxemo.results.layer_rows import ProbeRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import (
    Probed,
    Run,
    domain_classes,
    fit_options,
    interval_columns,
    parts_of,
    size_of,
    tally_runs,
)
from jaxemo.studies.sources import Embedded
from jaxemo.studies.tallies import (
    UA,
    NamedScore,
    Tallies,
    chance_of,
    difference_interval,
    score_interval,
    seed_spread,
)

CHOSEN = None


class Answers(NamedTuple):
    """What the probes of one form say of every row.

    Attributes:
      probe: Name of the form.
      outputs: Of P sets of probes.
      layers: Of each set; `CHOSEN` for the layer that dev chose in each run, or all layers together.
      converged: Share of each set's probes that converged.
    """

    probe: str
    outputs: Float[np.ndarray, "P F m O"]
    layers: tuple[int | None, ...]
    converged: Float[np.ndarray, " P"]


def other_probe_rows(
    experiment: Experiment, embedded: Embedded, config: Settings, *, plain: dict[str, Probed]
) -> list[ProbeRow]:
    """The probes that `config.layers.other_probes` names, in every domain.

    Args:
      plain: The linear probes of each domain, as `probe_domain` fits them.
    """
    found = []
    identity = {"encoder": embedded.source.name, "origin": embedded.source.origin}
    for domain, probed in plain.items():
        rows = experiment.rows_of(domain)
        _, labels = domain_classes(experiment, rows)
        features = embedded.embedding.pooled[rows].transpose(1, 0, 2)
        for answers in trained_answers(features, labels, Kind.CLASSES, probed.runs, config):
            predictions = answers.outputs.argmax(axis=-1)
            tallies = tally_runs(experiment, predictions, labels, probed.runs, rows=rows)
            place = {**identity, "domain": domain, **size_of(probed.runs)}
            found += _rows(answers, tallies, probed, place)
    return found


def trained_answers(
    features: Float[np.ndarray, "L m D"],
    targets: Shaped[np.ndarray, "m ..."],
    kind: Kind,
    runs: list[Run],
    config: Settings,
) -> Iterator[Answers]:
    """The answers of each form that the config names; one layer alone has no weighted sum."""
    for name in config.layers.other_probes:
        form = Form(name)
        if form is Form.WEIGHTED_SUM and len(features) == 1:
            continue
        found = fit_trained_probes(
            features,
            targets,
            kind=kind,
            form=form,
            seeds=np.array([run.seed for run in runs]),
            **parts_of(runs),
            **fit_options(config),
        )
        yield _answers(form, found)


def _answers(form: Form, found: TrainedProbes) -> Answers:
    outputs, converged = np.asarray(found.outputs), np.asarray(found.converged)
    if form is Form.WEIGHTED_SUM:
        return Answers(form.value, outputs, (CHOSEN,), converged.mean(axis=1))
    return with_chosen(form.value, outputs, np.asarray(found.dev_score), converged)


def with_chosen(
    probe: str,
    outputs: Float[np.ndarray, "L F m O"],
    dev_score: Float[np.ndarray, "L F"],
    converged: Shaped[np.ndarray, "L F"],
) -> Answers:
    """The answers of every layer; behind them those of the layer that dev chose, the lowest of equals."""
    chosen: Int[np.ndarray, " F"] = dev_score.argmax(axis=0)
    by_choice = np.arange(len(chosen))
    return Answers(
        probe,
        np.concatenate([outputs, outputs[chosen, by_choice][None]]),
        (*range(len(outputs)), CHOSEN),
        np.array([*converged.mean(axis=1), converged[chosen, by_choice].mean()]),
    )


def _rows(
    answers: Answers, tallies: Tallies, linear: Probed, place: dict[str, Any]
) -> Iterator[ProbeRow]:
    """Scores of every set, and UA minus the linear probe's of the same layer, or of the chosen one."""
    chance = chance_of(tallies)
    num_layers = len(linear.probes.dev_score)
    for number, layer in enumerate(answers.layers):
        common = {
            **place,
            "probe": answers.probe,
            "layer": layer,
            "emotion": "all",
            "converged": float(answers.converged[number]),
        }
        for metric, score in CLASS_SCORES.items():
            interval = score_interval(tallies, number, NamedScore(metric, "all", score))
            assert interval is not None
            spread = seed_spread(tallies, number, score)
            known = {"seed_spread": spread, "chance": None if metric == "macro_F1" else chance}
            yield _row(interval, {**common, **known, "metric": metric, "p_value": None})
        compared = num_layers if layer is None else layer
        difference = difference_interval((tallies, number), (linear.tallies, compared), UA)
        assert difference is not None
        unknown = {"seed_spread": None, "chance": None, "p_value": difference.p_value}
        yield _row(difference, {**common, **unknown, "metric": "UA_difference"})


def _row(interval: SpeakerInterval, columns: dict[str, Any]) -> ProbeRow:
    return ProbeRow(**columns, **interval_columns(interval))
