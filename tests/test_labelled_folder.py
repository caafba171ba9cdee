"""A folder per emotion is a corpus: places say domain, emotion and speaker; what says too little is left out."""

import shutil

import pytest

from jaxemo.data.corpora.manifest import read_manifest


def place(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def found(corpus):
    return [(row.domain, row.emotion, row.speaker) for row in corpus.utterances]


def test_places_say_domain_emotion_and_speaker(tmp_path):
    root = place(
        *(tmp_path / "mine", "speech/Happy/ann/1.wav", "speech/sad/bob/take 2/1.flac"),
        *(
            "Music/sad/ann/1.mp3",
            "notes.txt",
            "speech/happy/ann/._1.wav",
            "stray.wav",
            "speech/1.wav",
        ),
    )
    corpus = read_manifest(root)
    assert corpus.name == "mine" and corpus.emotions == ("happy", "sad") and not corpus.notes
    assert found(corpus) == [
        ("music", "sad", "mine/ann"),
        ("speech", "happy", "mine/ann"),
        ("speech", "sad", "mine/bob"),
    ]
    assert {item.path.rpartition("/")[2] for item in corpus.left_out} == {
        "._1.wav",
        "stray.wav",
        "1.wav",
    }


def test_a_folder_called_speech_needs_no_other(tmp_path):
    corpus = read_manifest(place(tmp_path / "speech", "happy/ann/1.wav"))
    assert found(corpus) == [("speech", "happy", "speech/ann")]


def test_clips_of_nobody_are_a_speaker_each_wherever_they_lie_and_a_note_says_so(tmp_path):
    root = place(tmp_path / "mine", "speech/sad/1.wav", "speech/sad/01.wav", "speech/sad/ann/1.wav")
    first = read_manifest(root)
    assert len({row.speaker for row in first.utterances}) == 3
    assert "2 of 3 clips lie in no folder of a speaker" in first.notes[0]
    shutil.move(root, tmp_path / "other" / "mine")
    assert found(read_manifest(tmp_path / "other" / "mine")) == found(first)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("happy/1.wav",), "of its 1 audio files none lies at DOMAIN/EMOTION/SPEAKER/FILE"),
        ((), "of its 0 audio files none lies"),
        (("speech/sad/Ann/1.wav", "speech/sad/ann/1.wav"), "differ only in case"),
    ],
)
def test_a_folder_that_says_too_little_is_refused(tmp_path, names, complaint):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ValueError, match=complaint):
        read_manifest(place(tmp_path / "mine", *names))
