"""Emotify: 400 excerpts of one minute; listeners ticked up to three of nine felt emotions.

Layout checked against public readers: data.csv with one row per listener (track id from 1 to 400, genre,
nine columns of 0 or 1; spaces before some names), emotifymusic/GENRE/<1 to 100>.mp3, where the number is
that of the track within its genre. A clip has the tags that at least a third of its listeners ticked,
which is our choice, and the label that most ticked, where one leads.
"""

from collections import Counter, defaultdict

from jaxemo.data.corpora.label_files import find_below, table_rows
from jaxemo.data.corpora.published import Entry, PublishedCorpus, Table, Tree

_TAGS = (
    *("amazement", "solemnity", "tenderness", "nostalgia", "calmness"),
    *("power", "joyful_activation", "tension", "sadness"),
)
_TRACKS_PER_GENRE = 100


def _read_listeners(tree: Tree) -> dict[str, Entry]:
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    listeners: Counter[str] = Counter()
    (path, *_) = find_below(tree, "data.csv")
    for row in table_rows(path, needed=("track id", "genre", *_TAGS)):
        number = (int(row["track id"]) - 1) % _TRACKS_PER_GENRE + 1
        clip = f"{row['genre']}/{number}"
        listeners[clip] += 1
        votes[clip].update(tag for tag in _TAGS if row[tag] == "1")
    return {clip: _entry(clip, votes[clip], num) for clip, num in listeners.items()}


def _entry(clip: str, votes: Counter[str], num_listeners: int) -> Entry:
    leading = votes.most_common(2)
    tied = len(leading) == 2 and leading[0][1] == leading[1][1]
    tags = tuple(tag for tag in _TAGS if 3 * votes[tag] >= num_listeners)
    return Entry("" if tied or not leading else leading[0][0], speaker=clip, tags=tags)


EMOTIFY = PublishedCorpus(
    name="emotify",
    title="Emotify",
    domain="music",
    licence="none said; the authors ask to cite the paper",
    citation="Aljanaki, Wiering & Veltkamp 2016, Information Processing & Management 52(1):115-128",
    obtain="www2.projects.science.uu.nl/memotion/emotifydata",
    layout=Table(_read_listeners, files="data.csv", example="emotifymusic/classical/1.mp3"),
    checked="public readers",
    emotions={"joyful_activation": "happy", "sadness": "sad", "calmness": "calm"},
    unit="song",
    quadrants={"power": "Q1", "tension": "Q2", "tenderness": "Q4"},
)
