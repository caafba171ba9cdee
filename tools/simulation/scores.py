"""Intervals of UA and of gains: probes on simulated corpora in six folds, by encoder and domain.

The truth of a figure is its mean over the corpora: what probes that are trained on so many speakers of
this kind score on others.
"""

from collections.abc import Iterator

import numpy as np

from jaxemo.analysis.intervals import (
    DIFFERENCE_INFLATION,
    SCORE_INFLATION,
    paired_speaker_interval,
    speaker_interval,
)
from jaxemo.analysis.scores import paired_interval, student_interval
from simulation.corpora import (
    CLIPS_PER_CELL,
    DIMENSIONS,
    EMOTIONS,
    SPEAKERS,
    Components,
    read_components,
)
from simulation.table import Line, covered, found

FOLDS = 6
_RIDGE = 10.0
_DOMAINS = ("speech", "music")


def score_lines(corpora: int, seed: int) -> Iterator[Line]:
    """Of every encoder that was measured; corpora are cheap, so there are twice as many."""
    for name, components in read_components().items():
        for domain, words in enumerate(_DOMAINS):
            draw = np.random.default_rng((seed, domain))
            made = [drawn_scores(draw, components, domain) for _ in range(2 * corpora)]
            yield from _lines(np.array(made), f"{name}, {words}")


def drawn_scores(draw: np.random.Generator, components: Components, domain: int) -> np.ndarray:
    """UA of each held-out speaker: trained on all the others, on half of them, and on the other half."""
    shape = (SPEAKERS, EMOTIONS, CLIPS_PER_CELL, DIMENSIONS)
    rows = draw.normal(size=shape) + components.emotions[domain][None, :, None]
    voice = np.sqrt(components.voice + components.voice_in_domain)
    rows += voice * draw.normal(size=(SPEAKERS, 1, 1, DIMENSIONS))
    rows += np.sqrt(components.cell) * draw.normal(size=(SPEAKERS, EMOTIONS, 1, DIMENSIONS))
    scores = np.empty((3, SPEAKERS))
    for held_out in np.split(np.arange(SPEAKERS), FOLDS):
        rest = draw.permutation(np.setdiff1d(np.arange(SPEAKERS), held_out))
        for place, trained in enumerate((rest, rest[::2], rest[1::2])):
            scores[place, held_out] = _accuracies(rows[trained], rows[held_out])
    return scores


def _accuracies(train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """UA of each test speaker by ridge regression on one-hot labels."""
    labels = np.broadcast_to(np.arange(EMOTIONS)[:, None], train.shape[:3]).ravel()
    flat = train.reshape(-1, DIMENSIONS)
    centre = flat.mean(axis=0)
    flat = flat - centre
    targets = np.eye(EMOTIONS)[labels] - 1 / EMOTIONS
    weights = np.linalg.solve(flat.T @ flat + _RIDGE * np.eye(DIMENSIONS), flat.T @ targets)
    answers = ((test - centre) @ weights).argmax(axis=-1)
    return (answers == np.arange(EMOTIONS)[:, None]).mean(axis=(1, 2))


def _lines(scores: np.ndarray, corpus: str) -> Iterator[Line]:
    whole, half, other = scores.transpose(1, 0, 2)
    truth = float(whole.mean())
    plain = [student_interval(values) for values in whole]
    yield covered("UA, t over folds", corpus, map(_by_fold, whole), truth)
    yield covered("UA, t over speakers", corpus, plain, truth)
    yield _needed("UA, t over speakers", corpus, whole)
    used = [speaker_interval(values, bounds=(0.0, 1.0)) for values in whole]
    yield covered(f"**UA, t over speakers, x {SCORE_INFLATION}**", corpus, used, truth)
    for name, a, b in (("gain of more speakers", whole, half), ("gain of none", half, other)):
        truth = 0.0 if name == "gain of none" else float((a - b).mean())
        pairs = list(zip(a, b, strict=True))
        folds = [paired_interval(*(_fold_means(one) for one in pair)) for pair in pairs]
        yield covered(f"{name}, t over folds", corpus, folds, truth)
        yield _needed(name, corpus, a - b)
        used = [paired_speaker_interval(*pair) for pair in pairs]
        yield covered(f"**{name}, t over speakers, x {DIFFERENCE_INFLATION}**", corpus, used, truth)
        p_values = [one.p_value for one in used if one.p_value is not None]
        yield found(f"p of {name}", corpus, p_values)


def _needed(what: str, corpus: str, values: np.ndarray) -> Line:
    """The factor on the standard error that the spread over corpora asks for."""
    error = np.sqrt((values.var(axis=1, ddof=1) / values.shape[1]).mean())
    return Line(what, corpus, "factor needed", float(values.mean(axis=1).std(ddof=1) / error))


def _fold_means(values: np.ndarray) -> np.ndarray:
    return values.reshape(FOLDS, -1).mean(axis=1)


def _by_fold(values: np.ndarray):
    return student_interval(_fold_means(values))
