"""Study 3, emotion bias: its rows, and tests within an encoder and between encoders."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from jaxemo.analysis.emotion_bias import (
    MIN_SPEAKERS,
    EmotionBias,
    Halving,
    draw_halvings,
    emotions_differ,
)
from jaxemo.analysis.emotion_profiles import kendall_tau
from jaxemo.analysis.resampling import jackknife_interval
from jaxemo.results.schema import EmotionBiasRow, EmotionBiasTestRow
from jaxemo.studies.config import Settings
from jaxemo.studies.similarity.cells import Cells, finite

_HALVINGS, _PERMUTATIONS = range(10, 12)


class EncoderBias(NamedTuple):
    """One encoder's emotion bias at every layer, NaN for emotions that it is not defined for."""

    encoder: str
    origin: str
    emotions: tuple[str, ...]
    estimate: Float64[np.ndarray, "L E"]
    influence: Float64[np.ndarray, "L E S"]


def halvings_of(cells: Cells, config: Settings) -> list[Halving]:
    """The halvings for every layer and encoder; none where there are too few speakers."""
    if cells.design.num_speakers < MIN_SPEAKERS:
        return []
    random = np.random.default_rng((config.seed, _HALVINGS))
    return draw_halvings(random, cells.design, num_halvings=config.similarity.halvings)


def join_layers(
    encoder: str, origin: str, emotions: tuple[str, ...], layers: Sequence[EmotionBias]
) -> EncoderBias:
    """The layers of one encoder together."""
    estimate = np.stack([layer.estimate for layer in layers])
    influence = np.stack([layer.influence for layer in layers])
    return EncoderBias(encoder, origin, emotions, estimate, influence)


def bias_rows(bias: EncoderBias) -> list[EmotionBiasRow]:
    """Rows of `results["emotion_bias"]`: every layer, and the mean over layers (`layer` None)."""
    num_layers, _, num_speakers = bias.influence.shape
    rows = []
    for layer in (*range(num_layers), None):
        estimate, influence = _at(bias, layer)
        for index, emotion in enumerate(bias.emotions):
            row = {"encoder": bias.encoder, "origin": bias.origin, "layer": layer}
            row |= {"emotion": emotion, "mean": finite(estimate[index]), "low": None, "high": None}
            row |= {"rank": None, "speakers": num_speakers}
            if row["mean"] is not None:
                interval = jackknife_interval(estimate[index], influence[index])
                row |= {"low": interval.low, "high": interval.high}
                row["rank"] = 1 + int((estimate < estimate[index]).sum())
            rows.append(EmotionBiasRow(**row))
    return rows


def bias_tests(
    bias: EncoderBias, others: Sequence[EncoderBias], config: Settings
) -> list[EmotionBiasTestRow]:
    """Rows of `results["emotion_bias_tests"]`.

    `emotions_differ`: at each layer and for the mean over layers. `encoders_disagree`: that mean
    against each other encoder's, with Kendall's tau of their orders.
    """
    rows = []
    for layer in (*range(len(bias.estimate)), None):
        rows.append(_test_row(bias, None, layer, _at(bias, layer), config))
    for other in others:
        ours, theirs = _at(bias, None), _at(other, None)
        difference = ours[0] - theirs[0], ours[1] - theirs[1]
        row = _test_row(other, bias.encoder, None, difference, config)
        defined = np.isfinite(difference[0])
        tau = None
        if defined.sum() > 1:
            tau = kendall_tau(ours[0][defined], theirs[0][defined])
        rows.append(replace(row, tau=tau))
    return rows


def _at(bias: EncoderBias, layer: int | None) -> tuple[np.ndarray, np.ndarray]:
    if layer is None:
        return bias.estimate.mean(axis=0), bias.influence.mean(axis=0)
    return bias.estimate[layer], bias.influence[layer]


def _test_row(
    bias: EncoderBias,
    other: str | None,
    layer: int | None,
    values: tuple[np.ndarray, np.ndarray],
    config: Settings,
) -> EmotionBiasTestRow:
    estimate, influence = values
    defined = np.isfinite(estimate)
    row: dict[str, Any] = {
        "test": "emotions_differ" if other is None else "encoders_disagree",
        "encoder": bias.encoder,
        "origin": bias.origin,
        "other_encoder": other,
        "layer": layer,
        "statistic": None,
        "p_value": None,
        "tau": None,
        "emotions": int(defined.sum()),
        "speakers": influence.shape[1],
        "permutations": config.similarity.permutations,
    }
    if defined.sum() > 1:
        found = emotions_differ(
            np.random.default_rng((config.seed, _PERMUTATIONS)),
            estimate[defined],
            influence[defined],
            num_permutations=config.similarity.permutations,
        )
        row |= {"statistic": found.statistic, "p_value": found.p_value}
    return EmotionBiasTestRow(**row)
