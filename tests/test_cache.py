"""Listing and pruning the cache folder: what goes first, and what never goes."""

import json
import os

import pytest

from jaxemo.cli.main import main
from jaxemo.data.cache import Entry, Kind, list_entries, prune, remove

DAY = 24 * 3600


def write(path, num_bytes, *, used):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * num_bytes)
    os.utime(path, (used, used))


@pytest.fixture
def cache_dir(tmp_path):
    """One entry of each kind; the days say when each was used last."""
    folder = tmp_path / "cache"
    write(folder / "clips-v1-16000hz" / "a.arrow", 100, used=1 * DAY)
    write(folder / "clips-v1-16000hz" / "b.arrow", 200, used=5 * DAY)
    stream = folder / "embeddings-v1" / "0123"
    write(stream / "rows.bin", 400, used=2 * DAY)
    about = json.dumps({"name": "untrained/speech, whole clips"})
    write(stream / "about.json", 0, used=2 * DAY)
    (stream / "about.json").write_text(about)
    os.utime(stream / "about.json", (DAY, DAY))
    write(folder / "xla" / "jit_f-77-cache", 50, used=3 * DAY)
    write(folder / "xla" / "jit_f-77-atime", 8, used=3 * DAY)
    write(folder / "synthetic-0-2" / "speech" / "01.wav", 30, used=4 * DAY)
    write(folder / "unpacked-0a" / "00000000.wav", 20, used=4 * DAY)
    write(folder / "index.json", 10, used=1 * DAY)
    write(folder / "thesis.txt", 1000, used=1 * DAY)
    return folder


def names(entries):
    return [entry.name for entry in entries]


def test_entries_come_by_last_use_with_kind_size_and_files(cache_dir):
    found = {entry.name: entry for entry in list_entries(cache_dir)}
    assert {name: entry.kind.value for name, entry in found.items()} == {
        "clips-v1-16000hz/a.arrow": "audio",
        "clips-v1-16000hz/b.arrow": "audio",
        "untrained/speech, whole clips": "embeddings",
        "xla/jit_f-77": "programs",
        "synthetic-0-2": "synthetic",
        "unpacked-0a": "unpacked",
        "index.json": "index",
        "thesis.txt": "other",
    }
    uses = [entry.last_use for entry in list_entries(cache_dir)]
    assert uses == sorted(uses)
    assert found["xla/jit_f-77"].num_bytes == 58
    assert found["xla/jit_f-77"].num_files == 2
    assert found["untrained/speech, whole clips"].last_use == 2 * DAY


def test_an_absent_folder_has_no_entries(tmp_path):
    assert list_entries(tmp_path / "absent") == []


def test_pruning_removes_the_least_recently_used_until_the_rest_fits(cache_dir):
    entries = list_entries(cache_dir)
    total = sum(entry.num_bytes for entry in entries)
    removed = prune(entries, max_bytes=total - 101, cache_dir=cache_dir)
    assert names(removed) == ["clips-v1-16000hz/a.arrow", "untrained/speech, whole clips"]
    left = list_entries(cache_dir)
    assert not set(names(removed)) & set(names(left))
    assert sum(entry.num_bytes for entry in left) <= total - 101


def test_pruning_to_nothing_leaves_indices_and_what_is_not_ours(cache_dir):
    prune(list_entries(cache_dir), max_bytes=0, cache_dir=cache_dir)
    assert sorted(names(list_entries(cache_dir))) == ["index.json", "thesis.txt"]


def test_nothing_is_removed_where_everything_fits(cache_dir):
    entries = list_entries(cache_dir)
    assert prune(entries, max_bytes=10**6, cache_dir=cache_dir) == []
    assert list_entries(cache_dir) == entries


def test_links_are_neither_followed_nor_removed(cache_dir, tmp_path):
    outside = tmp_path / "outside"
    write(outside / "clips-v1-24000hz" / "c.arrow", 999, used=1)
    (cache_dir / "clips-v1-24000hz").symlink_to(outside / "clips-v1-24000hz")
    (cache_dir / "synthetic-0-2" / "link").symlink_to(outside)
    prune(list_entries(cache_dir), max_bytes=0, cache_dir=cache_dir)
    assert (outside / "clips-v1-24000hz" / "c.arrow").exists()
    assert (cache_dir / "clips-v1-24000hz").is_symlink()
    assert not (cache_dir / "synthetic-0-2").exists()


@pytest.mark.parametrize("place", ["outside", "link"])
def test_what_lies_outside_is_refused(place, cache_dir, tmp_path):
    victim = tmp_path / "outside" / "a"
    write(victim, 1, used=1)
    (cache_dir / "link").symlink_to(victim.parent)
    path = {"outside": victim, "link": cache_dir / "link" / "a"}[place]
    entry = Entry(Kind.AUDIO, "a", (path,), num_bytes=1, num_files=1, last_use=0.0)
    with pytest.raises(ValueError, match="does not lie in the cache folder"):
        remove(entry, cache_dir=cache_dir)
    assert victim.exists()


def test_files_that_vanish_meanwhile_are_no_error(cache_dir):
    entries = list_entries(cache_dir)
    (cache_dir / "clips-v1-16000hz" / "a.arrow").unlink()
    prune(entries, max_bytes=0, cache_dir=cache_dir)
    assert not (cache_dir / "clips-v1-16000hz" / "b.arrow").exists()


def test_what_a_killed_removal_left_goes_with_the_next(cache_dir):
    write(cache_dir / ".removed-12" / "rows.bin", 10, used=1)
    prune(list_entries(cache_dir), max_bytes=0, cache_dir=cache_dir)
    assert not (cache_dir / ".removed-12").exists()


# By the command -------------------------------------------------------------------------------


def test_the_command_lists_by_kind_and_names_the_streams(cache_dir, capsys):
    assert main(["cache", f"--cache_dir={cache_dir}"]) == 0
    said = capsys.readouterr().out
    assert "300 B       2 files  audio: decoded audio" in said
    assert "untrained/speech, whole clips" in said


def test_clearing_one_kind_says_how_much_and_leaves_the_others(cache_dir, capsys):
    assert main(["cache", f"--cache_dir={cache_dir}", "--clear=audio"]) == 0
    assert "removed     300 B       2 files  audio" in capsys.readouterr().out
    kinds = {entry.kind for entry in list_entries(cache_dir)}
    assert kinds == set(Kind) - {Kind.AUDIO, Kind.LEFTOVERS}


def test_clearing_all_leaves_only_what_is_not_ours(cache_dir):
    assert main(["cache", f"--cache_dir={cache_dir}", "--clear=all"]) == 0
    assert names(list_entries(cache_dir)) == ["thesis.txt"]


@pytest.mark.parametrize(
    ("size", "left"), [("1kB", 1000), ("1.0 kB", 1000), ("0.0011 MB", 1100), ("1200", 1200)]
)
def test_sizes_are_read_as_people_write_them(size, left, cache_dir):
    assert main(["cache", f"--cache_dir={cache_dir}", f"--prune={size}"]) == 0
    assert sum(entry.num_bytes for entry in list_entries(cache_dir)) <= max(left, 1010)


def test_a_size_that_is_none_is_refused(cache_dir, capsys):
    assert main(["cache", f"--cache_dir={cache_dir}", "--prune=much"]) == 2
    assert "'much' is no size" in capsys.readouterr().err
