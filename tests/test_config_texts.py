"""Golden texts: every value of every config in configs/.

After a change that is meant: python tools/write_config_texts.py
"""

import pytest
from write_config_texts import GOLDEN, config_text

from jaxemo.cli.config_flags import read_config, shipped_configs
from jaxemo.studies.config import read_settings

# What a config leaves to its user.
GIVEN = {
    "emobox_ravdess": ["--config.corpus.audio_dir=x"],
    "marble_emo": ["--config.corpus.audio_dir=x"],
    "pretraining_cause": ["--config.corpus.audio_dir=x"],
    "ravdess": ["--config.corpus.audio_dir=x"],
    "ravdess_quick": ["--config.corpus.audio_dir=x"],
    "superb_er": ["--config.corpus.audio_dir=x"],
    "transfer": ["--config.corpus.audio_dir=x"],
}


@pytest.mark.parametrize("name", shipped_configs())
def test_a_configs_values_are_those_of_its_golden_text(name):
    golden = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert config_text(name) == golden, "if this is meant: python tools/write_config_texts.py"


def test_every_golden_text_has_its_config():
    assert {path.stem for path in GOLDEN.glob("*.txt")} == set(shipped_configs())


@pytest.mark.parametrize("name", shipped_configs())
def test_every_config_can_be_used(name):
    config, _ = read_config([f"--config={name}", *GIVEN.get(name, [])])
    assert read_settings(config).encoders[0] == "acoustic"
