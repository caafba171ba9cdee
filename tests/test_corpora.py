"""RAVDESS names in any layout, manifests, summaries and the manifest hash. No audio is decoded."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxemo.data.corpora.corpus import (
    DOMAINS,
    SHARED_EMOTIONS,
    SPEECH_EMOTIONS,
    CalmPolicy,
    Utterance,
    corpus_summary,
    manifest_hash,
)
from jaxemo.data.corpora.ravdess import read_ravdess

REAL_RAVDESS = os.environ.get("JAXEMO_RAVDESS")


def ravdess_names(actors=("01", "12"), modality="03") -> list[str]:
    """Every take that RAVDESS has of the actors: 60 spoken and 44 sung each."""
    names = []
    for actor in actors:
        for channel, num_emotions in (("01", 8), ("02", 6)):
            for emotion in range(1, num_emotions + 1):
                for intensity in ("01",) if emotion == 1 else ("01", "02"):
                    for statement in ("01", "02"):
                        for repetition in ("01", "02"):
                            codes = (modality, channel, f"{emotion:02d}", intensity)
                            names.append("-".join((*codes, statement, repetition, actor)))
    return names


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"audio")
    return path


def labels(utterances) -> list[Utterance]:
    return [replace(row, path="") for row in utterances]


@pytest.fixture
def ravdess(tmp_path) -> Path:
    for name in ravdess_names():
        touch(tmp_path / "ravdess" / f"Actor_{name[-2:]}" / f"{name}.wav")
    return tmp_path / "ravdess"


def test_the_shared_emotions_are_read_by_default_and_the_others_counted(ravdess):
    corpus = read_ravdess(ravdess)
    assert corpus.name == "ravdess"
    assert corpus.emotions == SHARED_EMOTIONS
    assert len(corpus.utterances) == 2 * (44 + 44)
    assert corpus.other_emotions == {"disgust": 16, "surprised": 16}
    assert corpus.left_out == ()


def test_every_field_of_a_name_becomes_its_label(ravdess):
    corpus = read_ravdess(ravdess)
    row = next(r for r in corpus.utterances if r.path.endswith("03-02-06-02-01-02-12.wav"))
    assert labels([row]) == [
        Utterance(
            "", "ravdess", "music", "fearful", "ravdess/12", "strong", "kids", "2", sex="female"
        )
    ]


def test_eight_emotions_are_all_spoken_and_six_are_sung(ravdess):
    corpus = read_ravdess(ravdess, emotions=SPEECH_EMOTIONS)
    assert len(corpus.utterances) == 2 * (60 + 44)
    assert corpus.other_emotions == {}
    sung = {row.emotion for row in corpus.utterances if row.domain == "music"}
    spoken = {row.emotion for row in corpus.utterances if row.domain == "speech"}
    assert (spoken, sung) == (set(SPEECH_EMOTIONS), set(SHARED_EMOTIONS))


@pytest.mark.parametrize(
    "calm, num_neutral, others",
    (
        (CalmPolicy.KEEP_APART, 16, {}),
        (CalmPolicy.MERGE_INTO_NEUTRAL, 48, {}),
        (CalmPolicy.DROP, 16, {"calm": 32}),
    ),
)
def test_calm_is_kept_merged_or_dropped(ravdess, calm, num_neutral, others):
    corpus = read_ravdess(ravdess, calm=calm)
    counts = [row.emotion for row in corpus.utterances].count
    assert counts("neutral") == num_neutral
    assert counts("calm") == (32 if calm is CalmPolicy.KEEP_APART else 0)
    assert ("calm" in corpus.emotions) == (calm is CalmPolicy.KEEP_APART)
    assert {name: n for name, n in corpus.other_emotions.items() if name == "calm"} == others


def test_emotions_come_in_the_order_asked_for(ravdess):
    assert read_ravdess(ravdess, emotions=["sad", "happy"]).emotions == ("sad", "happy")


@given(st.randoms(use_true_random=False))
def test_rows_depend_on_names_alone_whatever_the_layout(tmp_path_factory, random):
    names = ravdess_names(("03", "24"))
    random.shuffle(names)
    root = tmp_path_factory.mktemp("layout")
    for name in names[:30]:
        ending = random.choice((".wav", ".flac", ".WAV", ".Flac", ".mp3", ".ogg"))
        touch(root / random.choice(("", "b", "a/deep/er")) / f"{name}{ending}")
    corpus = read_ravdess(root, emotions=_emotions_of(names[:30]), domains=_domains_of(names[:30]))
    expected = sorted(name[3:] for name in names[:30])
    assert [Path(row.path).stem[3:] for row in corpus.utterances] == expected


def _emotions_of(names):
    return [SPEECH_EMOTIONS[i] for i in sorted({int(name.split("-")[2]) - 1 for name in names})]


def _domains_of(names):
    return [DOMAINS[i] for i in sorted({int(name.split("-")[1]) - 1 for name in names})]


def test_a_moved_corpus_gives_the_same_rows(ravdess, tmp_path):
    before = labels(read_ravdess(ravdess).utterances)
    flat = tmp_path / "elsewhere" / "flat"
    for path in ravdess.rglob("*.wav"):
        touch(flat / path.with_suffix(".FLAC").name)
    assert labels(read_ravdess(flat).utterances) == before


def test_the_copy_within_the_copy_is_left_out_file_by_file(ravdess):
    # The layout on Kaggle: Actor_01.. and audio_speech_actors_01-24/Actor_01.. .
    copies = [
        touch(ravdess / "audio_actors_01-24" / path.parent.name / path.name)
        for path in list(ravdess.rglob("*.wav"))
    ]
    corpus = read_ravdess(ravdess)
    assert len(corpus.utterances) == 2 * 88
    assert not any("audio_actors" in row.path for row in corpus.utterances)
    assert {left.path for left in corpus.left_out} == {str(copy) for copy in copies}
    assert all("same take is used" in left.reason for left in corpus.left_out)


def test_the_sound_of_a_video_counts_only_where_no_audio_file_has_the_take(ravdess):
    beside = touch(ravdess / "01-01-03-01-01-01-01.wav")
    alone = touch(ravdess / "01-01-03-01-01-01-05.wav")
    silent = touch(ravdess / "02-01-03-01-01-01-06.wav")
    corpus = read_ravdess(ravdess)
    paths = [row.path for row in corpus.utterances]
    assert str(alone) in paths
    assert {left.path for left in corpus.left_out} == {str(beside), str(silent)}


@pytest.mark.parametrize(
    "name, complaint",
    (
        ("notes.wav", "seven two-digit codes"),
        ("03-01-03-01-01-01.wav", "seven two-digit codes"),
        ("03-01-03-01-01-01-01 (1).wav", "seven two-digit codes"),
        ("._03-01-03-01-01-01-01.wav", "hidden"),
        ("3-1-3-1-1-1-1.wav", "seven two-digit codes"),
        ("03-01-09-01-01-01-25.wav", "no such emotion 09, actor 25"),
        ("04-03-01-01-01-01-01.wav", "no such modality 04, channel 03"),
        ("03-01-01-01-01-01-00.wav", "no such actor 00"),
    ),
)
def test_audio_files_with_other_names_are_reported(ravdess, name, complaint):
    path = touch(ravdess / name)
    (left,) = read_ravdess(ravdess).left_out
    assert left.path == str(path)
    assert complaint in left.reason


def test_files_that_are_no_audio_are_passed_over(ravdess):
    for name in ("README.md", "03-01-01-01-01-01-03.mp4", "03-01-01-01-01-01-03.wav.part"):
        touch(ravdess / name)
    assert read_ravdess(ravdess).left_out == ()


def test_links_are_followed_and_loops_end(ravdess, tmp_path):
    outside = tmp_path / "outside"
    touch(outside / "03-01-01-01-01-01-07.wav")
    (ravdess / "linked").symlink_to(outside, target_is_directory=True)
    (ravdess / "Actor_01" / "loop").symlink_to(ravdess, target_is_directory=True)
    (outside / "back").symlink_to(outside, target_is_directory=True)
    corpus = read_ravdess(ravdess)
    assert len(corpus.utterances) == 2 * 88 + 1
    assert corpus.left_out == ()


def test_what_looks_like_audio_and_is_not_read_is_listed(ravdess):
    names = ("notes.txt", "a.m4a", "._03-01-06-01-02-01-12.wav", ".hidden.wav", "film.mp4")
    for name in names:
        touch(ravdess / name)
    reasons = {Path(item.path).name: item.reason for item in read_ravdess(ravdess).left_out}
    assert reasons.keys() == {"a.m4a", "._03-01-06-01-02-01-12.wav", ".hidden.wav"}
    assert "no format of libsndfile" in reasons["a.m4a"]
    assert reasons["._03-01-06-01-02-01-12.wav"].startswith("hidden")


def test_ravdess_without_a_folder_does_not_search_the_current_one():
    with pytest.raises(ValueError, match=r"config.corpus.audio_dir is empty"):
        read_ravdess("")


def test_a_missing_folder_and_a_file_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent does not exist"):
        read_ravdess(tmp_path / "absent")
    with pytest.raises(NotADirectoryError, match=r"a\.wav is a file"):
        read_ravdess(touch(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    "names, found",
    (
        ((), "no audio file"),
        (("happy.wav", "sad.flac"), "2 audio files with other names"),
        (("01-01-01-01-01-01-01.mp4",), r"1 videos \(extract their sound first\)"),
    ),
)
def test_a_folder_without_ravdess_names_says_what_is_there_and_what_was_expected(
    tmp_path, names, found
):
    for name in names:
        touch(tmp_path / name)
    with pytest.raises(ValueError, match=rf"(?s){found}.*03-01-06-01-02-01-12\.wav"):
        read_ravdess(tmp_path)


@pytest.mark.parametrize(
    "choice, complaint",
    (
        ({"emotions": ["happy", "hapy", "bored"]}, "unknown emotion hapy, bored; expected of neu"),
        ({"emotions": []}, "at least one emotion"),
        ({"emotions": "happy"}, "expected a list"),
        ({"emotions": ["sad", "sad"]}, "sad is asked for more than once"),
        ({"domains": ["song"]}, "unknown domain song; expected of speech, music"),
    ),
)
def test_a_wrong_choice_is_refused_by_name(ravdess, choice, complaint):
    with pytest.raises(ValueError, match=complaint):
        read_ravdess(ravdess, **choice)


def test_emotions_and_domains_without_a_clip_are_listed_together(tmp_path):
    touch(tmp_path / "03-01-01-01-01-01-01.wav")
    with pytest.raises(ValueError, match="no clip of emotion 'sad', domain 'music'"):
        read_ravdess(tmp_path, emotions=["neutral", "sad"])
    corpus = read_ravdess(tmp_path, emotions=["neutral"], domains=["speech"])
    assert len(corpus.utterances) == 1


def test_only_the_domains_asked_for_are_read(ravdess):
    corpus = read_ravdess(ravdess, domains=["music"])
    assert {row.domain for row in corpus.utterances} == {"music"}
    assert corpus.other_emotions == {}


# Summary and hash


def test_the_summary_counts_clips_and_speakers(ravdess):
    summary = corpus_summary(read_ravdess(ravdess).utterances)
    assert len(summary) == 12
    assert summary[0] == {
        "corpus": "ravdess",
        "domain": "speech",
        "emotion": "neutral",
        "clips": 8,
        "speakers": 2,
    }
    assert sum(row["clips"] for row in summary) == 2 * 88


ROWS = tuple(
    Utterance(f"/a/{i}.wav", "c", "speech", emotion, f"c/{i}")
    for i, emotion in enumerate(("sad", "happy", "sad"))
)
DIGESTS = ("d0", "d1", "d2")


def test_the_manifest_hash_ignores_paths_and_order():
    moved = [replace(row, path=row.path.replace("/a", "/b")) for row in ROWS]
    assert manifest_hash(moved[::-1], DIGESTS[::-1]) == manifest_hash(ROWS, DIGESTS)


@pytest.mark.parametrize("field", ("corpus", "domain", "emotion", "speaker", "repetition"))
def test_the_manifest_hash_sees_every_label(field):
    changed = (replace(ROWS[0], **{field: "other"}), *ROWS[1:])
    assert manifest_hash(changed, DIGESTS) != manifest_hash(ROWS, DIGESTS)


def test_the_manifest_hash_sees_content_and_missing_clips():
    assert manifest_hash(ROWS, ("d0", "d1", "dX")) != manifest_hash(ROWS, DIGESTS)
    assert manifest_hash(ROWS[:2], DIGESTS[:2]) != manifest_hash(ROWS, DIGESTS)
    with pytest.raises(ValueError):
        manifest_hash(ROWS, DIGESTS[:2])


@pytest.mark.skipif(not REAL_RAVDESS, reason="JAXEMO_RAVDESS names no folder of RAVDESS")
def test_real_ravdess_is_balanced_over_its_actors():
    corpus = read_ravdess(REAL_RAVDESS)
    for row in corpus_summary(corpus.utterances):
        per_speaker = 4 if row["emotion"] == "neutral" else 8
        assert row["clips"] == per_speaker * row["speakers"]
    speech = {row.speaker for row in corpus.utterances if row.domain == "speech"}
    music = {row.speaker for row in corpus.utterances if row.domain == "music"}
    # Actor 18 did not sing.
    assert speech - music <= {"ravdess/18"}
    assert not music - speech
