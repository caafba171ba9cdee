"""EmoMusic (1000 Songs): 744 excerpts of 45 s, rated for valence and arousal.

Layout checked against jukemir's reader, which MARBLE adapts: songs_info.csv (song_id, Artist, Mediaeval
2013 set), static_annotations.csv (mean_arousal, mean_valence, from 1 to 9), clips_45seconds/<song_id>.mp3.
"""

from jaxemo.data.corpora.label_files import find_below, number, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree

_SONGS = ("song_id", "artist", "mediaeval 2013 set")


def _read_ratings(tree: Tree) -> dict[str, Entry]:
    (songs, *_) = find_below(tree, "songs_info.csv")
    (ratings, *_) = find_below(tree, "static_annotations.csv")
    about = {row["song_id"]: row for row in table_rows(songs, needed=_SONGS)}
    return {
        f"clips_45seconds/{row['song_id']}": Entry(
            speaker=" ".join(about[row["song_id"]]["artist"].lower().split()),
            statement=row["song_id"],
            partition=about[row["song_id"]]["mediaeval 2013 set"],
            valence=number(row["mean_valence"]),
            arousal=number(row["mean_arousal"]),
        )
        for row in table_rows(ratings, needed=("song_id", "mean_arousal", "mean_valence"))
        if row["song_id"] in about
    }


EMOMUSIC = PublishedCorpus(
    name="emomusic",
    title="EmoMusic",
    domain="music",
    licence="CC BY-NC for the annotations; songs of the Free Music Archive under their own",
    citation="Soleymani et al. 2013, ACM CrowdMM, 1-6",
    obtain="cvml.unige.ch/databases/emoMusic",
    layout=Table(
        _read_ratings,
        files="songs_info.csv, static_annotations.csv",
        example="clips_45seconds/2.mp3",
    ),
    checked="jukemir, MARBLE",
    emotions={},
    unit="artist",
    scale=Scale(1, 9),
    partitions={"development": "train", "evaluation": "test"},
    partition_words="Mediaeval 2013 set: development and evaluation; dev is taken from development",
)
