"""Study 1, layers: how well each layer's pooled representation predicts emotion, in speech and in music."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int, Real

from jaxemo.analysis.intervals import SpeakerInterval, holm
from jaxemo.analysis.probing import FinalFit, ProbeResult, fit_probes
from jaxemo.analysis.scores import CLASS_SCORES, recalls, student_interval
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.layer_rows import LayerChoiceRow
from jaxemo.results.schema import ConfusionRow, LayerRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.sources import Embedded
from jaxemo.studies.tallies import (
    UA,
    NamedScore,
    Tallies,
    chance_of,
    difference_interval,
    score_interval,
    seed_spread,
    tally,
)


class Run(NamedTuple):
    """One probe's parts, as masks over the domain's rows."""

    fold: int
    seed: int
    train: np.ndarray
    dev: np.ndarray
    test: np.ndarray


class Probed(NamedTuple):
    """The probes of all layers and runs in one domain.

    Attributes:
      runs: Their parts.
      probes: As fitted.
      emotions: The classes.
      tallies: Held-out predictions of every layer, by speaker; after the layers, those of the layer
        that each run's dev part chose.
      chosen: That layer, of each run.
    """

    runs: list[Run]
    probes: ProbeResult
    emotions: tuple[str, ...]
    tallies: Tallies
    chosen: Int[np.ndarray, " F"]


class LayerResults(NamedTuple):
    """Rows of `results["layers"]`, `results["layer_choices"]` and `results["confusions"]`.

    `probed` is what they rest on, by domain.
    """

    rows: list[LayerRow]
    choices: list[LayerChoiceRow]
    confusions: list[ConfusionRow]
    probed: dict[str, Probed]


def study_layers(experiment: Experiment, embedded: Embedded, config: Settings) -> LayerResults:
    """Probes every layer in every domain of the corpus.

    Each (seed, fold) is one probe. Held-out predictions of all folds are pooled; intervals are over
    speakers, and seeds are averaged within a speaker.
    """
    results = LayerResults([], [], [], {})
    for domain in DOMAINS:
        domain_rows = experiment.rows_of(domain)
        if len(domain_rows) == 0:
            continue
        probed = probe_domain(experiment, embedded, config, domain=domain)
        results.probed[domain] = probed
        identity = {
            "encoder": embedded.source.name,
            "origin": embedded.source.origin,
            "domain": domain,
        }
        converged = np.asarray(probed.probes.converged).mean(axis=1)
        results.rows.extend(
            score_rows(
                probed.tallies,
                probed.emotions,
                {**identity, **size_of(probed.runs)},
                converged=converged,
            )
        )
        results.choices.extend(choice_rows(probed, identity))
        results.confusions.extend(_best_confusion(probed, identity))
    return results


def parts_of(runs: Sequence[Run]) -> dict[str, Float[np.ndarray, "F m"]]:
    """The weights of the runs' rows, as the probes take them."""
    return {
        "train_weight": np.stack([run.train for run in runs]).astype(np.float32),
        "dev_weight": np.stack([run.dev for run in runs]).astype(np.float32),
    }


def fit_options(config: Settings) -> dict[str, Any]:
    """How a strength is chosen, as the probes take it."""
    return {
        "l2_strengths": tuple(config.layers.l2_strengths),
        "final_fit": FinalFit(config.layers.final_fit),
    }


def probe_domain(
    experiment: Experiment, embedded: Embedded, config: Settings, *, domain: str
) -> Probed:
    """Fits and scores the probes of one domain.

    Raises:
      ValueError: No run is left that has every class to train on, and clips to develop and test on.
    """
    domain_rows = experiment.rows_of(domain)
    emotions, labels = domain_classes(experiment, domain_rows)
    runs = runs_of(experiment, domain_rows, labels, domain=domain)
    probes = fit_probes(
        embedded.embedding.pooled[domain_rows].transpose(1, 0, 2),
        labels,
        num_classes=len(emotions),
        **parts_of(runs),
        **fit_options(config),
    )
    predictions = np.asarray(probes.predictions)
    # The lowest of layers that are equal on dev.
    chosen = np.asarray(probes.dev_score).argmax(axis=0)
    by_choice = predictions[chosen, np.arange(len(runs))]
    tallies = tally_runs(
        experiment,
        np.concatenate([predictions, by_choice[None]]),
        labels,
        runs,
        rows=domain_rows,
    )
    return Probed(runs, probes, emotions, tallies, chosen)


def tally_runs(
    experiment: Experiment,
    predictions: Int[np.ndarray, "L F m"],
    labels: Int[np.ndarray, " m"],
    runs: list[Run],
    *,
    rows: Int[np.ndarray, " m"],
) -> Tallies:
    """What L sets of predictions of some rows say of the test clips of each run."""
    return tally(
        predictions,
        labels,
        speakers=[experiment.utterances[row].speaker for row in rows],
        held_out=np.stack([run.test for run in runs]),
        seeds=[run.seed for run in runs],
        num_classes=int(labels.max()) + 1,
    )


def runs_of(
    experiment: Experiment,
    domain_rows: Int[np.ndarray, " m"],
    labels: Int[np.ndarray, " m"],
    *,
    domain: str,
) -> list[Run]:
    """Every (seed, fold) whose parts have clips of the domain, and all of its classes to train on.

    RAVDESS's actor 18 only speaks: a group of speakers may have no clip of one domain. What a part
    lacks stands among the results' empty cells.
    """
    classes = set(labels.tolist())
    runs = [
        run
        for run in _whole_runs(experiment, domain_rows)
        if set(labels[run.train].tolist()) == classes
    ]
    if not runs:
        raise ValueError(
            f"No fold has {domain} clips of every emotion to train on, and some to develop and test "
            f"on; the {len(domain_rows)} {domain} clips come from too few groups of speakers. Leave "
            "emotions out (config.corpus.emotions), add speakers, or take other folds "
            "(config.folds.num_folds)."
        )
    return runs


def complete_runs(
    experiment: Experiment, domain_rows: Int[np.ndarray, " m"], *, domain: str
) -> list[Run]:
    """Every (seed, fold) whose parts all have clips of the domain.

    Raises:
      ValueError: There is none.
    """
    runs = list(_whole_runs(experiment, domain_rows))
    if not runs:
        raise ValueError(
            f"No fold has {domain} clips to train, develop and test on; the {len(domain_rows)} {domain} "
            "clips come from too few groups of speakers. Add speakers, or take other folds "
            "(config.folds.num_folds)."
        )
    return runs


def _whole_runs(experiment: Experiment, domain_rows: Int[np.ndarray, " m"]) -> Iterator[Run]:
    for seed, fold in np.ndindex(len(experiment.folds), len(experiment.folds[0])):
        masks = [np.isin(domain_rows, part) for part in experiment.split(seed, fold)]
        if all(mask.any() for mask in masks):
            yield Run(fold, seed, *masks)


def domain_classes(
    experiment: Experiment, domain_rows: Int[np.ndarray, " m"]
) -> tuple[tuple[str, ...], Int[np.ndarray, " m"]]:
    """The emotions that a domain has, and its rows' labels among them.

    RAVDESS has songs of six of its eight emotions; a probe of songs then has six classes.
    """
    present, labels = np.unique(experiment.labels[domain_rows], return_inverse=True)
    return tuple(experiment.emotions[index] for index in present), labels


def score_rows(
    tallies: Tallies,
    emotions: tuple[str, ...],
    place: dict[str, Any],
    *,
    converged: Float[np.ndarray, " L"],
) -> list[LayerRow]:
    """Every metric of every layer, with its interval over speakers.

    Args:
      tallies: Held-out predictions of the layers; sets beyond those are left out.
      emotions: The classes.
      place: Columns that all rows share.
      converged: Share of each layer's probes that converged.
    """
    context = {**place, "num_layers": len(converged), "chance": chance_of(tallies)}
    rows = []
    for layer, share in enumerate(converged):
        for named in scores_of(emotions):
            interval = score_interval(tallies, layer, named)
            if interval is None:
                continue
            figure = {
                "layer": layer,
                "converged": float(share),
                "metric": named.metric,
                "emotion": named.emotion,
                "seed_spread": seed_spread(tallies, layer, named.score),
                **interval_columns(interval),
            }
            rows.append(LayerRow(**context, **figure))
    return rows


def size_of(runs: list[Run]) -> dict[str, int]:
    """What the figures of a domain rest on: clips, folds and seeds."""
    return {
        "n": int(sum({run.fold: run.test.sum() for run in runs}.values())),
        "folds": len({run.fold for run in runs}),
        "seeds": len({run.seed for run in runs}),
    }


def interval_columns(interval: SpeakerInterval) -> dict[str, Any]:
    """The columns of a row that say what its figure is and how sure."""
    return {
        "mean": interval.mean,
        "low": interval.low,
        "high": interval.high,
        "speakers": interval.n,
        "reason": interval.reason,
    }


def choice_rows(probed: Probed, identity: dict[str, Any]) -> list[LayerChoiceRow]:
    """UA at the layer that dev chose in each run, and every layer's UA against it.

    A choice is made without the test speakers, so that its figure is not flattered. Differences are
    paired by speaker; Holm's correction is over the layers of one encoder and domain.
    """
    tallies, num_layers = probed.tallies, len(probed.probes.dev_score)
    own = score_interval(tallies, num_layers, UA)
    assert own is not None
    chosen = (tallies, num_layers)
    differences = [
        (layer, found)
        for layer in range(num_layers)
        if (found := difference_interval((tallies, layer), chosen, UA)) is not None
    ]
    corrected = iter(holm([one.p_value for _, one in differences if one.p_value is not None]))
    common = {**identity, **size_of(probed.runs)}
    choice = LayerChoiceRow(
        **common,
        **interval_columns(own),
        layer=None,
        chosen=None,
        p_value=None,
        p_corrected=None,
        chance=chance_of(tallies),
    )
    return [choice] + [
        LayerChoiceRow(
            **common,
            **interval_columns(difference),
            layer=layer,
            chosen=float((probed.chosen == layer).mean()),
            p_value=difference.p_value,
            p_corrected=None if difference.p_value is None else next(corrected),
            chance=None,
        )
        for layer, difference in differences
    ]


def scores_of(emotions: tuple[str, ...]) -> list[NamedScore]:
    """Each summary metric, and each emotion's recall."""

    def recall_of(place: int) -> NamedScore:
        return NamedScore(
            "recall", emotions[place], lambda some: float(recalls(some)[place]), of_class=place
        )

    summary = [NamedScore(metric, "all", score) for metric, score in CLASS_SCORES.items()]
    return summary + [recall_of(place) for place in range(len(emotions))]


def fold_interval(
    values: Float[np.ndarray, " F"],
    folds: Int[np.ndarray, " F"],
    *,
    bounds: tuple[float, float] | None = (0.0, 1.0),
) -> dict[str, Any]:
    """mean, low and high over folds, each fold being the mean of its seeds.

    A fold whose test part lacks the emotion has no recall (NaN) and does not count.
    """
    per_fold = [values[folds == fold].mean() for fold in np.unique(folds)]
    finite = [float(value) for value in per_fold if np.isfinite(value)]
    interval = student_interval(finite, bounds=bounds)
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _best_confusion(probed: Probed, identity: dict[str, Any]) -> list[ConfusionRow]:
    """Confusions summed over folds and seeds at the layer that the dev parts prefer."""
    layer = int(np.asarray(probed.probes.dev_score).mean(axis=1).argmax())
    no_transfer = dict.fromkeys(("method", "direction", "regime"))
    place = {"study": "layers", **identity, "layer": layer, **no_transfer}
    return confusion_rows(probed.tallies.counts[:, layer].sum(axis=(0, 1)), probed.emotions, place)


def confusion_rows(
    matrix: Real[np.ndarray, "C C"], emotions: tuple[str, ...], place: dict[str, Any]
) -> list[ConfusionRow]:
    """One row per cell of a confusion matrix; `place` holds the columns that all of them share."""
    return [
        ConfusionRow(**place, emotion=true, predicted=predicted, count=int(matrix[i, j]))
        for i, true in enumerate(emotions)
        for j, predicted in enumerate(emotions)
    ]
