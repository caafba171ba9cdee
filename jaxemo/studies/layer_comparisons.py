"""Layers beside each other in study 1: CKA and RSA between layers, encoders and domains, and parts of variance.

They rest on at most 64 speakers and 2500 clips, whole speakers drawn once for all encoders: what they cost
grows with the square of the clips, and a jackknife over more speakers says nothing new.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from jaxemo.analysis.intervals import SpeakerInterval, estimate_interval
from jaxemo.analysis.layer_similarity import (
    EmotionDistances,
    LeaveOneOut,
    cka,
    emotion_distances,
    linear_kernel,
    rsa,
)
from jaxemo.analysis.variance_parts import Model, Term, variance_model, variance_parts
from jaxemo.data.corpora.corpus import DOMAINS
from jaxemo.results.layer_rows import LayerSimilarityRow, VariancePartRow
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.layers import domain_classes, interval_columns
from jaxemo.studies.sources import Embedded

BOTH = "both"
MOST_CLIPS = 2500
MOST_SPEAKERS = 64
_FACTORS = ("domain", "emotion", "speaker", "statement", "intensity")
_INTERACTIONS = (("domain", "emotion"), ("domain", "speaker"), ("emotion", "speaker"))


class ComparedLayers(NamedTuple):
    """One encoder's layers over the clips that are compared, by domain.

    Attributes:
      encoder: Its name.
      origin: As results have it.
      rows: Pooled layers of the clips.
      speaker: Of each clip, as a number.
      distances: Between the emotions that both domains have, layer by layer; None where there are too few.
    """

    encoder: str
    origin: str
    rows: dict[str, Float32[np.ndarray, "m L D"]]
    speaker: dict[str, Int[np.ndarray, " m"]]
    distances: dict[str, list[EmotionDistances | None]]


def compared_layers(experiment: Experiment, embedded: Embedded) -> ComparedLayers:
    """The clips of each domain, and how far its emotions lie apart in each layer.

    Distances are of the emotions that all domains of the corpus have, and of speakers who have them all in
    all domains, so that the domains can be held against each other.
    """
    pooled = _pooled(embedded)
    rows = {domain: _drawn(experiment, experiment.rows_of(domain)) for domain in DOMAINS}
    rows = {domain: of for domain, of in rows.items() if len(of)}
    shared, complete = _shared_emotions(experiment, list(rows.values()))
    distances = {}
    for domain, of in rows.items():
        clips = [
            row
            for row in of
            if experiment.labels[row] in shared and experiment.utterances[row].speaker in complete
        ]
        distances[domain] = _distances(experiment, pooled, np.array(clips, np.int64))
    return ComparedLayers(
        embedded.source.name,
        embedded.source.origin,
        {domain: pooled[of] for domain, of in rows.items()},
        {domain: _numbers(experiment, of, "speaker") for domain, of in rows.items()},
        distances,
    )


def similarity_rows(
    layers: ComparedLayers, earlier: Sequence[ComparedLayers], *, measures: Sequence[str]
) -> list[LayerSimilarityRow]:
    """CKA and RSA of an encoder's layers with each other and with those of encoders before it."""
    found = []
    for domain, speaker in layers.speaker.items():
        if "cka" in measures and len(speaker) >= 4:
            own = [linear_kernel(rows, speaker) for rows in _by_layer(layers.rows[domain])]
            for other in (layers, *earlier):
                same = other is layers
                theirs = own
                if not same:
                    by_layer = _by_layer(other.rows[domain])
                    theirs = [linear_kernel(rows, speaker) for rows in by_layer]
                for one, two in _pairs(len(own), len(theirs), same=same):
                    value = cka(own[one], theirs[two])
                    found += _row("CKA", value, domain, (layers, one), (other, two))
        if "rsa" in measures:
            for other in (layers, *earlier):
                sides = layers.distances[domain], other.distances[domain]
                for one, two in _pairs(*map(len, sides), same=other is layers):
                    value = _rsa(sides[0][one], sides[1][two])
                    found += _row("RSA", value, domain, (layers, one), (other, two))
    if "rsa" in measures and len(layers.distances) == len(DOMAINS):
        sides = [layers.distances[domain] for domain in DOMAINS]
        for layer, pair in enumerate(zip(*sides, strict=True)):
            found += _row("RSA", _rsa(*pair), BOTH, (layers, layer), (layers, layer))
    return found


def variance_rows(experiment: Experiment, embedded: Embedded) -> list[VariancePartRow]:
    """Omega squared of emotion, speaker, sentence, intensity, domain and interactions in every layer.

    Within each domain, and over both. An interaction that the clips are too few for is left out.
    """
    found, pooled = [], _pooled(embedded)
    identity = {"encoder": embedded.source.name, "origin": embedded.source.origin}
    domains = [domain for domain in DOMAINS if len(experiment.rows_of(domain))]
    for domain in [*domains, *([BOTH] if len(domains) > 1 else [])]:
        everything = np.arange(len(experiment.utterances))
        chosen = _drawn(experiment, everything if domain == BOTH else experiment.rows_of(domain))
        models = _models(experiment, chosen)
        if models is None:
            continue
        whole, without = models
        for layer, rows in enumerate(_by_layer(pooled[chosen])):
            parts = dict(zip(whole.terms, variance_parts(rows, whole), strict=True))
            rest = [
                dict(zip(model.terms, variance_parts(rows[kept], model), strict=True))
                for kept, model in without
            ]
            for term, degrees in zip(whole.terms, whole.degrees_of_freedom, strict=True):
                if not np.isfinite(parts[term]):
                    continue
                values = np.array([one.get(term, np.nan) for one in rest])
                interval = _interval(LeaveOneOut(float(parts[term]), values))
                found.append(
                    VariancePartRow(
                        **identity,
                        domain=domain,
                        layer=layer,
                        factor=":".join(term),
                        degrees_of_freedom=degrees,
                        n=len(chosen),
                        **interval_columns(interval),
                    )
                )
    return found


def _models(
    experiment: Experiment, clips: Int[np.ndarray, " m"]
) -> tuple[Model, list[tuple[np.ndarray, Model]]] | None:
    """The model of some clips, and those without each speaker; None where none can be fitted."""
    factors = {name: _numbers(experiment, clips, name) for name in _FACTORS}
    factors = {
        name: levels
        for name, levels in factors.items()
        if levels.max(initial=0) > 0
        and all(getattr(experiment.utterances[clip], name) for clip in clips)
    }
    mains: list[Term] = [(name,) for name in factors]
    interactions: list[Term] = [term for term in _INTERACTIONS if set(term) <= set(factors)]
    terms = [*mains, *interactions]
    whole = variance_model(factors, terms) if mains else None
    if whole is None and interactions:
        terms = mains
        whole = variance_model(factors, terms)
    if whole is None or "speaker" not in factors:
        return None
    without = []
    for speaker in range(int(factors["speaker"].max()) + 1):
        kept = factors["speaker"] != speaker
        of_rest = {name: levels[kept] for name, levels in factors.items()}
        model = variance_model(of_rest, terms)
        if model is None:
            return None
        without.append((kept, model))
    return whole, without


def _drawn(experiment: Experiment, rows: Int[np.ndarray, " m"]) -> Int[np.ndarray, " k"]:
    """Whole speakers in an order drawn once, as many as the limits allow."""
    speakers = np.array([experiment.utterances[row].speaker for row in rows], str)
    names, counts = np.unique([row.speaker for row in experiment.utterances], return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    within = np.cumsum(counts[order]) <= MOST_CLIPS
    kept = names[order[within][:MOST_SPEAKERS]]
    return rows[np.isin(speakers, kept)]


def _shared_emotions(
    experiment: Experiment, parts: list[Int[np.ndarray, " _"]]
) -> tuple[set[int], set[str]]:
    """Emotions that all parts of a corpus have, and speakers who have them all in every part."""
    of_speaker: list[dict[str, set[int]]] = []
    for rows in parts:
        has: dict[str, set[int]] = {}
        for row in rows:
            speaker = experiment.utterances[row].speaker
            has.setdefault(speaker, set()).add(int(experiment.labels[row]))
        of_speaker.append(has)
    if not parts:
        return set(), set()
    shared = set.intersection(*(set.union(*has.values()) for has in of_speaker))
    complete = [{name for name, own in has.items() if shared <= own} for has in of_speaker]
    return shared, set.intersection(*complete)


def _distances(
    experiment: Experiment, pooled: Float32[np.ndarray, "n L D"], clips: Int[np.ndarray, " m"]
) -> list[EmotionDistances | None]:
    if len(clips) == 0:
        return [None] * pooled.shape[1]
    _, emotion = domain_classes(experiment, clips)
    speaker = _numbers(experiment, clips, "speaker")
    return [emotion_distances(rows, emotion, speaker) for rows in _by_layer(pooled[clips])]


def _numbers(experiment: Experiment, rows: Int[np.ndarray, " m"], label: str) -> np.ndarray:
    names = [getattr(experiment.utterances[row], label) for row in rows]
    return np.unique(np.array(names, str), return_inverse=True)[1]


def _pooled(embedded: Embedded) -> Float32[np.ndarray, "n L D"]:
    """The layers; hand-made features, whose units differ, in units of their own deviation."""
    pooled = embedded.embedding.pooled
    if embedded.source.origin != "hand-made":
        return pooled
    std = pooled.std(axis=0)
    return (pooled - pooled.mean(axis=0)) / np.where(std > 0, std, np.float32(1))


def _by_layer(pooled: Float32[np.ndarray, "m L D"]) -> Iterator[Float32[np.ndarray, "m D"]]:
    return iter(np.ascontiguousarray(pooled.transpose(1, 0, 2)))


def _pairs(one: int, other: int, *, same: bool) -> Iterator[tuple[int, int]]:
    """Pairs of layers; of one encoder each pair once, and no layer with itself."""
    return ((a, b) for a in range(one) for b in range(other) if not same or a < b)


def _rsa(one: EmotionDistances | None, other: EmotionDistances | None) -> LeaveOneOut | None:
    return None if one is None or other is None else rsa(one, other)


def _row(
    measure: str,
    value: LeaveOneOut | None,
    domain: str,
    one: tuple[ComparedLayers, int],
    other: tuple[ComparedLayers, int],
) -> list[LayerSimilarityRow]:
    if value is None:
        return []
    layers = one[0]
    clips = sum(len(rows) for name, rows in layers.rows.items() if domain in (name, BOTH))
    return [
        LayerSimilarityRow(
            encoder=layers.encoder,
            origin=layers.origin,
            layer=one[1],
            other_encoder=other[0].encoder,
            other_layer=other[1],
            domain=domain,
            measure=measure,
            n=clips,
            **interval_columns(_interval(value)),
        )
    ]


def _interval(value: LeaveOneOut) -> SpeakerInterval:
    """Student's over the jackknife's values; none where leaving a speaker out leaves no figure.

    All measures are correlations or shares, which lie in [-1, 1].
    """
    return estimate_interval(
        value.estimate,
        value.speaker_values,
        bounds=(-1.0, 1.0),
        undefined="without some speaker there is no figure",
    )
