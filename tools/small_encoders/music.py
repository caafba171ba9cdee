"""Instrumental music from scores and sounds of our own: melody, chords, bass and drums.

Each piece draws its tempo, mode, register, articulation, dynamics and instruments; each part's notes
are rendered one by one and added up.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.signal import lfilter

from small_encoders.singing import SCALES

SAMPLE_RATE_HZ = 16_000


class Timbre(NamedTuple):
    """How an instrument sounds; every field is drawn.

    Attributes:
      bright: Slope of the partials' levels, dB per octave, below 0.
      inharmonic: Stretch of the partials.
      odd: Level of even partials against odd ones.
      index: Of frequency modulation.
      ratio: Of the modulator's frequency to the note's.
      vibrato_semitones: Depth.
      vibrato_hz: Rate.
      noise: Breath beside the tone.
    """

    bright: float
    inharmonic: float
    odd: float
    index: float
    ratio: float
    vibrato_semitones: float
    vibrato_hz: float
    noise: float


class Note(NamedTuple):
    """A note of a part: when in seconds, how high as a MIDI number, how loud in dB."""

    onset_s: float
    length_s: float
    midi: float
    level_db: float


class Playing(NamedTuple):
    """How a part is played.

    Attributes:
      attack_s: Of each note.
      ring_s: Time in which a note falls by 9 dB.
      legato: Share of a note's time that it sounds.
    """

    attack_s: float
    ring_s: float
    legato: float


# (generator, frequency at each sample, timbre) -> a tone of about unit level.
Instrument = Callable[
    [np.random.Generator, Float[np.ndarray, " N"], Timbre], Float[np.ndarray, " N"]
]


def additive(
    rng: np.random.Generator, hz: Float[np.ndarray, " N"], timbre: Timbre
) -> Float[np.ndarray, " N"]:
    """Partials that fall off; those above half the rate are left out."""
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    sound = np.zeros(hz.size)
    for number in range(1, min(int(0.47 * SAMPLE_RATE_HZ / hz.max()), 16) + 1):
        level = 10 ** (timbre.bright * np.log2(number) / 20)
        stretch = number * np.sqrt(1 + timbre.inharmonic * number**2)
        sound += level * (1.0 if number % 2 else timbre.odd) * np.sin(stretch * phase)
    return sound


def modulated(
    rng: np.random.Generator, hz: Float[np.ndarray, " N"], timbre: Timbre
) -> Float[np.ndarray, " N"]:
    """Frequency modulation whose index dies away (Chowning 1973)."""
    phase = 2 * np.pi * np.cumsum(hz) / SAMPLE_RATE_HZ
    index = timbre.index * np.exp(-3 * np.arange(hz.size) / SAMPLE_RATE_HZ)
    return np.sin(phase + index * np.sin(timbre.ratio * phase))


def plucked(
    rng: np.random.Generator, hz: Float[np.ndarray, " N"], timbre: Timbre
) -> Float[np.ndarray, " N"]:
    """A string: noise in a loop with a mean of two neighbours (Karplus & Strong 1983)."""
    period = max(round(SAMPLE_RATE_HZ / hz.mean() - 0.5), 2)
    burst = np.zeros(hz.size)
    burst[:period] = rng.uniform(-1, 1, min(period, hz.size))
    loop = np.zeros(period + 2)
    loop[0], loop[period], loop[period + 1] = 1.0, -0.498, -0.498
    return 2 * np.asarray(lfilter([1.0], loop, burst))


INSTRUMENTS: tuple[Instrument, ...] = (additive, additive, modulated, plucked)


def draw_music(rng: np.random.Generator, seconds: float) -> Float[np.ndarray, " N"]:
    """A piece at 16 kHz."""
    beat_s = 60.0 / np.exp(rng.uniform(np.log(45), np.log(190)))
    scale, tonic = SCALES[str(rng.choice(list(SCALES)))], float(rng.uniform(45, 70))
    roots = rng.choice([0, 3, 4, 5, 1, 2], max(int(seconds / (4 * beat_s)) + 1, 1))
    dynamics_db = rng.normal(0, 1) * 5 * np.linspace(-1, 1, 64) + rng.normal(
        0, 2 * rng.random(), 64
    )
    parts = [_melody(rng, seconds, beat_s, scale)]
    if rng.random() < 0.7:
        parts.append(_chords(rng, roots, beat_s, scale))
    if rng.random() < 0.4:
        parts.append(_bass(rng, roots, beat_s, scale))
    size = int(seconds * SAMPLE_RATE_HZ)
    sound = np.zeros(size)
    for number, notes in enumerate(parts):
        part = _render(rng, [note._replace(midi=note.midi + tonic) for note in notes], size)
        sound += part / max(part.std(), 1e-6) * 10 ** (-(number > 0) * rng.uniform(4, 14) / 20)
    if rng.random() < 0.3:
        drums = _drums(rng, size, beat_s)
        sound += drums / max(drums.std(), 1e-6) * 10 ** (-rng.uniform(6, 16) / 20)
    sound *= 10 ** (np.interp(np.linspace(0, 63, size), np.arange(64), dynamics_db) / 20)
    return sound / sound.std() + rng.normal(0, 10 ** (rng.uniform(-60, -30) / 20), size)


def _pitch(scale: tuple[int, ...], degree: int) -> float:
    octave, place = divmod(degree, len(scale))
    return 12.0 * octave + scale[place]


def _melody(
    rng: np.random.Generator, seconds: float, beat_s: float, scale: tuple[int, ...]
) -> list[Note]:
    notes, onset, degree = [], 0.0, int(rng.integers(0, 7))
    rest, spread, leap = 0.2 * rng.random(), 6 * rng.random(), int(rng.integers(1, 6))
    shift = 12.0 * rng.integers(-1, 3)
    while onset < seconds:
        length = beat_s * rng.choice([0.25, 0.5, 0.5, 1, 1, 2])
        if rng.random() >= rest:
            notes.append(Note(onset, length, shift + _pitch(scale, degree), rng.normal(0, spread)))
        degree = int(np.clip(degree + rng.integers(-leap, leap + 1), -5, 12))
        onset += length
    return notes


def _chords(
    rng: np.random.Generator, roots: np.ndarray, beat_s: float, scale: tuple[int, ...]
) -> list[Note]:
    """Triads or sevenths of the scale, held or repeated on the beats."""
    steps, every = (0, 2, 4, 6)[: rng.integers(2, 5)], int(rng.choice([1, 2, 4]))
    spread = 3 * rng.random()
    return [
        Note(
            (4 * bar + beat) * beat_s,
            every * beat_s,
            _pitch(scale, int(root) + step),
            rng.normal(0, spread),
        )
        for bar, root in enumerate(roots)
        for beat in range(0, 4, every)
        for step in steps
    ]


def _bass(
    rng: np.random.Generator, roots: np.ndarray, beat_s: float, scale: tuple[int, ...]
) -> list[Note]:
    every = int(rng.choice([1, 2, 4]))
    return [
        Note((4 * bar + beat) * beat_s, every * beat_s, _pitch(scale, int(root)) - 24.0, 0.0)
        for bar, root in enumerate(roots)
        for beat in range(0, 4, every)
    ]


def _render(rng: np.random.Generator, notes: list[Note], size: int) -> Float[np.ndarray, " N"]:
    instrument = INSTRUMENTS[int(rng.integers(len(INSTRUMENTS)))]
    timbre = Timbre(
        bright=rng.uniform(-18, -3),
        inharmonic=rng.choice([0, 0, 1e-4, 1e-3]),
        odd=rng.choice([1, 1, 0.1]),
        index=rng.uniform(0.3, 5),
        ratio=float(rng.choice([1, 2, 3, 0.5, 1.414, 3.5])),
        vibrato_semitones=0.6 * rng.random() ** 2,
        vibrato_hz=rng.uniform(4, 7.5),
        noise=0.3 * rng.random() ** 3,
    )
    playing = Playing(
        attack_s=np.exp(rng.uniform(np.log(0.004), np.log(0.15))),
        ring_s=np.exp(rng.uniform(np.log(0.15), np.log(4))),
        legato=rng.uniform(0.25, 1.05),
    )
    sound = np.zeros(size)
    for note in notes:
        first = int(note.onset_s * SAMPLE_RATE_HZ)
        tone = _note(rng, note, instrument, timbre, playing)[: max(size - first, 0)]
        sound[first : first + tone.size] += tone
    return sound


def _note(
    rng: np.random.Generator, note: Note, instrument: Instrument, timbre: Timbre, playing: Playing
) -> Float[np.ndarray, " N"]:
    length_s = max(note.length_s * playing.legato, 0.04)
    since = np.arange(int((length_s + 0.03) * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    wave = timbre.vibrato_semitones * np.sin(2 * np.pi * timbre.vibrato_hz * since)
    hz = np.clip(440 * 2 ** ((note.midi - 69 + wave) / 12), 30, 0.4 * SAMPLE_RATE_HZ)
    tone = instrument(rng, hz, timbre) + timbre.noise * rng.normal(0, 1, since.size)
    envelope = np.minimum(since / playing.attack_s, 1.0) * np.exp(-since / playing.ring_s)
    envelope *= np.clip((since[-1] - since) / 0.03, 0.0, 1.0)
    return tone * envelope * 10 ** (note.level_db / 20)


def _drums(rng: np.random.Generator, size: int, beat_s: float) -> Float[np.ndarray, " N"]:
    """Noise and falling tones on a pattern of half beats that repeats every bar."""
    pattern = rng.random((2, 8)) < np.array([[0.4], [0.5]])
    since = np.arange(int(0.25 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    kick = np.sin(2 * np.pi * (50 * since + 8 * (1 - np.exp(-30 * since)))) * np.exp(-12 * since)
    fall = np.exp(rng.uniform(np.log(15), np.log(80)))
    sound = np.zeros(size + since.size)
    for half_beat in range(int(2 * size / SAMPLE_RATE_HZ / beat_s)):
        first = int(half_beat * beat_s / 2 * SAMPLE_RATE_HZ)
        if first >= size:
            break
        if pattern[0, half_beat % 8]:
            sound[first : first + since.size] += kick
        if pattern[1, half_beat % 8]:
            sound[first : first + since.size] += rng.normal(0, 0.5, since.size) * np.exp(
                -fall * since
            )
    return sound[:size]
