"""Published corpora on tiny folders in the layouts in which their owners give them out."""

from pathlib import Path

import pytest
from published_layouts import LAYOUTS

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import DOMAINS, PARTITIONS, CalmPolicy
from jaxemo.data.corpora.published import QUADRANTS, Names, quadrant_of_ratings
from jaxemo.data.corpora.scan import Classes, read_published

WITH_EMOTIONS = [name for name in LAYOUTS if CATALOGUE[name].emotions]
WITHOUT_EMOTIONS = [name for name in LAYOUTS if not CATALOGUE[name].emotions]


def lay_out(name, root) -> Path:
    """Writes the made-up part of a corpus below a folder."""
    layout = LAYOUTS[name]
    for path, text in {**dict.fromkeys(layout.audio, ""), **layout.tables}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def read(name, root, **options):
    classes = Classes.QUADRANTS if LAYOUTS[name].quadrants else Classes.EMOTIONS
    return read_published(CATALOGUE[name], root, **{"classes": classes, **options})


def by_end(name, root, end):
    return next(row for row in read(name, root).utterances if row.path.endswith(end))


def test_every_corpus_of_the_catalogue_has_a_layout_to_be_read():
    assert {name for name in CATALOGUE if not name.startswith("ravdess")} == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_published_layout_gives_classes_speakers_and_parts(name, tmp_path):
    corpus = read(name, lay_out(name, tmp_path / "deep" / "er"))
    prefix = CATALOGUE[name].corpus or name
    expected = [
        (end, label, f"{prefix}/{who}", part) for end, label, who, part in LAYOUTS[name].rows
    ]
    found = [(row.path, row.emotion, row.speaker, row.partition) for row in corpus.utterances]
    assert [row[1:] for row in found] == [row[1:] for row in expected]
    assert all(row[0].endswith(end[0]) for row, end in zip(found, expected, strict=True))
    assert corpus.name == prefix


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_that_are_no_class_are_counted(name, tmp_path):
    assert read(name, lay_out(name, tmp_path)).unmapped == LAYOUTS[name].unmapped


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_audio_file_is_read_counted_or_left_out(name, tmp_path):
    corpus = read(name, lay_out(name, tmp_path))
    assert len(corpus.left_out) == len(LAYOUTS[name].left_out)
    for left, end in zip(corpus.left_out, LAYOUTS[name].left_out, strict=True):
        assert left.path.endswith(end)
    num_seen = len(corpus.utterances) + sum(corpus.unmapped.values()) + len(corpus.left_out)
    assert num_seen == len(LAYOUTS[name].audio)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_description_is_whole(name):
    corpus = CATALOGUE[name]
    texts = (corpus.title, corpus.licence, corpus.citation, corpus.obtain, corpus.checked)
    assert all(texts)
    domains = (corpus.domain,) if isinstance(corpus.domain, str) else corpus.domain
    assert set(domains) <= set(DOMAINS)
    assert set(corpus.partitions.values()) <= set(PARTITIONS)
    assert set(corpus.quadrants.values()) <= set(QUADRANTS)
    assert corpus.unit in ("speaker", "session", "artist", "song")
    assert not corpus.partitions or corpus.partition_words


@pytest.mark.parametrize("name", [n for n in CATALOGUE if isinstance(CATALOGUE[n].layout, Names)])
def test_the_example_of_a_layout_fits_its_pattern(name):
    import re

    layout = CATALOGUE[name].layout
    stem = layout.example.rpartition(".")[0]
    assert re.fullmatch(rf"(?:.*/)?(?:{layout.pattern})", stem)


# Classes


@pytest.mark.parametrize("name", WITHOUT_EMOTIONS)
def test_a_corpus_of_ratings_or_quadrants_alone_refuses_emotions(name, tmp_path):
    with pytest.raises(ValueError, match=r"only, and no emotions; set config\.corpus\.classes"):
        read(name, lay_out(name, tmp_path), classes=Classes.EMOTIONS)


@pytest.mark.parametrize("name", WITH_EMOTIONS)
def test_an_emotion_that_a_corpus_cannot_have_is_refused_with_those_it_has(name, tmp_path):
    with pytest.raises(ValueError, match="unknown emotion puzzled; expected of"):
        read(name, lay_out(name, tmp_path), emotions=["puzzled"])


def test_speech_and_music_meet_in_quadrants(tmp_path):
    speech = read("crema_d", lay_out("crema_d", tmp_path), classes=Classes.QUADRANTS)
    assert [row.emotion for row in speech.utterances] == ["Q1", "Q2", "Q3"]
    assert speech.emotions == ("Q1", "Q2", "Q3")


def test_ratings_come_before_labels_in_quadrants(tmp_path):
    root = lay_out("iemocap_4", tmp_path)
    corpus = read("iemocap_4", root, classes=Classes.QUADRANTS)
    assert sorted(row.emotion for row in corpus.utterances) == ["Q1", "Q2", "Q3", "Q3"]


@pytest.mark.parametrize(
    ("valence", "arousal", "quadrant"),
    [
        (0.1, 0.1, "Q1"),
        (-0.1, 0.1, "Q2"),
        (-1.0, -1.0, "Q3"),
        (1.0, -1.0, "Q4"),
        (0.0, 1.0, ""),
        (1.0, 0.0, ""),
    ],
)
def test_quadrants_are_counted_against_the_clock_and_axes_belong_to_none(
    valence, arousal, quadrant
):
    assert quadrant_of_ratings(valence, arousal) == quadrant


def test_emotions_that_were_not_asked_for_are_counted_and_said(tmp_path):
    corpus = read("crema_d", lay_out("crema_d", tmp_path), emotions=["sad", "angry"])
    assert corpus.emotions == ("sad", "angry")
    assert corpus.other_emotions == {"happy": 1}
    assert corpus.notes == ("CREMA-D: clips of emotions that were not asked for: happy 1.",)


def test_calm_is_dropped_from_a_published_corpus(tmp_path):
    layout = lay_out("emotify", tmp_path)
    with pytest.raises(ValueError, match="no clip of emotion"):
        read("emotify", layout, calm=CalmPolicy.DROP, emotions=["happy", "calm"])


# Ratings, groups and tags


@pytest.mark.parametrize(
    ("name", "end", "valence", "arousal", "dominance"),
    [
        ("iemocap_4", "M000.wav", 0.5, 0.25, 0.0),
        ("msp_podcast", "0001_0008.wav", 0.2 / 3, 0.4, 1.4 / 3),
        ("pmemo", "chorus/1.mp3", -0.5, 0.6, None),
        ("deam", "/2.mp3", -0.475, -0.5, None),
        ("emomusic", "/3.mp3", -0.425, 0.625, None),
        ("soundtracks", "002.mp3", 0.5, 0.25, None),
    ],
)
def test_ratings_are_between_minus_one_and_one(name, end, valence, arousal, dominance, tmp_path):
    row = by_end(name, lay_out(name, tmp_path), end)
    assert (row.valence, row.arousal) == pytest.approx((valence, arousal))
    assert row.dominance == (None if dominance is None else pytest.approx(dominance))


def test_the_speaker_of_a_turn_is_who_speaks_and_its_group_the_session(tmp_path):
    row = by_end("iemocap_4", lay_out("iemocap_4", tmp_path), "M000.wav")
    assert (row.speaker, row.group) == ("iemocap/Ses01M", "iemocap/Ses01")


def test_tags_are_kept_whatever_becomes_of_them(tmp_path):
    row = by_end("mtg_jamendo", lay_out("mtg_jamendo", tmp_path), "100.mp3")
    assert row.tags == ("film", "happy")
    row = by_end("emotify", lay_out("emotify", tmp_path), "100.mp3")
    assert row.tags == ("calmness", "sadness")


# Faults


def test_a_folder_that_is_not_there_says_how_to_obtain_the_corpus(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"expected that of DEAM\. To obtain it: cvml"):
        read("deam", tmp_path / "absent")


def test_no_folder_does_not_search_the_current_one():
    with pytest.raises(ValueError, match=r"config\.corpus\.audio_dir is empty"):
        read("crema_d", "")


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no annotations/static_annotations\.csv"):
        read("pmemo", tmp_path)


def test_a_table_of_other_columns_is_refused(tmp_path):
    root = lay_out("deam", tmp_path)
    next(root.rglob("*1_2000.csv")).write_text("song,valence\n2,3\n")
    with pytest.raises(ValueError, match="has no column song_id, valence_mean, arousal_mean"):
        read("deam", root)


def test_a_folder_of_something_else_says_what_was_expected(tmp_path):
    (tmp_path / "song.wav").touch()
    with pytest.raises(ValueError, match=r"1 audio files with other names.*1001_DFA_ANG_XX"):
        read("crema_d", tmp_path)


def test_labelled_clips_without_a_file_are_said(tmp_path):
    root = lay_out("deam", tmp_path)
    (root / "MEMD_audio/2.mp3").unlink()
    assert read("deam", root).notes == (
        "DEAM: 1 labelled clips have no audio file, such as MEMD_audio/2.",
    )


def test_what_macos_keeps_beside_a_table_is_not_read(tmp_path):
    root = lay_out("iemocap_4", tmp_path)
    (root / "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt").write_bytes(b"\x00\x05\xff")
    assert len(read("iemocap_4", root).utterances) == 2
