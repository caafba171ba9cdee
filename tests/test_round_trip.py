"""From training through an exported folder and back: the same answers, the temperature apart."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxemo.cli.main import main
from jaxemo.data.audio import Excerpt, Extent
from jaxemo.embedding.stream import Clips
from jaxemo.studies.published_models import load_any_model
from jaxemo.studies.saved_models import raw_predictions_of
from jaxemo.training.sharding import make_mesh

pytestmark = pytest.mark.xdist_group("cli")

CONFIG = f"--config={Path(__file__).parent / 'tiny_config.py'}"


def test_a_trained_model_answers_alike_once_it_is_exported(cache, tmp_path):
    head = ["--config.training.head=hub_weighted", "--config.training.epochs=1"]
    assert main(["train", CONFIG, cache, *head, f"--workdir={tmp_path / 'run'}"]) == 0
    checkpoint, exported = tmp_path / "run" / "checkpoint", tmp_path / "exported"
    assert main(["export", f"--checkpoint={checkpoint}", f"--workdir={exported}"]) == 0
    draw = np.random.default_rng(0)
    waveforms = [0.1 * draw.standard_normal(n).astype(np.float32) for n in (8000, 5000, 9000)]
    lengths = np.array([waveform.size for waveform in waveforms])
    clips = Clips(("a", "b", "c"), waveforms.__getitem__, lengths, 16_000, Excerpt(Extent.WHOLE))
    mesh = make_mesh(jax.devices()[:1])
    models = [load_any_model(str(folder), mesh=mesh) for folder in (checkpoint, exported)]
    assert models[0].task == models[1].task
    ours, theirs = (np.log(raw_predictions_of(model, clips)) for model in models)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_a_head_over_means_refuses_another_pooling_before_any_compute(cache, tmp_path, capsys):
    other = ["--config.training.head=hub_last", "--config.training.pooling=mean_std"]
    assert main(["train", CONFIG, cache, *other, f"--workdir={tmp_path}"]) == 2
    assert "config.training.head is 'hub_last'" in capsys.readouterr().err
