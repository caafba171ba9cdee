"""Published parts where they are apart, folds of our own where not, and what it is called."""

from dataclasses import replace

import pytest

from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.folds import LeakageError, audit, make_folds, split
from jaxemo.data.protocols import Protocol, plan


def clip(speaker, partition="", emotion="sad", corpus="emopia", **labels):
    path = f"{speaker} {partition} {emotion} {corpus}"
    name = f"{corpus}/{speaker}"
    return Utterance(path, corpus, "music", emotion, name, partition=partition, **labels)


APART = tuple(
    clip(f"{part} {number}", part, emotion)
    for part in ("train", "dev", "test")
    for number in range(3)
    for emotion in ("sad", "happy")
)
SHARED = (*APART, clip("train 0", "test"))


def folds_of(planned, **options):
    return make_folds(planned.utterances, protocol=planned.protocol, **options)


def test_published_parts_without_a_common_unit_are_the_one_fold():
    planned = plan(APART, Protocol.AUTO)
    (fold,) = folds_of(planned)
    for part in ("train", "dev", "test"):
        assert getattr(fold, part) == tuple(f"emopia/{part} {number}" for number in range(3))
    assert planned.name == "published train, dev, test"


def test_published_parts_that_share_a_song_give_way_to_folds_of_our_own():
    planned = plan(SHARED, Protocol.AUTO)
    assert planned.name == "song-disjoint folds; the published parts share some"
    assert planned.utterances == SHARED
    folds = folds_of(planned)
    assert audit(planned.utterances, folds, digests=[row.path for row in SHARED]) == ()


def test_published_parts_are_taken_as_they_are_when_they_are_asked_for():
    planned = plan(SHARED, Protocol.PUBLISHED)
    (fold,) = folds_of(planned)
    positions = split(planned.utterances, fold)
    for part, found in positions._asdict().items():
        assert [SHARED[row].partition for row in found] == [part] * len(found)
    assert planned.name == "published train, dev, test; 1 songs are in several (emopia/train 0)"


def test_files_in_two_published_parts_are_a_leak_all_the_same():
    planned = plan(SHARED, Protocol.PUBLISHED)
    with pytest.raises(LeakageError):
        audit(planned.utterances, folds_of(planned), digests=["one"] * len(SHARED))


def test_folds_of_our_own_can_be_had_in_place_of_published_parts():
    planned = plan(APART, Protocol.DISJOINT)
    assert (len(folds_of(planned)), planned.name) == (6, "song-disjoint folds")


def test_a_missing_dev_part_is_taken_from_train_by_whole_units_and_moves_with_the_rotation():
    rows = tuple(row for row in APART if row.partition != "dev")
    planned = plan(rows, Protocol.AUTO)
    assert planned.name == "published train, dev, test, dev taken from train"
    folds = [folds_of(planned, rotation=rotation)[0] for rotation in range(3)]
    assert {fold.test for fold in folds} == {tuple(f"emopia/test {n}" for n in range(3))}
    assert sorted(name for fold in folds for name in fold.dev) == [
        f"emopia/train {number}" for number in range(3)
    ]
    assert all(not set(fold.dev) & set(fold.train) for fold in folds)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ((*APART, clip("new")), "clips of emopia have no published part"),
        (APART[:6], "no clip is in the published part test"),
    ],
)
def test_published_parts_that_are_not_whole_are_refused_or_not_used(rows, reason):
    with pytest.raises(ValueError, match=f"'published', but {reason}"):
        plan(rows, Protocol.PUBLISHED)
    assert plan(rows, Protocol.AUTO).name == "song-disjoint folds"


def test_sessions_are_held_out_whole():
    rows = [
        clip(f"Ses0{session}{who}", corpus="iemocap", group=f"iemocap/Ses0{session}")
        for session in range(1, 6)
        for who in "FM"
    ]
    planned = plan(rows, Protocol.AUTO)
    assert planned.name == "session-disjoint folds"
    for fold in folds_of(planned, num_folds=5):
        held = {rows[row].speaker for row in split(planned.utterances, fold).test}
        session = next(iter(held))[: len("iemocap/Ses01")]
        assert held == {f"{session}F", f"{session}M"}


def test_every_corpus_is_spread_over_all_groups():
    rows = [
        replace(clip(str(number), corpus=corpus), domain=domain)
        for corpus, domain in (("crema_d", "speech"), ("emodb", "speech"), ("four_q", "music"))
        for number in range(6)
    ]
    planned = plan(rows, Protocol.AUTO)
    assert planned.name == "song- and speaker-disjoint folds"
    for fold in folds_of(planned, num_folds=3):
        tested = [name.split("/")[0] for name in fold.test]
        assert sorted(tested) == sorted(["crema_d", "emodb", "four_q"] * 2)


def test_ravdess_keeps_the_folds_of_emobox():
    rows = [replace(clip(f"{n:02d}", corpus="ravdess"), domain="speech") for n in range(1, 25)]
    assert plan(rows, Protocol.AUTO).name == "EmoBox's folds of RAVDESS's actors"
