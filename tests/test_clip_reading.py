"""Which files the cache of decoded clips reads at all: once for all rates, and not while untouched."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from jaxemo.data import clip_store
from jaxemo.data.audio import read_content, read_waveform
from jaxemo.data.clip_store import open_clip_stores
from jaxemo.data.corpora.corpus import Utterance

NAMES = [f"{seed}.wav" for seed in range(5)]


@pytest.fixture
def clips(tmp_path) -> list[Utterance]:
    for seed, name in enumerate(NAMES):
        noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 800 + seed)
        soundfile.write(tmp_path / name, noise, 16000)
    return [Utterance(str(tmp_path / name), "c", "speech", "sad", "c/1") for name in NAMES]


def open_at(utterances, folder, *rates_hz):
    stores = open_clip_stores(
        utterances, sample_rates_hz=rates_hz or (16000,), cache_dir=folder / "cache"
    )
    return stores[(rates_hz or (16000,))[0]]


def assert_right(store) -> None:
    for index, row in enumerate(store.utterances):
        expected = read_waveform(row.path, sample_rate_hz=store.sample_rate_hz)
        np.testing.assert_array_equal(store.waveform(index), expected)


@pytest.fixture
def read(monkeypatch) -> list[str]:
    """Names of the files whose bytes were read, as it happens."""
    names = []

    def counting(path):
        names.append(Path(path).name)
        return read_content(path)

    monkeypatch.setattr(clip_store, "read_content", counting)
    return names


def test_untouched_files_are_not_even_read_again(clips, tmp_path, read):
    first = open_at(clips, tmp_path)
    assert sorted(read) == NAMES
    read.clear()
    second = open_at(clips, tmp_path)
    assert read == []
    assert second.digests == first.digests
    os.utime(clips[1].path, ns=(0, 1))
    assert_right(open_at(clips, tmp_path))
    assert read == ["1.wav"]


def test_a_file_is_read_once_for_all_rates(clips, tmp_path, read):
    stores = open_clip_stores(clips, sample_rates_hz=(16000, 24000), cache_dir=tmp_path / "cache")
    assert sorted(read) == NAMES
    for rate_hz, store in stores.items():
        assert store.sample_rate_hz == rate_hz
        assert_right(store)


def test_a_damaged_index_of_digests_costs_reading_and_nothing_else(clips, tmp_path, read, caplog):
    open_at(clips, tmp_path)
    read.clear()
    (tmp_path / "cache" / "files.sqlite").write_bytes(b"no database" * 1000)
    assert_right(open_at(clips, tmp_path))
    assert len(read) == 5
    assert "files.sqlite is damaged" in caplog.text
    read.clear()
    open_at(clips, tmp_path)
    assert read == []


def test_a_rate_that_is_new_reads_the_files_once_more(clips, tmp_path, read):
    open_at(clips, tmp_path)
    read.clear()
    assert_right(open_at(clips, tmp_path, 24000, 16000))
    assert sorted(read) == NAMES
