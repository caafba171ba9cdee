"""What was embedded once is kept: by content, whole or not at all, and for every command."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from jaxemo.data.audio import Excerpt, Extent
from jaxemo.embedding import stream
from jaxemo.embedding.collectors import Cells
from jaxemo.embedding.passes import row_mesh
from jaxemo.embedding.store import RowStore, StatisticsStore
from jaxemo.embedding.stream import Clips, Settings, Wanted, embed_clips
from jaxemo.models.pretrained import load_encoder

RATE_HZ = 16_000
MIDDLE = Excerpt(Extent.MIDDLE, 0.25)
CELLS = np.array([0, 1, 0, 1, 0, 1])
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("untrained/speech")


@pytest.fixture(scope="module")
def waveforms():
    generator = np.random.default_rng(0)
    return [
        generator.normal(size=n).astype(np.float32) for n in (3000, 4000, 5000, 1200, 800, 4000)
    ]


def corpus_of(waveforms, *, rows=range(6), excerpt=MIDDLE):
    """Clips of a corpus, and a list that grows by each clip that is read."""
    read = []

    def waveform(clip):
        read.append(rows[clip])
        return waveforms[rows[clip]]

    digests = tuple(f"{row:064x}" for row in rows)
    lengths = np.array([waveforms[row].size for row in rows])
    return Clips(digests, waveform, lengths, RATE_HZ, excerpt), read


def embed(encoder, corpus, cache_dir, *, cells=CELLS, batch_size=2, **options):
    wanted = Wanted(stem=True, cells=Cells(cells, 2), frames_per_clip=2)
    return embed_clips(
        encoder,
        corpus,
        wanted,
        Settings(batch_size),
        cache_dir=cache_dir,
        mesh=row_mesh(),
        **options,
    )


def assert_equal(one, other):
    np.testing.assert_allclose(one.pooled, other.pooled, atol=TOLERANCE)
    np.testing.assert_allclose(one.statistics.mean, other.statistics.mean, atol=TOLERANCE)
    np.testing.assert_array_equal(one.statistics.num_rows, other.statistics.num_rows)
    for clip in range(len(one.pooled)):
        ours, theirs = (e.stem.take(np.array([clip]), draw=None).features for e in (one, other))
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE)


@pytest.fixture(scope="module")
def fresh(encoder, waveforms):
    return embed(encoder, corpus_of(waveforms)[0], None)


def test_the_second_time_nothing_is_read_and_nothing_computed(encoder, waveforms, fresh, tmp_path):
    embed(encoder, corpus_of(waveforms)[0], tmp_path)
    corpus, read = corpus_of(waveforms)
    again = embed(encoder, corpus, tmp_path)
    assert not read
    assert again.timing is None
    assert_equal(again, fresh)


def test_one_more_clip_embeds_one_clip(encoder, waveforms, fresh, tmp_path):
    embed(encoder, corpus_of(waveforms, rows=range(5))[0], tmp_path, cells=CELLS[:5])
    corpus, read = corpus_of(waveforms)
    again = embed(encoder, corpus, tmp_path)
    assert read == [5]
    assert again.timing.num_clips == 1
    assert_equal(again, fresh)


def test_other_excerpts_have_entries_of_their_own(encoder, waveforms, tmp_path):
    embed(encoder, corpus_of(waveforms)[0], tmp_path)
    corpus, read = corpus_of(waveforms, excerpt=Excerpt(Extent.MIDDLE, 0.2))
    embed(encoder, corpus, tmp_path)
    assert sorted(set(read)) == list(range(6))


class Killed(Exception):
    pass


@pytest.mark.parametrize("kill_at", [1, 2])
def test_a_killed_stream_goes_on_from_the_last_batch(
    kill_at, encoder, waveforms, fresh, tmp_path, monkeypatch
):
    monkeypatch.setattr(stream, "SECONDS_BETWEEN_COMMITS", 0.0)

    batches = []

    def stop(items, description, total):
        for step, waveforms in items:
            if len(batches) > kill_at:
                raise Killed
            batches.append({row.clip for row in step.rows})
            yield step, waveforms

    with pytest.raises(Killed):
        embed(encoder, corpus_of(waveforms)[0], tmp_path, track=stop)
    corpus, read = corpus_of(waveforms)
    again = embed(encoder, corpus, tmp_path)
    # The batch that was on the device when it was killed is lost, all before it are not.
    assert set(read) == set(range(6)).difference(*batches[:kill_at])
    assert_equal(again, fresh)


@pytest.mark.parametrize("kind", ["pooled", "stem", "frames2", "statistics"])
@pytest.mark.parametrize("fault", ["flipped", "cut", "emptied"])
def test_damage_is_found_named_and_made_again(
    kind, fault, encoder, waveforms, fresh, tmp_path, caplog
):
    embed(encoder, corpus_of(waveforms)[0], tmp_path)
    [path, *_] = sorted(tmp_path.rglob(f"{kind}-*.safetensors"))
    content = bytearray(path.read_bytes())
    content[-5] ^= 0x10
    left = {"flipped": bytes(content), "cut": bytes(content[:-100]), "emptied": b""}[fault]
    path.write_bytes(left)
    corpus, read = corpus_of(waveforms)
    with caplog.at_level("WARNING", logger="jaxemo"):
        again = embed(encoder, corpus, tmp_path)
    assert path.name in caplog.text
    assert read
    assert_equal(again, fresh)


def test_what_is_not_finite_is_refused_and_not_kept(tmp_path):
    store = RowStore(tmp_path, "pooled")
    with pytest.raises(ValueError, match="1 clips are NaN or infinite"):
        store.update({"a" * 64: np.array([[1.0, np.nan]], np.float32)})
    assert not list(tmp_path.iterdir())


def test_statistics_of_other_clips_are_never_taken(encoder, waveforms, tmp_path):
    embed(encoder, corpus_of(waveforms)[0], tmp_path)
    [folder] = {path.parent for path in tmp_path.rglob("statistics-*.safetensors")}
    store = StatisticsStore(folder)
    assert store.largest_part([f"{row:064x}" for row in (0, 2)]) is None


TWO = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}]
import numpy as np
import test_store as t
generator = np.random.default_rng(0)
waveforms = [generator.normal(size=n).astype(np.float32) for n in (3000, 4000, 5000, 1200, 800, 4000)]
found = t.embed(t.load_encoder("untrained/speech"), t.corpus_of(waveforms)[0], Path({cache!r}))
np.save({out!r}, found.pooled)
"""


def test_two_processes_at_once_do_no_harm(encoder, waveforms, fresh, tmp_path):
    scripts = [
        textwrap.dedent(TWO).format(
            tests=os.path.dirname(__file__),
            cache=str(tmp_path / "cache"),
            out=str(tmp_path / f"{number}.npy"),
        )
        for number in range(2)
    ]
    running = [subprocess.Popen([sys.executable, "-c", script]) for script in scripts]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    for number in range(2):
        pooled = np.load(tmp_path / f"{number}.npy")
        np.testing.assert_allclose(pooled, fresh.pooled, atol=TOLERANCE)
    corpus, read = corpus_of(waveforms)
    assert_equal(embed(encoder, corpus, tmp_path / "cache"), fresh)
    assert not read
