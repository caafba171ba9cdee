"""What configs say of methods: made, and held against encoders before anything is computed."""

import pytest
from tiny_encoders import tiny_encoder

from jaxemo.models.checkpoints.hub_layout import Normalisation, Origin
from jaxemo.models.pretrained import Encoder
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.methods import check_options, choose_method
from jaxemo.studies.sources import encoder_source


@pytest.fixture
def source():
    tiny = tiny_encoder("post_norm")
    encoder = Encoder(
        name="tiny",
        origin=Origin.UNTRAINED,
        module=tiny.module,
        params=tiny.base,
        sample_rate_hz=16_000,
        normalisation=Normalisation.NONE,
    )
    return encoder_source(encoder, "models/tiny")


def settings_with(name, **options):
    config = default_config()
    config.methods[name].update(options)
    return read_settings(config)


def test_a_methods_block_gives_its_options_and_its_own_recipe():
    settings = settings_with("lora", adaptation_rate=0.5, layer_ranks=(2, 4), targets=("o",))
    chosen = choose_method(settings, "lora")
    assert chosen.recipe == {"adaptation_rate": 0.5}
    assert chosen.method.name == "lora"
    assert chosen.options == {
        "rank": 8,
        "layer_ranks": (2, 4),
        "alpha": 16.0,
        "scaling": "rank",
        "targets": ("o",),
        "dropout": 0.0,
    }


def test_a_combination_takes_the_options_of_its_parts_blocks_and_a_rate_of_its_own():
    settings = settings_with("lora", rank=4, adaptation_rate=0.5)
    chosen = choose_method(settings, "combined")
    assert chosen.recipe == {"adaptation_rate": 1e-3}
    assert chosen.options["parts"] == ("lora", "adapter")
    assert chosen.options["options"]["lora"] == choose_method(settings, "lora").options
    assert chosen.options["options"]["adapter"] == {"bottleneck": 32}


def test_parts_that_do_not_go_together_are_refused_before_anything_is_read(source):
    settings = settings_with("combined", parts=("lora", "dora"))
    with pytest.raises(ValueError, match="two updates of the same kernels"):
        check_options([source], settings, ["combined"])


def test_options_that_do_not_fit_an_encoder_are_refused_with_both_names(source):
    settings = settings_with("lora", layer_ranks=(8, 8, 8))
    with pytest.raises(ValueError, match=r"^tiny, config\.methods\.lora: .*this encoder has 2"):
        check_options([source], settings, ["weighted_sum", "lora"])


def test_options_are_not_held_against_what_is_no_encoder(source):
    settings = settings_with("lora", layer_ranks=(8, 8, 8))
    assert check_options([source._replace(encoder=None)], settings, ["lora"]) is None


def test_default_options_fit(source):
    settings = read_settings(default_config())
    assert check_options([source], settings, settings.methods.keys_of()) is None
