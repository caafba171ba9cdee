"""What an emotion does to sound, and who expresses it: the rules behind the embedded corpus.

`EMOTION_CUES` is the one table that drives speech and music alike, so that what is learnt in one
domain can carry over to the other. A `Person` speaks and performs; `draw_expression` mixes table,
person and chance into the physical settings of one clip. Nothing here makes sound.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

CUES = (
    "pitch_level",
    "pitch_range",
    "pitch_contour",
    "loudness",
    "loudness_variability",
    "rate",
    "attack",
    "staccato",
    "brightness",
    "roughness",
)

# Juslin & Laukka 2003, Psychological Bulletin 129(5):770-814: the cross-modal patterns of
# acoustic cues for discrete emotions that end their review, with articulation from its music
# table. 1 is high, much, fast or rising; -1 low, little, slow or falling; 0.5 medium or medium to
# high; 0 not part of the pattern. "rate" is speech rate or tempo, "attack" the speed of voice
# onsets or tone attacks, "brightness" high-frequency energy, "roughness" microstructural
# irregularity. Fear is the mild kind (panic fear would be loud). The rows of fear and anger are
# unverified: they were not compared with the table itself, and secondary sources give fear a slower
# attack (about -0.5) and a wide pitch range. Two rows are our choice: calm is
# their tenderness at half strength, neutral the origin from which the others depart.
EMOTION_CUES: dict[str, tuple[float, ...]] = {
    #           level range contour loud  loudvar rate  attack staccato bright rough
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "calm": (-0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5, -0.5),
    "happy": (1.0, 1.0, 1.0, 0.5, 0.0, 1.0, 1.0, 1.0, 0.5, -1.0),
    "sad": (-1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0, 1.0),
    "angry": (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0),
    "fearful": (1.0, -1.0, 1.0, -1.0, 1.0, 1.0, 0.0, 1.0, -1.0, 1.0),
}

# In units of the table: a clip's own deviation and a person's standing habit, by which every cue
# alone overlaps widely between emotions. Chosen so that a linear probe on `data.acoustics` with
# held-out persons stays well under 100 %.
_CLIP_SPREAD = 0.45
_HABIT_SPREAD = 0.35
_EXPRESSIVENESS = (0.6, 1.4)
_INTENSITY_STRENGTH = {"normal": 0.85, "strong": 1.25}


class Person(NamedTuple):
    """One speaker and performer: voice, instrument, and habits in both."""

    base_pitch_hz: float
    formant_scale: float
    breathiness: float
    formant_bias: Float[np.ndarray, " 4"]
    body_hz: Float[np.ndarray, " 3"]
    body_gain_db: Float[np.ndarray, " 3"]
    ring_seconds: float
    habit: Float[np.ndarray, " cues"]
    expressiveness: Float[np.ndarray, " cues"]


class Expression(NamedTuple):
    """Physical settings of one clip, relative to what the person does when neutral.

    Scales multiply: excursions of pitch and level, syllables or notes a second, attack time,
    jitter and noise.
    """

    pitch_semitones: float
    pitch_range_scale: float
    pitch_contour_semitones: float
    loudness_db: float
    loudness_range_scale: float
    rate_scale: float
    attack_scale: float
    gap_fraction: float
    tilt_db_per_octave: float
    roughness_scale: float


def draw_low_voice(rng: np.random.Generator) -> Person:
    """A person who speaks at 95-135 Hz, with a long vocal tract."""
    return _draw_person(rng, pitch_range_hz=(95.0, 135.0), formant_scale=1.0)


def draw_high_voice(rng: np.random.Generator) -> Person:
    """A person who speaks at 165-235 Hz, with a short vocal tract."""
    return _draw_person(rng, pitch_range_hz=(165.0, 235.0), formant_scale=1.16)


def draw_expression(
    rng: np.random.Generator,
    person: Person,
    *,
    emotion: str,
    intensity: str,
    spread: float = 1.0,
) -> Expression:
    """Settings of one clip: cue = intensity * expressiveness * table + habit + chance.

    Args:
      rng: The clip's own generator.
      person: Gives expressiveness and habit.
      emotion: A row of `EMOTION_CUES`.
      intensity: "normal" or "strong".
      spread: Times the usual part of chance.
    """
    pull = _INTENSITY_STRENGTH[intensity] * person.expressiveness * np.array(EMOTION_CUES[emotion])
    chance = rng.normal(0.0, spread * _CLIP_SPREAD, len(CUES))
    cue = dict(zip(CUES, pull + person.habit + chance, strict=True))
    return Expression(
        pitch_semitones=2.5 * cue["pitch_level"],
        pitch_range_scale=2.0 ** (0.6 * cue["pitch_range"]),
        pitch_contour_semitones=2.5 * cue["pitch_contour"],
        loudness_db=4.0 * cue["loudness"],
        loudness_range_scale=2.0 ** (0.6 * cue["loudness_variability"]),
        rate_scale=2.0 ** (0.4 * cue["rate"]),
        attack_scale=2.0 ** (-0.7 * cue["attack"]),
        gap_fraction=float(np.clip(0.25 + 0.15 * cue["staccato"], 0.02, 0.6)),
        tilt_db_per_octave=2.0 * cue["brightness"],
        roughness_scale=2.0 ** (0.8 * cue["roughness"]),
    )


def with_habits(rng: np.random.Generator, person: Person, *, spread: float, added: float) -> Person:
    """The person with habits and expressiveness `spread` times as far from the usual, and further habits.

    Args:
      rng: Draws the further habits.
      spread: 0: everybody is alike in both.
      added: Standard deviation of the further habits, in the units of `EMOTION_CUES`.
    """
    return person._replace(
        habit=spread * person.habit + added * rng.normal(size=len(CUES)),
        expressiveness=1.0 + spread * (person.expressiveness - 1.0),
    )


def _draw_person(
    rng: np.random.Generator, *, pitch_range_hz: tuple[float, float], formant_scale: float
) -> Person:
    return Person(
        base_pitch_hz=float(np.exp(rng.uniform(*np.log(pitch_range_hz)))),
        formant_scale=float(formant_scale * np.exp(rng.normal(0.0, 0.04))),
        breathiness=float(np.exp(rng.normal(0.0, 0.4))),
        formant_bias=np.exp(rng.normal(0.0, 0.04, 4)),
        body_hz=np.exp(rng.uniform(np.log([250, 700, 1800]), np.log([600, 1600, 4500]))),
        body_gain_db=rng.uniform(2.0, 9.0, 3),
        ring_seconds=float(np.exp(rng.uniform(np.log(0.2), np.log(1.5)))),
        habit=rng.normal(0.0, _HABIT_SPREAD, len(CUES)),
        expressiveness=rng.uniform(*_EXPRESSIVENESS, len(CUES)),
    )
