"""The simulations behind the table of coverage: what is drawn is measured again."""

import numpy as np
import pytest
from measure_components import components
from simulation.corpora import (
    DIMENSIONS,
    EMOTIONS,
    Components,
    Planted,
    drawn_corpus,
    no_shifts,
    read_components,
)


def test_components_that_were_drawn_are_measured_again():
    variances = {"voice": 1.0, "voice_in_domain": 0.5, "cell": 0.35}
    flat = {name: np.full(DIMENSIONS, value) for name, value in variances.items()}
    drawn = Components(**flat, emotions=np.zeros((2, EMOTIONS, DIMENSIONS)))
    pattern = np.eye(EMOTIONS, DIMENSIONS)
    rows, design = drawn_corpus(0, drawn, Planted(no_shifts(), pattern), speakers=60)
    found = components(rows, design)
    for name, value in variances.items():
        assert np.mean(found[name]) == pytest.approx(value, rel=0.15), name
    lengths = (np.array(found["emotions"]) ** 2).sum(axis=(1, 2))
    np.testing.assert_allclose(lengths, ((pattern - pattern.mean(axis=0)) ** 2).sum(), rtol=0.3)


def test_measured_components_are_of_every_direction():
    for of in read_components().values():
        assert all(len(values) == DIMENSIONS for values in of[:3])
        assert of.emotions.shape == (2, EMOTIONS, DIMENSIONS)
        assert min(values.min() for values in of[:3]) >= 0
