"""`jaxemo pretrain`: an encoder from folders of audio without labels, as a folder in hub layout.

WORKDIR/state/ holds the newest snapshots, from which a run that was killed or stopped goes on to the same
bits. Files that the config's corpus evaluates on are refused by their content.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from jaxemo.data.progress import Progress
from jaxemo.data.stopping import signals_postponed
from jaxemo.models.checkpoints.hub_layout import Origin
from jaxemo.models.config import EncoderConfig
from jaxemo.models.encoder import AudioEncoder
from jaxemo.models.families import Normalisation, StemNorm
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.peft import Method
from jaxemo.pretraining.forward import make_forward
from jaxemo.pretraining.frames import Grid
from jaxemo.pretraining.masking import MaskSettings
from jaxemo.pretraining.objectives.best_rq import best_rq
from jaxemo.pretraining.objectives.data2vec import Data2vecSettings, data2vec
from jaxemo.pretraining.objectives.hubert import HubertSettings, hubert
from jaxemo.pretraining.objectives.mert import MertSettings, mert
from jaxemo.pretraining.objectives.objective import Objective
from jaxemo.pretraining.objectives.wav2vec2 import Wav2vec2Settings, wav2vec2
from jaxemo.pretraining.program import Program, Recipe, State, make_program
from jaxemo.pretraining.run import (
    Pace,
    pretrain,
)
from jaxemo.pretraining.sources import Source, layer_source, spectral_source
from jaxemo.pretraining.targets import KMeansSettings, RandomProjectionSettings
from jaxemo.studies.config import Settings
from jaxemo.studies.methods import choose_method
from jaxemo.studies.pretrain_audio import Audio, open_audio
from jaxemo.studies.pretrain_probe import make_probe
from jaxemo.studies.pretrain_settings import LAYER, PretrainSettings
from jaxemo.studies.pretrain_state import Fresh, make_writers, resumed, snapshot_of
from jaxemo.studies.pretrained_folder import STATE, write_folder
from jaxemo.training.sharding import batch_ways, make_mesh
from jaxemo.training.snapshots import Saver, SnapshotFolder

logger = logging.getLogger("jaxemo")

_LOG_EVERY = 50


def pretrain_encoder(
    config: Settings,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Progress,
    provenance: dict[str, Any],
    replace: bool,
) -> list[Path]:
    """Trains the encoder of `config.pretrain` and writes it; returns the files of WORKDIR.

    Args:
      provenance: Goes into pretraining.json as it is.
      replace: Begins anew where WORKDIR holds the state of another run.

    Raises:
      ValueError: For settings, audio or a workdir that cannot be used, before any training.
      Collapse, NonFiniteLoss: From the run; what was saved stays.
    """
    settings, mesh = config.pretrain, make_mesh(**config.mesh)
    _check_batch(settings, batch_ways(mesh))
    adaptation = _adaptation(config)
    encoder = initial_encoder(settings, seed=config.seed)
    audio = open_audio(config, encoder, cache_dir=cache_dir, progress=progress)
    objective = make_objective(settings, encoder)
    recipe = make_recipe(settings, encoder.config, seed=config.seed)
    program = make_program(encoder.module, objective, recipe, mesh=mesh, adaptation=adaptation)
    about = describe(config, encoder, audio, num_steps=recipe.num_steps)
    snapshots = SnapshotFolder(workdir / STATE, seconds=float(config.training.save_seconds))
    if replace:
        snapshots.remove()
    fresh = Fresh(program, objective, encoder, audio.data, config.seed)
    done, records = resumed(snapshots, fresh, about)
    log, note = make_writers(workdir, records, num_steps=recipe.num_steps)
    probe = _probe(config, encoder, program, note, cache_dir=cache_dir, progress=progress)
    with signals_postponed() as stop:
        saver = Saver(snapshots, stop, mesh)
        done = pretrain(
            program,
            recipe,
            audio.data,
            pace=_pace(settings),
            progress=done,
            log=log,
            save=lambda so_far: saver.save(snapshot_of(so_far, records, about)),
            saver=saver,
            probe=probe,
        )
        # Whole runs too: the same command then has only its files to write.
        snapshots.save(snapshot_of(done, records, about))
        snapshots.wait()
    trained = dataclasses.replace(
        encoder,
        name=workdir.resolve().name,
        origin=Origin.LOCAL,
        params=program.encoder(done.state),
        revision="",
    )
    about = {**about, "records": records, "provenance": provenance}
    return write_folder(trained, workdir, about=about, digests=audio.digests)


# The encoder and what it is trained for ----------------------------------------------------------


def initial_encoder(settings: PretrainSettings, *, seed: int) -> Encoder:
    """The encoder to go on from, or one with random weights of the settings' family and sizes."""
    if settings.initial:
        return load_encoder(settings.initial)
    config = EncoderConfig(
        model_type=settings.family,
        sample_rate_hz=settings.sample_rate_hz,
        hidden_size=settings.hidden_size,
        num_hidden_layers=settings.num_layers,
        num_attention_heads=settings.num_heads,
        intermediate_size=4 * settings.hidden_size,
        conv_dim=(settings.stem_width,) * 7,
        hidden_dropout=settings.dropout,
        attention_dropout=settings.dropout,
        activation_dropout=settings.dropout,
        layerdrop=settings.dropout,
        **_family_fields(settings.family),
    )
    module = AudioEncoder(config)
    clip = jnp.zeros((1, config.shortest_clip_samples))
    init = jax.jit(module.init)
    params: Any = init(jax.random.key(seed), clip, jnp.array([clip.shape[1]]))["params"]
    return Encoder(
        name="random weights",
        origin=Origin.UNTRAINED,
        module=module,
        params=params,
        sample_rate_hz=config.sample_rate_hz,
        normalisation=Normalisation.ZERO_MEAN_UNIT_VARIANCE,
    )


def _family_fields(family: str) -> dict[str, Any]:
    """What two of the families cannot be without."""
    if family == "wavlm":
        return {"num_buckets": 320, "max_bucket_distance": 800}
    if family == "data2vec-audio":
        return {"feat_extract_norm": StemNorm.LAYER, "pos_conv_taps": 19, "pos_conv_depth": 5}
    return {}


def make_objective(settings: PretrainSettings, encoder: Encoder) -> Objective:
    """The objective that the settings name, for this encoder.

    Raises:
      ValueError: The encoder of the features has other frames.
    """
    config, width = encoder.config, encoder.config.hidden_size
    clusters = KMeansSettings(num_clusters=settings.num_codes)
    codes = HubertSettings(clusters, unmasked_weight=settings.unmasked_weight)
    match settings.objective:
        case "hubert":
            return hubert(_source(settings, encoder), width=width, settings=codes)
        case "best_rq":
            quantiser = RandomProjectionSettings(settings.num_codebooks, settings.num_codes)
            return best_rq(_source(settings, encoder), width=width, settings=quantiser)
        case "mert":
            spectrum = spectral_source(settings.regressed, _grid(encoder))
            mert_settings = MertSettings(codes)
            return mert(_source(settings, encoder), spectrum, width=width, settings=mert_settings)
        case "data2vec":
            layers = min(Data2vecSettings().top_layers, config.num_hidden_layers)
            return data2vec(width=width, settings=Data2vecSettings(top_layers=layers))
    quantised = Wav2vec2Settings(num_codes=settings.num_codes)
    return wav2vec2(width=width, stem_width=config.conv_dim[-1], settings=quantised)


def _source(settings: PretrainSettings, encoder: Encoder) -> Source:
    grid = _grid(encoder)
    if settings.features != LAYER:
        return spectral_source(settings.features, grid)
    teacher = load_encoder(settings.features_encoder)
    if (other := _grid(teacher)) != grid:
        raise ValueError(
            f"config.pretrain.features_encoder {settings.features_encoder!r} has other frames: {other}; "
            f"expected {grid}. Take an encoder of the same stem and sample rate."
        )
    if settings.features_layer > teacher.config.num_hidden_layers:
        raise ValueError(
            f"config.pretrain.features_layer is {settings.features_layer}; expected at most "
            f"{teacher.config.num_hidden_layers}, the layers of {settings.features_encoder!r}"
        )
    forward = make_forward(teacher.module)
    return layer_source(forward, teacher.params, settings.features_layer, grid=grid)


def _adaptation(config: Settings) -> Method | None:
    """What is trained instead of the whole encoder."""
    if config.pretrain.method == "full":
        return None
    if not config.pretrain.initial:
        raise ValueError(
            f"config.pretrain.method is {config.pretrain.method!r} and config.pretrain.initial is empty: "
            "an adaptation needs an encoder that has learnt something; expected one in "
            "config.pretrain.initial, or 'full'"
        )
    return choose_method(config, config.pretrain.method).method


def _grid(encoder: Encoder) -> Grid:
    return Grid.of(dataclasses.replace(encoder.config, sample_rate_hz=encoder.sample_rate_hz))


def make_recipe(settings: PretrainSettings, config: EncoderConfig, *, seed: int) -> Recipe:
    """The recipe, its length from steps or hours."""
    step_hours = settings.batch_size * settings.crop_seconds / 3600
    rates = config.hidden_dropout, config.attention_dropout, config.activation_dropout
    return Recipe(
        num_steps=settings.steps or max(round(settings.audio_hours / step_hours), 1),
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        mask=MaskSettings(settings.mask_start, settings.mask_frames),
        dropout=any(rate > 0 for rate in (*rates, config.layerdrop, config.feat_proj_dropout)),
        seed=seed,
    )


def _check_batch(settings: PretrainSettings, ways: int) -> None:
    piece, rest = divmod(settings.batch_size, settings.micro_batches)
    if rest or piece % ways:
        raise ValueError(
            f"config.pretrain.batch_size is {settings.batch_size} in {settings.micro_batches} "
            f"micro-batches; expected a multiple of {settings.micro_batches} x {ways} devices. Change "
            "config.pretrain.batch_size, config.pretrain.micro_batches or config.mesh."
        )
    if settings.features == LAYER and not settings.features_encoder:
        raise ValueError(
            "config.pretrain.features_encoder is empty; expected the encoder whose layer the codes are "
            "made of, since config.pretrain.features is 'layer'"
        )


def describe(config: Settings, encoder: Encoder, audio: Audio, *, num_steps: int) -> dict[str, Any]:
    """What decides a run's result, and tells it from others."""
    training = sorted(set(audio.digests.values()) - audio.held_out)
    settings = config.pretrain.to_dict()
    # How often a run is looked at decides nothing.
    settings = {key: settings[key] for key in settings if not key.endswith("_every")}
    if config.pretrain.method != "full":
        settings["method_options"] = dict(config.methods[config.pretrain.method])
    return {
        "pretrain": json.loads(json.dumps(settings)),
        "seed": config.seed,
        "num_steps": num_steps,
        "initial_fingerprint": encoder.fingerprint,
        "training_data": hashlib.sha256("\n".join(training).encode()).hexdigest(),
        "training_files": len(training),
        "held_out_files": len(audio.held_out),
        "hours": audio.hours,
    }


def _pace(settings: PretrainSettings) -> Pace:
    return Pace(
        batch_size=settings.batch_size,
        micro_batches=settings.micro_batches,
        log_every=_LOG_EVERY,
        evaluate_every=settings.evaluate_every,
        probe_every=settings.probe_every,
    )


def _probe(
    config: Settings,
    encoder: Encoder,
    program: Program,
    note: Callable[[dict[str, Any]], None],
    *,
    cache_dir: Path,
    progress: Progress,
) -> Callable[[State, int], None]:
    """What the run is given to probe with, if it is to be probed."""
    if not config.pretrain.probe_every:
        return lambda state, done: None
    dev_scores = make_probe(config, encoder, cache_dir=cache_dir, progress=progress)

    def probe(state: State, done: int) -> None:
        record = dev_scores(program.encoder(state), done)
        note(record)
        best = ", ".join(f"{domain} {max(of):.3f}" for domain, of in record["dev_ua"].items())
        logger.info("step %d, dev UA of the best layer: %s", done, best)

    return probe
