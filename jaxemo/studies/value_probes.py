"""Study 1 on ratings and tags: probes of every layer, scored as the field scores them.

Ratings: ridge regression; tags: one logistic regression each. Their other probes, the weighted sum and the
MLP, answer all outputs at once. Controls, baselines and comparisons of layers are of classes, and have no part.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from jaxemo.analysis.intervals import estimate_interval
from jaxemo.analysis.probe_targets import Kind, labels_of_tag
from jaxemo.analysis.probing import fit_probes
from jaxemo.analysis.ranking_scores import RANKING_SCORES, rank_scores
from jaxemo.analysis.rating_probing import fit_rating_probes
from jaxemo.analysis.rating_scores import RATING_SCORES, rating_moments
from jaxemo.analysis.value_intervals import group_speakers, leave_out_values
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.layer_rows import ProbeRow
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import (
    Run,
    complete_runs,
    fit_options,
    interval_columns,
    parts_of,
    size_of,
)
from jaxemo.studies.probes import Answers, trained_answers, with_chosen
from jaxemo.studies.recognition import RATINGS, TAGS
from jaxemo.studies.sources import Embedded

LINEAR = "linear"
KINDS = {RATINGS: Kind.RATINGS, TAGS: Kind.TAGS}
METRICS = {Kind.RATINGS: tuple(RATING_SCORES), Kind.TAGS: tuple(RANKING_SCORES)}
_BOUNDS = {"CCC": (-1.0, 1.0), "PCC": (-1.0, 1.0), "R2": (-np.inf, 1.0)}

VALUE_NOTE = (
    "Controls, baselines and comparisons of layers are of emotion classes: ratings and tags have their "
    "probes alone."
)


class HeldOut(NamedTuple):
    """Numbers that were predicted for clips of speakers who were not trained on.

    Attributes:
      kind: Of the numbers.
      truth: Of the clips.
      predicted: By each seed; NaN where it did not hold the clip out, or has no probe of a tag.
      unit: Of each clip; what an interval is over.
    """

    kind: Kind
    truth: Float[np.ndarray, "m O"]
    predicted: Float[np.ndarray, "G m O"]
    unit: Int[np.ndarray, " m"]


def value_probe_rows(
    experiment: Experiment, embedded: Embedded, config: Settings
) -> list[ProbeRow]:
    """Linear probes of every layer, and those of `config.layers.other_probes`, in every domain."""
    found = []
    kind = KINDS[experiment.task.objective]
    for domain in DOMAINS:
        rows = experiment.rows_of(domain)
        if len(rows) == 0:
            continue
        runs = complete_runs(experiment, rows, domain=domain)
        speakers = np.array([experiment.utterances[row].speaker for row in rows])
        truth = experiment.labels[rows]
        place = {
            "encoder": embedded.source.name,
            "origin": embedded.source.origin,
            "domain": domain,
            "speakers": len(set(speakers[np.any([run.test for run in runs], axis=0)].tolist())),
            **size_of(runs),
        }
        features = embedded.embedding.pooled[rows].transpose(1, 0, 2)
        linear = linear_answers(features, truth, kind, runs, config)
        for answers in (linear, *trained_answers(features, truth, kind, runs, config)):
            for number, layer in enumerate(answers.layers):
                held = _held_out(kind, truth, answers.outputs[number], runs, speakers)
                columns = {
                    "probe": answers.probe,
                    "layer": layer,
                    "converged": float(answers.converged[number]),
                }
                found += _rows(held, experiment.task.outputs, {**place, **columns})
    return found


def linear_answers(
    features: Float[np.ndarray, "L m D"],
    truth: Float[np.ndarray, "m O"],
    kind: Kind,
    runs: list[Run],
    config: Settings,
) -> Answers:
    """What the linear probes of every layer and run answer for every clip."""
    if kind is Kind.TAGS:
        return _tag_answers(features, truth, runs, config)
    found = fit_rating_probes(features, truth, **parts_of(runs), **fit_options(config))
    every = np.ones(found.dev_score.shape, bool)
    return with_chosen(LINEAR, np.asarray(found.outputs), np.asarray(found.dev_score), every)


def _tag_answers(
    features: Float[np.ndarray, "L m D"],
    truth: Float[np.ndarray, "m G"],
    runs: list[Run],
    config: Settings,
) -> Answers:
    """One logistic regression per tag, in the runs that have clips with and without it to train on."""
    shape = len(features), len(runs)
    outputs = np.full((*shape, *truth.shape), np.nan, np.float32)
    dev_score = np.full((*shape, truth.shape[1]), np.nan, np.float32)
    converged = np.ones((*shape, truth.shape[1]), bool)
    options = fit_options(config)
    # Of the two classes' weights, w and -w, the penalty is twice that of the one vector 2 w.
    options["l2_strengths"] = tuple(2 * l2 for l2 in options["l2_strengths"])
    for tag in range(truth.shape[1]):
        labels = labels_of_tag(truth, tag)
        able = [run for run, of in enumerate(runs) if len(set(labels[of.train].tolist())) == 2]
        if not able:
            continue
        parts = parts_of([runs[run] for run in able])
        probes = fit_probes(features, labels, num_classes=2, **parts, **options)
        logits = np.asarray(probes.logits)
        outputs[:, able, :, tag] = (logits[..., 1] - logits[..., 0]).transpose(1, 0, 2)
        dev_score[:, able, tag] = np.asarray(probes.dev_score)
        converged[:, able, tag] = np.asarray(probes.converged)
    known = np.isfinite(dev_score)
    mean = np.where(known, dev_score, 0.0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)
    return with_chosen(LINEAR, outputs, mean, converged.mean(axis=-1))


def _held_out(
    kind: Kind,
    truth: Float[np.ndarray, "m O"],
    outputs: Float[np.ndarray, "F m O"],
    runs: list[Run],
    speakers: np.ndarray,
) -> HeldOut:
    seeds = sorted({run.seed for run in runs})
    predicted = np.full((len(seeds), *truth.shape), np.nan)
    for run, answers in zip(runs, outputs, strict=True):
        predicted[seeds.index(run.seed), run.test] = answers[run.test]
    tested = np.isfinite(predicted).any(axis=(0, 2))
    _, speaker = np.unique(speakers[tested], return_inverse=True)
    return HeldOut(kind, truth[tested], predicted[:, tested], group_speakers(speaker))


def _rows(held: HeldOut, names: tuple[str, ...], place: dict[str, Any]) -> Iterator[ProbeRow]:
    """Every metric of every output and of their mean, with its interval over speakers."""
    by_seed = [_score_of(held, seed) for seed in range(len(held.predicted))]
    every = np.ones(len(held.truth), bool)
    of_seeds = np.array([score(every) for score in by_seed])
    values = leave_out_values(lambda rows: _mean([score(rows) for score in by_seed]), held.unit)
    chances = _chances(held)
    labels = [(metric, name) for metric in METRICS[held.kind] for name in ("all", *names)]
    for column, (metric, name) in enumerate(labels):
        score = _mean(of_seeds[:, column : column + 1])[0]
        spread = of_seeds[:, column].std(ddof=1) if len(of_seeds) > 1 else np.nan
        interval = estimate_interval(
            float(score),
            values[:, column],
            bounds=_BOUNDS.get(metric, (0.0, 1.0)),
            undefined="not defined without some of the speakers",
        )
        columns = interval_columns(interval) | {"speakers": place["speakers"]}
        yield ProbeRow(
            **{**place, **columns, "mean": _known(score)},
            metric=metric,
            emotion=name,
            seed_spread=_known(spread),
            chance=_known(chances[column]),
            p_value=None,
        )


def _score_of(held: HeldOut, seed: int) -> Callable[[Bool[np.ndarray, " m"]], np.ndarray]:
    """One seed's scores of some rows: of each metric the mean over outputs, and each output's."""

    def score(rows: Bool[np.ndarray, " m"]) -> Float[np.ndarray, " _"]:
        found = []
        truth, predicted = held.truth[rows], held.predicted[seed, rows]
        known = np.isfinite(predicted)
        if held.kind is Kind.RATINGS:
            moments = rating_moments(truth[known.all(axis=1)], predicted[known.all(axis=1)])
            by_metric = [of(moments) for of in RATING_SCORES.values()]
        else:
            columns = zip(truth.T, predicted.T, known.T, strict=True)
            rankings = [rank_scores(t[k], p[k]) for t, p, k in columns]
            by_metric = [np.array([of(r) for r in rankings]) for of in RANKING_SCORES.values()]
        for values in by_metric:
            found += [_mean(values[:, None])[0], *values]
        return np.array(found)

    return score


def _mean(values: Any) -> Float[np.ndarray, " _"]:
    """Of the finite values in each column; NaN where there is none."""
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _chances(held: HeldOut) -> list[float]:
    """Scores of answers that know nothing: PR-AUC is then the share of the clips that have the tag."""
    size = held.truth.shape[1]
    if held.kind is Kind.RATINGS:
        return [0.0] * (len(RATING_SCORES) * (size + 1))
    shares = held.truth.mean(axis=0)
    shares = [float(share) if share > 0 else np.nan for share in shares]
    flat = {"ROC_AUC": [0.5] * (size + 1), "PR_AUC": [_mean(np.array(shares)[:, None])[0], *shares]}
    return [value for metric in RANKING_SCORES for value in flat[metric]]


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
