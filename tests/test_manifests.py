"""Corpora from a CSV file: what is understood, what is refused, and who is one person."""

from dataclasses import replace
from pathlib import Path

import pytest

from jaxemo.data.corpora.corpus import CalmPolicy, Utterance
from jaxemo.data.corpora.manifest import read_manifest


def labels(utterances) -> list[Utterance]:
    return [replace(row, path="") for row in utterances]


def manifest(folder: Path, text: str, name: str = "mine.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Anna", "anna"),
        ("01", "1"),
        ("spk007", "spk7"),
        ("Anna B", "AnnaB"),
        ("anna", "anna\u200b"),
        ("\uff21nna", "Anna"),
        ("stra\u00dfe", "STRASSE"),
    ],
)
def test_speakers_that_differ_in_spelling_alone_stop_a_manifest(tmp_path, first, second):
    rows = f"path,domain,emotion,speaker\na.wav,speech,sad,{first}\nb.wav,music,sad,{second}\n"
    with pytest.raises(ValueError, match="differ only in case") as caught:
        read_manifest(manifest(tmp_path, rows))
    assert repr(f"mine/{first}") in str(caught.value)
    assert repr(f"mine/{second}") in str(caught.value)


@pytest.mark.parametrize(("first", "second"), [("10", "1"), ("anna", "ann"), ("a1", "a11")])
def test_speakers_that_differ_otherwise_are_two(tmp_path, first, second):
    rows = f"path,domain,emotion,speaker\na.wav,speech,sad,{first}\nb.wav,music,sad,{second}\n"
    speakers = {row.speaker for row in read_manifest(manifest(tmp_path, rows)).utterances}
    assert speakers == {f"mine/{first}", f"mine/{second}"}


def test_composed_and_decomposed_accents_are_one_name(tmp_path):
    rows = "path,domain,emotion,speaker\na.wav,speech,sad,\u00e9va\nb.wav,music,sad,e\u0301va\n"
    speakers = {row.speaker for row in read_manifest(manifest(tmp_path, rows)).utterances}
    assert speakers == {"mine/\u00e9va"}


def test_a_manifest_gives_paths_relative_to_its_folder_and_unique_speakers(tmp_path):
    path = manifest(
        tmp_path,
        "path,domain,emotion,speaker\nb/one.wav,speech,happy,ann\n/x/two.wav,music,sad,bob\n",
    )
    corpus = read_manifest(path)
    assert corpus.name == "mine"
    assert corpus.emotions == ("happy", "sad")
    assert corpus.utterances == (
        Utterance("/x/two.wav", "mine", "music", "sad", "mine/bob"),
        Utterance(str(tmp_path / "b/one.wav"), "mine", "speech", "happy", "mine/ann"),
    )


def test_optional_columns_case_blank_lines_and_a_byte_order_mark_are_understood(tmp_path):
    path = manifest(
        tmp_path,
        "\ufeffSpeaker,Path,Emotion,Domain,Corpus,Statement,Valence\r\n"
        '1,"a, b.wav",Happy,SPEECH,emo,"said ""so""",0.3\r\n\r\n,,,,,,\r\n',
    )
    (row,) = read_manifest(path).utterances
    assert row == Utterance(
        str(tmp_path / "a, b.wav"), "emo", "speech", "happy", "emo/1", statement='said "so"'
    )


def test_all_bad_rows_are_reported_with_their_lines(tmp_path):
    path = manifest(
        tmp_path,
        "path,domain,emotion,speaker\n"
        "a.wav,speech,happy,1\n"
        "b.wav,song,happy,1\n"
        "c.wav,speech,,\n"
        "a.wav,speech,sad,2\n"
        "d.wav,speech,sad,2,extra\n"
        "e.wav,speech\n",
    )
    with pytest.raises(ValueError) as caught:
        read_manifest(path)
    assert str(caught.value).splitlines()[1:] == [
        "  line 3: domain 'song', expected speech or music",
        "  line 4: no emotion",
        "  line 4: no speaker",
        "  line 5: path 'a.wav' is on line 2 already",
        "  line 6: more cells than columns: 'extra' (quote cells that hold a comma)",
        "  line 7: no emotion",
        "  line 7: no speaker",
    ]


@pytest.mark.parametrize(
    "content, complaint",
    (
        (b"", "no column path, domain, emotion, speaker"),
        (b"path;domain;emotion;speaker\n", "separated by commas, found 'path;domain"),
        (b"path,domain,speaker\nx,speech,1\n", "no column emotion"),
        (b"path,domain,emotion,speaker\n", "a header and no rows"),
        (b"path,domain,emotion,speaker\nx\xff.wav,speech,sad,1\n", "not a CSV file in UTF-8"),
    ),
)
def test_a_file_that_is_no_manifest_is_refused(tmp_path, content, complaint):
    path = tmp_path / "m.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        read_manifest(path)


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.csv"):
        read_manifest(tmp_path / "absent.csv")


def test_manifest_emotions_can_be_chosen_and_calm_merged(tmp_path):
    rows = [f"{i}.wav,speech,{e},1" for i, e in enumerate(("calm", "bored", "neutral", "sad"))]
    path = manifest(tmp_path, "path,domain,emotion,speaker\n" + "\n".join(rows))
    assert read_manifest(path).emotions == ("neutral", "calm", "sad", "bored")
    corpus = read_manifest(path, emotions=["neutral", "sad"], calm=CalmPolicy.MERGE_INTO_NEUTRAL)
    assert [row.emotion for row in corpus.utterances] == ["neutral", "neutral", "sad"]
    assert corpus.other_emotions == {"bored": 1}
    with pytest.raises(ValueError, match="no clip of emotion 'happy'"):
        read_manifest(path, emotions=["happy", "sad"])


def test_manifest_rows_do_not_depend_on_line_order_or_place(tmp_path):
    lines = [f"{s}{e}.wav,speech,{e},{s}" for s in (2, 1) for e in ("sad", "happy")]
    header = "path,domain,emotion,speaker\n"
    (tmp_path / "other").mkdir()
    one = read_manifest(manifest(tmp_path, header + "\n".join(lines)))
    other = read_manifest(manifest(tmp_path / "other", header + "\n".join(reversed(lines))))
    assert labels(one.utterances) == labels(other.utterances)
