"""Manifests of every format give the same clips; archives are unpacked once and lead nowhere else."""

import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.corpora.manifest import read_manifest

COLUMNS = ("path", "domain", "emotion", "speaker", "statement")
ROWS = (
    ("a, b.wav", "speech", "sad", "1", "so; so"),
    ("c.wav", "music", "happy", "2", "x|y"),
)
RECORDS = [dict(zip(COLUMNS, row, strict=True)) for row in ROWS]
EXPECTED = (
    Utterance("c.wav", "m", "music", "happy", "m/2", statement="x|y"),
    Utterance("a, b.wav", "m", "speech", "sad", "m/1", statement="so; so"),
)


def write_csv(path, delimiter, encoding="utf-8"):
    import csv

    with path.open("w", encoding=encoding, newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows([COLUMNS, *ROWS])
    return path


def write_json_lines(path):
    path.write_text("\n".join(json.dumps(record) for record in RECORDS) + "\n\n")
    return path


def write_parquet(path, records=RECORDS):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(records), path)
    return path


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def sample(key, ending="wav", **labels):
    labels = {"domain": "speech", "emotion": "sad", "speaker": "1", **labels}
    return [(f"{key}.{ending}", key.encode()), (f"{key}.json", json.dumps(labels).encode())]


def read(path, **options):
    return read_manifest(path, **options).utterances


def below(rows, root):
    return tuple(replace(row, path=str(Path(row.path).relative_to(root))) for row in rows)


# Tables


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_of_any_usual_delimiter_with_and_without_a_byte_order_mark(
    tmp_path, delimiter, encoding
):
    path = write_csv(tmp_path / "m.csv", delimiter, encoding)
    assert below(read(path), tmp_path) == EXPECTED


@pytest.mark.parametrize("name", ["m.jsonl", "m.ndjson"])
def test_json_lines(tmp_path, name):
    assert below(read(write_json_lines(tmp_path / name)), tmp_path) == EXPECTED


def test_parquet(tmp_path):
    assert below(read(write_parquet(tmp_path / "m.parquet")), tmp_path) == EXPECTED


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("m.jsonl", b'{"path": "a.wav"', r"m\.jsonl, line 1 is no JSON"),
        ("m.jsonl", b"[1]", r"line 1 is '\[1\]'; expected a JSON object"),
        ("m.jsonl", b"\xff\xfe", "not a JSON lines file in UTF-8"),
        ("m.jsonl", b'{"path": "a.wav", "domain": "speech"}', "no column emotion, speaker"),
        ("m.jsonl", b"[" * 100_000, "line 1 is no JSON"),
        ("m.json", b"[]", r"ends in \.json, which is not read; write one object per line"),
        (
            "m.csv",
            b"path,domain,emotion,speaker,Path\na,music,sad,1,b",
            "more than one column path",
        ),
        (
            "m.csv",
            b"path,domain,emotion,speaker\na\0,music,sad,1",
            "has characters that no path can",
        ),
        (
            "m.csv",
            b"path,domain,emotion,speaker\na,music,sad,1\nx/../a,music,sad,2",
            "on line 2 already",
        ),
        ("m.parquet", b"PAR1 nothing", r"m\.parquet is no Parquet file"),
        ("m.tar", b"no tar", r"m\.tar is no tar file that can be read"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path, name, content, complaint):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=complaint):
        read(tmp_path / name, unpack_dir=tmp_path / "cache")


def test_json_may_hold_what_parts_lines_elsewhere(tmp_path):
    record = RECORDS[0] | {"statement": "so\u2028so"}
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(record, ensure_ascii=False), encoding="utf-8")
    (row,) = read(path)
    assert row.statement == "so so"


@pytest.mark.parametrize("audio", [b"sound", {"bytes": b"sound", "path": None}])
def test_sounds_of_parquet_are_bytes_with_or_without_a_name(tmp_path, audio):
    record = {"domain": "music", "emotion": "sad", "speaker": "1", "audio": audio}
    (row,) = read(write_parquet(tmp_path / "m.parquet", [record]), unpack_dir=tmp_path / "cache")
    assert Path(row.path).read_bytes() == b"sound"


def test_sounds_of_parquet_that_are_numbers_are_refused(tmp_path):
    record = {"domain": "music", "emotion": "sad", "speaker": "1", "audio": [0.1, 0.2]}
    path = write_parquet(tmp_path / "m.parquet", [record])
    with pytest.raises(ValueError, match="row 1: column audio holds list; expected bytes, a path"):
        read(path, unpack_dir=tmp_path / "cache")


# Optional labels


def test_ratings_parts_groups_and_tags_are_read(tmp_path):
    record = RECORDS[0] | {"valence": -0.5, "arousal": 1, "partition": "Dev", "group": "g"}
    path = write_parquet(tmp_path / "m.parquet", [record | {"tags": ["calm", "film"]}])
    (row,) = read(path)
    assert (row.valence, row.arousal, row.dominance) == (-0.5, 1.0, None)
    assert (row.partition, row.group, row.tags) == ("dev", "m/g", ("calm", "film"))


def test_a_rated_clip_needs_no_emotion(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text("path,domain,speaker,valence,arousal\na.wav,music,1,0.5,0.5\n")
    (row,) = read(path)
    assert (row.emotion, row.valence) == ("", 0.5)


def test_ratings_and_parts_out_of_range_are_faults_of_their_lines(tmp_path):
    path = tmp_path / "m.csv"
    path.write_text(
        "path,domain,emotion,speaker,valence,arousal,partition\n"
        "a.wav,music,sad,1,7,0.5,train\nb.wav,music,sad,1,0.5,nan,eval\n"
    )
    with pytest.raises(ValueError) as caught:
        read(path)
    assert str(caught.value).splitlines()[1:] == [
        "  line 2: valence '7', expected a number from -1 to 1",
        "  line 3: partition 'eval', expected train or dev or test",
        "  line 3: arousal 'nan', expected a number from -1 to 1",
    ]


# Audio inside


def test_shards_give_the_labels_and_bytes_of_each_key(tmp_path):
    write_tar(tmp_path / "m-0.tar", [*sample("x/001"), *sample("x/002", "FLAC", emotion="happy")])
    write_tar(tmp_path / "m-1.tar", [*sample("003", domain="music"), ("003.txt", b"words")])
    rows = read(tmp_path, unpack_dir=tmp_path / "cache")
    found = [(Path(row.path).read_bytes(), row.domain, row.emotion) for row in rows]
    assert found == [
        (b"003", "music", "sad"),
        (b"x/002", "speech", "happy"),
        (b"x/001", "speech", "sad"),
    ]
    assert {Path(row.path).suffix for row in rows} == {".wav", ".flac"}


def test_an_archive_is_unpacked_once_and_anew_when_it_changes(tmp_path):
    shard, cache = tmp_path / "m.tar", tmp_path / "cache"
    first = read(write_tar(shard, sample("1")), unpack_dir=cache)
    Path(first[0].path).write_bytes(b"seen before")
    assert read(shard, unpack_dir=cache) == first
    assert Path(first[0].path).read_bytes() == b"seen before"
    (changed,) = read(write_tar(shard, sample("changed key")), unpack_dir=cache)
    assert Path(changed.path).read_bytes() == b"changed key"


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_a_member_that_leads_out_of_its_shard_is_refused(tmp_path, name):
    write_tar(tmp_path / "m.tar", sample(name))
    with pytest.raises(ValueError, match="leads out of it; it is not read"):
        read(tmp_path / "m.tar", unpack_dir=tmp_path / "cache")
    assert not (tmp_path / "out.wav").exists()


def test_links_in_a_shard_are_not_followed(tmp_path):
    shard = tmp_path / "m.tar"
    write_tar(shard, sample("1"))
    with tarfile.open(shard, "a") as archive:
        link = tarfile.TarInfo("2.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        archive.addfile(link)
    assert len(read(shard, unpack_dir=tmp_path / "cache")) == 1


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (sample("1")[:1], "key '1' has no JSON object of labels"),
        (sample("1")[1:], "key '1' has no audio file"),
        ([*sample("1"), *sample("2"), *sample("1")], "has key '1' at two places"),
        ([*sample("1"), ("1.flac", b"")], "key '1' has more than one audio file"),
        ([("1.json", b"{"), ("1.wav", b"")], r"1\.json is no JSON"),
        ([("1.json", b"1" * 1_000_001)], "has 1000001 bytes; expected a few labels"),
    ],
)
def test_a_key_without_audio_or_labels_is_refused(tmp_path, members, complaint):
    write_tar(tmp_path / "m.tar", members)
    with pytest.raises(ValueError, match=complaint):
        read(tmp_path / "m.tar", unpack_dir=tmp_path / "cache")


def test_audio_inside_parquet_is_unpacked(tmp_path):
    record = RECORDS[1] | {"audio": {"bytes": b"sound", "path": "in/side.FLAC"}}
    del record["path"]
    path = write_parquet(tmp_path / "m.parquet", [record])
    (row,) = read(path, unpack_dir=tmp_path / "cache")
    assert Path(row.path).read_bytes() == b"sound"
    with pytest.raises(ValueError, match="holds audio, which has to be unpacked"):
        read(path)


def test_a_folder_of_datasets_gives_its_splits_and_class_names(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "emotion": datasets.ClassLabel(names=["happy", "sad"]),
            "domain": datasets.Value("string"),
            "speaker": datasets.Value("int64"),
        }
    )
    record = {"emotion": 1, "domain": "music", "speaker": 7}
    splits = {
        name: datasets.Dataset.from_list(
            [{"audio": {"bytes": name.encode(), "path": None}, **record}], features=features
        ).cast_column("audio", datasets.Audio(decode=False))
        for name in ("train", "validation")
    }
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "m"))
    rows = read(tmp_path / "m", unpack_dir=tmp_path / "cache")
    found = [(Path(row.path).read_bytes(), row.partition, row.emotion, row.speaker) for row in rows]
    assert found == [
        (b"validation", "dev", "sad", "m/7"),
        (b"train", "train", "sad", "m/7"),
    ]


def test_without_datasets_its_folders_say_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "state.json").write_text("{}")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install datasets"):
        read(tmp_path, unpack_dir=tmp_path / "cache")


def test_a_dataset_of_the_hub_is_read_as_a_stream_and_unlabelled_clips_are_faults(tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "mine").mkdir()
    record = {"audio": {"bytes": b"sound", "path": None}, "domain": "music", "speaker": "7"}
    write_parquet(tmp_path / "mine" / "test.parquet", [record | {"emotion": "sad"}])
    # `datasets` takes a folder for the name of a dataset as it takes a name of the hub.
    place = f"hub:{tmp_path / 'mine'}"
    (row,) = read(place, unpack_dir=tmp_path / "cache")
    assert Path(row.path).read_bytes() == b"sound"
    assert (row.partition, row.emotion, row.speaker) == ("test", "sad", "mine/7")
    with pytest.raises(ValueError, match="holds audio, which has to be unpacked"):
        read(place)


def test_a_dataset_that_is_nowhere_is_named(tmp_path):
    pytest.importorskip("datasets")
    with pytest.raises(ValueError, match=r"dataset '' has no name; expected hub:OWNER/NAME"):
        read("hub:", unpack_dir=tmp_path / "cache")
    with pytest.raises(ValueError, match=r"the dataset .*nowhere cannot be loaded"):
        read(f"hub:{tmp_path / 'nowhere'}", unpack_dir=tmp_path / "cache")


def test_a_class_label_of_minus_one_is_no_label(tmp_path):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "audio": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
            "emotion": datasets.ClassLabel(names=["happy", "sad"]),
            "domain": datasets.Value("string"),
            "speaker": datasets.Value("string"),
        }
    )
    record = {"audio": {"bytes": b"a", "path": None}, "domain": "music", "speaker": "7"}
    made = datasets.Dataset.from_list([record | {"emotion": -1}], features=features)
    made.cast_column("audio", datasets.Audio(decode=False)).save_to_disk(str(tmp_path / "m"))
    with pytest.raises(ValueError, match="row 1: no emotion"):
        read(tmp_path / "m", unpack_dir=tmp_path / "cache")
