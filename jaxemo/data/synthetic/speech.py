"""Speech-like clips: glottal source, moving formants, consonant noise, syllable rhythm, intonation.

`speak` renders one utterance of a fixed syllable string. The clip's length is given, so the rate
shows in how many syllables fit, not in the duration.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxemo.data.synthetic.expression import Expression, Person
from jaxemo.data.synthetic.sound import (
    FREQUENCIES_HZ,
    SAMPLE_RATE_HZ,
    at_level,
    control_times,
    periodic_source,
    resonance_gain,
    shape_spectrum,
    tilt_gain,
)

# First four formants of an adult male in Hz (after Peterson & Barney 1952, fourth our choice).
_VOWELS = {
    "a": (730.0, 1090.0, 2440.0, 3400.0),
    "e": (530.0, 1840.0, 2480.0, 3500.0),
    "i": (270.0, 2290.0, 3010.0, 3600.0),
    "o": (570.0, 840.0, 2410.0, 3300.0),
    "u": (300.0, 870.0, 2240.0, 3300.0),
}
_BANDWIDTHS_HZ = np.array([80.0, 100.0, 140.0, 200.0])
# Centre and width in octaves of the noise. Voiced consonants have none: the voice only dips.
_FRICATIVES = {"s": (6500.0, 0.5), "x": (3000.0, 0.5), "f": (5000.0, 1.5)}
_PLOSIVES = {"p": (900.0, 1.0), "t": (4500.0, 0.8), "k": (2000.0, 0.7)}
STATEMENTS = {"1": "ta so mi ke la fu ni da", "2": "pe xa lu ri so ka mo te"}

_SYLLABLES_PER_SECOND = 4.2
_ACCENT_SEMITONES = 2.2
_DECLINATION_SEMITONES = -1.5
_PAUSE_CHANCE = 0.15
_LEVEL_SPREAD_DB = 2.5
_JITTER = 0.008
_BREATH = 0.10


class _Syllable(NamedTuple):
    consonant: str
    vowel: str
    onset: float
    vowel_onset: float
    vowel_end: float
    accent: float
    level_db: float


def speak(
    rng: np.random.Generator,
    person: Person,
    *,
    expression: Expression,
    statement: str,
    seconds: float,
) -> Float[np.ndarray, " N"]:
    """One utterance: syllables of `STATEMENTS[statement]`, over and over until the time is up.

    Args:
      rng: The clip's own generator.
      person: Whose voice it is.
      expression: How it is said.
      statement: Key of `STATEMENTS`.
      seconds: Length of the clip, edges of silence included.
    """
    num_samples = round(seconds * SAMPLE_RATE_HZ)
    syllables = _plan(rng, expression, statement=statement, seconds=seconds)
    voice = _voice(rng, person, expression=expression, syllables=syllables, num_samples=num_samples)
    consonants = _consonants(rng, expression, syllables=syllables, num_samples=num_samples)
    return at_level(rng, voice + consonants, loudness_db=expression.loudness_db)


def _plan(
    rng: np.random.Generator, expression: Expression, *, statement: str, seconds: float
) -> list[_Syllable]:
    """Where each syllable lies, how high its accent is and how loud it is."""
    time, end = rng.uniform(0.04, 0.12), seconds - rng.uniform(0.04, 0.12)
    pieces = STATEMENTS[statement].split()
    syllables: list[_Syllable] = []
    while True:
        consonant, vowel = pieces[len(syllables) % len(pieces)]
        length = np.exp(rng.normal(0.0, 0.15)) / (_SYLLABLES_PER_SECOND * expression.rate_scale)
        if syllables and time + length > end:
            return syllables
        vowel_onset = time + min(0.35 * length, 0.09)
        vowel_end = time + length - 0.6 * expression.gap_fraction * (time + length - vowel_onset)
        # Strong and weak syllables alternate.
        stress = 1.0 if len(syllables) % 2 == 0 else -0.7
        accent = stress * rng.normal(_ACCENT_SEMITONES, 1.0) * expression.pitch_range_scale
        level_db = rng.normal(0.0, _LEVEL_SPREAD_DB) * expression.loudness_range_scale
        syllables.append(
            _Syllable(consonant, vowel, time, vowel_onset, vowel_end, accent, level_db)
        )
        time += length
        if rng.random() < _PAUSE_CHANCE:
            time += rng.uniform(0.08, 0.2) / expression.rate_scale


def _voice(
    rng: np.random.Generator,
    person: Person,
    *,
    expression: Expression,
    syllables: list[_Syllable],
    num_samples: int,
) -> Float[np.ndarray, " N"]:
    pitch_hz = _intonation(
        rng, person, expression=expression, syllables=syllables, num_samples=num_samples
    )
    roughness = expression.roughness_scale
    source = periodic_source(rng, pitch_hz, irregularity=_JITTER * roughness)
    breath = _BREATH * person.breathiness * roughness
    source += breath * rng.normal(0.0, 1.0, num_samples)
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    source *= _voice_envelope(expression, syllables, times=times)
    return shape_spectrum(
        source, _vocal_tract(person, expression, syllables=syllables, num_samples=num_samples)
    )


def _intonation(
    rng: np.random.Generator,
    person: Person,
    *,
    expression: Expression,
    syllables: list[_Syllable],
    num_samples: int,
) -> Float[np.ndarray, " N"]:
    """Accents on mid-vowel, joined by lines over a falling or rising base line, and a tremor."""
    times = np.arange(num_samples) / SAMPLE_RATE_HZ
    middles = [(syllable.vowel_onset + syllable.vowel_end) / 2 for syllable in syllables]
    accents = np.interp(times, middles, [syllable.accent for syllable in syllables])
    slope = _DECLINATION_SEMITONES + expression.pitch_contour_semitones
    line = slope * (times / times[-1] - 0.5)
    knots = np.arange(0.0, times[-1] + 0.1, 0.05)
    tremor = np.interp(times, knots, rng.normal(0.0, 0.12, knots.size)) * expression.roughness_scale
    semitones = expression.pitch_semitones + accents + line + tremor
    return np.clip(person.base_pitch_hz * 2.0 ** (semitones / 12), 55.0, 700.0)


def _voice_envelope(
    expression: Expression, syllables: list[_Syllable], *, times: Float[np.ndarray, " N"]
) -> Float[np.ndarray, " N"]:
    """Level of the voice: attack, vowel, release; a dip in voiced consonants, else silence."""
    knots, levels = [0.0], [0.0]
    for syllable in syllables:
        voiced = syllable.consonant not in _FRICATIVES and syllable.consonant not in _PLOSIVES
        span = syllable.vowel_end - syllable.vowel_onset
        attack = min(0.022 * expression.attack_scale, 0.5 * span)
        peak = 10.0 ** (syllable.level_db / 20)
        start = 0.25 * peak if voiced else 0.0
        knots += [syllable.onset, syllable.vowel_onset, syllable.vowel_onset + attack]
        levels += [start, start, peak]
        knots += [syllable.vowel_end - 0.3 * span, syllable.vowel_end]
        levels += [0.7 * peak, 0.0]
    return np.interp(times, knots, levels)


def _vocal_tract(
    person: Person, expression: Expression, *, syllables: list[_Syllable], num_samples: int
) -> Float[np.ndarray, "T K"]:
    """Formants that glide from vowel to vowel, lip radiation, and the tilt of the expression."""
    times = control_times(num_samples)
    knots, targets = [], []
    for syllable in syllables:
        span = syllable.vowel_end - syllable.vowel_onset
        knots += [syllable.vowel_onset + 0.3 * span, syllable.vowel_onset + 0.8 * span]
        targets += [_VOWELS[syllable.vowel]] * 2
    formants = np.stack([np.interp(times, knots, track) for track in np.array(targets).T], axis=1)
    formants *= person.formant_scale * person.formant_bias
    return resonance_gain(formants, _BANDWIDTHS_HZ) * tilt_gain(6.0 + expression.tilt_db_per_octave)


def _consonants(
    rng: np.random.Generator,
    expression: Expression,
    *,
    syllables: list[_Syllable],
    num_samples: int,
) -> Float[np.ndarray, " N"]:
    """Noise of fricatives over the consonant, of plosives in a burst of 12 ms before the vowel."""
    times = control_times(num_samples)
    gain = np.zeros((times.size, FREQUENCIES_HZ.size))
    for syllable in syllables:
        is_burst = syllable.consonant in _PLOSIVES
        band = (_PLOSIVES | _FRICATIVES).get(syllable.consonant)
        if band is None:
            continue
        start = syllable.vowel_onset - 0.012 if is_burst else syllable.onset
        inside = (times >= start - 0.003) & (times <= syllable.vowel_onset)
        octaves = np.log2(np.maximum(FREQUENCIES_HZ, 50.0) / band[0])
        level = (4.0 if is_burst else 1.6) * 10.0 ** (syllable.level_db / 20)
        gain[inside] = level * np.exp(-0.5 * (octaves / band[1]) ** 2)
    tilt = tilt_gain(0.5 * expression.tilt_db_per_octave)
    return shape_spectrum(rng.normal(0.0, 1.0, num_samples), gain * tilt)
