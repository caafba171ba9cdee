"""Files as pipes, editors and joins leave them: what is there is read, what is missing is told."""

import io
import struct

import numpy as np
import pytest
import soundfile

from jaxemo.data.audio import UnusableAudio, decode, read_waveform
from jaxemo.data.clip_store import open_clip_stores
from jaxemo.data.corpora.corpus import Utterance

RATE_HZ = 16000
SECONDS = 1.5
NUM_SAMPLES = round(SECONDS * RATE_HZ)
# An mp3 without the tag that counts its frames also lacks the number of samples to leave out.
MP3_DELAY = 2400
PCM_FORMATS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST")
FORMATS = (*PCM_FORMATS, "FLAC", "OGG", "MP3")


def sound(seconds: float = SECONDS) -> np.ndarray:
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return 0.5 * np.sin(2 * np.pi * (300 + 40 * time_s) * time_s)


def encoded(file_format: str, samples: np.ndarray | None = None, **options) -> bytes:
    file = io.BytesIO()
    samples = sound() if samples is None else samples
    # Wave64 and others take what they read from the array's shape.
    soundfile.write(file, samples.reshape(len(samples), -1), RATE_HZ, format=file_format, **options)
    return file.getvalue()


def read(content: bytes) -> np.ndarray:
    return decode(content, "clip", sample_rate_hz=RATE_HZ)


def reason_for(content: bytes) -> str:
    with pytest.raises(UnusableAudio) as caught:
        read(content)
    return caught.value.reason


def without_first_frame(content: bytes) -> bytes:
    """An mp3 as a pipe leaves it: the frame that counts the others is missing."""
    return content[content.index(b"\xff", 4) :]


# Whole files ---------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_is_read_to_its_end(file_format):
    assert read(encoded(file_format)).size == NUM_SAMPLES


@pytest.mark.parametrize("file_format", ("WAV", "AIFF", "FLAC", "OGG", "MP3"))
def test_files_joined_end_to_end_are_read_one_after_the_other(file_format):
    waveform = read(2 * encoded(file_format))
    assert waveform.size == 2 * NUM_SAMPLES
    np.testing.assert_array_equal(waveform[:NUM_SAMPLES], waveform[NUM_SAMPLES:])


@pytest.mark.parametrize("file_format", ("W64", "NIST"))
def test_what_follows_the_sound_is_no_sound(file_format):
    content = encoded(file_format)
    np.testing.assert_array_equal(read(content + bytes(1000)), read(content))


def test_opus_is_read():
    assert read(encoded("OGG", subtype="OPUS")).size == NUM_SAMPLES


def test_flac_of_unknown_length_is_read_to_its_end():
    content = bytearray(encoded("FLAC"))
    whole = read(bytes(content))
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    np.testing.assert_array_equal(read(bytes(content)), whole)


@pytest.mark.parametrize("mode", ("CONSTANT", "VARIABLE"))
def test_mp3_without_a_count_of_frames_is_read_to_its_end(mode):
    # Silence first: the first frame's bit rate then tells nothing about the rest.
    samples = np.concatenate([np.zeros(RATE_HZ), sound()])
    content = without_first_frame(encoded("MP3", samples, bitrate_mode=mode))
    assert samples.size <= read(content).size <= samples.size + MP3_DELAY


def test_tags_and_padding_before_the_first_mpeg_frame_are_passed_over():
    content = encoded("MP3")
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 0]) + bytes(128)
    np.testing.assert_array_equal(read(tag + bytes(512) + content), read(content))


@pytest.mark.parametrize("size", (0, 0xFFFFFFFF, 0xFFFFFFFF - 36, 0x7FFFF000, 2_000_000_000))
def test_a_size_that_stands_for_none_is_no_promise(size):
    content = bytearray(encoded("WAV"))
    place = content.index(b"data") + 4
    struct.pack_into("<I", content, place, size)
    struct.pack_into("<I", content, 4, min(size + place, 0xFFFFFFFF))
    assert read(bytes(content)).size == NUM_SAMPLES


@pytest.mark.parametrize("size", (0, 0xFFFFFFFF))
def test_an_au_file_from_a_pipe_is_whole(size):
    content = bytearray(encoded("AU"))
    struct.pack_into(">I", content, 8, size)
    assert read(bytes(content)).size == NUM_SAMPLES


# What is missing -----------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("share", (0.3, 0.5, 0.99))
def test_a_file_that_was_cut_short_is_refused(file_format, share):
    content = encoded(file_format)
    reason = reason_for(content[: int(share * len(content))])
    assert reason.startswith(("truncated", "corrupt"))


@pytest.mark.parametrize("file_format", (*PCM_FORMATS, "MP3"))
def test_both_numbers_are_told(file_format):
    content = encoded(file_format)
    held, promised = (
        int(word) for word in reason_for(content[: len(content) // 2]).split() if word.isdigit()
    )
    assert held < promised
    assert abs(held / promised - 0.5) < 0.15  # An mp3's frames differ in size.


def test_a_damaged_page_of_ogg_is_found():
    content = bytearray(encoded("OGG"))
    content[-100] ^= 1
    assert "damaged" in reason_for(bytes(content))


def test_a_missing_page_of_ogg_is_found():
    content = encoded("OGG", sound(20.0))
    pages = content.split(b"OggS")
    assert "follows page" in reason_for(b"OggS".join([*pages[:4], *pages[5:]]))


def test_something_else_between_mpeg_frames_is_found():
    content = encoded("MP3")
    place = len(content) // 2
    assert reason_for(content[:place] + b"web page" * 100 + content[place:]).startswith("corrupt")


# What cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", (1, 3999, 768_001, 0x7FFFFFFF))
def test_a_rate_out_of_all_reason_is_refused_before_anything_is_decoded(rate_hz):
    content = bytearray(encoded("WAV"))
    struct.pack_into("<I", content, 24, rate_hz)
    assert reason_for(bytes(content)).startswith(f"implausible: {rate_hz} samples per second")


def test_samples_beyond_any_integer_are_refused():
    content = encoded("WAV", 1e38 * sound(), subtype="FLOAT")
    assert reason_for(content).startswith("implausible: a peak of 5.0e+37")


def test_floats_in_the_range_of_integers_are_accepted():
    assert read(encoded("WAV", 32767 * sound(), subtype="FLOAT")).size == NUM_SAMPLES


def test_more_than_six_hours_are_refused():
    hours = encoded("FLAC", np.zeros(7 * 3600 * 4000, np.float32) + 0.25)
    place = 18  # STREAMINFO's rate, 20 bits: 4 kHz, so that few samples are hours.
    fields = int.from_bytes(hours[place : place + 3], "big") & 0xF | 4000 << 4
    assert reason_for(hours[:place] + fields.to_bytes(3, "big") + hours[place + 3 :]) == (
        "too long: more than 6 hours; cut it"
    )


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x1cftypM4A ", "MPEG-4"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA"),
        (b"\x1aE\xdf\xa3", "WebM"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_formats_that_are_not_read_are_named(content, name):
    assert name in reason_for(content + bytes(100))


# Many blocks ---------------------------------------------------------------------------------


def test_a_file_of_many_blocks_is_resampled_as_one(tmp_path):
    path = tmp_path / "long.wav"
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 3_000_000).astype(np.float32)
    soundfile.write(path, samples, 24000, subtype="FLOAT")
    import soxr

    expected = soxr.resample(samples, 24000, RATE_HZ, quality="HQ")
    np.testing.assert_array_equal(read_waveform(path, sample_rate_hz=RATE_HZ), expected)


def test_one_decoding_serves_every_rate(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(encoded("WAV"))
    clip = Utterance(str(path), corpus="c", domain="speech", emotion="sad", speaker="1")
    stores = open_clip_stores([clip], sample_rates_hz=(8000, 24000), cache_dir=tmp_path / "cache")
    for rate, store in stores.items():
        np.testing.assert_array_equal(store.waveform(0), read_waveform(path, sample_rate_hz=rate))


def test_a_spoilt_frame_of_the_tag_does_not_hide_the_count():
    content = bytearray(encoded("MP3", bitrate_mode="VARIABLE"))
    whole = read(bytes(content))
    content[6] ^= 0x10  # In the side information of the silent frame that holds the tag.
    np.testing.assert_array_equal(read(bytes(content)), whole)


def test_frames_that_are_lost_before_the_first_run_are_missed():
    content = bytearray(encoded("MP3"))
    starts = [place for place in range(len(content)) if content[place : place + 2] == content[:2]]
    content[starts[2]] = 0
    assert reason_for(bytes(content)).startswith(("corrupt", "truncated"))


def test_more_samples_than_a_flac_header_promises_are_refused():
    content = bytearray(encoded("FLAC"))
    content[22:26] = (NUM_SAMPLES // 2).to_bytes(4, "big")
    assert reason_for(bytes(content)).startswith(f"corrupt: {NUM_SAMPLES} samples where")


def test_an_aiff_file_has_as_many_samples_as_it_says():
    content = bytearray(encoded("AIFF"))
    place = content.index(b"SSND") + 8
    struct.pack_into(">I", content, place, 2000)  # The sound begins so many bytes later.
    assert reason_for(bytes(content)).startswith("truncated")
