"""LoRA, DoRA and (IA)^3 as Hugging Face's peft keeps them: a configuration and named tensors, both ways.

A tensor is called `base_model.model.MODULE.lora_A.weight` (or `lora_B.weight`, `lora_magnitude_vector`,
`ia3_l`), MODULE being the dense layer's name in a PyTorch checkpoint; what stands before it names the
model around the encoder. Matrices are (out, in). Files are the caller's business.

Reference: peft 0.21, src/peft/utils/save_and_load.py and tuners/{lora,ia3}.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxemo.models.checkpoints.names import torch_from_params
from jaxemo.models.families import FAMILIES
from jaxemo.peft.ia3 import scales_input
from jaxemo.peft.method import Params, flatten, unflatten

FORMAT_METHODS = ("lora", "dora", "ia3")

# Part of peft's names -> our leaf.
_LEAVES = {
    "lora_A": "a",
    "lora_B": "b",
    "lora_magnitude_vector": "magnitude",
    "ia3_l": "scale",
}
_KEY = re.compile(rf"(?P<module>.+)\.(?P<kind>{'|'.join(_LEAVES)})(\.weight)?")
# Settings of LoRA that change its arithmetic, with the value under which it is ours.
_PLAIN_LORA = {"bias": "none", "alpha_pattern": {}, "lora_bias": False, "fan_in_fan_out": False}


class HubAdapter(NamedTuple):
    """What peft's two files hold.

    Attributes:
      config: Of `adapter_config.json`.
      tensors: Of `adapter_model.safetensors`.
    """

    config: dict[str, Any]
    tensors: dict[str, np.ndarray]


class Adaptation(NamedTuple):
    """A method's name and options, and its trainable tree."""

    method: str
    options: dict[str, Any]
    trainable: Params


def to_hub(
    adaptation: Adaptation,
    base: Params,
    *,
    model_type: str,
    base_name: str,
    head: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> HubAdapter:
    """An adaptation as peft loads it onto the bare encoder, or onto the class for classification.

    Args:
      base: The encoder's parameters.
      model_type: Of its configuration, such as `wav2vec2`.
      base_name: What peft is to load the base from.
      head: Tensors of the modules of a class for classification, by name, which peft is to load with
        the adapter; empty for the bare encoder (`AutoModel`).

    Raises:
      ValueError: peft has no such method.
    """
    if adaptation.method not in FORMAT_METHODS:
        raise ValueError(
            f"Method {adaptation.method!r} has no counterpart in peft's files; those of "
            f"{', '.join(FORMAT_METHODS)} do. Export it merged (--format=hub)."
        )
    prefix = FAMILIES[model_type].prefix if head else ""
    modules = {
        path: f"{prefix}{module}" for path, module in _modules(base, model_type=model_type).items()
    }
    flat = {
        name: np.asarray(leaf, np.float32) for name, leaf in flatten(adaptation.trainable).items()
    }
    kinds = {leaf: kind for kind, leaf in _LEAVES.items()}
    tensors = {}
    for name, leaf in flat.items():
        path, _, ours = name.rpartition("/")
        values, kind = leaf.T if leaf.ndim == 2 else leaf, kinds[ours]
        if ours == "scale":
            values = leaf[None, :] if scales_input(path) else leaf[:, None]
        weight = ".weight" if leaf.ndim == 2 else ""
        tensors[f"base_model.model.{modules[path]}.{kind}{weight}"] = np.ascontiguousarray(values)
    paths = list(dict.fromkeys(name.rpartition("/")[0] for name in flat))
    shared = {
        "base_model_name_or_path": base_name,
        "task_type": None,
        "inference_mode": True,
        "modules_to_save": sorted({name.rpartition(".")[0] for name in head}) or None,
        "target_modules": [modules[path] for path in paths],
    }
    if adaptation.method == "ia3":
        scaled_inputs = [modules[path] for path in paths if scales_input(path)]
        own = {"peft_type": "IA3", "feedforward_modules": scaled_inputs, "fan_in_fan_out": False}
    else:
        own = _lora_config(
            adaptation, {modules[path]: flat[f"{path}/b"].shape[0] for path in paths}
        )
    tensors |= {f"base_model.model.{name}": np.asarray(values) for name, values in head.items()}
    return HubAdapter(own | shared, tensors)


def _lora_config(adaptation: Adaptation, ranks: Mapping[str, int]) -> dict[str, Any]:
    """Of LoRA and DoRA; `ranks` of each module."""
    options = adaptation.options
    rank = max(ranks.values())
    return {
        "peft_type": "LORA",
        "r": rank,
        "lora_alpha": options.get("alpha", 16.0),
        "lora_dropout": options.get("dropout", 0.0),
        "use_rslora": options.get("scaling", "rank") == "sqrt_rank",
        "use_dora": adaptation.method == "dora",
        "rank_pattern": {re.escape(module): own for module, own in ranks.items() if own != rank},
        "init_lora_weights": True,
        **_PLAIN_LORA,
    }


def from_hub(adapter: HubAdapter, base: Params, *, model_type: str) -> Adaptation:
    """The adaptation in peft's files, for this base; heads beside it are left out.

    Raises:
      ValueError: Another kind of adapter, or settings and tensors that do not fit; all are listed.
    """
    method, options = _method(adapter.config)
    paths = {module: path for path, module in _modules(base, model_type=model_type).items()}
    trainable: dict[str, Any] = {}
    faults = _faults_of_settings(adapter.config)
    for key, values in adapter.tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            continue  # A head that was trained beside (modules_to_save).
        path, ours = _find(match["module"], paths), _LEAVES[match["kind"]]
        if path is None:
            faults.append(f"{key} is of no dense layer of this encoder")
            continue
        values = np.asarray(values, np.float32)
        if fault := _shape_fault(values, _kernel(base, path).shape, ours=ours, path=path):
            faults.append(f"{key}: {fault}")
        leaf = values.T if ours in ("a", "b") else values.ravel()
        trainable[f"{path}/{ours}"] = jnp.asarray(leaf)
    faults += _faults_of_tree(trainable, method)
    if faults:
        raise ValueError("The peft adapter cannot be used:\n  " + "\n  ".join(faults))
    return Adaptation(method, options, unflatten(trainable))


def _method(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    kind = config.get("peft_type")
    if kind == "IA3":
        return "ia3", {}
    if kind != "LORA":
        raise ValueError(
            f"The peft adapter is of type {kind!r}; expected 'LORA' (DoRA among them) or 'IA3'. Merge it "
            "with peft (`merge_and_unload`) and give that folder."
        )
    options = {
        "alpha": float(config.get("lora_alpha", 8)),
        "scaling": "sqrt_rank" if config.get("use_rslora") else "rank",
    }
    return "dora" if config.get("use_dora") else "lora", options


def _faults_of_settings(config: Mapping[str, Any]) -> list[str]:
    if config.get("peft_type") != "LORA":
        return []
    return [
        f"{name} is {config[name]!r}; expected {plain!r}"
        for name, plain in _PLAIN_LORA.items()
        if config.get(name) not in (None, plain)
    ]


def _faults_of_tree(trainable: Mapping[str, Any], method: str) -> list[str]:
    """Leaves that go together are all there, and there is one at all."""
    needed = {"lora": {"a", "b"}, "dora": {"a", "b", "magnitude"}, "ia3": {"scale"}}[method]
    found: dict[str, set[str]] = {}
    for name in trainable:
        path, _, leaf = name.rpartition("/")
        found.setdefault(path, set()).add(leaf)
    if not found:
        return [f"it holds no tensor of {method!r}"]
    return [
        f"{path} has {', '.join(sorted(leaves))}; expected {', '.join(sorted(needed))}"
        for path, leaves in found.items()
        if leaves != needed
    ]


def _shape_fault(values: np.ndarray, kernel: tuple[int, ...], *, ours: str, path: str) -> str:
    """What is wrong with a tensor's shape for a kernel (in, out); empty where nothing is."""
    inputs, outputs = kernel
    by_input = scales_input(path)
    fits, expected = {
        "a": (values.ndim == 2 and values.shape[1] == inputs, f"(r, {inputs})"),
        "b": (values.ndim == 2 and values.shape[0] == outputs, f"({outputs}, r)"),
        "magnitude": (values.size == outputs, f"({outputs},)"),
        "scale": (
            values.shape == ((1, inputs) if by_input else (outputs, 1)),
            f"(1, {inputs})" if by_input else f"({outputs}, 1)",
        ),
    }[ours]
    return "" if fits else f"shape {values.shape}; expected {expected}"


def _modules(base: Params, *, model_type: str) -> dict[str, str]:
    """Path of every dense layer -> its module's name in a PyTorch checkpoint."""
    kernels = {
        path: leaf
        for path, leaf in flatten(base).items()
        if path.endswith("/kernel") and np.ndim(leaf) == 2
    }
    names = (
        torch_from_params(unflatten({path: np.empty((0, 0))}), model_type=model_type)
        for path in kernels
    )
    return {
        path.removesuffix("/kernel"): next(iter(name)).removesuffix(".weight")
        for path, name in zip(kernels, names, strict=True)
    }


def _find(module: str, paths: Mapping[str, str]) -> str | None:
    """The path of a module, whatever the names of the models around it."""
    return next((paths[tail] for tail in _tails(module) if tail in paths), None)


def _tails(module: str) -> Iterable[str]:
    parts = module.split(".")
    return (".".join(parts[start:]) for start in range(len(parts)))


def _kernel(base: Params, path: str) -> Any:
    return flatten(base)[f"{path}/kernel"]
