"""The config's blocks that say which clips take part, and who is held out."""

from collections.abc import Mapping
from typing import Annotated, Any

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import DOMAINS, RATINGS, SHARED_EMOTIONS, SPEECH_EMOTIONS
from jaxemo.studies.ranges import Between, Block, Items, OneOf, Place, Text, fault_of, settings

PathText = Annotated[str, Text(may_be_empty=True)]
Seed = Annotated[int, Between(0, 2**31 - 1)]
NumFolds = Annotated[int, Between(1, 1000)]
Domains = Annotated[tuple[str, ...], Items(OneOf(DOMAINS))]

# Published corpora by the names that `jaxemo corpora` lists; RAVDESS has a reader of its own.
RAVDESS_NAMES = tuple(name for name in CATALOGUE if name.startswith("ravdess"))
PUBLISHED_NAMES = tuple(name for name in CATALOGUE if name not in RAVDESS_NAMES)
CORPUS_NAMES = (
    *(*PUBLISHED_NAMES, *RAVDESS_NAMES[1:]),
    *("ravdess", "manifest", "synthetic", "embeddings"),
)

JOINED_NAMES = (*PUBLISHED_NAMES, *RAVDESS_NAMES, "manifest")
Corpora = Annotated[tuple[str, ...], Items(Place(JOINED_NAMES), least=0)]


_OF_EMOTIONS = {"least": len(SHARED_EMOTIONS), "most": len(SHARED_EMOTIONS), "may_repeat": True}


@settings
class SyntheticSettings(Block):
    """What is planted in the synthetic corpus, so that a study's answer is known; see docs/corpora.md."""

    # 'spoken': music is made as speech is, so that the domains differ by what follows alone.
    music: Annotated[str, OneOf(("performed", "spoken"))] = "performed"
    # Semitones by which music of each emotion lies higher; neutral, calm, happy, sad, angry, fearful.
    domain_shifts: Annotated[tuple[float, ...], Items(Between(-12, 12), **_OF_EMOTIONS)] = (
        0.0,
    ) * 6
    # Times the usual spread of clips of each emotion.
    emotion_spreads: Annotated[tuple[float, ...], Items(Between(0, 4), **_OF_EMOTIONS)] = (1.0,) * 6
    # Times the usual spread of speakers' habits and expressiveness.
    speaker_spread: Annotated[float, Between(0, 4)] = 1.0
    # Spread of habits that a speaker has in music alone, in the units of the table of cues.
    speaker_domain_spread: Annotated[float, Between(0, 4)] = 0.0


@settings
class CorpusSettings(Block):
    """Which corpus, and which of its clips."""

    # One that `jaxemo corpora` lists, or 'manifest', 'synthetic', 'embeddings'.
    name: Annotated[str, OneOf(CORPUS_NAMES)] = "synthetic"
    audio_dir: PathText = ""  # published corpora: any folder above the files
    # Manifest: a table of clips, see docs/corpora.md; embeddings: a folder of `jaxemo embed`.
    manifest: PathText = ""
    domains: Domains = DOMAINS  # ravdess: what must be there
    # What is recognised: 'emotions'; the 'quadrants' of valence and arousal, which corpora of both kinds
    # have; the 'ratings' themselves, or 'tags', for training and evaluation but not the studies.
    classes: Annotated[str, OneOf(("emotions", "quadrants", "ratings", "tags"))] = "emotions"
    ratings: Annotated[tuple[str, ...], Items(OneOf(RATINGS))] = ("valence", "arousal")
    tags: Annotated[tuple[str, ...], Items(Text(), least=0)] = ()  # empty means all that occur
    # Manifest and published corpora but RAVDESS: empty means all that occur. Read for emotions alone.
    emotions: Annotated[tuple[str, ...], Items(Text(), least=0)] = SHARED_EMOTIONS
    calm: Annotated[str, OneOf(("keep_apart", "merge_into_neutral", "drop"))] = "keep_apart"
    unusable: Annotated[str, OneOf(("leave_out", "stop"))] = "leave_out"
    seed: Seed = 0  # synthetic
    # Synthetic: clips by speaker, emotion and domain.
    clips_per_cell: Annotated[int, Between(1, 1000)] = 2
    synthetic: SyntheticSettings = SyntheticSettings()


@settings
class FoldSettings(Block):
    """How speakers are held out."""

    num_folds: NumFolds = 6
    # 'auto': published parts where they share no speaker; 'published' anyway; or 'disjoint' folds.
    protocol: Annotated[str, OneOf(("auto", "published", "disjoint"))] = "auto"


def known_emotions(name: str) -> tuple[str, ...]:
    """What a corpus can have; nothing for one that can have anything."""
    if name in PUBLISHED_NAMES:
        return tuple(dict.fromkeys(CATALOGUE[name].emotions.values()))
    return {"synthetic": SHARED_EMOTIONS}.get(
        name, SPEECH_EMOTIONS if name in RAVDESS_NAMES else ()
    )


def read_corpora(record: Mapping[str, Any]) -> tuple[str, ...]:
    """The joined corpora that a checkpoint's record keeps in its corpus block, if any.

    Raises:
      ValueError: They cannot be used.
    """
    corpora = record.get("corpora", ())
    if fault := fault_of(corpora, Corpora):
        raise ValueError(f"The checkpoint's corpora cannot be used: corpus.corpora {fault}")
    return tuple(corpora)
