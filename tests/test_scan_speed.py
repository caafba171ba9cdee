"""How long 100,000 file names take, and that nothing but names is looked at."""

import time

import pytest

from jaxemo.data.corpora import scan
from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.manifest import read_manifest

NUM_CLIPS = 100_000
# Some five times what a core of a laptop takes, as other processes may have it.
MOST_CPU_SECONDS = 20
LABELS = ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")


def names_of_crema_d(root, number):
    words = (
        f"{a}{b}{c}" for a in "ABCDEFG" for b in "ABCDEFGHIJKLMNOPQRST" for c in "ABCDEFGHIJKLM"
    )
    return [
        f"{root}/{speaker}/{speaker}_{word}_{label}_XX.wav"
        for word in words
        for speaker in range(1001, 1092)
        for label in LABELS
    ][:number]


@pytest.mark.slow
def test_names_of_100_000_files_are_read_in_seconds_and_no_file_is_opened(tmp_path, monkeypatch):
    # The files are not there: whoever opened one would fail.
    names = names_of_crema_d(tmp_path, NUM_CLIPS)
    monkeypatch.setattr(scan, "files_below", lambda root: names)
    started = time.process_time()
    corpus = scan.read_published(CATALOGUE["crema_d"], tmp_path)
    assert time.process_time() - started < MOST_CPU_SECONDS
    assert len(corpus.utterances) == NUM_CLIPS


@pytest.mark.slow
def test_a_manifest_of_100_000_rows_is_read_in_seconds(tmp_path):
    rows = (f"a/{i}.wav,speech,{LABELS[i % 6]},{i % 1000}" for i in range(NUM_CLIPS))
    path = tmp_path / "m.csv"
    path.write_text("path,domain,emotion,speaker\n" + "\n".join(rows))
    started = time.process_time()
    assert len(read_manifest(path).utterances) == NUM_CLIPS
    assert time.process_time() - started < MOST_CPU_SECONDS
