"""Config -> results: prepares the corpus, takes one encoder at a time through the studies asked for."""

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxemo.data.corpora.corpus import DOMAINS, corpus_summary
from jaxemo.data.folds import fold_summary
from jaxemo.data.progress import Progress
from jaxemo.peft import METHODS
from jaxemo.studies.experiment import (
    Embedded,
    Experiment,
    describe_source,
    embed_sources,
    load_source,
    prepare_experiment,
)
from jaxemo.studies.layers import study_layers
from jaxemo.studies.similarity.bias import EncoderBias, bias_tests
from jaxemo.studies.similarity.study import study_similarity
from jaxemo.studies.transfer import REGIMES, LogEpoch, needs_stem, study_transfer
from jaxemo.training.sharding import make_mesh

LAYERS, TRANSFER, SIMILARITY = "layers", "transfer", "similarity"
STUDIES = (LAYERS, TRANSFER, SIMILARITY)

Results = dict[str, Any]


def run_studies(
    config: Any,
    studies: Sequence[str],
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Progress,
    log_epoch: LogEpoch,
    save_partial: Callable[[Results], None],
) -> Results:
    """All sections of `results.json` but the provenance's environment.

    Args:
      studies: Which of `STUDIES` to run.
      workdir: Gets the transfer study's checkpoints.
      save_partial: Given the results so far after every encoder, so that a late failure loses little.

    Raises:
      ValueError: For a config or corpus that cannot be used, before any training.
    """
    check_config(config)
    sources = [load_source(name) for name in config.encoders]
    experiment = prepare_experiment(
        config,
        sample_rate_hz=sources[0].sample_rate_hz,
        num_seeds=_num_seeds(config, studies),
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_domains(experiment, studies)
    results: Results = {study: [] for study in studies}
    results |= {"confusions": [], "layer_weights": [], **describe_corpus(experiment)}
    seconds: dict[str, float] = defaultdict(float)
    results["provenance"] = {
        "corpus_hash": experiment.corpus_hash(),
        "encoders": [describe_source(source) for source in sources],
        "wall_seconds": seconds,
        "notes": _notes(config),
    }
    keeps_stem = TRANSFER in studies and needs_stem(config.transfer.methods)
    stem_dir = workdir / "stem_features" if keeps_stem else None
    frames_dir = workdir / "frames" if SIMILARITY in studies else None
    if SIMILARITY in studies:
        results |= {"emotion_bias": [], "emotion_bias_tests": []}
    biases: list[EncoderBias] = []
    started = time.monotonic()
    for embedded in embed_sources(
        experiment, config, sources=sources, stem_dir=stem_dir, frames_dir=frames_dir
    ):
        started = _stop_watch(seconds, "embedding", started)
        for study in studies:
            if study == SIMILARITY:
                _run_similarity(experiment, embedded, config, results, biases)
            else:
                _run_one(study, experiment, embedded, config, results, workdir, log_epoch)
            started = _stop_watch(seconds, study, started)
        save_partial(results)
    return results


def _run_one(
    study: str,
    experiment: Experiment,
    embedded: Embedded,
    config: Any,
    results: Results,
    workdir: Path,
    log_epoch: LogEpoch,
) -> None:
    if study == LAYERS:
        found = study_layers(experiment, embedded, config)
        results["layers"] += found.rows
        results["confusions"] += found.confusions
    else:
        found = study_transfer(
            experiment,
            embedded,
            config,
            mesh=make_mesh(**config.mesh),
            models_dir=workdir / "models",
            log_epoch=log_epoch,
        )
        results["transfer"] += found.rows
        results["confusions"] += found.confusions
        results["layer_weights"] += found.layer_weights


def _run_similarity(
    experiment: Experiment,
    embedded: Embedded,
    config: Any,
    results: Results,
    biases: list[EncoderBias],
) -> None:
    """`biases` are those of the encoders before this one, which it is tested against and joins."""
    found = study_similarity(experiment, embedded, config)
    results["similarity"] += found.rows
    results["emotion_bias"] += found.bias_rows
    if found.bias is not None:
        results["emotion_bias_tests"] += bias_tests(found.bias, biases, config)
        biases.append(found.bias)


def describe_corpus(experiment: Experiment) -> Results:
    """The sections `corpus`, `folds`, `left_out` and `empty_cells`."""
    return {
        "corpus": [
            {**row, "seconds": round(_seconds(experiment, row), 1)}
            for row in corpus_summary(experiment.utterances)
        ],
        "folds": fold_summary(experiment.utterances, experiment.folds[0]),
        "left_out": [item._asdict() for item in experiment.left_out],
        "empty_cells": [cell._asdict() for cell in experiment.empty_cells],
    }


def _seconds(experiment: Experiment, row: dict[str, Any]) -> float:
    chosen = [
        duration
        for duration, utterance in zip(experiment.duration_s, experiment.utterances, strict=True)
        if all(getattr(utterance, key) == row[key] for key in ("corpus", "domain", "emotion"))
    ]
    return float(sum(chosen))


def check_config(config: Any) -> None:
    """Raises ValueError listing every value that no study could use."""
    faults = []
    for key, names, known in (
        ("transfer.methods", config.transfer.methods, METHODS),
        ("transfer.regimes", config.transfer.regimes, REGIMES),
        ("train.method", (config.train.method,), METHODS),
    ):
        unknown = [name for name in names if name not in known]
        if unknown:
            faults.append(f"config.{key} has {unknown}; expected of {', '.join(known)}")
    for key in (
        "folds.num_folds",
        "audio.crop_seconds",
        "audio.batch_size",
        "layers.num_seeds",
        "transfer.num_folds",
        "transfer.num_seeds",
        "training.epochs",
        "training.batch_size",
        "corpus.clips_per_cell",
        "similarity.resampling_dimensions",
        "similarity.permutations",
        "similarity.halvings",
    ):
        block, name = key.split(".")
        if config[block][name] <= 0:
            faults.append(f"config.{key} is {config[block][name]}; expected more than 0")
    # Two frames give a clip a spread.
    for key, least in (("audio.trim_silence_db", 0), ("similarity.frames_per_clip", 2)):
        block, name = key.split(".")
        if config[block][name] < least:
            faults.append(f"config.{key} is {config[block][name]}; expected {least} or more")
    if not config.encoders:
        faults.append("config.encoders is empty; expected at least one encoder")
    if not 0 <= config.similarity.matrix_depth <= 1:
        faults.append(
            f"config.similarity.matrix_depth is {config.similarity.matrix_depth}; expected 0 to 1"
        )
    if faults:
        raise ValueError("The config cannot be used:\n  " + "\n  ".join(faults))


def _check_domains(experiment: Experiment, studies: Sequence[str]) -> None:
    missing = [domain for domain in DOMAINS if len(experiment.rows_of(domain)) == 0]
    needing = [study for study in studies if study != LAYERS]
    if missing and needing:
        raise ValueError(
            f"The studies {' and '.join(needing)} need speech and music; the corpus has no "
            f"{missing[0]}. `jaxemo probe` works with one domain."
        )


def _notes(config: Any) -> list[str]:
    if config.corpus.name != "synthetic":
        return []
    return [
        "The corpus is synthetic: its figures show that the instrument works, and nothing else."
    ]


def _num_seeds(config: Any, studies: Sequence[str]) -> int:
    wanted = [1]
    wanted += [config.layers.num_seeds] if LAYERS in studies else []
    wanted += [config.transfer.num_seeds] if TRANSFER in studies else []
    return max(wanted)


def _stop_watch(seconds: dict[str, float], name: str, started: float) -> float:
    now = time.monotonic()
    seconds[name] = round(seconds[name] + now - started, 2)
    return now
