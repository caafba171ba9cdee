"""Single functions of published packages, run without importing the packages' own dependencies.

fadtk imports torchaudio and kadtk a dozen models before either computes anything; the arithmetic
that we compare with needs numpy, scipy and PyTorch alone.
"""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any


def is_installed(package: str) -> bool:
    """Whether the package's files are there; it is not imported."""
    return importlib.util.find_spec(package) is not None


def load_functions(
    package: str, module: str, *, names: tuple[str, ...], namespace: dict[str, Any]
) -> dict[str, Callable]:
    """Functions of `package/module.py` by name.

    Args:
      names: Functions to take, those that they call included.
      namespace: What the module imports and these functions use.

    Raises:
      ValueError: If the package is not installed or the module has no such functions.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{package} is not installed: pip install --no-deps {package}==1.1.0.")
    path = Path(spec.origin).with_name(f"{module}.py")
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in names]
    if missing := set(names) - {node.name for node in found}:
        raise ValueError(f"{package}/{module}.py has no {', '.join(sorted(missing))}.")
    scope = dict(namespace)
    exec(compile(ast.Module([*found], type_ignores=[]), str(path), "exec"), scope)
    return {name: scope[name] for name in names}


def fadtk_distance() -> Callable:
    """fadtk's `calc_frechet_distance(mean_1, covariance_1, mean_2, covariance_2)`."""
    import logging

    import numpy as np
    from scipy import linalg

    return load_functions(
        "fadtk",
        "fad",
        names=("calc_frechet_distance",),
        namespace={
            "np": np,
            "linalg": linalg,
            "scisqrt": np.lib.scimath.sqrt,
            "log": logging.getLogger("fadtk"),
        },
    )["calc_frechet_distance"]


def sqrtm_distance(mean_1: Any, covariance_1: Any, mean_2: Any, covariance_2: Any) -> float:
    """The formula that FAD tools share, for where fadtk is not installed.

    |mean_1 - mean_2|^2 + tr C_1 + tr C_2 - 2 tr sqrtm(C_1 C_2), 1e-6 added to both diagonals where the
    root is not finite. fadtk 1.1.0 computes the root twice, by `sqrtm` and by `eig`, and so takes longer.
    """
    import numpy as np
    from scipy import linalg

    root = linalg.sqrtm(covariance_1 @ covariance_2)
    if not np.isfinite(root).all():
        offset = 1e-6 * np.eye(len(covariance_1))
        root = linalg.sqrtm((covariance_1 + offset) @ (covariance_2 + offset))
    traces = np.trace(covariance_1) + np.trace(covariance_2) - 2 * np.trace(np.real(root))
    return float(np.sum((mean_1 - mean_2) ** 2) + traces)
