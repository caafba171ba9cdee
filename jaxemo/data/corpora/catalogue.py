"""All published corpora that can be read by name."""

from jaxemo.data.corpora.aesdd import AESDD
from jaxemo.data.corpora.crema_d import CREMA_D
from jaxemo.data.corpora.deam import DEAM
from jaxemo.data.corpora.emodb import EMODB
from jaxemo.data.corpora.emomusic import EMOMUSIC
from jaxemo.data.corpora.emopia import EMOPIA
from jaxemo.data.corpora.emotify import EMOTIFY
from jaxemo.data.corpora.emovo import EMOVO
from jaxemo.data.corpora.esd import ESD
from jaxemo.data.corpora.four_q import FOUR_Q
from jaxemo.data.corpora.iemocap import IEMOCAP_4, IEMOCAP_6
from jaxemo.data.corpora.jl_corpus import JL_CORPUS
from jaxemo.data.corpora.meld import MELD
from jaxemo.data.corpora.msp_improv import MSP_IMPROV
from jaxemo.data.corpora.msp_podcast import MSP_PODCAST
from jaxemo.data.corpora.mtg_jamendo import MTG_JAMENDO
from jaxemo.data.corpora.pmemo import PMEMO
from jaxemo.data.corpora.published import PublishedCorpus
from jaxemo.data.corpora.ravdess import RAVDESS, RAVDESS_SONG, RAVDESS_SPEECH
from jaxemo.data.corpora.savee import SAVEE
from jaxemo.data.corpora.soundtracks import SOUNDTRACKS
from jaxemo.data.corpora.tess import TESS

_SPEECH = (
    *(RAVDESS, RAVDESS_SPEECH, CREMA_D, EMODB, TESS, SAVEE, IEMOCAP_4, IEMOCAP_6, MSP_PODCAST),
    *(MSP_IMPROV, ESD, JL_CORPUS, MELD, EMOVO, AESDD),
)
_MUSIC = (RAVDESS_SONG, EMOPIA, PMEMO, DEAM, EMOMUSIC, EMOTIFY, MTG_JAMENDO, FOUR_Q, SOUNDTRACKS)

# By name, speech first, in the order in which they are listed.
CATALOGUE: dict[str, PublishedCorpus] = {corpus.name: corpus for corpus in (*_SPEECH, *_MUSIC)}
