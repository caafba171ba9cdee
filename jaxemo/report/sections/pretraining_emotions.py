"""Whether encoders that heard different audio put the same emotions near: their orders, kind against kind."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from jaxemo.analysis.intervals import holm
from jaxemo.report import rows as r
from jaxemo.report.figures import Sentence
from jaxemo.report.sections.shift_tables import LEVEL

Heard = tuple[str, int]
Agreements = dict[frozenset[Heard], float]
_MOST_ARRANGEMENTS = 10_000


def order_sentences(
    tests: Sequence[Mapping[str, Any]], kind_of: Mapping[str, Heard], untrained: str | None
) -> list[Sentence]:
    """How alike two encoders order the emotions by shift, for those of one kind of audio and of two.

    Args:
      tests: Rows `encoders_differ` of the mean over layers, without control.
      kind_of: Encoder -> what it heard, and its seed.
      untrained: The encoder that has heard nothing, where there is one.
    """
    taus: Agreements = {}
    p_values: dict[frozenset[Heard], float] = {}
    unlearned = []
    for row in tests:
        pair = (row["encoder"], row["other_encoder"])
        if not r.known(row["tau"]):
            continue
        if set(pair) <= set(kind_of):
            key = frozenset(kind_of[name] for name in pair)
            taus[key] = float(row["tau"])
            if r.known(row["p_value"]):
                p_values[key] = float(row["p_value"])
        elif untrained in pair and set(pair) & set(kind_of):
            unlearned.append(float(row["tau"]))
    said = [*_kinds_sentence(taus), *_speakers_sentence(p_values)]
    if unlearned:
        said.append(
            Sentence(
                "order without learning",
                "The same network without learning orders the emotions as the trained ones do with "
                f"Kendall's tau {np.mean(unlearned):+.2f} on average ({min(unlearned):+.2f} to "
                f"{max(unlearned):+.2f}): that much of which emotions lie near needs no learning.",
            )
        )
    return said


def _kinds_sentence(taus: Agreements) -> list[Sentence]:
    """Agreement within kinds of audio and between them, tested by exchange of kinds within seeds."""
    heard = sorted({one for pair in taus for one in pair})
    kinds, seeds = (sorted(set(part)) for part in zip(*heard, strict=True)) if heard else ([], [])
    if len(kinds) < 2 or len(seeds) < 2 or len(taus) != len(heard) * (len(heard) - 1) // 2:
        return []
    matrix = np.array([[taus.get(frozenset((a, b)), 1.0) for a in heard] for b in heard])
    own = np.array([kinds.index(kind) for kind, _ in heard])
    within, between = _agreement(matrix, own)
    apart = [_gap(matrix, one) for one in _arrangements(heard, own)]
    # Arrangements that are the same but for rounding count as such.
    p_value = float(np.mean(np.array(apart) >= within - between - 1e-9))
    verdict = "changes" if p_value < LEVEL else "is not seen to change"
    return [
        Sentence(
            "order",
            f"What was heard {verdict} which emotions lie near: the orders of two encoders agree with "
            f"Kendall's tau {within:+.2f} where they heard the same kind of audio and {between:+.2f} "
            f"where they did not (p = {r.probability(p_value)} by exchange of the kinds within seeds, of "
            f"{len(apart)} arrangements).",
        )
    ]


def _agreement(matrix: Float[np.ndarray, "N N"], kind: np.ndarray) -> tuple[float, float]:
    """Mean over pairs of one kind, and over pairs of two."""
    first, second = np.triu_indices(len(matrix), 1)
    same = kind[first] == kind[second]
    values = matrix[first, second]
    return float(values[same].mean()), float(values[~same].mean())


def _gap(matrix: Float[np.ndarray, "N N"], kind: np.ndarray) -> float:
    within, between = _agreement(matrix, kind)
    return within - between


def _arrangements(heard: Sequence[Heard], own: np.ndarray) -> list[np.ndarray]:
    """The kinds exchanged within every seed: all ways, or a draw of them where they are too many."""
    places = [
        [n for n, (_, one) in enumerate(heard) if one == seed]
        for seed in sorted({seed for _, seed in heard})
    ]
    ways = [list(itertools.permutations(own[group])) for group in places]
    count = int(np.prod([len(of_seed) for of_seed in ways]))
    chosen: Any = itertools.product(*ways)
    made = []
    if count > _MOST_ARRANGEMENTS:
        random = np.random.default_rng(0)
        drawn = random.integers(
            [len(of_seed) for of_seed in ways], size=(_MOST_ARRANGEMENTS, len(ways))
        )
        chosen = [[of_seed[n] for of_seed, n in zip(ways, row, strict=True)] for row in drawn]
        made.append(own)
    for arrangement in chosen:
        kinds = np.empty_like(own)
        for group, values in zip(places, arrangement, strict=True):
            kinds[group] = values
        made.append(kinds)
    return made


def _speakers_sentence(p_values: dict[frozenset[Heard], float]) -> list[Sentence]:
    """Pairs whose profiles differ beyond chance over speakers, Holm's correction over all pairs."""
    if not p_values:
        return []
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    counts = {}
    for name, same in (("the same kind of audio", True), ("different kinds", False)):
        chosen = [
            p for pair, p in corrected.items() if (len({kind for kind, _ in pair}) == 1) == same
        ]
        if chosen:
            counts[name] = (
                f"{sum(p < LEVEL for p in chosen)} of {len(chosen)} pairs that heard {name}"
            )
    return [
        Sentence(
            "order over speakers",
            "Shifts over their mean differ beyond chance over speakers (Holm over all pairs) in "
            f"{' and in '.join(counts.values())}.",
        )
    ]
