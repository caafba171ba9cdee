"""Training clips that are changed anew in every epoch; development and held-out clips are as they were.

Waveforms are changed on the host by numpy (`data/augmentation.py`), ahead of the step that reads them
(`data/loading.py`), and the frozen stem is then a part of the step. SpecAugment hides frames and channels
of the stem's output, so that by itself it leaves the stem in the store.

This, `data/batches.py` and `data/loading.py` are what a loader such as grain would be for. A row's random
stream follows from seed, epoch and row, and an epoch's order from seed and epoch: the position of the data is
two numbers of the snapshot, and each process takes the rows of its devices, whatever their number. grain's
state would add its worker processes' to that, for clips that come from memory-mapped files and changes
that take a thread a few milliseconds per clip.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int

from jaxemo.data.audio import standardise
from jaxemo.data.augmentation import (
    Draw,
    Purpose,
    SpanMasks,
    Stream,
    WaveformChanges,
    changed_waveform,
    channel_mask,
    frame_mask,
)
from jaxemo.data.buckets import MAX_BUCKETS, assign_buckets, choose_buckets
from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import StemOutput
from jaxemo.models.families import Normalisation
from jaxemo.training.features import Features
from jaxemo.training.model import MaskedInputs, Waveforms


class ClipSource(NamedTuple):
    """Where training takes waveforms from.

    Attributes:
      waveform: Clip number -> what of the clip is looked at, at the encoder's rate, not normalised.
      num_samples: Length of each.
      crop_samples: Length of the stretch that is drawn from each; None for all of it.
      normalisation: What a stretch goes through at the end.
    """

    waveform: Callable[[int], Float32[np.ndarray, " N"]]
    num_samples: Int[np.ndarray, " n"]
    crop_samples: int | None
    normalisation: Normalisation


class ChangedWaveforms:
    """Waveforms as training reads them: changed, cropped, normalised, padded to at most eight widths.

    Attributes:
      training_lengths: Samples of each clip at the slowest speed, cropped.
    """

    def __init__(self, source: ClipSource, changes: WaveformChanges, config: EncoderConfig) -> None:
        """Raises ValueError when a clip at the slowest speed is longer than the encoder's positions reach."""
        self._source, self._changes, self._config = source, changes, config
        lengths = changes.longest(source.num_samples)
        if source.crop_samples is not None:
            lengths = np.minimum(lengths, source.crop_samples)
        longest = config.longest_clip_samples
        if longest is not None and lengths.max() > longest:
            raise ValueError(
                f"A training clip can have {lengths.max()} samples at the slowest speed; this encoder "
                f"takes at most {longest}. Train on stretches (config.audio.excerpt=random, "
                "config.audio.crop_seconds), or raise config.augmentation.speed's lower end."
            )
        self.training_lengths = lengths
        self._widths = choose_buckets(lengths, max_buckets=MAX_BUCKETS, step=config.hop_samples)

    def take(
        self, rows: Int[np.ndarray, "..."], *, draw: Draw, beside: Int[np.ndarray, "..."]
    ) -> Waveforms:
        """Waveforms with the shape of `rows` in front, wide enough for those of `beside` at any speed."""
        needed = self.training_lengths[np.ravel(beside)].max(keepdims=True)
        width = int(self._widths[assign_buckets(needed, self._widths)[0]])
        shape = np.shape(rows)
        waveform = np.zeros((np.size(rows), width), np.float32)
        num_samples = np.zeros(np.size(rows), np.int32)
        made: dict[Stream, np.ndarray] = {}  # Runs of one seed have their clips in common.
        for place, stream in enumerate(draw.streams(rows)):
            if stream not in made:
                made[stream] = self._clip(stream)
            num_samples[place] = made[stream].size
            waveform[place, : num_samples[place]] = made[stream]
        return Waveforms(waveform.reshape(*shape, width), num_samples.reshape(shape))

    def _clip(self, stream: Stream) -> Float32[np.ndarray, " N"]:
        source = self._source
        waveform = changed_waveform(
            source.waveform(stream.row),
            self._changes,
            stream,
            shortest_samples=self._config.shortest_clip_samples,
        )
        if source.crop_samples is not None:
            spare = max(waveform.size - source.crop_samples, 0)
            start = stream.numbers(Purpose.CROP).integers(spare + 1)
            waveform = waveform[start : start + source.crop_samples]
        if source.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
            waveform = standardise(waveform)
        return waveform


class AugmentedFeatures:
    """`Features` whose training clips are changed; at most eight widths for training."""

    def __init__(
        self,
        unchanged: Features,
        config: EncoderConfig,
        *,
        waveforms: ChangedWaveforms | None,
        masks: SpanMasks | None,
    ) -> None:
        """Args:
        unchanged: Stem features of all clips, for prediction.
        config: The encoder's.
        waveforms: Takes the place of stem features in training; None to leave them.
        masks: SpecAugment; None for none.
        """
        self._unchanged, self._config = unchanged, config
        self._waveforms, self._masks = waveforms, masks
        source = unchanged if waveforms is None else waveforms
        self.training_lengths = source.training_lengths

    def take(
        self,
        rows: Int[np.ndarray, "..."],
        *,
        draw: Draw | None,
        beside: Int[np.ndarray, "..."] | None = None,
    ) -> Any:
        """See `Features`."""
        if draw is None or self._waveforms is None:
            signal = self._unchanged.take(rows, draw=draw, beside=beside)
        else:
            beside = rows if beside is None else beside
            signal = self._waveforms.take(rows, draw=draw, beside=beside)
        if draw is None or self._masks is None:
            return signal
        return self._masked(signal, self._masks, draw.streams(rows))

    def _masked(
        self, signal: StemOutput | Waveforms, masks: SpanMasks, streams: list[Stream]
    ) -> MaskedInputs:
        if isinstance(signal, Waveforms):
            num_frames = self._config.num_frames(np.asarray(signal.num_samples))
            width = int(self._config.num_frames(signal.waveform.shape[-1]))
        else:
            num_frames, width = signal.frame_mask.sum(axis=-1), signal.frame_mask.shape[-1]
        frames = np.zeros((len(streams), width), bool)
        for place, (stream, count) in enumerate(zip(streams, num_frames.ravel(), strict=True)):
            frames[place, :count] = frame_mask(int(count), masks, stream)
        channels = np.stack(
            [channel_mask(self._config.hidden_size, masks, stream) for stream in streams]
        )
        shape = num_frames.shape
        return MaskedInputs(
            signal, frames.reshape(*shape, width), channels.reshape(*shape, channels.shape[-1])
        )
