"""The block `config.augmentation`: what training changes of each clip, anew in every epoch."""

from typing import Annotated

from jaxemo.data.augmentation import Range, SpanMasks, WaveformChanges
from jaxemo.studies.ranges import Between, Block, Items, settings

Share = Annotated[float, Between(0, 0.95)]
Span = Annotated[int, Between(1, 4096)]


def _bounds(low: float, high: float) -> Items:
    return Items(Between(low, high), least=0, most=2, may_repeat=True)


@settings
class AugmentationSettings(Block):
    """Nothing by default. Ranges are a low and a high end, drawn from uniformly; () leaves one out.

    Development and held-out clips are never changed.
    """

    speed: Annotated[tuple[float, ...], _bounds(0.5, 2.0)] = ()  # tempo and pitch together
    noise_snr_db: Annotated[tuple[float, ...], _bounds(-20.0, 100.0)] = ()  # clip above white noise
    # Of no effect where the encoder's waveforms are standardised.
    gain_db: Annotated[tuple[float, ...], _bounds(-60.0, 60.0)] = ()
    # SpecAugment, after the stem: share of frames, and of channels of all frames, in hidden spans.
    frame_mask_share: Share = 0.0
    frame_mask_span: Span = 10
    channel_mask_share: Share = 0.0
    channel_mask_span: Span = 64


def is_augmented(settings: AugmentationSettings) -> bool:
    """Whether training changes anything."""
    return waveform_changes(settings) is not None or span_masks(settings) is not None


def waveform_changes(settings: AugmentationSettings) -> WaveformChanges | None:
    """What is done to waveforms; None for nothing."""
    bounds = (settings.speed, settings.noise_snr_db, settings.gain_db)
    return WaveformChanges(*map(_range, bounds)) if any(bounds) else None


def span_masks(settings: AugmentationSettings) -> SpanMasks | None:
    """What SpecAugment hides; None for nothing."""
    masks = SpanMasks(
        settings.frame_mask_share,
        settings.frame_mask_span,
        settings.channel_mask_share,
        settings.channel_mask_span,
    )
    return masks if masks.frame_share or masks.channel_share else None


def _range(bounds: tuple[float, ...]) -> Range | None:
    return (bounds[0], bounds[1]) if bounds else None
