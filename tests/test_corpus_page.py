"""The page of a prepared corpus: one file that loads nothing, true to the clips, safe with any name."""

import io
import struct
import zlib
from base64 import b64decode

import numpy as np
import pytest
import soundfile
from fabricated_results import Page

from jaxemo.data.clip_store import open_clip_store
from jaxemo.data.corpora.corpus import Utterance
from jaxemo.data.corpus_overview import corpus_overview
from jaxemo.data.progress import Progress
from jaxemo.report.corpus_page import write_corpus_page
from jaxemo.report.spectrogram import spectrogram_png

SILENT = Progress(lambda items, *_: items, lambda _: lambda *_: None)
HOSTILE = "<img src=http://x onerror=alert(1)>"


@pytest.fixture(scope="module")
def overview(tmp_path_factory):
    """Four clips: tones of known length and level, at two rates, of speakers with a name like markup."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for number, (domain, rate_hz, peak) in enumerate(
        [
            ("speech", 16_000, 0.1),
            ("speech", 44_100, 0.1),
            ("music", 44_100, 1.0),
            ("music", 44_100, 0.5),
        ]
    ):
        path = folder / f"{number}.wav"
        times = np.arange(round((number + 1) * 0.5 * rate_hz)) / rate_hz
        soundfile.write(path, peak * np.sin(2 * np.pi * 1000 * times), rate_hz)
        emotion = ("sad", HOSTILE)[number % 2]
        rows.append(
            Utterance(str(path), "mine", domain, emotion, f"mine/{number // 2}", valence=0.5)
        )
    store = open_clip_store(rows, sample_rate_hz=16_000, cache_dir=folder / "cache")
    return corpus_overview("mine", store, published=["emodb"], num_heard=3, progress=SILENT)


def test_lengths_rates_and_levels_are_those_of_the_clips(overview):
    assert overview.seconds.tolist() == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert overview.rates_hz == {"mine": {16_000: 1, 44_100: 3}}
    # A sine's mean square is half of its peak's: -3 dB.
    assert overview.levels["speech"].rms_db.tolist() == pytest.approx([-23.01] * 2, abs=0.02)
    assert overview.levels["music"].rms_db.tolist() == pytest.approx([-3.01, -9.03], abs=0.02)
    assert (overview.levels["speech"].at_full_scale, overview.levels["music"].at_full_scale) == (
        0,
        1,
    )


def test_clips_to_hear_are_of_different_cells_and_sound_as_the_corpus_does(overview):
    cells = {(heard.utterance.domain, heard.utterance.emotion) for heard in overview.heard}
    assert len(cells) == len(overview.heard) == 3
    samples, rate_hz = soundfile.read(io.BytesIO(overview.heard[0].excerpt.mp3))
    spectrum = np.abs(np.fft.rfft(samples))
    assert spectrum.argmax() * rate_hz / samples.size == pytest.approx(1000, abs=5)


def test_a_tone_stands_in_the_band_of_its_frequency(overview):
    spectrum = overview.heard[0].excerpt.spectrum_db
    assert spectrum.shape[1] == 100 and set(spectrum.argmax(axis=1)) <= {12, 13}


def test_the_page_is_well_formed_holds_all_and_loads_nothing(overview, tmp_path):
    left_out = [{"path": f"{HOSTILE}.wav", "reason": "empty: 0 bytes"}]
    results = {"left_out": left_out, "provenance": {"notes": ["Two clips have no label."]}}
    html = write_corpus_page(results, overview, tmp_path / "corpus.html").read_text(
        encoding="utf-8"
    )
    page = Page()
    page.feed(html)
    assert not page.wrong and not page.open and not page.of("script", "link", "iframe", "object")
    sources = [tag["src"] for tag in page.of("img", "audio")]
    assert len(sources) == 2 * len(overview.heard)
    assert all(
        source.startswith(("data:image/png;base64,", "data:audio/mpeg;base64,"))
        for source in sources
    )
    assert "url(" not in html and "@import" not in html
    text = " ".join(page.text)
    assert HOSTILE in text and f"{HOSTILE}.wav" in text and "free for research" in text
    assert "Two clips have no label." in text and "Valence" in text
    assert b64decode(sources[0].partition(",")[2]).startswith(b"\x89PNG")


def test_the_loudest_point_of_a_spectrogram_is_darkest_and_low_bands_lie_below():
    spectrum_db = np.full((5, 3), -100, np.float32)
    spectrum_db[4, 0], spectrum_db[0, 2] = -10, -40
    png = spectrogram_png(spectrum_db)
    assert struct.unpack(">II", png[16:24]) == (5, 3)
    start = png.index(b"IDAT")
    (length,) = struct.unpack(">I", png[start - 4 : start])
    lines = np.frombuffer(zlib.decompress(png[start + 4 : start + 4 + length]), np.uint8)
    assert lines.reshape(3, 6)[:, 1:].tolist() == [[16, 0, 0, 0, 0], [0] * 5, [0, 0, 0, 0, 31]]
