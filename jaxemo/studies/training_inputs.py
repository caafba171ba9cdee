"""What training reads of a corpus: what the store keeps of each clip, or clips that change in every epoch."""

import logging
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from jaxemo.embedding.frames import StemFrames
from jaxemo.embedding.stream import Embedding
from jaxemo.models.families import Normalisation
from jaxemo.models.heads import Pooling
from jaxemo.peft import Method
from jaxemo.studies.augmentation_settings import (
    AugmentationSettings,
    is_augmented,
    span_masks,
    waveform_changes,
)
from jaxemo.studies.config import Settings
from jaxemo.studies.experiment import Experiment
from jaxemo.studies.frozen_part import Kept
from jaxemo.studies.sources import Embedded, Source, clips_at, kept_of, recognised_excerpt
from jaxemo.training.augmented import AugmentedFeatures, ChangedWaveforms, ClipSource
from jaxemo.training.features import TABLE_BYTES, DenseFeatures, Features, LowerLayerFeatures
from jaxemo.training.model import Network

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


def training_inputs(
    experiment: Experiment, embedded: Embedded, config: Settings, network: Network
) -> Features:
    """The inputs of a method's network; where more is computed in every step than must be, the log says why.

    Whatever the method, bases that differ from run to run have no layer in common: stems are read.
    """
    method = network.method
    kept = kept_of(experiment, config, embedded.source, method)
    if network.first_method is not None:
        kept = Kept(0, kept.frozen_layers, "a first stage was merged into them")
    if kept.frozen_layers and kept.reason:
        logger.info(
            "%s, %s: %d frozen layers are computed in every step, since %s",
            embedded.source.name,
            method.name,
            kept.frozen_layers,
            kept.reason,
        )
    embedding = embedded.embedding
    pooled = pooled_layers(embedding, Pooling(config.training.pooling))
    if kept.layer is None:
        return DenseFeatures(pooled)
    if is_augmented(config.augmentation):
        return _augmented(experiment, embedded, config)
    frames = embedding.layers[kept.layer] if kept.layer else embedding.stem
    assert frames is not None
    features = frames
    if kept.layer:
        features = LowerLayerFeatures(pooled[:, : kept.layer + 1], frames)
    if frames.crop_frames is None and _fit_on_device(frames, embedded.source):
        # One width for all: they fit on the device, where a step looks its rows up.
        return DenseFeatures(features.take(np.arange(len(frames)), draw=None))
    return features


def _fit_on_device(frames: StemFrames, source: Source) -> bool:
    """By the wider of stem and layers, so that the order of batches does not depend on which is kept."""
    assert source.encoder is not None
    config = source.encoder.config
    width = max(config.conv_dim[-1], config.hidden_size)
    return frames.padded_frames * width * np.dtype(np.float32).itemsize <= TABLE_BYTES


def pooled_layers(embedding: Embedding, pooling: Pooling) -> Float[np.ndarray, "n L F"]:
    """What the stored embedding gives of a pooling, layer by layer: means, and deviations behind them.

    Attention has the means' scale to standardise frames by.
    """
    if pooling is not Pooling.MEAN_STD:
        return embedding.pooled
    assert embedding.spread is not None  # It is needed, and so was asked for.
    return np.concatenate([embedding.pooled, embedding.spread], axis=-1)


def _augmented(experiment: Experiment, embedded: Embedded, config: Settings) -> Features:
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
