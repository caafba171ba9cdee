"""4Q audio: 900 clips of 30 s from AllMusic, 225 per quadrant.

Layout checked against public readers of the release of 2018: folders Q1 to Q4 with names such as
MT0000004637.mp3, and panda_dataset_taffc_annotations.csv (Song, Quadrant), which says the same.
"""

from jaxemo.data.corpora.published import QUADRANTS, Names, PublishedCorpus

FOUR_Q = PublishedCorpus(
    name="four_q",
    title="4Q audio",
    domain="music",
    licence="free for research; the recordings are their owners'",
    citation="Panda, Malheiro & Paiva 2020, IEEE Transactions on Affective Computing 11(4):614-626",
    obtain="mir.dei.uc.pt/downloads.html, 4Q audio emotion dataset",
    layout=Names(
        r"(?P<label>Q[1-4])/(?P<speaker>MT\d{10})",
        example="Q1/MT0000004637.mp3",
    ),
    checked="public readers of the release of 2018",
    emotions={},
    unit="song",
    quadrants={name: name for name in QUADRANTS},
)
