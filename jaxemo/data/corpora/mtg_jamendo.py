"""MTG-Jamendo, mood and theme: 18,486 songs with one or several of 59 tags, official splits.

Layout checked against MTG/mtg-jamendo-dataset: `scripts/commons.py` and
data/splits/split-0/autotagging_moodtheme-{train,validation,test}.tsv (TRACK_ID, ARTIST_ID, ALBUM_ID,
PATH, DURATION, then tags "mood/theme---happy"), audio at PATH, or at PATH with ".low" before the ending.
"""

import csv

from jaxemo.data.corpora.label_files import find_below
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Table, Tree

_PARTS = ("train", "validation", "test")


def _read_splits(tree: Tree) -> dict[str, Entry]:
    low = any(name.endswith(".low.mp3") for name in tree.names)
    songs = {}
    for part in _PARTS:
        name = f"autotagging_moodtheme-{part}.tsv"
        (path, *_) = find_below(tree, f"split-0/{name}", name)
        lines = csv.reader(path.read_text(encoding="utf-8").splitlines()[1:], delimiter="\t")
        for _, artist, album, audio, _, *tags in lines:
            moods = tuple(sorted(tag.rpartition("---")[2] for tag in tags))
            song = audio.rpartition(".")[0] + (".low" if low else "")
            songs[song] = Entry(speaker=artist, statement=album, partition=part, tags=moods)
    return songs


MTG_JAMENDO = PublishedCorpus(
    name="mtg_jamendo",
    title="MTG-Jamendo mood/theme",
    domain="music",
    licence="CC BY-NC-SA 4.0 for the tags; each song under its own Creative Commons licence",
    citation="Bogdanov et al. 2019, ICML Machine Learning for Music Discovery Workshop",
    obtain="github.com/MTG/mtg-jamendo-dataset, download.py --dataset autotagging_moodtheme",
    layout=Table(
        _read_splits,
        files="data/splits/split-0/autotagging_moodtheme-*.tsv",
        example="48/948.mp3",
    ),
    checked="MTG/mtg-jamendo-dataset",
    emotions={"happy": "happy", "sad": "sad", "calm": "calm"},
    unit="artist",
    quadrants={
        "energetic": "Q1",
        "fun": "Q1",
        "party": "Q1",
        "upbeat": "Q1",
        "uplifting": "Q1",
        "melancholic": "Q3",
        "relaxing": "Q4",
        "meditative": "Q4",
    },
    partitions={"train": "train", "validation": "dev", "test": "test"},
    partition_words="split-0 of the authors: artists are in one part each",
)
