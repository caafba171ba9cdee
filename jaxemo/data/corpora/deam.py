"""DEAM: 1,802 excerpts and songs of the MediaEval tasks, rated for valence and arousal.

Layout checked against public readers of the release of 2018: "annotations averaged per song/song_level/"
with two files static_annotations_averaged_songs_*.csv (song_id, valence_mean, valence_std,
arousal_mean, arousal_std; spaces before the names), MEMD_audio/<song_id>.mp3. Ratings go from 1 to 9.
"""

from jaxemo.data.corpora.label_files import find_below, number, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree


def _read_ratings(tree: Tree) -> dict[str, Entry]:
    return {
        f"MEMD_audio/{row['song_id']}": Entry(
            speaker=f"song {row['song_id']}",
            valence=number(row["valence_mean"]),
            arousal=number(row["arousal_mean"]),
        )
        for path in find_below(tree, "static_annotations_averaged_songs_*.csv")
        for row in table_rows(path, needed=("song_id", "valence_mean", "arousal_mean"))
    }


DEAM = PublishedCorpus(
    name="deam",
    title="DEAM",
    domain="music",
    licence="CC BY-NC 4.0",
    citation="Aljanaki, Yang & Soleymani 2017, PLoS ONE 12(3):e0173392",
    obtain="cvml.unige.ch/databases/DEAM",
    layout=Table(
        _read_ratings,
        files="static_annotations_averaged_songs_*.csv",
        example="MEMD_audio/2.mp3",
    ),
    checked="public readers of the release of 2018",
    emotions={},
    unit="song",
    scale=Scale(1, 9),
)
