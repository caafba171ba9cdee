"""Training clips that change, for one source: what they need, and what goes without them."""

import logging
from collections.abc import Sequence

import numpy as np

from jaxemo.models.families import Normalisation
from jaxemo.peft import Method
from jaxemo.studies.augmentation_settings import (
    AugmentationSettings,
    span_masks,
    waveform_changes,
)
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.sources import Embedded, Source, clips_at, recognised_excerpt
from jaxemo.training.augmented import AugmentedFeatures, ChangedWaveforms, ClipSource
from jaxemo.training.features import Features

logger = logging.getLogger("jaxemo")


def check_augmentation(
    settings: AugmentationSettings, methods: Sequence[Method], encoders: Sequence[Source]
) -> None:
    """Raises ValueError where a method reads no clips in training, or spans are wider than an encoder."""
    if frozen := [method.name for method in methods if method.frozen_layers is None]:
        raise ValueError(
            f"config.augmentation changes the clips of every epoch, and {', '.join(frozen)} is trained "
            "on layers of the frozen encoder, computed once for each clip. Leave it out of the methods, "
            "or leave config.augmentation as it is by default."
        )
    for source in encoders:
        assert source.encoder is not None
        width = source.encoder.config.hidden_size
        if settings.channel_mask_share and settings.channel_mask_span > width:
            raise ValueError(
                f"config.augmentation.channel_mask_span is {settings.channel_mask_span}; "
                f"{source.name} has {width} channels. Take a narrower span."
            )


def augmented(experiment: Experiment, embedded: Embedded, config: Settings) -> Features:
    """Stem features of the store for prediction, and what `config.augmentation` makes of clips to train on."""
    encoder, stem = embedded.source.encoder, embedded.embedding.stem
    assert encoder is not None
    assert stem is not None
    name, masks = embedded.source.name, span_masks(config.augmentation)
    changes = waveform_changes(config.augmentation)
    if changes is None:
        logger.info("%s: SpecAugment masks stem features, which stay in the store", name)
        return AugmentedFeatures(stem, encoder.config, waveforms=None, masks=masks)
    clips = clips_at(experiment, encoder.sample_rate_hz, recognised_excerpt(config.audio))
    source = ClipSource(
        clips.cut,
        clips.excerpt_samples(np.arange(len(clips.digests))),
        clips.drawn_samples,
        encoder.normalisation,
    )
    standardised = encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE
    if changes.gain_db is not None and standardised:
        logger.warning(
            "%s standardises each clip, so that config.augmentation.gain_db has no effect", name
        )
    logger.info(
        "%s: training changes the waveforms, so that no cached features serve it: the stem is a part of "
        "each step. Development and held-out clips are read from the store, unchanged",
        name,
    )
    waveforms = ChangedWaveforms(source, changes, encoder.config)
    return AugmentedFeatures(stem, encoder.config, waveforms=waveforms, masks=masks)
