"""The embedded default corpus: emotional speech-like and music-like clips, made from a seed.

The same persons speak and perform; the emotions move both by one published table
(`expression.EMOTION_CUES`), with enough chance and personal habit that no method scores
100 %. It lets every study run without a download. It is no evidence about real emotion, and is
called synthetic wherever its figures appear.
"""

import csv
import json
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data.checksums import damaged_files, write_checksums
from jaxemo.data.corpora.corpus import DOMAINS, SHARED_EMOTIONS
from jaxemo.data.files import make_folder, writing
from jaxemo.data.synthetic.expression import (
    Person,
    draw_expression,
    draw_high_voice,
    draw_low_voice,
    with_habits,
)
from jaxemo.data.synthetic.music import perform
from jaxemo.data.synthetic.sound import SAMPLE_RATE_HZ
from jaxemo.data.synthetic.speech import STATEMENTS, speak
from jaxemo.data.temporary import temporary_beside

logger = logging.getLogger("jaxemo")

# To be raised with every change, here or in the files beside, that changes a sample.
GENERATOR_VERSION = 1
CORPUS_NAME = "synthetic"
INTENSITIES = ("normal", "strong")
MIN_SECONDS, MAX_SECONDS = 1.3, 2.1
MANIFEST_NAME = "manifest.csv"
MANIFEST_COLUMNS = (
    "path",
    "domain",
    "emotion",
    "speaker",
    "corpus",
    "intensity",
    "statement",
    "repetition",
)
_RECORD_NAME = "synthetic.json"


class Planted(NamedTuple):
    """What is set by hand, so that a study's answer about the corpus is known.

    Attributes:
      music: "performed", or "spoken" as speech is, so that the domains differ by what follows alone.
      domain_shifts: Semitones by which music of each of `SHARED_EMOTIONS` lies higher.
      emotion_spreads: Times the usual spread of clips of each emotion, in both domains.
      speaker_spread: Times the usual spread of speakers' habits and expressiveness.
      speaker_domain_spread: Standard deviation of habits that a speaker has in music alone, in the
        units of `expression.EMOTION_CUES`.
    """

    music: str = "performed"
    domain_shifts: tuple[float, ...] = (0.0,) * len(SHARED_EMOTIONS)
    emotion_spreads: tuple[float, ...] = (1.0,) * len(SHARED_EMOTIONS)
    speaker_spread: float = 1.0
    speaker_domain_spread: float = 0.0


NOTHING_PLANTED = Planted()


class SyntheticClip(NamedTuple):
    """Which clip: domain, emotion, speaker (from 1) and take (from 0) within that cell."""

    domain: str
    emotion: str
    speaker: int
    take: int

    @property
    def intensity(self) -> str:
        """Alternates with the repetition; neutral has no strong form."""
        has_strong = self.emotion != "neutral"
        return INTENSITIES[has_strong * (self.take // len(STATEMENTS) % 2)]

    @property
    def statement(self) -> str:
        return tuple(STATEMENTS)[self.take % len(STATEMENTS)]

    @property
    def repetition(self) -> str:
        return str(self.take // len(STATEMENTS) + 1)

    @property
    def path(self) -> str:
        return f"{self.domain}/{self.speaker:02d}/{self.emotion}_{self.take:02d}.wav"


def synthetic_clips(*, num_speakers: int, clips_per_cell: int) -> Iterator[SyntheticClip]:
    """Every clip of a corpus: domains x speakers x emotions x takes."""
    for domain in DOMAINS:
        for speaker in range(1, num_speakers + 1):
            for emotion in SHARED_EMOTIONS:
                for take in range(clips_per_cell):
                    yield SyntheticClip(domain, emotion, speaker, take)


def synthetic_person(speaker: int, *, seed: int) -> Person:
    """Speaker number `speaker` (from 1) of the corpus of `seed`; odd numbers have low voices."""
    draw = draw_low_voice if speaker % 2 else draw_high_voice
    return draw(_generator(seed, 0, speaker))


def render_clip(
    clip: SyntheticClip, *, seed: int, planted: Planted = NOTHING_PLANTED
) -> Float32[np.ndarray, " N"]:
    """The waveform of one clip at 24 kHz: 1.3-2.1 s, peak at most 0.97.

    It depends on the arguments alone, not on what was rendered before.
    """
    music, emotion = clip.domain == "music", SHARED_EMOTIONS.index(clip.emotion)
    person = with_habits(
        _generator(seed, 2, clip.speaker),
        synthetic_person(clip.speaker, seed=seed),
        spread=planted.speaker_spread,
        added=music * planted.speaker_domain_spread,
    )
    rng = _generator(seed, 1, DOMAINS.index(clip.domain), emotion, clip.speaker, clip.take)
    seconds = rng.uniform(MIN_SECONDS, MAX_SECONDS)
    expression = draw_expression(
        rng,
        person,
        emotion=clip.emotion,
        intensity=clip.intensity,
        spread=planted.emotion_spreads[emotion],
    )
    higher = expression.pitch_semitones + music * planted.domain_shifts[emotion]
    expression = expression._replace(pitch_semitones=higher)
    render = perform if music and planted.music == "performed" else speak
    waveform = render(rng, person, expression=expression, statement=clip.statement, seconds=seconds)
    return waveform.astype(np.float32)


def write_synthetic_corpus(
    directory: str | os.PathLike[str],
    *,
    seed: int,
    num_speakers: int = 12,
    clips_per_cell: int = 2,
    planted: Planted = NOTHING_PLANTED,
) -> Path:
    """Writes 16-bit WAV files at 24 kHz and their manifest; returns the manifest's path.

    Paths in the manifest are relative to it. A folder that already holds this very corpus is left
    as it is; one that holds another synthetic corpus, or a damaged one, is replaced. The files appear all at once or
    not at all: an interrupted run leaves at most a hidden temporary folder beside `directory`.

    Args:
      directory: Where the corpus goes; made if missing.
      seed: Non-negative. The same seed gives the same bytes on the same machine and numpy.
      num_speakers: Speakers, who are also the performers. Speaker k is the same in a corpus of
        any size.
      clips_per_cell: Clips of each speaker in each emotion and domain.
      planted: What is set by hand.

    Raises:
      ValueError: a number is out of range.
      FileExistsError: `directory` holds files that are no synthetic corpus.
    """
    if seed < 0 or num_speakers < 1 or clips_per_cell < 1:
        raise ValueError(
            f"expected seed >= 0, num_speakers >= 1, clips_per_cell >= 1; "
            f"got {seed}, {num_speakers}, {clips_per_cell}."
        )
    directory = Path(directory)
    record: dict[str, Any] = {
        "generator_version": GENERATOR_VERSION,
        "seed": seed,
        "num_speakers": num_speakers,
        "clips_per_cell": clips_per_cell,
    }
    if planted != NOTHING_PLANTED:
        record["planted"] = json.loads(json.dumps(planted._asdict()))
    manifest = directory / MANIFEST_NAME
    if _holds(directory, record):
        return manifest
    _refuse_foreign_folder(directory)
    make_folder(directory.parent)
    temporary = temporary_beside(directory)
    try:
        _write_files(temporary / "corpus", record, planted)
        if directory.exists():
            directory.rename(temporary / "replaced")
        (temporary / "corpus").rename(directory)
    except OSError:
        # Another process may have been quicker.
        if not _holds(directory, record):
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return manifest


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _holds(directory: Path, record: dict[str, Any]) -> bool:
    """Whether the folder is of this record, every file as it was written; damage is logged."""
    try:
        found = json.loads((directory / _RECORD_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if found != record:
        return False
    faults = damaged_files(directory)
    for fault in faults:
        logger.warning("%s: the synthetic corpus is made again", fault)
    return not faults


def _refuse_foreign_folder(directory: Path) -> None:
    if directory.exists() and any(directory.iterdir()) and not (directory / _RECORD_NAME).is_file():
        raise FileExistsError(
            f"'{directory}' holds files that are no synthetic corpus; expected a new or empty "
            "folder. Choose another."
        )


def _write_files(folder: Path, record: dict[str, Any], planted: Planted) -> None:
    import soundfile

    clips = list(
        synthetic_clips(
            num_speakers=record["num_speakers"], clips_per_cell=record["clips_per_cell"]
        )
    )
    for clip in clips:
        path = folder / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        waveform = render_clip(clip, seed=record["seed"], planted=planted)
        with writing(path):
            soundfile.write(path, waveform, SAMPLE_RATE_HZ, subtype="PCM_16")
    with (folder / MANIFEST_NAME).open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MANIFEST_COLUMNS)
        for clip in clips:
            speaker = f"{CORPUS_NAME}/{clip.speaker:02d}"
            row = (clip.path, clip.domain, clip.emotion, speaker, CORPUS_NAME)
            writer.writerow((*row, clip.intensity, clip.statement, clip.repetition))
    (folder / _RECORD_NAME).write_text(json.dumps(record, indent=2) + "\n")
    write_checksums(folder)
