"""LoRA, DoRA and (IA)^3 against Hugging Face's peft on the same weights: forward pass and one step.

Needs the `reference` extra: `python -m pytest tests/test_peft_reference.py -m reference`. Prefix tuning
has no counterpart: peft hands its prefix to models with a cache of past keys, which encoders have not;
tests/test_prefix_tuning.py holds it against plain numbers.
"""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from jaxemo.models.pretrained import load_encoder
from jaxemo.peft import make_method
from jaxemo.peft.hub_format import Adaptation, to_hub
from jaxemo.peft.method import flatten, unflatten
from jaxemo.studies.sources import load_source

REFERENCE = "needs the `reference` extra: PyTorch and peft beside transformers"
torch = pytest.importorskip("torch", reason=REFERENCE)
peft = pytest.importorskip("peft", reason=REFERENCE)
transformers = pytest.importorskip("transformers", reason=REFERENCE)

pytestmark = [
    pytest.mark.reference,
    pytest.mark.filterwarnings("ignore:::torch"),
    pytest.mark.filterwarnings("ignore:::transformers"),
    pytest.mark.filterwarnings("ignore:::peft"),
]

# Relative to the largest value; both sides are float32 and sum in different orders.
TOLERANCE = 1e-5
STEP = 0.1
SIZES = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "conv_dim": (8, 8),
    "conv_kernel": (8, 4),
    "conv_stride": (5, 4),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 8,
}
LOW_RANK = {"r": 4, "lora_alpha": 6.0, "target_modules": ["q_proj", "v_proj", "intermediate_dense"]}
OURS = {"rank": 4, "alpha": 6.0, "targets": ("q", "v", "ff_in")}
# Name -> peft's configuration, our method and its options.
CASES = {
    "lora": (lambda: peft.LoraConfig(**LOW_RANK), "lora", OURS),
    "rslora": (
        lambda: peft.LoraConfig(**LOW_RANK, use_rslora=True),
        "lora",
        OURS | {"scaling": "sqrt_rank"},
    ),
    "dora": (lambda: peft.LoraConfig(**LOW_RANK, use_dora=True), "dora", OURS),
    "ranks": (
        lambda: peft.LoraConfig(**LOW_RANK, rank_pattern={r"encoder\.layers\.0\..*": 2}),
        "lora",
        OURS | {"layer_ranks": (2, 4)},
    ),
    "ia3": (
        lambda: peft.IA3Config(
            target_modules=["k_proj", "v_proj", "output_dense"],
            feedforward_modules=["output_dense"],
        ),
        "ia3",
        {},
    ),
}
# Part of peft's parameter names -> our leaf, and whether it is a matrix of torch's (out, in) order.
LEAVES = {
    "lora_A": ("a", True),
    "lora_B": ("b", True),
    "lora_magnitude_vector": ("magnitude", False),
    "ia3_l": ("scale", False),
}


def reference_model(make_config, tmp_path):
    """(their model with the adapter injected and away from its birth, our encoder of its base)."""
    torch.manual_seed(0)
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SIZES)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(tmp_path)
    encoder = load_encoder(tmp_path)
    peft.inject_adapter_in_model(make_config(), model)
    with torch.no_grad():
        for _, parameter in adapter_parameters(model):
            parameter += 0.2 * torch.randn_like(parameter)
    return model.eval(), encoder


def adapter_parameters(model):
    return [
        (name, parameter)
        for name, parameter in model.named_parameters()
        if any(part in LEAVES for part in name.split("."))
    ]


def as_ours(model):
    """Their adapter's numbers as our trainable tree."""
    tree = {}
    for name, parameter in adapter_parameters(model):
        module, kind = next(
            (name.partition(f".{kind}")[0], kind) for kind in LEAVES if kind in name.split(".")
        )
        leaf, turned = LEAVES[kind]
        values = parameter.detach().numpy()
        values = values.T if turned else values.ravel()
        tree[f"{module.replace('.', '/')}/{leaf}"] = jnp.array(values)
    return unflatten(tree)


def assert_close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("case", CASES)
def test_forward_pass_and_one_step_equal_the_reference(case, tmp_path):
    make_config, name, options = CASES[case]
    model, encoder = reference_model(make_config, tmp_path)
    method, start = make_method(name, **options), as_ours(model)
    born = method.init(jax.random.key(0), encoder.params)
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, born)
    waveform = np.random.default_rng(0).standard_normal((2, 1600)).astype(np.float32)
    theirs = model(torch.from_numpy(waveform)).last_hidden_state
    weights = np.sin(np.arange(theirs.numel())).reshape(theirs.shape).astype(np.float32)
    (theirs * torch.from_numpy(weights)).sum().backward()

    def total(trainable):
        run = lambda params: encoder.module.apply(  # noqa: E731
            {"params": params}, jnp.asarray(waveform), jnp.array([1600, 1600])
        )
        states = method.apply(run, encoder.params, trainable).hidden_states[-1]
        return jnp.sum(states * weights), states

    gradient, ours = jax.jit(jax.grad(total, has_aux=True))(start)
    assert_close(ours, theirs.detach().numpy())
    torch.optim.SGD([p for _, p in adapter_parameters(model)], lr=STEP).step()
    stepped = jax.tree.map(lambda leaf, slope: leaf - STEP * slope, start, gradient)
    expected = flatten(as_ours(model))
    for path, leaf in flatten(stepped).items():
        assert_close(leaf, expected[path])


def their_states(model, waveform):
    with torch.no_grad():
        return model(torch.from_numpy(waveform)).last_hidden_state.numpy()


def our_states(encoder, waveform):
    return np.asarray(encoder(waveform, np.array([1600, 1600])).hidden_states[-1])


@pytest.fixture
def waveform():
    return np.random.default_rng(0).standard_normal((2, 1600)).astype(np.float32)


def saved_base(folder):
    torch.manual_seed(0)
    model = transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**SIZES)).eval()
    model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("case", CASES)
def test_peft_loads_what_we_write(case, waveform, tmp_path):
    _, name, options = CASES[case]
    model = saved_base(tmp_path / "base")
    encoder = load_encoder(tmp_path / "base")
    method = make_method(name, **options)
    born = method.init(jax.random.key(0), encoder.params)
    tree = jax.tree.map(
        lambda leaf: leaf + 0.2 * jax.random.normal(jax.random.key(1), leaf.shape), born
    )
    adaptation = Adaptation(name, options, tree)
    written = to_hub(adaptation, encoder.params, model_type="wav2vec2", base_name="base")
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(written.config))
    safetensors.numpy.save_file(
        written.tensors, tmp_path / "adapter" / "adapter_model.safetensors", {"format": "pt"}
    )
    before = their_states(model, waveform)
    adapted = peft.PeftModel.from_pretrained(model, tmp_path / "adapter").eval()
    run = lambda params: encoder.module.apply(  # noqa: E731
        {"params": params}, jnp.asarray(waveform), jnp.array([1600, 1600])
    )
    ours = method.apply(run, encoder.params, tree).hidden_states[-1]
    theirs = their_states(adapted, waveform)
    assert_close(ours, theirs)
    assert np.abs(theirs - before).max() > 100 * TOLERANCE * np.abs(theirs).max()


@pytest.mark.parametrize("case", CASES)
def test_we_load_what_peft_writes(case, waveform, tmp_path):
    make_config, _, _ = CASES[case]
    model = saved_base(tmp_path / "base")
    adapted = peft.get_peft_model(model, make_config())
    with torch.no_grad():
        for _, parameter in adapter_parameters(adapted):
            parameter += 0.2 * torch.randn_like(parameter)
    adapted.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    config = json.loads(path.read_text()) | {"base_model_name_or_path": str(tmp_path / "base")}
    path.write_text(json.dumps(config))
    encoder = load_source(str(tmp_path / "adapter")).encoder
    assert_close(our_states(encoder, waveform), their_states(adapted.eval(), waveform))
