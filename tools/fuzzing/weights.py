"""Encoder folders in hub layout, spoilt, through `load_encoder`."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from fuzzing.outcomes import Outcome, Verdict
from fuzzing.spoiling import Generator, spoil_bytes, spoil_file, spoil_folder, spoil_json
from fuzzing.torch_file import spoil_pickle, write_torch_file

NAMES = r"spoilt-encoder|config\.json|model\.safetensors|flax_model\.msgpack|pytorch_model\.bin"
_TORCH = "pytorch_model.bin"
_RATES_HZ = (4_000, 768_000)


class Weights:
    """One small encoder, as safetensors, as Flax msgpack and as torch's archive of pickles."""

    def __init__(self, folder: Path) -> None:
        from jaxemo.models.checkpoints.hub_layout import WeightsFormat
        from jaxemo.models.pretrained import load_encoder, save_pretrained

        self._valid = [folder / f"encoder-{weights.name.lower()}" for weights in WeightsFormat]
        for directory, weights in zip(self._valid, WeightsFormat, strict=True):
            if not directory.is_dir():
                save_pretrained(load_encoder("untrained/speech"), directory, weights=weights)
        self._valid.append(folder / "encoder-torch")
        if not self._valid[-1].is_dir():
            _save_torch(load_encoder("untrained/speech"), self._valid[-1])

    def spoil(self, rng: Generator, place: Path) -> str:
        directory = place / "spoilt-encoder"
        shutil.copytree(self._valid[rng.integers(len(self._valid))], directory)
        draw = rng.random()
        if draw < 0.1:
            return spoil_folder(rng, directory)
        if draw < 0.3 and (directory / _TORCH).is_file():
            return spoil_pickle(rng, directory / _TORCH)
        if draw < 0.3 and (directory / "model.safetensors").is_file():
            return _spoil_header(rng, directory / "model.safetensors")
        if draw < 0.4 and (directory / "model.safetensors").is_file():
            return _spoil_numbers(rng, directory / "model.safetensors")
        files = sorted(directory.iterdir())
        return spoil_file(rng, files[rng.integers(len(files))])

    def judge(self, place: Path) -> Verdict:
        """Accepted parameters are finite; weights in general carry no checksum."""
        import jax

        from jaxemo.models.pretrained import load_encoder

        encoder = load_encoder(place / "spoilt-encoder")
        if not all(bool(np.isfinite(leaf).all()) for leaf in jax.tree.leaves(encoder.params)):
            return Verdict(Outcome.WRONG, "parameters that are not finite")
        if not _RATES_HZ[0] <= encoder.sample_rate_hz <= _RATES_HZ[1]:
            return Verdict(Outcome.WRONG, f"a rate of {encoder.sample_rate_hz} Hz")
        return Verdict(Outcome.ACCEPTED)


def _save_torch(encoder: Any, directory: Path) -> None:
    from jaxemo.models.checkpoints.names import torch_from_params
    from jaxemo.models.pretrained import save_pretrained

    save_pretrained(encoder, directory)
    (directory / "model.safetensors").unlink()
    tensors = torch_from_params(encoder.params, model_type=encoder.config.model_type)
    write_torch_file(directory / _TORCH, tensors)


def _spoil_header(rng: Generator, path: Path) -> str:
    """The header of safetensors: JSON behind its length; left as JSON, or spoilt as bytes."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    header, body = content[8 : 8 + size], content[8 + size :]
    if rng.random() < 0.7:
        text, words = spoil_json(rng, header.decode())
        header = text.encode(errors="surrogatepass")
    else:
        header, words = spoil_bytes(rng, header)
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    return f"{path.name}: {words} of the header"


def _spoil_numbers(rng: Generator, path: Path) -> str:
    """One weight of a tensor becomes NaN, infinite or huge."""
    content = bytearray(path.read_bytes())
    start = 8 + int.from_bytes(content[:8], "little")
    tensors = json.loads(content[8:start])
    name = str(rng.choice([name for name in tensors if name != "__metadata__"]))
    first, end = tensors[name]["data_offsets"]
    bad = float(rng.choice((math.nan, math.inf, -math.inf)))
    place = start + first + 4 * int(rng.integers((end - first) // 4))
    content[place : place + 4] = np.float32(bad).tobytes()
    path.write_bytes(content)
    return f"{path.name}: {bad} in {name}"
