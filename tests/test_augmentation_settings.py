"""`config.augmentation`: what is refused before any compute."""

import pytest

from jaxemo.peft import make_method
from jaxemo.studies.augmentation_settings import (
    AugmentationSettings,
    is_augmented,
    span_masks,
    waveform_changes,
)
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.training_inputs import check_augmentation


def test_nothing_is_changed_by_default():
    assert not is_augmented(AugmentationSettings())


@pytest.mark.parametrize("key", ["speed", "noise_snr_db", "gain_db"])
@pytest.mark.parametrize("value", [(1.0,), (1.5, 1.0)])
def test_a_range_has_a_low_and_a_high_end(key, value):
    config = default_config()
    config.augmentation[key] = value
    with pytest.raises(ValueError, match=rf"config\.augmentation\.{key} is .*a low and a high end"):
        read_settings(config)


def test_each_key_turns_on_its_own_change():
    changes = waveform_changes(AugmentationSettings(speed=(0.9, 1.1)))
    assert changes == ((0.9, 1.1), None, None)
    assert span_masks(AugmentationSettings(channel_mask_share=0.1)) == (0.0, 10, 0.1, 64)


def test_a_method_on_the_frozen_encoder_is_refused_by_name():
    methods = [make_method("lora"), make_method("weighted_sum")]
    with pytest.raises(ValueError, match="and weighted_sum is trained on layers"):
        check_augmentation(AugmentationSettings(speed=(0.9, 1.1)), methods, [])
