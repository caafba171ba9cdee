"""What pre-training on speech or on music does: encoders that differ in nothing else, seed by seed.

Encoders belong together by their names: `speech-0`, `music-0` and `both-0` were trained from the same random
weights for as many steps. Differences are taken within a seed; intervals are over seeds.
"""

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemo.analysis.scores import student_interval
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, drawable, groups, records
from jaxemo.report.figures import Section, Sentence, with_rows
from jaxemo.report.sections.pretraining_emotions import order_sentences
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

# What encoders were trained on, as the first part of their names.
KINDS = ("speech", "music", "both")
_NAME = re.compile(rf"({'|'.join(KINDS)})-(\d+)")
_LEAST_SEEDS = 3
_LIMITS = (
    "These are small encoders after hours of audio, on one corpus: what they show is the direction of an effect "
    "at this size and budget. They cannot tell what models of a hundred times the size, trained on a thousand "
    "times the audio, would show."
)

# Kind -> seed -> a figure.
Figures = Mapping[str, Mapping[int, float]]


class Outcome(NamedTuple):
    """Something that was measured on every encoder.

    Attributes:
      words: What it is called in a sentence.
      figures: Of each trained encoder.
      untrained: Of the encoder that has learnt nothing, where there is one.
      text: A difference as it is written.
    """

    words: str
    figures: Figures
    untrained: float | None
    text: Callable[[float], str]


def pretraining_section(content: Content) -> Section:
    """The section of studies over encoders that were pre-trained on different audio; else empty."""
    question = "Does it matter whether an encoder has heard speech or music before?"
    outcomes = [one for one in _outcomes(content) if len(one.figures) > 1]
    said = [sentence for one in outcomes for sentence in _sentences(one)]
    tests = content.rows("emotion_shift_tests", test="encoders_differ", control="none", layer=None)
    said += order_sentences(records(tests), _heard(content), _untrained(content))
    if said:
        said.append(Sentence("limits", _LIMITS))
    tables = with_rows([pretraining_table(outcomes)])
    return Section("pretraining", "Pre-training", question, tables, [], [], said)


def pretraining_table(outcomes: list[Outcome]) -> Table:
    """One row per outcome and pair of kinds."""
    body: list[list[str | Cell]] = []
    for one in outcomes:
        for first, second in _pairs(one.figures):
            mean, low, high = _interval(_differences(one.figures, first, second))
            cell = interval_cell({"mean": mean, "low": low, "high": high})
            count = number_cell(len(_differences(one.figures, first, second)))
            body.append([one.words, f"{first} minus {second}", cell, count])
    caption = (
        "Encoders of one architecture, budget and seed, pre-trained on different audio: difference of what "
        "was measured on them, mean over seeds with Student's 95 % interval, from three seeds on."
    )
    return Table(
        "pretraining", caption, ["measured", "difference", "mean", "seeds"], body, keys=2, figures=2
    )


def _outcomes(content: Content) -> list[Outcome]:
    chosen = content.rows("layer_choices", layer=None)
    scores = [
        _outcome(
            records(chosen[chosen["domain"] == domain]),
            f"emotion in {domain} (UA at the chosen layer)",
            lambda value: f"{100 * value:+.1f} points",
        )
        for domain in ("speech", "music")
    ]
    shared = content.rows("emotion_shifts", measure="advantage", emotion="all", layer=None)
    advantage = _outcome(
        records(shared[shared["control"] == "none"]),
        "the advantage of the same emotion across domains",
        lambda value: f"{value:+.2f} squared within-cell standard deviations",
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
            lambda value: f"{100 * value:+.1f} points",
        )
        for (domain, method), of_method in groups(gains, "domain", "method")
    ]
    return [*scores, *helped, advantage, *_shift_outcomes(content)]


def _shift_outcomes(content: Content) -> list[Outcome]:
    """How far the emotions lie from one domain to the other, and how much they differ in it."""
    shifts = content.rows("emotion_shifts", measure="shift", control="none", layer=None)
    shifts = drawable(shifts)
    of_encoder = {name: part["mean"].to_numpy(float) for (name,), part in groups(shifts, "encoder")}

    def outcome(words: str, text: Callable[[float], str], of_emotions: Callable) -> Outcome:
        rows = [
            {"encoder": name, "origin": content.origins[name], "mean": float(of_emotions(means))}
            for name, means in of_encoder.items()
        ]
        return _outcome(rows, words, text)

    return [
        outcome(
            "how far an emotion shifts between the domains, on average",
            lambda value: f"{value:+.2f} squared within-cell standard deviations",
            np.mean,
        ),
        outcome(
            "emotion bias (the spread of the shifts over emotions, as a share of their mean)",
            lambda value: f"{value:+.2f}",
            lambda means: means.std() / means.mean(),
        ),
    ]


def _heard(content: Content) -> dict[str, tuple[str, int]]:
    """Encoder -> what it heard, and its seed."""
    matches = {name: _NAME.fullmatch(name) for name in content.origins}
    return {name: (match[1], int(match[2])) for name, match in matches.items() if match}


def _untrained(content: Content) -> str | None:
    """The one encoder that has learnt nothing."""
    names = [name for name, origin in content.origins.items() if origin == "untrained"]
    return names[0] if len(names) == 1 else None


def _outcome(rows: list[dict], words: str, text: Callable[[float], str]) -> Outcome:
    figures: dict[str, dict[int, float]] = {}
    for row in rows:
        match = _NAME.fullmatch(str(row["encoder"]))
        if match and r.known(row["mean"]):
            figures.setdefault(match[1], {})[int(match[2])] = float(row["mean"])
    untrained = [
        row["mean"] for row in rows if row["origin"] == "untrained" and r.known(row["mean"])
    ]
    return Outcome(words, figures, float(untrained[0]) if len(untrained) == 1 else None, text)


def _sentences(one: Outcome) -> list[Sentence]:
    said = []
    for first, second in _pairs(one.figures):
        differences = _differences(one.figures, first, second)
        mean, low, high = _interval(differences)
        about = f"{first} against {second}"
        if low is None or high is None:
            said.append(
                Sentence(
                    about,
                    f"Pre-training on {first} instead of {second} changes {one.words} by "
                    f"{one.text(mean)}, over {len(differences)} seeds: too few for an interval.",
                )
            )
            continue
        verdict = "moves" if low > 0 or high < 0 else "does not move beyond chance over seeds"
        said.append(
            Sentence(
                about,
                f"Pre-training on {first} instead of {second} {verdict} {one.words}: "
                f"{one.text(mean)} [{one.text(low)}, {one.text(high)}], over {len(differences)} seeds.",
            )
        )
    if one.untrained is not None:
        gains = {
            kind: np.mean(list(of.values())) - one.untrained for kind, of in one.figures.items()
        }
        parts = ", ".join(f"{kind} {one.text(float(gain))}" for kind, gain in gains.items())
        said.append(
            Sentence(
                "untrained",
                f"Against the same network without learning ({one.text(one.untrained).lstrip('+')}), {one.words}: "
                f"{parts}.",
            )
        )
    return said


def _pairs(figures: Figures) -> list[tuple[str, str]]:
    """Pairs of kinds that share a seed, music before speech."""
    wanted = (("music", "speech"), ("both", "speech"), ("both", "music"))
    return [
        pair for pair in wanted if set(figures.get(pair[0], ())) & set(figures.get(pair[1], ()))
    ]


def _differences(figures: Figures, first: str, second: str) -> Float[np.ndarray, " S"]:
    """Within each seed that both kinds have."""
    seeds = sorted(set(figures[first]) & set(figures[second]))
    return np.array([figures[first][seed] - figures[second][seed] for seed in seeds])


def _interval(differences: Float[np.ndarray, " S"]) -> tuple[float, float | None, float | None]:
    if differences.size < _LEAST_SEEDS:
        return float(differences.mean()), None, None
    interval = student_interval(differences)
    return interval.mean, interval.low, interval.high
