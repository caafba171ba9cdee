"""EMOPIA: clips of pop piano, four quadrants by four annotators.

Layout checked against the authors' classification code (SeungHeonDoh/EMOPIA_cls: `preprocessing.py`
and its `dataset/split/*.csv` of fname,label): names such as Q1_<id of the song>_0. The audio is not
given out; it is fetched by the ids and times that the corpus lists.
"""

from jaxemo.data.corpora.label_files import files_like, table_rows
from jaxemo.data.corpora.published import QUADRANTS, Names, PublishedCorpus, Tree


def _read_split(tree: Tree) -> dict[str, str]:
    """Clip -> part, of the files below a folder "split"; nothing where there is none."""
    return {
        row["fname"]: part
        for part in ("train", "val", "test")
        for path in files_like(tree, f"split/{part}.csv")
        for row in table_rows(path, needed=("fname", "label"))
    }


EMOPIA = PublishedCorpus(
    name="emopia",
    title="EMOPIA",
    domain="music",
    licence="CC BY-NC-SA 4.0 for labels and transcriptions; the recordings are their owners'",
    citation="Hung et al. 2021, ISMIR, 318-325",
    obtain="zenodo.org, record 5090631; the audio by the listed ids and times",
    layout=Names(
        r"(?P<label>Q[1-4])_(?P<speaker>[\w-]{11})_(?P<repetition>\d+)",
        example="audios/seg/Q1_0vLPYiPN7qY_0.mp3",
        partitions=_read_split,
    ),
    checked="the authors' EMOPIA_cls",
    emotions={},
    unit="song",
    quadrants={name: name for name in QUADRANTS},
    partitions={"train": "train", "val": "dev", "test": "test"},
    partition_words="split/train.csv, val.csv and test.csv of the authors' classification code",
)
