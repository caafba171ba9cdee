"""What was measured on encoders that differ in what they heard alone, kind by kind and seed by seed.

Encoders belong together by their names: `speech-0`, `music-0` and `both-0` were trained from the same random
weights for as many steps.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxemo.report import rows as r
from jaxemo.report.contents import Content, drawable, groups, records

# What encoders were trained on, as the first part of their names.
_KINDS = ("speech", "music", "both")
_NAME = re.compile(rf"({'|'.join(_KINDS)})-(\d+)")

# Kind -> seed -> a figure.
Figures = Mapping[str, Mapping[int, float]]


class Unit(NamedTuple):
    """How figures are written.

    Attributes:
      words: Behind a figure; empty for a number without unit.
      difference: With its sign.
      level: The figure itself.
    """

    words: str
    difference: Callable[[Any], str]
    level: Callable[[Any], str]


_POINTS = Unit("points", r.points, r.percent)
_GAIN = Unit("points", r.points, r.points)
_SQUARED = Unit("squared within-cell standard deviations", r.signed, r.distance)
_SHARE = Unit("", r.signed, r.distance)


class Outcome(NamedTuple):
    """Something that was measured on every encoder.

    Attributes:
      words: What it is called in a sentence.
      figures: Of each trained encoder.
      untrained: Of the encoder that has learnt nothing, where there is one.
      unit: Of the figures.
    """

    words: str
    figures: Figures
    untrained: float | None
    unit: Unit


def outcomes_of(content: Content) -> list[Outcome]:
    """All that is compared; what a study did not measure has no figures."""
    scores = [
        _outcome(
            records(content.rows("layer_choices", layer=None, domain=domain)),
            f"emotion in {domain} (UA at the chosen layer)",
            _POINTS,
        )
        for domain in ("speech", "music")
    ]
    shared = content.rows(
        "emotion_shifts", measure="advantage", emotion="all", control="none", layer=None
    )
    advantage = _outcome(
        records(shared), "the advantage of the same emotion across domains", _SQUARED
    )
    gains = content.rows(
        "transfer",
        metric="UA_gain",
        emotion="all",
        regime="two_stage",
        baseline="target_only",
        share=1.0,
    )
    helped = [
        _outcome(
            records(of_method),
            f"what a first stage on the other domain adds to emotion in {domain} "
            f"(UA, {r.name('method', method)})",
            _GAIN,
        )
        for (domain, method), of_method in groups(gains, "domain", "method")
    ]
    return [*scores, *helped, advantage, *_shift_outcomes(content)]


def _shift_outcomes(content: Content) -> list[Outcome]:
    """How far the emotions lie from one domain to the other, and how much they differ in it."""
    shifts = drawable(content.rows("emotion_shifts", measure="shift", control="none", layer=None))
    of_encoder = {name: part["mean"].to_numpy(float) for (name,), part in groups(shifts, "encoder")}

    def outcome(words: str, unit: Unit, of_emotions: Callable) -> Outcome:
        rows = [
            {"encoder": name, "origin": content.origins[name], "mean": float(of_emotions(means))}
            for name, means in of_encoder.items()
        ]
        return _outcome(rows, words, unit)

    return [
        outcome(
            "the mean shift of the emotions between the domains",
            _SQUARED,
            np.mean,
        ),
        outcome(
            "emotion bias (the spread of the shifts over emotions, as a share of their mean)",
            _SHARE,
            lambda means: means.std() / means.mean(),
        ),
    ]


def heard_by(content: Content) -> dict[str, tuple[str, int]]:
    """Encoder -> what it heard, and its seed."""
    matches = {name: _NAME.fullmatch(name) for name in content.origins}
    return {name: (match[1], int(match[2])) for name, match in matches.items() if match}


def untrained_name(content: Content) -> str | None:
    """The one encoder that has learnt nothing."""
    names = [name for name, origin in content.origins.items() if origin == "untrained"]
    return names[0] if len(names) == 1 else None


def _outcome(rows: list[dict], words: str, unit: Unit) -> Outcome:
    figures: dict[str, dict[int, float]] = {}
    for row in rows:
        match = _NAME.fullmatch(str(row["encoder"]))
        if match and r.known(row["mean"]):
            figures.setdefault(match[1], {})[int(match[2])] = float(row["mean"])
    untrained = [
        row["mean"] for row in rows if row["origin"] == "untrained" and r.known(row["mean"])
    ]
    return Outcome(words, figures, float(untrained[0]) if len(untrained) == 1 else None, unit)
