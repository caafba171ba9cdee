"""Config -> results: prepares the corpus, takes one encoder at a time through the studies asked for."""

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from jaxemo.data.audio import Excerpt, Extent
from jaxemo.data.corpora.corpus import DOMAINS, corpus_summary
from jaxemo.data.folds import fold_summary
from jaxemo.data.progress import Progress
from jaxemo.results.schema import CorpusRow, EmptyCellRow, FoldRow, LeftOutRow
from jaxemo.studies.baselines import baseline_rows
from jaxemo.studies.config import Settings
from jaxemo.studies.controls import (
    control_notes,
    control_rows,
    length_rows,
)
from jaxemo.studies.experiment import Experiment, check_training_parts, prepare_experiment
from jaxemo.studies.layer_comparisons import (
    ComparedLayers,
    compared_layers,
    similarity_rows,
    variance_rows,
)
from jaxemo.studies.layers import study_layers
from jaxemo.studies.methods import check_options, check_pooling, methods_of, needs_spread
from jaxemo.studies.probes import other_probe_rows
from jaxemo.studies.regimes import check_shares
from jaxemo.studies.second_stage import (
    check_merges,
    names_of_methods,
    reads_stems,
    second_stage_in_words,
)
from jaxemo.studies.similarity.shift import SECTIONS as SHIFT_SECTIONS
from jaxemo.studies.similarity.shift import EncoderShift, shift_rows
from jaxemo.studies.similarity.study import study_similarity
from jaxemo.studies.sources import (
    Embedded,
    Needs,
    Source,
    clip_cues,
    compared_excerpt,
    describe_source,
    embed_sources,
    load_sources,
    recognised_excerpt,
)
from jaxemo.studies.transfer import (
    LogEpoch,
    check_methods,
    study_transfer,
    transfer_pairs,
)
from jaxemo.studies.value_probes import KINDS, VALUE_NOTE, value_probe_rows
from jaxemo.training.sharding import make_mesh

LAYERS, TRANSFER, SIMILARITY = "layers", "transfer", "similarity"
STUDIES = (LAYERS, TRANSFER, SIMILARITY)

# Sections beside those that are called like their study.
_MADE_ALONG = (
    *("layer_choices", "probes", "controls", "layer_similarity", "variance_parts"),
    *("confusions", "layer_weights", "transfer_runs"),
)

Results = dict[str, Any]


def run_studies(
    config: Settings,
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
      save_partial: Given the results so far, before the first encoder and after every one.

    Raises:
      ValueError: For a corpus or encoder that cannot be used, before any training.
    """
    _check_classes(config, studies)
    sources = load_sources(config.encoders)
    if TRANSFER in studies:
        _check_transfer(sources, config)
    experiment = prepare_experiment(
        config,
        sample_rates_hz=[source.sample_rate_hz for source in sources if source.needs_audio],
        num_seeds=_num_seeds(config, studies),
        cache_dir=cache_dir,
        progress=progress,
    )
    _check_parts(experiment, config, studies)
    results: Results = describe_corpus(experiment)
    shift_sections = SHIFT_SECTIONS if SIMILARITY in studies else ()
    results |= {name: [] for name in (*studies, *_MADE_ALONG, *shift_sections)}
    seconds: dict[str, float] = defaultdict(float)
    results["provenance"] = {
        **corpus_provenance(experiment),
        "encoders": [describe_source(source) for source in sources],
        "wall_seconds": seconds,
        "notes": [*_notes(config, studies, experiment), *experiment.corpus.notes],
    }
    save_partial(results)
    shifts: list[EncoderShift] = []
    compared: list[ComparedLayers] = []
    started = time.monotonic()
    needs = _needs(config, studies)
    cues = functools.cache(lambda: clip_cues(experiment, recognised_excerpt(config.audio)))
    for embedded in embed_sources(experiment, config, sources=sources, needs=needs):
        started = _stop_watch(seconds, "embedding", started)
        for study in studies:
            if study == SIMILARITY:
                _run_similarity(experiment, embedded, config, results, shifts)
            else:
                _run_one(study, experiment, embedded, config, results, workdir, log_epoch, cues)
            if study == LAYERS and config.corpus.classes not in KINDS:
                _compare_layers(experiment, embedded, config, results, compared)
            started = _stop_watch(seconds, study, started)
        save_partial(results)
    return results


def _check_classes(config: Settings, studies: Sequence[str]) -> None:
    """Refuses labels that are no classes where classes are compared."""
    comparing = [study for study in studies if study != LAYERS]
    if config.corpus.classes in KINDS and comparing:
        raise ValueError(
            f"config.corpus.classes is {config.corpus.classes!r}; {' and '.join(comparing)} compare "
            "classes: expected 'emotions' or 'quadrants'. Of ratings and tags there are `jaxemo probe`, "
            "`jaxemo train` and `jaxemo sweep`."
        )


def _needs(config: Settings, studies: Sequence[str]) -> Needs:
    """What the studies ask of an embedding."""
    return Needs(
        recognition=bool({LAYERS, TRANSFER} & set(studies)),
        methods=methods_of(config, names_of_methods(config)) if TRANSFER in studies else (),
        similarity=SIMILARITY in studies,
        spread=TRANSFER in studies and needs_spread(config),
        stem=TRANSFER in studies and reads_stems(config),
    )


def _check_transfer(sources: list[Source], config: Settings) -> None:
    """Refuses methods that do not fit the sources, and a mesh that does not fit the devices."""
    check_methods(sources, config.transfer)
    check_merges(config)
    check_options(sources, config, names_of_methods(config))
    check_pooling(sources, config, names_of_methods(config))
    make_mesh(**config.mesh)


def _run_one(
    study: str,
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    results: Results,
    workdir: Path,
    log_epoch: LogEpoch,
    cues_of_clips: Callable[[], Float32[np.ndarray, "n Q"] | None],
) -> None:
    """`cues_of_clips` measures them when it is called first."""
    if study == LAYERS and config.corpus.classes in KINDS:
        results["probes"] += value_probe_rows(experiment, embedded, config)
    elif study == LAYERS:
        wanted = {*config.layers.controls, *config.layers.baselines}
        cues = cues_of_clips() if {"cues_removed", "speaker_only"} & wanted else None
        if not results["layers"]:
            results["layers"] += baseline_rows(experiment, config, cues=cues)
        found = study_layers(experiment, embedded, config)
        results["layers"] += found.rows
        results["layer_choices"] += found.choices
        results["confusions"] += found.confusions
        results["probes"] += other_probe_rows(experiment, embedded, config, plain=found.probed)
        if not results["controls"]:
            results["controls"] += length_rows(experiment, config, found.probed)
        results["controls"] += control_rows(
            experiment, embedded, config, plain=found.probed, cues=cues
        )
    else:
        found = study_transfer(
            experiment,
            embedded,
            config,
            mesh=make_mesh(**config.mesh),
            workdir=workdir,
            log_epoch=log_epoch,
        )
        results["transfer"] += found.rows
        results["confusions"] += found.confusions
        results["layer_weights"] += found.layer_weights
        results["transfer_runs"] += found.runs


def _compare_layers(
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    results: Results,
    compared: list[ComparedLayers],
) -> None:
    """`compared` are the layers of the encoders before this one, which it is held against and joins."""
    layers = compared_layers(experiment, embedded)
    wanted = config.layers.comparisons
    results["layer_similarity"] += similarity_rows(layers, compared, measures=wanted)
    if "variance" in wanted:
        results["variance_parts"] += variance_rows(experiment, embedded)
    compared.append(layers)


def _run_similarity(
    experiment: Experiment,
    embedded: Embedded,
    config: Settings,
    results: Results,
    shifts: list[EncoderShift],
) -> None:
    """`shifts` are those of the encoders before this one, which it is tested against and joins."""
    found = study_similarity(experiment, embedded, config)
    results["similarity"] += found.rows
    if found.shift is not None:
        made = [shift_rows(found.shift, shifts, config)]
        made += [shift_rows(one, [], config) for one in found.controlled]
        for rows in made:
            for section, of_section in zip(SHIFT_SECTIONS, rows, strict=True):
                results[section] += of_section
        shifts.append(found.shift)


def corpus_provenance(experiment: Experiment) -> dict[str, Any]:
    """Which clips the figures are of, how they were parted, and what is to be known of them."""
    return {
        "corpus_hash": experiment.corpus_hash(),
        "protocol": experiment.protocol,
        "notes": list(experiment.corpus.notes),
    }


def describe_corpus(experiment: Experiment) -> Results:
    """The sections `corpus`, `folds`, `left_out` and `empty_cells`."""
    return {
        "corpus": [
            CorpusRow(**row, seconds=round(_seconds(experiment, row), 1))
            for row in corpus_summary(experiment.utterances)
        ],
        "folds": [
            FoldRow(**row) for row in fold_summary(experiment.utterances, experiment.folds[0])
        ],
        "left_out": [LeftOutRow(**item._asdict()) for item in experiment.left_out],
        "empty_cells": [EmptyCellRow(**cell._asdict()) for cell in experiment.empty_cells],
    }


def _seconds(experiment: Experiment, row: dict[str, Any]) -> float:
    chosen = [
        duration
        for duration, utterance in zip(experiment.duration_s, experiment.utterances, strict=True)
        if all(getattr(utterance, key) == row[key] for key in ("corpus", "domain", "emotion"))
    ]
    return float(sum(chosen))


def _check_parts(experiment: Experiment, config: Settings, studies: Sequence[str]) -> None:
    """What the studies need is there."""
    if TRANSFER in studies:
        check_training_parts(experiment)
    missing = [domain for domain in DOMAINS if len(experiment.rows_of(domain)) == 0]
    needing = [study for study in studies if study != LAYERS]
    if missing and needing:
        raise ValueError(
            f"The studies {' and '.join(needing)} need speech and music; the corpus has no "
            f"{missing[0]}. `jaxemo probe` works with one domain."
        )
    if TRANSFER in studies:
        check_shares(experiment, transfer_pairs(experiment, config), config.transfer)


def _notes(config: Settings, studies: Sequence[str], experiment: Experiment) -> list[str]:
    """What a reader must know first."""
    notes = []
    if config.corpus.name == "synthetic" and not config.corpora:
        notes.append(
            "The corpus is synthetic: its figures show that the instrument works, and nothing else."
        )
    if {LAYERS, TRANSFER} & set(studies):
        looked_at = _in_words(recognised_excerpt(config.audio))
        notes.append(f"Layers and transfer look at {looked_at}.")
    if TRANSFER in studies and (words := second_stage_in_words(config)):
        notes.append(words)
    if LAYERS in studies and config.corpus.classes in KINDS:
        notes.append(VALUE_NOTE)
    elif LAYERS in studies:
        notes += control_notes(experiment, config.layers.controls)
    if SIMILARITY in studies:
        compared = _in_words(compared_excerpt(config.similarity))
        notes.append(
            f"Similarity compares {compared}, so that long clips weigh no more than short ones."
        )
    return notes


def _in_words(excerpt: Excerpt) -> str:
    seconds = f"{excerpt.crop_seconds:g} s"
    extent = {
        Extent.WHOLE: "whole clips",
        Extent.MIDDLE: f"the middle {seconds} of each clip",
        Extent.RANDOM: f"whole clips, of which training draws {seconds} at random in every step",
    }[excerpt.extent]
    trim = f"{excerpt.trim_silence_db:g} dB below its loudest 20 ms"
    return f"{extent}, once edges {trim} are cut" if excerpt.trim_silence_db else extent


def _num_seeds(config: Settings, studies: Sequence[str]) -> int:
    wanted = [1]
    wanted += [config.layers.num_seeds] if LAYERS in studies else []
    wanted += [config.transfer.num_seeds] if TRANSFER in studies else []
    return max(wanted)


def _stop_watch(seconds: dict[str, float], name: str, started: float) -> float:
    now = time.monotonic()
    seconds[name] = round(seconds[name] + now - started, 2)
    return now
