"""Parity with transformers' PyTorch definitions; needs the `reference` extra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxemo.models.config import EncoderConfig
from jaxemo.pretraining.masking import MaskSettings, span_mask
from jaxemo.pretraining.objectives.objective import dense
from jaxemo.pretraining.objectives.wav2vec2 import (
    Negatives,
    Quantised,
    Wav2vec2Settings,
    contrast_logits,
    contrast_loss,
    init_wav2vec2,
)

pytestmark = pytest.mark.reference

FRAMES, NUM_NEGATIVES = 49, 10
SETTINGS = Wav2vec2Settings(num_codes=6, code_width=8, compared_width=12)
SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
}
# float32 sums of 98 masked frames, in another order.
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def published():
    """(torch, transformers' model for pre-training without dropout, our parameters of its head)."""
    torch = pytest.importorskip("torch")
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    silent = dict.fromkeys(
        ("hidden_dropout", "attention_dropout", "activation_dropout", "layerdrop"), 0.0
    )
    torch.manual_seed(0)
    hub = Wav2Vec2Config(
        **SMALL,
        **silent,
        feat_proj_dropout=0.0,
        feat_quantizer_dropout=0.0,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
        num_codevectors_per_group=SETTINGS.num_codes,
        codevector_dim=SETTINGS.code_width,
        proj_codevector_dim=SETTINGS.compared_width,
        num_negatives=NUM_NEGATIVES,
        diversity_loss_weight=SETTINGS.diversity_weight,
        contrastive_logits_temperature=SETTINGS.temperature,
    )
    model = Wav2Vec2ForPreTraining(hub).eval()
    return torch, model, head_of(model)


def head_of(model):
    """The published model's head as our tree, its shapes those of our own."""
    state = {name: value.detach().numpy() for name, value in model.state_dict().items()}
    layers = {"weight_proj": "quantizer.weight_proj", "project_q": "project_q"}
    layers |= {"project_hid": "project_hid"}
    params = {
        ours: {"kernel": state[f"{theirs}.weight"].T, "bias": state[f"{theirs}.bias"]}
        for ours, theirs in layers.items()
    }
    flat = state["quantizer.codevectors"][0]
    params["codevectors"] = flat.reshape(SETTINGS.num_codebooks, SETTINGS.num_codes, -1)
    shapes = jax.eval_shape(lambda: init_wav2vec2(jax.random.key(0), 16, 8, settings=SETTINGS))
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, shapes)
    return jax.tree.map(jnp.asarray, params)


def plain_quantised(params, features):
    """The quantiser without noise, which is what the published model does when it does not train."""
    logits = dense(params["weight_proj"], features)
    logits = logits.reshape(*features.shape[:2], SETTINGS.num_codebooks, SETTINGS.num_codes)
    codes = logits.argmax(axis=-1)
    hard = jax.nn.one_hot(codes, SETTINGS.num_codes)
    vectors = jnp.einsum("btgv,gvw->btgw", hard, params["codevectors"])
    # Its perplexity is then of the codes taken, not of the softmax.
    return Quantised(vectors.reshape(*features.shape[:2], -1), codes, hard)


def test_wav2vec2s_loss_is_that_of_transformers(published):
    torch, model, params = published
    random = np.random.default_rng(0)
    waveform = random.standard_normal((2, 16_000)).astype(np.float32)
    mask = random.random((2, FRAMES)) < 0.5
    negatives = np.stack(
        [random.choice(np.flatnonzero(row), (FRAMES, NUM_NEGATIVES)) for row in mask]
    )
    with torch.no_grad():
        theirs = model(
            torch.from_numpy(waveform),
            mask_time_indices=torch.from_numpy(mask),
            sampled_negative_indices=torch.from_numpy(
                negatives + FRAMES * np.arange(2)[:, None, None]
            ),
            output_hidden_states=True,
        )
        inner = model.wav2vec2(torch.from_numpy(waveform), mask_time_indices=torch.from_numpy(mask))
    quantised = plain_quantised(params, jnp.asarray(inner.extract_features.numpy()))
    logits = contrast_logits(
        dense(params["project_hid"], jnp.asarray(inner.last_hidden_state.numpy())),
        dense(params["project_q"], quantised.vectors),
        quantised.codes,
        negatives=Negatives(
            jnp.asarray(negatives), jnp.broadcast_to(mask[:, :, None], negatives.shape)
        ),
        temperature=SETTINGS.temperature,
    )
    loss = contrast_loss(
        logits, quantised, jnp.asarray(mask), diversity_weight=SETTINGS.diversity_weight
    )
    found = loss.parts["contrast"], loss.parts["diversity"], loss.total
    expected = theirs.contrastive_loss, theirs.diversity_loss, theirs.loss
    np.testing.assert_allclose(found, [float(value) for value in expected], rtol=TOLERANCE)


def test_as_much_is_masked_as_by_transformers():
    pytest.importorskip("torch")
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    shape = 200, EncoderConfig().num_frames(10 * 16_000)
    np.random.seed(0)
    theirs = _compute_mask_indices(shape, mask_prob=0.65, mask_length=10).mean()
    ours = span_mask(jax.random.key(0), jnp.ones(shape, bool), MaskSettings(0.065, 10)).mean()
    assert float(ours) == pytest.approx(theirs, abs=0.01)
