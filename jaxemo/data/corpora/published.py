"""What is known of a published corpus before its files are seen: licence, layout, labels, partitions.

One small file per corpus holds one `PublishedCorpus`; `catalogue.py` lists them, `scan.py` reads any
of them from a folder. Labels become classes by the tables of the description and by no other rule.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

# Quadrants of the circumplex, counted against the clock from pleasant and active.
# Reference: Russell 1980, Journal of Personality and Social Psychology 39(6):1161-1178.
QUADRANTS = ("Q1", "Q2", "Q3", "Q4")
QUADRANT_WORDS = {
    "Q1": "pleasant, active",
    "Q2": "unpleasant, active",
    "Q3": "unpleasant, quiet",
    "Q4": "pleasant, quiet",
}
# Neutral, surprised and disgusted have no place in one quadrant.
QUADRANT_OF_EMOTION = {
    "happy": "Q1",
    "excited": "Q1",
    "angry": "Q2",
    "fearful": "Q2",
    "frustrated": "Q2",
    "sad": "Q3",
    "bored": "Q3",
    "calm": "Q4",
}


class Entry(NamedTuple):
    """What a layout says of one audio file, in the corpus's own words.

    Attributes:
      label: The class as published; "" where there is none.
      speaker: Speaker, performer or song.
      group: What folds must keep together, if that is not the speaker.
      partition: The part as published.
      valence: On the published scale, as are the next two; None or NaN where there is no rating.
      tags: As published, where a clip may have several.
    """

    label: str = ""
    speaker: str = ""
    group: str = ""
    intensity: str = ""
    statement: str = ""
    repetition: str = ""
    partition: str = ""
    valence: float | None = None
    arousal: float | None = None
    dominance: float | None = None
    tags: tuple[str, ...] = ()


class Tree(NamedTuple):
    """A corpus's folder and the files in it: their paths below it with "/", hidden ones apart."""

    root: Path
    names: tuple[str, ...]


class Names(NamedTuple):
    """Labels stand in the names of the files.

    Attributes:
      pattern: Regular expression of the end of the path below the folder, with "/" between folders
        and without the ending; its named groups are fields of `Entry`.
      example: A path that it reads.
      partitions: Reads the part of each name, without folders, from tables; None where the corpus
        has no parts or its names say them.
    """

    pattern: str
    example: str
    partitions: Callable[[Tree], Mapping[str, str]] | None = None


class Table(NamedTuple):
    """Labels stand in files beside the audio.

    Attributes:
      read: From the corpus's folder to what is known of each audio file, by the end of its path
        below the folder, without the ending.
      files: Which files it reads, for people.
      example: The path of an audio file.
    """

    read: Callable[[Tree], dict[str, Entry]]
    files: str
    example: str


class Scale(NamedTuple):
    """The range of published ratings, which -1 to 1 stands for afterwards."""

    low: float
    high: float

    def unit(self, rating: float | None) -> float | None:
        """2 (rating - low) / (high - low) - 1; None where there is no rating."""
        if rating is None or math.isnan(rating):
            return None
        return 2 * (rating - self.low) / (self.high - self.low) - 1


class PublishedCorpus(NamedTuple):
    """One published corpus.

    Attributes:
      name: In configs and results.
      title: For people.
      domain: "speech" or "music"; both for a corpus that has both.
      licence: Under which the audio is given out.
      citation: Authors, year, place.
      obtain: Where and how to get it.
      layout: Where the labels stand.
      checked: What the layout was compared with.
      emotions: Published label -> emotion. Other labels are counted and take no part.
      quadrants: Published label -> quadrant, where the emotion's own does not say it.
      scale: Of ratings of valence and arousal; None where there are none.
      unit: What folds keep together: "speaker", "session", "artist" or "song".
      partitions: Published name of a part -> train, dev or test.
      partition_words: Where the parts come from, and what they share.
      corpus: Name in front of speakers, where several descriptions read the same recordings.
    """

    name: str
    title: str
    domain: str | tuple[str, ...]
    licence: str
    citation: str
    obtain: str
    layout: Names | Table
    checked: str
    emotions: Mapping[str, str]
    unit: str
    quadrants: Mapping[str, str] = {}
    scale: Scale | None = None
    partitions: Mapping[str, str] = {}
    partition_words: str = ""
    corpus: str = ""


def quadrant_of_ratings(valence: float, arousal: float) -> str:
    """The quadrant of ratings between -1 and 1; "" on an axis."""
    if valence == 0 or arousal == 0:
        return ""
    if arousal > 0:
        return "Q1" if valence > 0 else "Q2"
    return "Q4" if valence > 0 else "Q3"


def quadrant_of_label(corpus: PublishedCorpus, label: str) -> str:
    """The quadrant of a published label; "" where the tables give none."""
    own = corpus.quadrants.get(label)
    return own or QUADRANT_OF_EMOTION.get(corpus.emotions.get(label, ""), "")
