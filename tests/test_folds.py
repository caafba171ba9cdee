"""Speaker-disjoint folds and the leakage audit."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.data.corpora.corpus import DOMAINS, SHARED_EMOTIONS, Utterance
from jaxemo.data.folds import (
    PARTS,
    RAVDESS_TEST_ACTORS,
    EmptyCell,
    Fold,
    LeakageError,
    audit,
    fold_summary,
    make_folds,
    split,
)

ALL_ACTORS = sorted(actor for actors in RAVDESS_TEST_ACTORS for actor in actors)


def clip(speaker: str, domain: str = "speech", emotion: str = "sad", take: int = 0) -> Utterance:
    corpus = speaker.split("/")[0]
    path = f"{speaker}/{domain}/{emotion}/{take}.wav"
    return Utterance(path, corpus, domain, emotion, speaker)


def clips_of(speakers, domains=DOMAINS, emotions=SHARED_EMOTIONS, takes=1) -> list[Utterance]:
    return [
        clip(speaker, domain, emotion, take)
        for speaker in speakers
        for domain in domains
        for emotion in emotions
        for take in range(takes)
    ]


def ravdess(actors=ALL_ACTORS) -> list[Utterance]:
    return clips_of([f"ravdess/{actor}" for actor in actors])


def own_digests(utterances) -> list[str]:
    return [f"digest of {row.path}" for row in utterances]


def test_ravdess_test_actors_are_emobox_folds():
    folds = make_folds(ravdess())
    assert [fold.index for fold in folds] == [0, 1, 2, 3, 4, 5]
    for fold, actors in zip(folds, RAVDESS_TEST_ACTORS, strict=True):
        assert fold.test == tuple(f"ravdess/{actor}" for actor in actors)
    assert len(ALL_ACTORS) == len(set(ALL_ACTORS)) == 24


speaker_lists = st.one_of(
    st.lists(st.sampled_from(ALL_ACTORS), min_size=13, unique=True).map(
        lambda actors: [f"ravdess/{actor}" for actor in actors]
    ),
    st.integers(3, 30).map(lambda n: [f"other/{i}" for i in range(n)]),
    st.integers(3, 20).map(
        lambda n: [f"other/{i}" for i in range(n)] + [f"ravdess/{a}" for a in ALL_ACTORS]
    ),
)


@given(speaker_lists, st.integers(1, 8), st.integers(0, 2**32))
def test_every_fold_parts_all_speakers_without_overlap(speakers, num_folds, seed):
    utterances = clips_of(speakers, emotions=("sad", "happy"))
    folds = make_folds(utterances, num_folds=num_folds, seed=seed)
    assert 1 <= len(folds) <= num_folds
    for fold in folds:
        assert all((fold.train, fold.dev, fold.test))
        assert sorted(fold.train + fold.dev + fold.test) == sorted(speakers)
    tested = [speaker for fold in folds for speaker in fold.test]
    assert len(tested) == len(set(tested))
    assert audit(utterances, folds, digests=own_digests(utterances)) == ()


@pytest.mark.parametrize("rotation", range(7))
def test_dev_is_another_folds_test_and_moves_with_the_rotation(rotation):
    folds = make_folds(ravdess(), rotation=rotation)
    tests = [fold.test for fold in folds]
    for fold in folds:
        assert tests.index(fold.dev) == (fold.index + 1 + rotation % 5) % 6
    assert tests == [fold.test for fold in make_folds(ravdess())]


def test_folds_are_the_same_for_one_seed_whatever_the_order_of_clips():
    utterances = clips_of([f"other/{i}" for i in range(12)])
    assert make_folds(utterances[::-1], seed=3) == make_folds(utterances, seed=3)
    assert make_folds(utterances, seed=4) != make_folds(utterances, seed=3)


def test_speakers_are_held_out_of_both_domains():
    utterances = ravdess()
    for fold in make_folds(utterances):
        parts = split(utterances, fold)
        for domain in DOMAINS:
            for part in PARTS:
                rows = [utterances[position] for position in getattr(parts, part)]
                there = {row.speaker for row in rows if row.domain == domain}
                assert there == set(getattr(fold, part))


def test_absent_actors_do_not_appear_and_a_fold_without_test_speakers_is_dropped():
    present = [actor for actor in ALL_ACTORS if actor not in (*RAVDESS_TEST_ACTORS[2], "18")]
    folds = make_folds(ravdess(present))
    assert [fold.index for fold in folds] == [0, 1, 3, 4, 5]
    assert folds[3].test == ("ravdess/02", "ravdess/15", "ravdess/16")
    for fold in folds:
        assert all((fold.train, fold.dev, fold.test))


def test_an_actor_who_only_speaks_is_still_one_speaker():
    utterances = [row for row in ravdess() if (row.speaker, row.domain) != ("ravdess/18", "music")]
    fold = make_folds(utterances)[4]
    assert "ravdess/18" in fold.test
    assert make_folds(utterances) == make_folds(ravdess())


def test_fewer_folds_of_ravdess_are_the_first_and_still_train_on_all_others():
    folds = make_folds(ravdess(), num_folds=2)
    assert folds == make_folds(ravdess())[:2]
    assert [len(fold.train) for fold in folds] == [16, 16]


@pytest.mark.parametrize(
    "num_folds, sizes", ((6, [2] * 6), (4, [3] * 4), (3, [4] * 3), (2, [4] * 2))
)
def test_other_speakers_are_dealt_out_evenly(num_folds, sizes):
    folds = make_folds(clips_of([f"other/{i}" for i in range(12)]), num_folds=num_folds)
    assert [len(fold.test) for fold in folds] == sizes


def test_there_are_no_more_folds_than_speakers():
    folds = make_folds(clips_of(["c/a", "c/b", "c/c"]), num_folds=6)
    assert sorted(fold.test for fold in folds) == [("c/a",), ("c/b",), ("c/c",)]
    assert all(len(fold.train) == len(fold.dev) == 1 for fold in folds)


@pytest.mark.parametrize("seed", range(5))
def test_speakers_of_one_domain_each_are_spread_over_the_folds(seed):
    talkers = clips_of([f"talk/{i}" for i in range(8)], domains=("speech",))
    singers = clips_of([f"sing/{i}" for i in range(12)], domains=("music",))
    for fold in make_folds(talkers + singers, num_folds=4, seed=seed):
        assert sum(name.startswith("talk") for name in fold.test) == 2
        assert sum(name.startswith("sing") for name in fold.test) == 3


@pytest.mark.parametrize("seed", range(5))
def test_speakers_of_different_size_give_folds_of_similar_size(seed):
    sizes = (30, 20, 20, 10, 10, 10, 10, 10)
    rows = [row for i, n in enumerate(sizes) for row in clips_of([f"c/{i}"], takes=n)]
    for fold in make_folds(rows, num_folds=4, seed=seed):
        share = len(split(rows, fold).test) / len(rows)
        assert 0.24 <= share <= 0.26


def test_two_groups_of_speakers_are_too_few():
    with pytest.raises(ValueError, match="three groups of speakers, found 2"):
        make_folds(clips_of(["c/a", "c/b"]))
    with pytest.raises(ValueError, match="three groups of speakers, found 2"):
        make_folds(ravdess(("01", "11", "20", "04")))
    with pytest.raises(ValueError, match="found 0"):
        make_folds([])
    with pytest.raises(ValueError, match="num_folds is 0"):
        make_folds(ravdess(), num_folds=0)


def test_split_gives_the_positions_of_each_parts_clips():
    utterances = [clip(f"c/{name}") for name in "abcab"]
    parts = split(utterances, Fold(0, train=("c/a",), dev=("c/b",), test=("c/d",)))
    assert parts.train.dtype == np.int64
    assert [list(positions) for positions in parts] == [[0, 3], [1, 4], []]


# The audit

FOLD = Fold(7, train=("c/a", "c/b"), dev=("c/c",), test=("c/d",))
CLIPS = [clip(f"c/{name}", take=take) for name in "abcd" for take in (0, 1)]


def test_clean_folds_pass():
    assert audit(CLIPS, [FOLD], digests=own_digests(CLIPS)) == ()


def test_equal_bytes_within_one_part_are_no_leak():
    # As of RAVDESS's actor 07, and here of two training speakers as well.
    digests = own_digests(CLIPS)
    digests[1] = digests[0] = digests[2]
    assert audit(CLIPS, [FOLD], digests=digests) == ()


def test_all_speakers_and_files_that_leak_are_listed_over_all_folds():
    leaky = Fold(8, train=("c/a",), dev=("c/b", "c/a"), test=("c/c", "c/d", "c/b"))
    digests = own_digests(CLIPS)
    digests[7] = digests[0]  # c/d's second clip is c/a's first: a leak in both folds
    with pytest.raises(LeakageError) as caught:
        audit(CLIPS, [FOLD, leaky], digests=digests)
    assert caught.value.speakers == ("c/a", "c/b")
    # In fold 8 every clip of the two speakers is on two sides.
    assert caught.value.files == tuple(sorted(CLIPS[i].path for i in (0, 1, 2, 3, 7)))
    lines = str(caught.value).splitlines()
    assert "  speaker c/a: fold 8 train and dev" in lines
    assert "  speaker c/b: fold 8 dev and test" in lines
    assert (
        f"  bytes of {CLIPS[7].path}: fold 7 train and test; fold 8 train and dev and test" in lines
    )


@pytest.mark.parametrize("one, other", ((0, 4), (0, 6), (4, 6)))
def test_equal_bytes_in_any_two_parts_are_a_leak(one, other):
    digests = own_digests(CLIPS)
    digests[other] = digests[one]
    with pytest.raises(LeakageError) as caught:
        audit(CLIPS, [FOLD], digests=digests)
    assert caught.value.speakers == ()
    assert caught.value.files == (CLIPS[one].path, CLIPS[other].path)


def test_a_leak_across_the_domains_counts():
    utterances = [*CLIPS, clip("c/d", domain="music")]
    digests = [*own_digests(CLIPS), own_digests(CLIPS)[0]]
    with pytest.raises(LeakageError, match="c/d/music"):
        audit(utterances, [FOLD], digests=digests)


def test_unreadable_files_are_not_taken_for_copies_of_each_other():
    assert audit(CLIPS, [FOLD], digests=[""] * len(CLIPS)) == ()


def test_digests_must_match_the_clips():
    with pytest.raises(ValueError, match="3 digests for 8 clips"):
        audit(CLIPS, [FOLD], digests=["", "", ""])


def test_emotions_that_a_part_lacks_are_returned():
    utterances = [*CLIPS, clip("c/a", emotion="happy"), clip("c/c", emotion="happy")]
    utterances.append(clip("c/d", domain="music"))
    assert audit(utterances, [FOLD], digests=own_digests(utterances)) == (
        EmptyCell(7, "train", "music", "sad"),
        EmptyCell(7, "dev", "music", "sad"),
        EmptyCell(7, "test", "speech", "happy"),
    )


def test_the_summary_has_a_row_for_each_fold_part_and_domain():
    utterances = ravdess()
    rows = fold_summary(utterances, make_folds(utterances))
    assert len(rows) == 6 * 3
    assert rows[2] == {
        "fold": 0,
        "part": "test",
        "speakers": "ravdess/01, ravdess/11, ravdess/20, ravdess/21",
        "clips_speech": 24,
        "clips_music": 24,
    }


def test_renaming_files_changes_no_fold():
    moved = [replace(row, path=f"/elsewhere/{row.path}") for row in ravdess()]
    assert make_folds(moved, seed=2) == make_folds(ravdess(), seed=2)
