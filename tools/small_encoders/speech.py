"""Speech of many voices by espeak-ng, then moved about in pitch, tempo, level and voice quality.

The synthesiser varies who speaks, what, how high, how fast and with how wide an intonation; what it
cannot do (level that rises and falls, bright and dull voices, breath) is done to its sound.
"""

import html
import io
import subprocess

import numpy as np
import soundfile
import soxr
from jaxtyping import Float

from small_encoders.texts import GRAMMARS, draw_text

SAMPLE_RATE_HZ = 16_000
# Variants of espeak-ng's voices that sound like persons, low and high, hoarse and whispering.
VARIANTS = (
    *("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5"),
    *("Alex", "Alicia", "Andrea", "Andy", "Annie", "Denis", "Diogo", "Gene", "Henrique", "Hugo"),
    *("Jacky", "Lee", "Marco", "Mario", "Michael", "Mike", "adam", "anika", "antonio", "aunty"),
    *("belinda", "benjamin", "boris", "caleb", "david", "ed", "edward", "grandma", "grandpa"),
    *("gustave", "john", "linda", "marcelo", "max", "michel", "miguel", "norbert", "pablo", "paul"),
    *("pedro", "quincy", "rob", "robert", "sandro", "shelby", "steph", "travis", "victor", "zac"),
    *("klatt", "klatt2", "klatt3", "klatt4", "klatt5", "klatt6", "croak", "whisper", "whisperf"),
)


def draw_speech(rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """One utterance at 16 kHz, a function of the generator's state and espeak-ng's version alone."""
    language, variant = str(rng.choice(list(GRAMMARS))), str(rng.choice(VARIANTS))
    wave, rate = synthesise(
        draw_text(rng, language),
        voice=f"{language}+{variant}",
        words_per_minute=int(np.exp(rng.uniform(np.log(105), np.log(270)))),
        pitch=int(rng.integers(0, 100)),
        pitch_range_percent=int(rng.uniform(-90, 150)),
    )
    wave = _played(rng, wave, rate)
    return _coloured(rng, wave)


def synthesise(
    text: str, *, voice: str, words_per_minute: int, pitch: int, pitch_range_percent: int
) -> tuple[Float[np.ndarray, " N"], int]:
    """What espeak-ng says, and its sample rate.

    Args:
      pitch: From 0 to 99; 50 is the voice's own.
      pitch_range_percent: How much wider than its own the intonation is; negative for narrower.

    Raises:
      RuntimeError: espeak-ng does not run.
    """
    markup = f'<prosody range="{pitch_range_percent:+d}%">{html.escape(text)}</prosody>'
    command = ["espeak-ng", "-m", "-v", voice, "-s", str(words_per_minute), "-p", str(pitch)]
    done = subprocess.run(
        [*command, "--stdout", "--stdin"], input=markup.encode(), capture_output=True
    )
    if done.returncode or len(done.stdout) < 1000:
        raise RuntimeError(
            f"espeak-ng with voice {voice!r} gave no sound: {done.stderr.decode().strip()}; expected "
            "espeak-ng 1.51 or later with all its voices"
        )
    # A stream's header does not know its length; soundfile reads what there is.
    wave, rate = soundfile.read(io.BytesIO(_with_length(done.stdout)), dtype="float64")
    return wave, rate


def _with_length(wav: bytes) -> bytes:
    """The sizes that espeak-ng leaves open in the header of a stream."""
    header = bytearray(wav[:44])
    header[4:8] = (len(wav) - 8).to_bytes(4, "little")
    header[40:44] = (len(wav) - 44).to_bytes(4, "little")
    return bytes(header) + wav[44:]


def _played(
    rng: np.random.Generator, wave: Float[np.ndarray, " N"], rate: int
) -> Float[np.ndarray, " M"]:
    """At 16 kHz, and up to a fifth faster or slower, by a speed that drifts: a size of body."""
    speed = np.exp(rng.uniform(np.log(0.85), np.log(1.25)))
    knots = np.exp(rng.normal(0.0, 0.04 * rng.random(), 6))
    wave = soxr.resample(wave, rate * speed, SAMPLE_RATE_HZ)
    pace = np.interp(np.linspace(0, 5, wave.size), np.arange(6), knots)
    place = np.cumsum(pace)
    place *= (wave.size - 1) / place[-1]
    return np.interp(place, np.arange(wave.size), wave)


def _coloured(rng: np.random.Generator, wave: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """A slope of the spectrum, breath that follows the voice, a level that moves, a little noise."""
    octaves = np.log2(np.maximum(np.fft.rfftfreq(wave.size, 1 / SAMPLE_RATE_HZ), 100.0) / 1000.0)
    tilt_db = rng.uniform(-5.0, 5.0)
    wave = np.fft.irfft(np.fft.rfft(wave) * 10 ** (tilt_db * octaves / 20), wave.size)
    wave = wave / max(wave.std(), 1e-6)
    envelope = np.sqrt(np.convolve(wave**2, np.ones(320) / 320, mode="same"))
    wave = wave + envelope * rng.normal(0, 0.25 * rng.random() ** 2, wave.size)
    moves_db = np.interp(
        np.linspace(0, 7, wave.size), np.arange(8), rng.normal(0, 4 * rng.random(), 8)
    )
    wave = wave * 10 ** (moves_db / 20)
    return wave / wave.std() + rng.normal(0, 10 ** (rng.uniform(-60, -25) / 20), wave.size)
