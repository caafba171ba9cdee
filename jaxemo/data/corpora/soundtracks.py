"""Soundtracks: 360 (Set 1) and 110 (Set 2) excerpts of film music, rated for eight scales.

Layout checked against the authors' README on OSF (p6vkg) and public readers: Set1/001.mp3 to 360.mp3 with
mean_ratings_set1.csv, Set2/001.mp3 to 110.mp3 with mean_ratings_set2.csv (Number, Valence, Energy, ...,
TARGET; ratings from 1 to 9). The label is the first word of TARGET; tender counts as calm, which is our
choice. Excerpts of Set 2 are among those of Set 1: read one of them, by naming its folder.
"""

import re

from jaxemo.data.corpora.label_files import find_below, number, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree

_COLUMNS = ("number", "valence", "energy", "target")


def _read_ratings(tree: Tree) -> dict[str, Entry]:
    clips = {}
    for path in find_below(tree, "mean_ratings_set[12].csv"):
        folder = path.stem.rpartition("_")[2].capitalize()
        rows = table_rows(path, needed=_COLUMNS)
        for row in (row for row in rows if row["number"].isdigit()):
            label, intensity = _target(row["target"])
            name = f"{folder}/{int(row['number']):03d}"
            clips[name] = Entry(
                label,
                speaker=name,
                intensity=intensity,
                valence=number(row["valence"]),
                arousal=number(row["energy"]),
            )
    return clips


def _target(cell: str) -> tuple[str, str]:
    """The emotion and how much of it: ANGER_HIGH, SAD."""
    label, *rest = re.split(r"[^A-Za-z]+", cell.strip())
    return label.lower(), rest[0].lower() if rest else ""


SOUNDTRACKS = PublishedCorpus(
    name="soundtracks",
    title="Soundtracks",
    domain="music",
    licence="for academic research; the recordings are their owners'",
    citation="Eerola & Vuoskoski 2011, Psychology of Music 39(1):18-49",
    obtain="osf.io/p6vkg",
    layout=Table(
        _read_ratings,
        files="mean_ratings_set1.csv, mean_ratings_set2.csv",
        example="Set1/001.mp3",
    ),
    checked="the authors' README, public readers",
    emotions={
        "happy": "happy",
        "sad": "sad",
        "anger": "angry",
        "fear": "fearful",
        "tender": "calm",
    },
    unit="song",
    scale=Scale(1, 9),
)
