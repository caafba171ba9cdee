"""PMEmo: choruses of 794 pop songs, rated for valence and arousal.

Layout checked against the authors' repository (HuiZhangDB/PMEmo) and public readers of PMEmo2019:
annotations/static_annotations.csv (musicId, Arousal(mean), Valence(mean), from 0 to 1), metadata.csv
with the artists, chorus/<musicId>.mp3.
"""

from jaxemo.data.corpora.label_files import find_below, number, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree

_COLUMNS = ("musicid", "arousal(mean)", "valence(mean)")


def _read_ratings(tree: Tree) -> dict[str, Entry]:
    (path, *_) = find_below(tree, "annotations/static_annotations.csv")
    (metadata, *_) = find_below(tree, "metadata.csv")
    artists = {
        row["musicid"]: row["artist"] for row in table_rows(metadata, needed=("musicid", "artist"))
    }
    return {
        f"chorus/{row['musicid']}": Entry(
            speaker=artists.get(row["musicid"]) or f"song {row['musicid']}",
            statement=row["musicid"],
            valence=number(row["valence(mean)"]),
            arousal=number(row["arousal(mean)"]),
        )
        for row in table_rows(path, needed=_COLUMNS)
    }


PMEMO = PublishedCorpus(
    name="pmemo",
    title="PMEmo",
    domain="music",
    licence="free for research",
    citation="Zhang et al. 2018, ICMR, 135-142",
    obtain="github.com/HuiZhangDB/PMEmo, which leads to the archive PMEmo2019",
    layout=Table(
        _read_ratings,
        files="annotations/static_annotations.csv, metadata.csv",
        example="chorus/1.mp3",
    ),
    checked="HuiZhangDB/PMEmo, public readers",
    emotions={},
    unit="artist",
    scale=Scale(0, 1),
)
