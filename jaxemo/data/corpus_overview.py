"""What a prepared corpus is like: lengths, rates and levels of its clips, and a few of them to hear.

Everything is of the clips that take part. Lengths are of all; what needs a look at every sample or at the
file itself is measured on clips drawn evenly from the whole list, whose number is told.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from jaxemo.data.audio import read_content
from jaxemo.data.clip_store import ClipStore
from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import DOMAINS, Utterance
from jaxemo.data.corpora.published import PublishedCorpus
from jaxemo.data.formats.decoding import open_decoder
from jaxemo.data.progress import Progress
from jaxemo.data.sound_excerpts import SoundExcerpt, sound_excerpt

# Bounds what 100,000 clips take to seconds.
_MEASURED_CLIPS = 3000
_EXCERPT_SECONDS = 4.0
# Of full scale: the last step of 16 bits, and what resampling leaves of it.
_FULL_SCALE = 0.999
# Multiples of it, modulo 1, fall far apart.
_GOLDEN = 0.618


class Levels(NamedTuple):
    """Clips of one domain whose samples were looked at.

    Attributes:
      rms_db: 20 log10 of the root mean square over the clip, in dB of full scale.
      at_full_scale: How many have a sample at full scale, as clipped recordings do.
    """

    rms_db: Float64[np.ndarray, " n"]
    at_full_scale: int


class HeardClip(NamedTuple):
    """A clip to listen to, and whose it is."""

    utterance: Utterance
    excerpt: SoundExcerpt


class CorpusOverview(NamedTuple):
    """What the page of a corpus shows.

    Attributes:
      name: Of the corpus, or of all that are joined.
      published: What is known of those that are read by name, licence first of all.
      utterances: All clips.
      seconds: Their lengths.
      num_measured: How many clips rates and levels are of.
      rates_hz: Clips by their files' own sample rate, by corpus.
      levels: By domain.
      heard: Clips of every domain and class in turn.
    """

    name: str
    published: tuple[PublishedCorpus, ...]
    utterances: tuple[Utterance, ...]
    seconds: Float64[np.ndarray, " clips"]
    num_measured: int
    rates_hz: dict[str, dict[int, int]]
    levels: dict[str, Levels]
    heard: tuple[HeardClip, ...]


def corpus_overview(
    name: str,
    store: ClipStore,
    *,
    published: Sequence[str],
    num_heard: int,
    progress: Progress,
) -> CorpusOverview:
    """Looks at a corpus whose audio is decoded.

    Args:
      name: What the corpus is called.
      store: Its clips, usable ones alone.
      published: Names of its parts; those of the catalogue have a licence.
      num_heard: At most so many clips to listen to.
    """
    measured = _evenly(np.arange(len(store)), _MEASURED_CLIPS)
    rates, levels = _measure(store, measured, progress)
    chosen = _chosen(store.utterances, num_heard)
    return CorpusOverview(
        name=name,
        published=tuple(CATALOGUE[part] for part in published if part in CATALOGUE),
        utterances=store.utterances,
        seconds=store.duration_s,
        num_measured=measured.size,
        rates_hz=rates,
        levels=levels,
        heard=tuple(_heard(store, clip) for clip in chosen),
    )


def _heard(store: ClipStore, clip: int) -> HeardClip:
    excerpt = sound_excerpt(
        store.waveform(clip),
        sample_rate_hz=store.sample_rate_hz,
        longest_seconds=_EXCERPT_SECONDS,
    )
    return HeardClip(store.utterances[clip], excerpt)


def _measure(
    store: ClipStore, clips: Int64[np.ndarray, " n"], progress: Progress
) -> tuple[dict[str, dict[int, int]], dict[str, Levels]]:
    """Files' own rates by corpus, and levels by domain."""
    rates: dict[str, Counter[int]] = defaultdict(Counter)
    rms_db: dict[str, list[float]] = defaultdict(list)
    clipped: Counter[str] = Counter()
    for clip in progress.track(clips.tolist(), "rates and levels", clips.size):
        row, waveform = store.utterances[clip], store.waveform(clip)
        rates[row.corpus][open_decoder(read_content(row.path)).sample_rate_hz] += 1
        power = np.mean(np.square(waveform), dtype=np.float64)
        rms_db[row.domain].append(float(10 * np.log10(power)))
        clipped[row.domain] += bool(np.abs(waveform).max() >= _FULL_SCALE)
    return (
        {corpus: dict(sorted(counts.items())) for corpus, counts in sorted(rates.items())},
        {
            name: Levels(np.array(rms_db[name], np.float64), clipped[name])
            for name in DOMAINS
            if rms_db[name]
        },
    )


def _chosen(utterances: Sequence[Utterance], most: int) -> list[int]:
    """A clip of every domain and class, as far as `most` goes, by speakers far apart in the list."""
    cells: dict[tuple[str, str], list[int]] = defaultdict(list)
    for clip, row in enumerate(utterances):
        cells[row.domain, row.emotion].append(clip)
    names = sorted(cells, key=lambda cell: (DOMAINS.index(cell[0]), cell[1]))
    kept = [cells[names[place]] for place in _evenly(np.arange(len(names)), most)]
    return [clips[int(len(clips) * (place * _GOLDEN % 1))] for place, clips in enumerate(kept)]


def _evenly(items: Int64[np.ndarray, " n"], most: int) -> Int64[np.ndarray, " m"]:
    """At most so many of the items, from the first to the last at equal steps."""
    if items.size <= most:
        return items
    return items[np.arange(most) * items.size // max(most, 1)]
