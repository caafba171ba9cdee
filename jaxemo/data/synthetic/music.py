"""Music-like clips: a melody over chords, with tempo, timbre, vibrato and articulation.

`perform` renders one phrase of a fixed melody on the performer's own instrument. The clip's
length is given, so the tempo shows in how many notes fit, not in the duration. The mode belongs
to the melody and tells nothing of the emotion: the shared cue table has no mode.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemo.data.synthetic.expression import Expression, Person
from jaxemo.data.synthetic.sound import (
    SAMPLE_RATE_HZ,
    at_level,
    periodic_source,
    resonance_gain,
    shape_spectrum,
    tilt_gain,
)

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


class Melody(NamedTuple):
    """A scale, the melody in its degrees around the tonic, and the root degree of each chord."""

    scale: str
    degrees: tuple[int, ...]
    roots: tuple[int, ...]
    notes_per_chord: int = 3


MELODIES = {
    "1": Melody("major", (0, 2, 0, 1, -1, 3, 0, -2, 1, 0), (0, 3, 4, 0)),
    "2": Melody("minor", (0, -1, 2, 0, 1, -2, 1, 0, 3, -1), (0, 5, 3, 4)),
}

_NOTES_PER_SECOND = 4.0
_LENGTHS = (0.75, 1.0, 1.0, 1.5)
_CHORD_LEVEL = 0.14
_CHORD_DETUNING_SEMITONES = 0.15
_LEVEL_SPREAD_DB = 2.5
_JITTER = 0.007
_BREATH = 0.12


class _Note(NamedTuple):
    onset: float
    end: float
    semitones: float
    level_db: float
    chord: tuple[int, int, int]


def perform(
    rng: np.random.Generator,
    person: Person,
    *,
    expression: Expression,
    statement: str,
    seconds: float,
) -> Float[np.ndarray, " N"]:
    """One phrase: notes of `MELODIES[statement]` until the time is up, each with its chord below.

    Args:
      rng: The clip's own generator.
      person: Whose instrument and habits they are.
      expression: How it is played.
      statement: Key of `MELODIES`.
      seconds: Length of the clip, edges of silence included.
    """
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    notes = _plan(rng, expression, melody=MELODIES[statement], seconds=seconds)
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    onsets = [note.onset for note in notes]
    current = np.maximum(np.searchsorted(onsets, times, side="right") - 1, 0)
    melody = np.array([note.semitones for note in notes])[current]
    melody += _vibrato(rng, expression, times=times)
    sound = _tone(rng, person, expression=expression, semitones=melody)
    for chord in np.array([note.chord for note in notes], dtype=np.float64)[current].T:
        detuning = rng.normal(0.0, _CHORD_DETUNING_SEMITONES) * expression.roughness_scale
        tone = _tone(rng, person, expression=expression, semitones=chord + detuning)
        sound += _CHORD_LEVEL * tone
    breath = _BREATH * person.breathiness * expression.roughness_scale
    sound += breath * rng.normal(0.0, 1.0, num_samples)
    sound *= _note_envelope(person, expression, notes=notes, times=times)
    shaped = shape_spectrum(sound, _instrument(person, expression))
    return at_level(rng, shaped, loudness_db=expression.loudness_db)


def _plan(
    rng: np.random.Generator, expression: Expression, *, melody: Melody, seconds: float
) -> list[_Note]:
    """Where each note lies, its pitch relative to the tonic, its level, and the triad under it."""
    time, end = rng.uniform(0.04, 0.12), seconds - rng.uniform(0.04, 0.12)
    first = int(rng.integers(len(melody.degrees)))
    notes: list[_Note] = []
    while True:
        index = len(notes)
        length = rng.choice(_LENGTHS) / (_NOTES_PER_SECOND * expression.rate_scale)
        if notes and time + length > end:
            return notes
        position = (time + length / 2) / seconds - 0.5
        degree = melody.degrees[(first + index) % len(melody.degrees)]
        semitones = _semitones(melody.scale, round(degree * expression.pitch_range_scale))
        # A rise or fall of the phrase is a line through the notes, as if the key drifted with them.
        semitones += 2.0 * expression.pitch_contour_semitones * position
        root = melody.roots[index // melody.notes_per_chord % len(melody.roots)]
        first_tone, third, fifth = (_semitones(melody.scale, root + step) for step in (0, 2, 4))
        chord = (first_tone - 12, third - 12, fifth - 12)
        level_db = rng.normal(0.0, _LEVEL_SPREAD_DB) * expression.loudness_range_scale
        notes.append(_Note(time, time + length, semitones, level_db, chord))
        time += length


def _semitones(scale: str, degree: int) -> int:
    octave, step = divmod(degree, 7)
    return 12 * octave + _SCALES[scale][step]


def _note_envelope(
    person: Person, expression: Expression, *, notes: list[_Note], times: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Attack, decay at the instrument's own rate, and a release that fills the gap."""
    envelope = np.zeros(times.size)
    for note in notes:
        length = note.end - note.onset
        attack = min(0.03 * expression.attack_scale, 0.5 * length)
        release = min(max(expression.gap_fraction * length, 0.01), length - attack)
        inside = slice(*np.searchsorted(times, (note.onset, note.end)))
        since = times[inside] - note.onset
        rise = np.minimum(since / attack, 1.0)
        fall = np.clip((length - since) / release, 0.0, 1.0)
        ring = np.exp(-since / person.ring_seconds)
        envelope[inside] = 10.0 ** (note.level_db / 20) * rise * fall * ring
    return envelope


def _vibrato(
    rng: np.random.Generator, expression: Expression, *, times: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """A sine at 5-6.5 Hz plus a slow wander, in semitones; roughness makes the wander larger."""
    sine = rng.uniform(0.05, 0.3) * np.sin(
        2 * np.pi * (rng.uniform(5.0, 6.5) * times + rng.random())
    )
    knots = np.arange(0.0, times[-1] + 0.1, 0.05)
    wander = np.interp(times, knots, rng.normal(0.0, 0.08, knots.size))
    return sine + expression.roughness_scale * wander


def _tone(
    rng: np.random.Generator,
    person: Person,
    *,
    expression: Expression,
    semitones: Float[np.ndarray, " N"],
) -> Float[np.ndarray, " N"]:
    """A tone an octave above the performer's speaking pitch, plus what the expression adds."""
    above = 12.0 + expression.pitch_semitones + semitones
    pitch_hz = np.clip(person.base_pitch_hz * 2.0 ** (above / 12), 55.0, 2000.0)
    return periodic_source(rng, pitch_hz, irregularity=_JITTER * expression.roughness_scale)


def _instrument(person: Person, expression: Expression) -> Float[np.ndarray, "1 K"]:
    """Body resonances over a falling spectrum, tilted by the expression."""
    body = resonance_gain(person.body_hz, person.body_hz * 10.0 ** (-person.body_gain_db / 20))
    return (body * tilt_gain(5.0 + 1.6 * expression.tilt_db_per_octave))[None]
