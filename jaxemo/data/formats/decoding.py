"""The bytes of an audio file as blocks of mono samples, whatever the header says of their number."""

import io
import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxemo.data.formats import chunked, flac, ogg
from jaxemo.data.formats.fault import Fault, Stream, check_whole
from jaxemo.data.formats.mpeg import mpeg_streams, skip_tags

MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 768_000
MAX_DURATION_S = 6 * 3600
# Samples of 32-bit integers that were not scaled are below; what is above is no sound.
MAX_PEAK = 2.0**32
# Memory follows the audio that is there, block by block, and not the length that a header claims.
_BLOCK_SAMPLES = 1 << 20
# libsndfile clears what a read asks for beyond the end: 4 MB for each of 100,000 short clips took longer than all
# else. So no more is asked for than is promised, and this where nothing is or too little.
_LEAST_FRAMES = 1 << 14
_UNKNOWN = 1 << 40
# How files begin that people take for audio and libsndfile does not read.
_FOREIGN = (
    (rb".{4}ftyp", "MPEG-4 (AAC, ALAC)"),
    (rb"\xff[\xf0\xf1\xf8\xf9]", "AAC"),
    (rb"\x30\x26\xb2\x75", "ASF (WMA)"),
    (rb"\x1a\x45\xdf\xa3", "Matroska (WebM)"),
    (rb"wvpk", "WavPack"),
    (rb"MAC ", "Monkey's Audio"),
    (rb"#!AMR", "AMR"),
    (rb"\x00\x05\x16\x07", "what macOS keeps beside a file"),
    (rb"version https://git-lfs", "a git-lfs pointer (run git lfs pull)"),
)


class Decoder(NamedTuple):
    """A file that is being decoded.

    Attributes:
      sample_rate_hz: Its own rate.
      blocks: Its samples, channels averaged; reading them raises Fault.
    """

    sample_rate_hz: int
    blocks: Iterator[Float32[np.ndarray, " n"]]


def open_decoder(content: bytes) -> Decoder:
    """Begins to decode a file of any format that libsndfile reads.

    Raises:
      Fault: It cannot be decoded, its rate is out of all reason, or bytes are missing.
    """
    streams = _streams(content)
    rate_hz = _rate_of(streams[0])
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise Fault(
            f"implausible: {rate_hz} samples per second, expected {MIN_RATE_HZ} to {MAX_RATE_HZ}"
        )
    return Decoder(rate_hz, _checked(_all_blocks(streams, rate_hz), rate_hz))


def _streams(content: bytes) -> list[Stream]:
    if content[:4] in chunked.MAGICS:
        return chunked.chunked_streams(content)
    untagged = content[skip_tags(content) :]
    if untagged.startswith(ogg.MAGIC):
        return ogg.ogg_streams(untagged)
    if untagged.startswith(flac.MAGIC):
        return flac.flac_streams(untagged)
    return mpeg_streams(content) or [Stream(content)]


def _rate_of(stream: Stream) -> int:
    with _opened(stream) as file:
        return file.samplerate


def _opened(stream: Stream):
    import soundfile

    class Forwards(soundfile.SoundFile):
        """soundfile seeks after every read, which FLAC of unknown length cannot do at its end."""

        def seekable(self) -> bool:
            return False

    try:
        return Forwards(io.BytesIO(stream.content))
    except soundfile.SoundFileError as error:
        for signature, name in _FOREIGN:
            if re.match(signature, stream.content, re.DOTALL):
                raise Fault(
                    f"corrupt: {name} is no format of libsndfile; convert it to wav or flac"
                ) from error
        raise _undecodable(error) from error


def _all_blocks(streams: list[Stream], rate_hz: int) -> Iterator[Float32[np.ndarray, " n"]]:
    for stream in streams:
        with _opened(stream) as file:
            if file.samplerate != rate_hz:
                raise Fault(
                    f"corrupt: streams of {rate_hz} and {file.samplerate} Hz in one file; split it"
                )
            yield from _stream_blocks(file, stream)


def _stream_blocks(file, stream: Stream) -> Iterator[Float32[np.ndarray, " n"]]:
    import soundfile

    promised = file.frames if stream.promised is None else stream.promised
    size = max(min(_BLOCK_SAMPLES // file.channels, max(promised + 1, _LEAST_FRAMES)), 1)
    decoded = 0
    try:
        while len(block := file.read(size, dtype="float32", always_2d=True)):
            decoded += len(block)
            yield block.mean(axis=1) if block.shape[1] > 1 else block[:, 0]
    except soundfile.SoundFileError as error:
        raise _undecodable(error) from error
    check_whole(decoded, promised if promised < _UNKNOWN else 0, "samples")
    if stream.promised and decoded > stream.promised:
        raise Fault(f"corrupt: {decoded} samples where the header promises {stream.promised}")


def _undecodable(error: Exception) -> Fault:
    detail = getattr(error, "error_string", str(error)).strip().rstrip(".")
    return Fault(f"corrupt: cannot be decoded ({detail or 'libsndfile gives no reason'})")


def _checked(
    blocks: Iterator[Float32[np.ndarray, " n"]], rate_hz: int
) -> Iterator[Float32[np.ndarray, " n"]]:
    """The blocks; Fault at the end for what can be said of all of them only then."""
    total = num_bad = 0
    peak = 0.0
    for block in blocks:
        total += block.size
        finite = np.isfinite(block)
        num_bad += block.size - np.count_nonzero(finite)
        peak = max(peak, float(np.abs(block).max(where=finite, initial=0.0)))
        if total > MAX_DURATION_S * rate_hz:
            raise Fault(f"too long: more than {MAX_DURATION_S / 3600:g} hours; cut it")
        if not num_bad:
            yield block
    if not total:
        raise Fault("empty: a header without samples")
    if num_bad:
        raise Fault(f"non-finite: {num_bad} of {total} samples are NaN or infinite")
    if peak > MAX_PEAK:
        raise Fault(
            f"implausible: a peak of {peak:.1e}, expected about 1 and at most {MAX_PEAK:.1e}"
        )
