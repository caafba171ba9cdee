"""Makes the reference outputs that tests/test_whisper.py asserts, with Hugging Face's PyTorch model.

    python tools/make_whisper_goldens.py --destination=tests/goldens/whisper [--seed=SEED]

A small WhisperModel of random weights sees clip 1 of the 16 kHz inputs beside the folder, padded with
silence to its full length of one second as published, and cut to the clip. Needs torch, transformers
and safetensors; weights are drawn from the seed, so the committed folder can be made again.
"""

# torch comes with the extra `reference` alone.
# pyright: reportMissingImports=false

import argparse
import copy
from pathlib import Path

import numpy as np
import torch
import transformers
from make_goldens import Arrays, evenly_spaced, randomise, write
from safetensors.numpy import load_file

SECOND = 16_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--destination", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    config = small_config()
    torch.manual_seed(arguments.seed)
    model = transformers.WhisperModel._from_config(config, attn_implementation="eager").eval()
    randomise(model, arguments.seed)
    model.save_pretrained(arguments.destination)
    extractor = transformers.WhisperFeatureExtractor(
        feature_size=config.num_mel_bins, chunk_length=1
    )
    extractor.save_pretrained(arguments.destination)
    inputs = load_file(arguments.destination.parent / "input_16000.safetensors")
    clip = inputs["waveform"][1, : inputs["num_samples"][1]]
    golden = reference_outputs(model, extractor, clip)
    write(arguments.destination / "golden.safetensors", golden)
    size = sum(path.stat().st_size for path in arguments.destination.iterdir())
    print(f"{arguments.destination}: {len(golden)} arrays, {size / 1e6:.2f} MB")


def small_config() -> transformers.WhisperConfig:
    return transformers.WhisperConfig(
        d_model=16,
        encoder_layers=2,
        encoder_attention_heads=2,
        encoder_ffn_dim=24,
        num_mel_bins=20,
        max_source_positions=50,
        decoder_layers=2,
        decoder_attention_heads=2,
        decoder_ffn_dim=24,
        vocab_size=11,
        max_target_positions=4,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
    )


def reference_outputs(
    model: transformers.WhisperModel,
    extractor: transformers.WhisperFeatureExtractor,
    clip: np.ndarray,
) -> Arrays:
    """Log-mel frames, hidden states padded and cut, and gradients of the cut case."""
    features = extractor([clip], sampling_rate=SECOND, return_tensors="pt").input_features
    with torch.no_grad():
        padded = states(model.encoder, features)[:, 0].numpy()
    cut = cut_encoder(model.encoder, num_frames=(len(clip) // 160 + 1) // 2)
    hidden = states(cut, features)[:, 0]
    weights = np.random.default_rng(0).standard_normal(hidden[-1].shape).astype(np.float32)
    (torch.from_numpy(weights) * hidden[-1]).sum().backward()
    gradients = {
        f"grad.sample.encoder.{name}": evenly_spaced(parameter.grad).numpy()
        for name, parameter in cut.named_parameters()
        if parameter.grad is not None
    }
    return gradients | {
        "log_mel": features[0].T.numpy(),
        "padded.hidden_states": padded,
        "cut.hidden_states": hidden.detach().numpy(),
        "grad.R": weights,
    }


def states(encoder: torch.nn.Module, features: torch.Tensor) -> torch.Tensor:
    """[L + 1, B, T, D], the last after the final norm."""
    result = encoder(features, output_hidden_states=True)
    return torch.stack([*result.hidden_states[:-1], result.last_hidden_state])


def cut_encoder(encoder: torch.nn.Module, *, num_frames: int) -> torch.nn.Module:
    """The encoder with only the first positions; its convolutions still look into the silence after."""
    cut = copy.deepcopy(encoder)
    cut.conv2.register_forward_hook(lambda module, arguments, result: result[..., :num_frames])
    table = encoder.embed_positions.weight[:num_frames].detach().clone()
    cut.embed_positions = torch.nn.Embedding.from_pretrained(table)
    return cut


if __name__ == "__main__":
    main()
