"""Several corpora as one experiment, and the command that lists and scans them."""

import pytest
from test_published_corpora import lay_out

from jaxemo.cli.command import ArgumentFault
from jaxemo.cli.corpora import corpora
from jaxemo.cli.main import main
from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.studies.config import Settings, default_config, read_settings
from jaxemo.studies.corpora import open_corpora
from jaxemo.studies.corpus_settings import read_corpora


@pytest.fixture
def places(tmp_path):
    return {name: str(lay_out(name, tmp_path / name)) for name in ("crema_d", "emopia", "emotify")}


def joined(places, *names, **corpus):
    config = default_config()
    config.corpora = tuple(f"{name}={places[name]}" for name in names)
    for key, value in corpus.items():
        config.corpus[key] = value
    return read_settings(config)


def test_speech_from_one_and_music_from_another_share_classes_and_no_speaker(places, tmp_path):
    settings = joined(places, "crema_d", "emopia", classes="quadrants")
    corpus = open_corpora(settings, tmp_path)
    found = {(row.corpus, row.domain, row.emotion) for row in corpus.utterances}
    assert found == {
        ("crema_d", "speech", "Q1"),
        ("crema_d", "speech", "Q2"),
        ("crema_d", "speech", "Q3"),
        ("emopia", "music", "Q1"),
        ("emopia", "music", "Q3"),
    }
    assert corpus.name == "crema_d+emopia"
    assert corpus.emotions == ("Q1", "Q2", "Q3")
    assert "No corpus of music has Q2." in corpus.notes


def test_each_corpus_gives_what_it_has_of_the_emotions_asked_for(places, tmp_path):
    settings = joined(places, "crema_d", "emotify", emotions=("sad", "calm"))
    corpus = open_corpora(settings, tmp_path)
    assert corpus.emotions == ("sad", "calm")
    assert sorted((row.corpus, row.emotion) for row in corpus.utterances) == [
        ("crema_d", "sad"),
        ("emotify", "calm"),
    ]


def test_a_manifest_joins_a_published_corpus(places, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("path,domain,emotion,speaker\na.wav,music,sad,1\nb.wav,music,odd,2\n")
    settings = joined({**places, "manifest": table}, "crema_d", "manifest", emotions=("sad",))
    corpus = open_corpora(settings, tmp_path)
    assert [row.speaker for row in corpus.utterances] == ["crema_d/1040", "mine/1"]


def test_an_emotion_that_no_corpus_has_is_refused(places, tmp_path):
    settings = joined(places, "crema_d", "emotify", emotions=("sad", "calm", "surprised"))
    with pytest.raises(ValueError, match=r"config\.corpora has no clip of emotion 'surprised'"):
        open_corpora(settings, tmp_path)


def test_a_corpus_with_none_of_the_emotions_is_named(places, tmp_path):
    settings = joined(places, "crema_d", "emotify", emotions=("angry",))
    with pytest.raises(ValueError, match=r"config\.corpora has emotify, which has none of angry"):
        open_corpora(settings, tmp_path)


def test_a_corpus_named_twice_under_two_folders_is_refused(places, tmp_path):
    places["crema_d "] = f"{places['crema_d']}/AudioWAV"
    config = default_config()
    folder = places["crema_d"]
    config.corpora = (f"crema_d={folder}", f"crema_d={folder}/AudioWAV")
    config.corpus.emotions = ("sad",)
    with pytest.raises(ValueError, match="names files more than once"):
        open_corpora(read_settings(config), tmp_path)


@pytest.mark.parametrize("place", ["crema_d", "crema_d=", "puzzle=DIR", "=DIR", "synthetic=DIR"])
def test_a_place_without_a_known_name_or_a_folder_is_refused(place):
    config = default_config()
    config.corpora = (place,)
    with pytest.raises(ValueError, match=r"config\.corpora has .*expected of NAME=PLACE"):
        read_settings(config)


@pytest.mark.slow
def test_without_corpora_the_corpus_block_is_read_as_before(tmp_path):
    assert open_corpora(Settings(), tmp_path).name == "synthetic"


# The settings of one published corpus


@pytest.mark.parametrize(
    ("name", "emotions", "complaint"),
    [
        ("crema_d", ("sad", "calm"), r"config\.corpus\.emotions is .*expected emotions that the"),
        ("ravdess_song", (), r"config\.corpus\.emotions is empty; expected at least one"),
    ],
)
def test_emotions_that_a_corpus_cannot_have_are_refused_before_it_is_read(
    name, emotions, complaint
):
    config = default_config()
    config.corpus.update(name=name, audio_dir="DIR", emotions=emotions)
    with pytest.raises(ValueError, match=complaint):
        read_settings(config)


def test_a_published_corpus_needs_its_folder():
    config = default_config()
    config.corpus.update(name="crema_d", emotions=("sad",))
    with pytest.raises(ValueError, match=r"config\.corpus\.audio_dir is empty; expected a folder"):
        read_settings(config)


# The command


def test_the_list_has_a_line_per_corpus_with_licence_and_origin(capsys):
    assert main(["corpora"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CATALOGUE)
    assert "Open Database License" in next(line for line in lines if line.startswith("crema_d"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_one_corpus_is_printed_with_its_label_map_citation_and_parts(name, capsys):
    assert main(["corpora", name]) == 0
    said = capsys.readouterr().out
    for text in (CATALOGUE[name].citation, CATALOGUE[name].obtain, CATALOGUE[name].layout.example):
        assert text in said
    for label in (*CATALOGUE[name].emotions, *CATALOGUE[name].quadrants):
        assert f"\n{label} " in said


def test_a_folder_is_scanned_and_its_clips_and_other_labels_counted(places, tmp_path, capsys):
    lay_out("msp_podcast", tmp_path / "podcast")
    assert main(["corpora", "msp_podcast", f"--audio_dir={tmp_path / 'podcast'}"]) == 0
    said = capsys.readouterr().out
    assert "speech  angry    1      1" in said
    assert "clips with labels that are no class take no part: X 1, part Test2 1." in said


def test_an_unknown_corpus_gets_a_hint():
    with pytest.raises(ArgumentFault, match="did you mean 'emovo'"):
        corpora(names=("emovoo",), audio_dir=None, format="text")


# What a checkpoint keeps


def test_a_checkpoint_keeps_the_corpora_and_refuses_what_it_could_not_hold():
    assert read_corpora({}) == ()
    assert read_corpora({"corpora": ["crema_d=DIR"]}) == ("crema_d=DIR",)
    with pytest.raises(ValueError, match=r"corpus\.corpora has \['puzzle=DIR'\]; expected of NAME"):
        read_corpora({"corpora": ["puzzle=DIR"]})
