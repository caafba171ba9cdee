"""Makes the reference outputs that tests/test_encoder.py asserts, with Hugging Face's PyTorch models.

    python tools/make_goldens.py --destination=DIR [--source=tests/goldens] [--seed=SEED]

Every folder of the source gives a configuration and, without --seed, its weights, inputs and random
numbers: the outputs are then the committed ones made again, and the largest difference is printed.
With --seed all of these are drawn anew. Needs torch, transformers and safetensors. Of each output a
selection is kept, because all of it would be three times as large.
"""

# torch comes with the extra `reference` alone.
# pyright: reportMissingImports=false

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save

# MERT's published weights are HuBERT's, bit for bit.
FAMILIES = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "mert_model": "Hubert",
    "wavlm": "WavLM",
    "data2vec-audio": "Data2VecAudio",
}
# The stages kept of clip 0: the first steps of the first two convolutions, and the whole of the rest.
STEPS_OF_EARLY_CONVOLUTIONS = 50
# Numbers kept of each parameter's gradient, evenly spaced over it.
GRADIENT_SAMPLES = 64
CLIPS = 3
# Both shortest clips are cut from clip 0 at this sample.
SHORT_CLIPS_START = 5000

Arrays = dict[str, np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--source", type=Path, default=Path("tests/goldens"))
    parser.add_argument("--destination", type=Path, required=True)
    parser.add_argument("--seed", type=int)
    arguments = parser.parse_args()
    for source in sorted(path.parent for path in arguments.source.glob("*/config.json")):
        make_folder(source, arguments.destination / source.name, arguments.seed)
    write(arguments.destination / "wavlm_buckets.safetensors", wavlm_buckets())
    files = [path for path in arguments.destination.rglob("*") if path.is_file()]
    print(f"{arguments.destination}: {sum(path.stat().st_size for path in files) / 1e6:.2f} MB")


def make_folder(source: Path, destination: Path, seed: int | None) -> None:
    """One encoder's folder, and the inputs beside it that encoders of its length share."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copyfile(source / name, destination / name)
    model = load_model(source)
    samples = num_samples_of(source)
    inputs_name = f"input_{samples}.safetensors"
    if seed is None:
        old = load_file(source / "golden.safetensors")
        inputs = load_file(source.parent / inputs_name)
        random = {name: old[name] for name in ("grad.R", "spec.mask_time_indices")}
    else:
        old = {}
        randomise(model, seed)
        tensors = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        write(destination / "model.safetensors", tensors)
        inputs = random_inputs(seed, samples)
        random = random_numbers(model, seed, samples)
    golden = reference_outputs(model, inputs, random)
    write(destination / "golden.safetensors", golden)
    write(destination.parent / inputs_name, inputs)
    print(f"{destination.name}: {len(golden)} arrays; {compared(golden, old)}")


def load_model(directory: Path) -> Any:
    family = FAMILIES[json.loads((directory / "config.json").read_text())["model_type"]]
    config = getattr(transformers, f"{family}Config").from_pretrained(directory)
    model = getattr(transformers, f"{family}Model")
    return model.from_pretrained(directory, config=config, attn_implementation="eager").eval()


def num_samples_of(directory: Path) -> int:
    """A second; two for WavLM, whose distances then reach the logarithmic buckets."""
    rate = json.loads((directory / "preprocessor_config.json").read_text())["sampling_rate"]
    is_wavlm = json.loads((directory / "config.json").read_text())["model_type"] == "wavlm"
    return rate * 2 if is_wavlm else rate


def randomise(model: Any, seed: int) -> None:
    """Weights of which each one matters: biases and norms moved, kernels at their signal's scale."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1 or parameter.shape[0] == parameter.shape[1] == 1:
                parameter += 0.2 * torch.randn_like(parameter)
            else:
                scale = (1.5 / parameter[0].numel()) ** 0.5
                parameter.copy_(torch.randn_like(parameter) * scale)


def random_inputs(seed: int, samples: int) -> Arrays:
    """Clips of zero mean and unit variance, tones in noise, of three lengths."""
    generator = np.random.default_rng(seed)
    tones = generator.uniform(0.01, 0.3, (CLIPS, 4, 1)) * np.arange(samples)
    waveform = np.sin(tones).sum(axis=1) + 0.5 * generator.standard_normal((CLIPS, samples))
    waveform -= waveform.mean(axis=1, keepdims=True)
    waveform /= waveform.std(axis=1, keepdims=True)
    lengths = np.array([samples, samples * 7 // 10, samples * 4 // 10], np.int32)
    return {"waveform": waveform.astype(np.float32), "num_samples": lengths}


def random_numbers(model: Any, seed: int, samples: int) -> Arrays:
    """The weights of the loss whose gradient is taken, and the frames that SpecAugment masks."""
    generator = np.random.default_rng(seed + 1)
    frames = int(model._get_feat_extract_output_lengths(torch.tensor(samples)))
    weights = generator.standard_normal((CLIPS, frames, model.config.hidden_size))
    masked = generator.random((1, frames)) < 0.3
    return {
        "grad.R": weights.astype(np.float32),
        "spec.mask_time_indices": masked.astype(np.int32),
    }


def reference_outputs(model: Any, inputs: Arrays, random: Arrays) -> Arrays:
    """All that the tests assert of one encoder, by the tests' names."""
    waveform = torch.from_numpy(inputs["waveform"])
    clip = waveform[:1]
    masked_frames = torch.from_numpy(random["spec.mask_time_indices"]).bool()
    with torch.no_grad():
        outputs = stages(model, clip)
        outputs["spec.last_hidden_state"] = model(
            clip, mask_time_indices=masked_frames
        ).last_hidden_state
        for length in (400, 720):
            short = clip[:, SHORT_CLIPS_START : SHORT_CLIPS_START + length]
            outputs[f"{length}.last_hidden_state"] = model(short).last_hidden_state
    lengths = torch.from_numpy(inputs["num_samples"])
    outputs |= masked_case(model, waveform, lengths, torch.from_numpy(random["grad.R"]))
    return random | {name: tensor.numpy() for name, tensor in outputs.items()}


def stages(model: Any, clip: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every hidden state of an unpadded clip, and what some modules inside give on the way there."""
    modules = {f"conv_layer_{i}": model.feature_extractor.conv_layers[i] for i in (0, 1, 6)}
    modules["feature_projection"] = model.feature_projection
    modules["pos_conv_embed"] = model.encoder.pos_conv_embed
    found = {}

    def keep(name):
        def hook(module, arguments, result):
            found[f"nomask.row0.{name}"] = result[0] if isinstance(result, tuple) else result

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in modules.items()]
    result = model(clip, output_hidden_states=True)
    for handle in handles:
        handle.remove()
    for index in (0, 1):
        name = f"nomask.row0.conv_layer_{index}"
        found[name] = found[name][:, :, :STEPS_OF_EARLY_CONVOLUTIONS]
    # transformers 5 gives stable models' last one before the final norm, 4 after it.
    states = [*result.hidden_states[:-1], result.last_hidden_state]
    return found | {"nomask.hidden_states": torch.stack(states)}


def masked_case(
    model: Any, waveform: torch.Tensor, lengths: torch.Tensor, weights: torch.Tensor
) -> dict[str, torch.Tensor]:
    """A padded batch with its mask, and the gradients of sum(R last_hidden_state mask) / sum(mask)."""
    attention_mask = (torch.arange(waveform.shape[1]) < lengths[:, None]).long()
    last = model(waveform * attention_mask, attention_mask=attention_mask).last_hidden_state
    frames = model._get_feature_vector_attention_mask(last.shape[1], attention_mask)
    model.zero_grad()
    ((weights * last * frames[:, :, None]).sum() / frames.sum()).backward()
    samples = {
        f"grad.sample.{name}": evenly_spaced(parameter.grad)
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    return samples | {"mask.last_hidden_state": last.detach(), "mask.feature_mask": frames.int()}


def evenly_spaced(gradient: torch.Tensor) -> torch.Tensor:
    flat = gradient.reshape(-1)
    return flat[:: -(-flat.numel() // GRADIENT_SAMPLES)]


def wavlm_buckets() -> Arrays:
    """The bucket of every distance of the published WavLM models, as PyTorch's float32 gives it."""
    from transformers.models.wavlm.modeling_wavlm import WavLMAttention

    attention = WavLMAttention(16, 2, num_buckets=320, max_distance=800)
    distance = torch.arange(-1500, 1501)
    bucket = attention._relative_positions_bucket(distance)
    return {"relative_position": distance.numpy(), "bucket": bucket.numpy()}


def compared(golden: Arrays, old: Arrays) -> str:
    """How far the outputs are from those that were there."""
    spellings = {name.replace("grad.sample.wav2vec2.", "grad.sample."): name for name in old}
    spellings = {current_spelling(name): old_name for name, old_name in spellings.items()}
    shared = [name for name in golden if name in spellings]
    if not shared:
        return "nothing to compare with"
    worst = max(
        float(np.abs(golden[n].astype(float) - old[spellings[n]]).max(initial=0)) for n in shared
    )
    return f"{len(shared)} of {len(old)} old ones within {worst:.1e}"


def current_spelling(name: str) -> str:
    """PyTorch 2's name of the weight normalisation's parts."""
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        name = name.replace(f"conv.{old}", f"conv.parametrizations.weight.{new}")
    return name


def write(path: Path, arrays: Arrays) -> None:
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    path.write_bytes(save(contiguous, metadata={"format": "pt"}))


if __name__ == "__main__":
    main()
