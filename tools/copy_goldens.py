"""Chooses from a full set of reference outputs what the tests assert, and copies it to tests/goldens.

    python tools/copy_goldens.py --source=GOLDENS --destination=tests/goldens

GOLDENS holds one folder `<kind>_tiny` for each kind of encoder (config.json, model.safetensors,
golden.safetensors, grads.safetensors; made with Hugging Face's PyTorch models) and
`wavlm_buckets/`. The copy keeps every weight and a selection of the outputs: all of it would be 14
MB, the selection stays under 6.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save

# Output -> the part of it that is kept.
KEPT = {
    "nomask.hidden_states": np.s_[:, :1],
    "nomask.row0.conv_layer_0": np.s_[:, :, :50],
    "nomask.row0.conv_layer_1": np.s_[:, :, :50],
    "nomask.row0.conv_layer_6": np.s_[:],
    "nomask.row0.feature_projection": np.s_[:],
    "nomask.row0.pos_conv_embed": np.s_[:],
    "mask.last_hidden_state": np.s_[:],
    "mask.feature_mask": np.s_[:],
    "spec.mask_time_indices": np.s_[:1],
    "spec.last_hidden_state": np.s_[:1],
    "400.last_hidden_state": np.s_[:],
    "720.last_hidden_state": np.s_[:],
    "grad.R": np.s_[:],
}
# Numbers kept of each parameter's gradient, evenly spaced over it.
GRADIENT_SAMPLES = 64


def sample(gradient: np.ndarray) -> np.ndarray:
    """At most `GRADIENT_SAMPLES` evenly spaced entries of a flattened gradient."""
    flat = gradient.reshape(-1)
    return np.ascontiguousarray(flat[:: -(-flat.size // GRADIENT_SAMPLES)])


def copy_kind(source: Path, destination: Path) -> None:
    """Copies one encoder's weights and the selection of its outputs and gradients."""
    destination.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "preprocessor_config.json", "model.safetensors"):
        shutil.copyfile(source / name, destination / name)
    full = load_file(source / "golden.safetensors")
    golden = {name: np.ascontiguousarray(full[name][part]) for name, part in KEPT.items()}
    golden |= {
        f"grad.sample.{name}": sample(gradient)
        for name, gradient in load_file(source / "grads.safetensors").items()
    }
    (destination / "golden.safetensors").write_bytes(save(golden))
    # Encoders of one rate and length share their input.
    waveform = full["input.x3"]
    inputs = destination.parent / f"input_{waveform.shape[1]}.safetensors"
    if inputs.exists() and not np.array_equal(load_file(inputs)["waveform"], waveform):
        raise ValueError(f"{source} has another input than {inputs} holds")
    inputs.write_bytes(save({"waveform": waveform, "num_samples": full["input.lengths"]}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--destination", type=Path, default=Path("tests/goldens"))
    arguments = parser.parse_args()
    for source in sorted(arguments.source.glob("*_tiny")):
        copy_kind(source, arguments.destination / source.name.removesuffix("_tiny"))
    buckets = arguments.source / "wavlm_buckets" / "buckets.safetensors"
    shutil.copyfile(buckets, arguments.destination / "wavlm_buckets.safetensors")
    size = sum(path.stat().st_size for path in arguments.destination.rglob("*") if path.is_file())
    print(f"{arguments.destination}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
