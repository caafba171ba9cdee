"""What commands begin and end with: checked settings, the workdir held, the cache opened and kept small."""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from ml_collections import ConfigDict

from jaxemo.cli.provenance import user_cache_dir
from jaxemo.cli.workdir import locked
from jaxemo.data.cache import Kind, list_entries, prune
from jaxemo.data.files import make_folder
from jaxemo.data.temporary import remove_leftovers
from jaxemo.results.merging import Earlier
from jaxemo.studies.config import Settings, read_settings
from jaxemo.training.processes import is_first

logger = logging.getLogger("jaxemo")


@contextlib.contextmanager
def session(config: ConfigDict, workdir: Path) -> Iterator[tuple[Settings, Path]]:
    """The checked settings and the opened cache folder, while the workdir is held."""
    settings = read_settings(config)
    with locked(workdir):
        cache_dir = open_cache(cache_dir_of(settings))
        yield settings, cache_dir
        if is_first():
            _close_cache(cache_dir, settings)


def held(workdir: Path | None) -> contextlib.AbstractContextManager[None]:
    """The workdir, while nobody else has it; nothing where there is none."""
    return contextlib.nullcontext() if workdir is None else locked(workdir)


@overload
def earlier_results(
    workdir: Path, sections: Sequence[str], *, config: Any = ..., replace: bool
) -> Earlier: ...


@overload
def earlier_results(
    workdir: Path | None, sections: Sequence[str], *, config: Any = ..., replace: bool
) -> Earlier | None: ...


def earlier_results(
    workdir: Path | None,
    sections: Sequence[str],
    *,
    config: dict[str, Any] | None = None,
    replace: bool,
) -> Earlier | None:
    """What WORKDIR holds of an earlier command; None where nothing is written."""
    if workdir is None:
        return None
    path = workdir / "results.json"
    return Earlier(path, studies=(), sections=sections, config=config, replace=replace)


def cache_dir_of(settings: Settings | None) -> Path:
    """Where the settings, or else the environment, put the caches."""
    configured = "" if settings is None else settings.cache_dir
    return Path(configured).expanduser() if configured else user_cache_dir()


def open_cache(cache_dir: Path) -> Path:
    """Lets later processes find what this one compiles, unless the environment says where or not to."""
    import jax

    make_folder(cache_dir)
    remove_leftovers(cache_dir)
    # librosa's compiled functions lie beside its code where that may be written.
    if not os.access(os.path.dirname(np.__file__), os.W_OK):
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_dir / "numba"))
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir / "xla"))
    # jax keeps only what took a second or more; small encoders make dozens of shorter ones.
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    return cache_dir


def _close_cache(cache_dir: Path, settings: Settings) -> None:
    """Says what the cache holds, once it is within the config's limit again."""
    entries = [entry for entry in list_entries(cache_dir) if entry.kind is not Kind.OTHER]
    limit = round(settings.cache_gigabytes * 1e9)
    removed = prune(entries, max_bytes=limit, cache_dir=cache_dir)
    kept, gone = (sum(entry.num_bytes for entry in part) for part in (entries, removed))
    logger.info(
        "cache %s: %.3g GB of at most %g%s",
        cache_dir,
        (kept - gone) / 1e9,
        settings.cache_gigabytes,
        f"; {gone / 1e9:.3g} GB not used for longest were removed" if removed else "",
    )
