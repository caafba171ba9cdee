"""Audio to pre-train the small encoders on: folders of sound that is all made here.

    OUT/speech   espeak-ng in six languages, and its utterances with other intonations
    OUT/sung     the same utterances on melodies
    OUT/music    instruments

Command: python tools/small_encoders/make_audio.py --out=DIR --hours=3
Every file is a function of its number alone, at 16 kHz, with one root mean square. What kinds have of level and
bandwidth is printed.
"""

import argparse
import multiprocessing
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from jaxtyping import Float
from scipy import signal

from jaxemo.data.synthetic.sound import SAMPLE_RATE_HZ as VOCODER_RATE_HZ
from small_encoders.music import draw_music
from small_encoders.singing import (
    analyse,
    draw_intonation,
    draw_melody,
    resynthesise,
    stretched,
)
from small_encoders.speech import SAMPLE_RATE_HZ, draw_speech

_RMS = 0.05
_SECONDS = 8.0


def plain(rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """Utterances one after another, as espeak-ng says them."""
    return _filled(lambda: draw_speech(rng))


def intoned(rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """Utterances with an intonation, a voice quality and a tempo of ours."""
    return _filled(lambda: _vocoded(rng, draw_intonation, longest_stretch=1.6))


def sung(rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """Utterances on melodies, their vowels held."""
    return _filled(lambda: _vocoded(rng, draw_melody, longest_stretch=4.0))


def played(rng: np.random.Generator) -> Float[np.ndarray, " N"]:
    """A piece of instrumental music."""
    return draw_music(rng, _SECONDS)


KINDS: dict[str, tuple[Callable[[np.random.Generator], Float[np.ndarray, " N"]], ...]] = {
    "speech": (plain, intoned),
    "sung": (sung,),
    "music": (played,),
}


def write_clip(place: tuple[Path, str, int]) -> None:
    """Writes one file of a kind."""
    folder, kind, number = place
    path = folder / kind / f"{number:06d}.flac"
    if path.is_file():
        return
    rng = np.random.Generator(np.random.PCG64([list(KINDS).index(kind), number]))
    makers = KINDS[kind]
    wave = makers[number % len(makers)](rng)
    wave = wave * min(_RMS / wave.std(), 0.97 / np.abs(wave).max())
    unfinished = path.with_suffix(".unfinished")
    soundfile.write(unfinished, wave, SAMPLE_RATE_HZ, format="FLAC")
    unfinished.rename(path)


def _vocoded(
    rng: np.random.Generator, line: Callable, *, longest_stretch: float
) -> Float[np.ndarray, " N"]:
    voice = analyse(draw_speech(rng), SAMPLE_RATE_HZ)
    voice = stretched(voice, np.exp(rng.uniform(np.log(0.8), np.log(longest_stretch))))
    wave = resynthesise(
        rng,
        voice,
        line(rng, voice.voiced.size),
        base_pitch_hz=np.exp(rng.uniform(np.log(80), np.log(330))),
        formant_scale=np.exp(rng.uniform(np.log(0.85), np.log(1.25))),
        irregularity=0.02 * rng.random() ** 2,
    )
    return soxr.resample(wave / max(wave.std(), 1e-6), VOCODER_RATE_HZ, SAMPLE_RATE_HZ)


def _filled(make: Callable[[], Float[np.ndarray, " N"]]) -> Float[np.ndarray, " N"]:
    parts: list[Float[np.ndarray, " N"]] = []
    while sum(part.size for part in parts) < _SECONDS * SAMPLE_RATE_HZ:
        parts.append(make())
    return np.concatenate(parts)[: int(_SECONDS * SAMPLE_RATE_HZ)]


def describe(folder: Path) -> str:
    """Level and bandwidth of up to 60 files: what kinds must have in common to be compared."""
    paths = sorted(folder.glob("*.flac"))
    waves = [soundfile.read(path)[0] for path in paths[:: max(len(paths) // 60, 1)]]
    levels = [20 * np.log10(wave.std()) for wave in waves]
    power = np.mean([signal.welch(wave, SAMPLE_RATE_HZ, nperseg=1024)[1] for wave in waves], axis=0)
    hz = np.fft.rfftfreq(1024, 1 / SAMPLE_RATE_HZ)
    below = np.cumsum(power) / power.sum()
    return (
        f"{folder.name}: level {np.mean(levels):.1f} dB, 95 % of the power below "
        f"{hz[np.searchsorted(below, 0.95)] / 1000:.2f} kHz, above 4 kHz "
        f"{10 * np.log10(power[hz > 4000].sum() / power.sum()):.1f} dB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--hours", type=float, default=3.0, help="of each kind")
    arguments = parser.parse_args()
    count = round(arguments.hours * 3600 / _SECONDS)
    for kind in KINDS:
        (arguments.out / kind).mkdir(parents=True, exist_ok=True)
    places = [(arguments.out, kind, number) for number in range(count) for kind in KINDS]
    with multiprocessing.Pool(2) as pool:
        for _ in pool.imap_unordered(write_clip, places, chunksize=16):
            pass
    for kind in KINDS:
        print(describe(arguments.out / kind))


if __name__ == "__main__":
    main()
