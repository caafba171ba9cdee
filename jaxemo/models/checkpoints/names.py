"""Between checkpoint names and the parameter tree, in both directions, by the families' tables.

Every checkpoint key is used, or is on a family's list of ignored ones, or is an error; the errors of
a whole checkpoint are raised together. A checkpoint is read by the tables of all families together,
since their names do not collide, and written by its own family's.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from jaxemo.models.checkpoints.tables import Layout
from jaxemo.models.families import FAMILIES

# Numbers of any width; bfloat16 arrives as ml_dtypes' extension type, which numpy does not call a
# float.
_FLOATS = ("float16", "bfloat16", "float32", "float64")

# Of a model with a head, and what training frameworks wrap around a model.
_PREFIXES = tuple(family.prefix for family in FAMILIES.values() if family.prefix)
_WRAPPERS = ("module.", "_orig_mod.", "model.", "base_model.", "network.", "net.")
_MOST_NAMED = 8

logger = logging.getLogger("jaxemo")
_IGNORED = frozenset(pattern for family in FAMILIES.values() for pattern in family.ignored)


def _pattern(template: str) -> re.Pattern:
    escaped = re.escape(template)
    for mark, expression in (("i", r"(?P<i>0|[1-9]\d*)"), ("p", r"(?P<p>[a-z]+)")):
        escaped = escaped.replace(re.escape(f"{{{mark}}}"), expression)
    return re.compile(escaped)


_TO_TORCH = {
    family.names: tuple((_pattern(path), name, layout) for name, path, layout in family.names)
    for family in FAMILIES.values()
}
_FROM_TORCH = tuple(
    (_pattern(name), path, layout) for names in _TO_TORCH for name, path, layout in names
)
# What the names of an encoder's own parameters begin with.
_ROOTS = frozenset(name.partition(".")[0] for names in _TO_TORCH for name, _, _ in names)


def flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of a tree by their path, `encoder/layers/0/...`."""
    return dict(traverse_util.flatten_dict(tree, sep="/"))


def params_from_torch(
    tensors: Mapping[str, np.ndarray], template: Mapping[str, Any], *, optional: frozenset[str]
) -> dict[str, Any]:
    """A parameter tree from the tensors of a PyTorch checkpoint.

    Args:
      tensors: By checkpoint name, with or without the prefixes of a model with a head and of what was
        wrapped around it in training (`module.`, `_orig_mod.` and the like).
      template: The tree of `ShapeDtypeStruct` that the configuration asks for.
      optional: Paths that may be missing and are then zero.

    Keys beside the encoder (heads of other tasks) are not read; they are logged.

    Raises:
      ValueError: naming missing, unexpected, doubled, mis-shaped, mis-typed and non-finite keys.
    """
    by_path: dict[str, tuple[str, np.ndarray]] = {}
    problems, beside = [], []
    for name, tensor in tensors.items():
        bare = bare_name(name)
        match = _match(bare, _FROM_TORCH)
        if match is None:
            if bare.partition(".")[0] not in _ROOTS:
                beside.append(name)
            elif not _is_ignored(bare):
                problems.append(f"unexpected {name}")
            continue
        path, layout = match
        if path in by_path:
            problems.append(f"both {by_path[path][0]} and {name}")
        if layout.value is not None and np.ndim(tensor) == len(layout.value):
            tensor = np.transpose(tensor, layout.value)
        by_path[path] = (name, tensor)
    _tell_of_keys_beside(beside)
    return checked_tree(by_path, template, optional=optional, problems=problems)


def params_from_flax(
    arrays: Mapping[str, np.ndarray], template: Mapping[str, Any], *, optional: frozenset[str]
) -> dict[str, Any]:
    """A parameter tree from the arrays of a Hugging Face Flax checkpoint, by their path in its tree.

    See `params_from_torch` for the rest.
    """
    wanted = flatten(template)
    by_path: dict[str, tuple[str, np.ndarray]] = {}
    problems, beside = [], []
    for name, array in arrays.items():
        bare = bare_name(name.replace("/", "."))
        path = bare.replace(".", "/")
        if path in wanted:
            by_path[path] = (name, array)
        elif bare.partition(".")[0] not in _ROOTS:
            beside.append(name)
        elif not _is_ignored(bare):
            problems.append(f"unexpected {name}")
    _tell_of_keys_beside(beside)
    return checked_tree(by_path, template, optional=optional, problems=problems)


def torch_from_params(params: Mapping[str, Any], *, model_type: str) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch checkpoint, by name; the inverse of `params_from_torch`."""
    table = _TO_TORCH[FAMILIES[model_type].names]
    tensors = {}
    for path, array in flatten(params).items():
        match = _match(path, table)
        if match is None:
            raise ValueError(f"no checkpoint name for parameter {path}")
        name, layout = match
        array = np.asarray(array)
        if layout.value is not None:
            array = np.transpose(array, layout.value)
        tensors[name] = np.ascontiguousarray(array)
    return tensors


def checked_tree(
    by_path: dict[str, tuple[str, np.ndarray]],
    template: Mapping[str, Any],
    *,
    optional: frozenset[str],
    problems: list[str],
) -> dict[str, Any]:
    """The tree in float32, if `by_path` has all of `template` in its shapes and nothing else.

    Args:
      by_path: The published name of each parameter, and its values in our layout.
      template: The tree of `ShapeDtypeStruct` that is expected.
      optional: Paths that may be missing and are then zero.
      problems: What was wrong before.

    Raises:
      ValueError: naming missing, unexpected, mis-shaped, mis-typed and non-finite keys, and `problems`.
    """
    wanted = flatten(template)
    problems += [
        f"missing {path}" for path in wanted if path not in by_path | dict.fromkeys(optional)
    ]
    params = {}
    for path, expected in wanted.items():
        if path not in by_path:
            continue
        name, tensor = by_path[path]
        if not hasattr(tensor, "shape") or tensor.shape != expected.shape:
            shape = getattr(tensor, "shape", type(tensor).__name__)
            problems.append(f"mis-shaped {name}: {shape}, expected {expected.shape}")
        elif tensor.dtype.name not in _FLOATS:
            problems.append(f"mis-typed {name}: {tensor.dtype.name}, expected a float")
        else:
            params[path] = np.ascontiguousarray(tensor, np.float32)
            if num_bad := params[path].size - np.count_nonzero(np.isfinite(params[path])):
                problems.append(f"non-finite {name}: {num_bad} values are NaN or infinite")
    problems += [f"unexpected {name}" for path, (name, _) in by_path.items() if path not in wanted]
    if problems:
        raise ValueError(
            f"the checkpoint does not fit its configuration ({len(problems)} keys): "
            + _listed(sorted(problems))
        )
    for path in wanted.keys() - params.keys():
        params[path] = np.zeros(wanted[path].shape, np.float32)
    return traverse_util.unflatten_dict(params, sep="/")


def _match(
    name: str, table: tuple[tuple[re.Pattern, str, Layout], ...]
) -> tuple[str, Layout] | None:
    for pattern, template, layout in table:
        match = pattern.fullmatch(name)
        if match is not None:
            return template.format(**match.groupdict()), layout
    return None


def bare_name(name: str) -> str:
    """The name within the encoder, whatever was wrapped around it."""
    while True:
        prefix = next(filter(name.startswith, (*_WRAPPERS, *_PREFIXES)), "")
        if not prefix:
            return name
        name = name[len(prefix) :]


def _tell_of_keys_beside(names: list[str]) -> None:
    if names:
        logger.info("no part of the encoder: %s", _listed(sorted(names)))


def _listed(lines: list[str]) -> str:
    more = f"; and {len(lines) - _MOST_NAMED} more" if len(lines) > _MOST_NAMED else ""
    return "; ".join(lines[:_MOST_NAMED]) + more


def _is_ignored(name: str) -> bool:
    return any(re.fullmatch(pattern, name) for pattern in _IGNORED)
