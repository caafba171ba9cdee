"""Where a result comes from: command, resolved config, versions, device, time; and where caches live."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from jaxemo import __version__

_PACKAGES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "orbax-checkpoint",
    "transformers",
    "datasets",
    "numpy",
    "librosa",
    "soundfile",
    "soxr",
)


def environment(config: Any) -> dict[str, Any]:
    """The provenance that no study knows: how, when and on what it was run.

    Args:
      config: The resolved config, or None.
    """
    import jax

    device = jax.devices()[0]
    return {
        "command": shlex.join(["jaxemo", *sys.argv[1:]]),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "config": None if config is None else json.loads(config.to_json()),
        "versions": versions(),
        "device": f"{jax.device_count()} x {device.device_kind} ({device.platform})",
    }


def new_run_id() -> str:
    """Tells the runs of commands apart in logs that several of them write."""
    return f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"


def user_cache_dir() -> Path:
    """$JAXEMO_CACHE, else jaxemo under $XDG_CACHE_HOME or ~/.cache."""
    if configured := os.environ.get("JAXEMO_CACHE"):
        return Path(configured).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "jaxemo"


def versions() -> dict[str, str]:
    """Of Python, jaxemo and the packages that decide its figures."""
    own = {"python": platform.python_version(), "jaxemo": __version__}
    return own | {name: importlib.metadata.version(name) for name in _PACKAGES}
