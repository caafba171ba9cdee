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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxemo.data.files import write_whole
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
from jaxemo.pretraining.objectives.objective import Clips, Objective
from jaxemo.pretraining.objectives.wav2vec2 import Wav2vec2Settings, wav2vec2
from jaxemo.pretraining.program import Program, Recipe, State, make_program
from jaxemo.pretraining.run import (
    Data,
    Pace,
    Record,
    pretrain,
    progress_in,
    sample_clips,
    tree_of,
    tree_shapes,
)
from jaxemo.pretraining.run import Progress as RunProgress
from jaxemo.pretraining.sources import Source, layer_source, spectral_source
from jaxemo.pretraining.targets import KMeansSettings, RandomProjectionSettings
from jaxemo.studies.config import Settings
from jaxemo.studies.methods import choose_method
from jaxemo.studies.pretrain_audio import Audio, open_audio
from jaxemo.studies.pretrain_settings import LAYER, PretrainSettings
from jaxemo.studies.pretrained_folder import STATE, write_folder
from jaxemo.training.sharding import batch_ways, make_mesh
from jaxemo.training.snapshots import Saver, Snapshot, SnapshotFolder

logger = logging.getLogger("jaxemo")

_LOG_EVERY = 50
# Crops to which targets are fitted: 3 minutes of the default length for each 64.
_SAMPLE_CROPS = 256


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
    settings = config.pretrain
    mesh = make_mesh(**config.mesh)
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
    fresh = _Fresh(program, objective, encoder, audio.data, config.seed)
    progress, records = _resumed(snapshots, fresh, about)
    log = _log(workdir, records, num_steps=recipe.num_steps)
    pace = Pace(
        batch_size=settings.batch_size,
        micro_batches=settings.micro_batches,
        log_every=_LOG_EVERY,
        evaluate_every=settings.evaluate_every,
    )
    with signals_postponed() as stop:
        saver = Saver(snapshots, stop, mesh)

        def snapshot(progress: RunProgress) -> Snapshot:
            record = {"about": about, "records": records, "num_since": len(progress.since)}
            return Snapshot(tree_of(progress), record)

        progress = pretrain(
            program,
            recipe,
            audio.data,
            pace=pace,
            progress=progress,
            log=log,
            save=lambda progress: saver.save(snapshot(progress)),
            saver=saver,
        )
        # Whole runs too: the same command then has only its files to write.
        snapshots.save(snapshot(progress))
        snapshots.wait()
    trained = dataclasses.replace(
        encoder,
        name=workdir.resolve().name,
        origin=Origin.LOCAL,
        params=program.encoder(progress.state),
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


# The run's state on disk -----------------------------------------------------------------------


def describe(config: Settings, encoder: Encoder, audio: Audio, *, num_steps: int) -> dict[str, Any]:
    """What decides a run's result, and tells it from others."""
    training = sorted(set(audio.digests.values()) - audio.held_out)
    settings = config.pretrain.to_dict()
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


class _Fresh(NamedTuple):
    """What a run begins from."""

    program: Program
    objective: Objective
    encoder: Encoder
    data: Data
    seed: int

    def targets(self, sample: Clips) -> Any:
        key = jax.random.fold_in(jax.random.key(self.seed), 0)
        return self.objective.fit_targets(key, sample)

    def sample(self) -> Clips:
        return sample_clips(self.data, seed=self.seed, count=_SAMPLE_CROPS)

    def state_shapes(self) -> State:
        targets = jax.eval_shape(self.targets, self.sample())
        return jax.eval_shape(self.program.init, self.encoder.params, targets)

    def state(self) -> State:
        logger.info("fitting targets to %d crops", _SAMPLE_CROPS)
        return self.program.init(self.encoder.params, self.targets(self.sample()))


def _resumed(
    snapshots: SnapshotFolder, fresh: _Fresh, about: dict[str, Any]
) -> tuple[RunProgress, list[dict[str, Any]]]:
    """The newest snapshot of this run with its records, or step 0 with none."""
    shapes = fresh.state_shapes()

    def like(record: dict[str, Any]) -> Any:
        _check_same_run(record["about"], about, snapshots.folder)
        num_since = int(record["num_since"])
        return tree_shapes(fresh.program, shapes, fresh.data, num_since=num_since)

    found = snapshots.newest(like=like, shardings=fresh.program.shardings)
    if found is None:
        return RunProgress(fresh.state()), []
    progress = progress_in(found.state, fresh.program, fresh.data)
    steps = int(progress.state.step), about["num_steps"]
    logger.info("%s goes on at step %d of %d", snapshots.folder, *steps)
    return progress, found.record["records"]


def _check_same_run(stored: dict[str, Any], about: dict[str, Any], directory: Path) -> None:
    flat = [{**{k: d[k] for k in d if k != "pretrain"}, **d["pretrain"]} for d in (stored, about)]
    other = [key for key in flat[1] if flat[0].get(key) != flat[1][key]]
    if other:
        raise ValueError(
            f"{directory} holds the state of another run; it differs in {', '.join(other)}. Take "
            "another --workdir, or --replace to begin anew."
        )


def _log(
    workdir: Path, records: list[dict[str, Any]], *, num_steps: int
) -> Callable[[Record], None]:
    """What the run is given to log with; `records` grows."""

    def log(record: Record) -> None:
        records.append({**record._asdict(), "health": record.health._asdict()})
        write_whole(workdir / "curve.jsonl", "".join(json.dumps(row) + "\n" for row in records))
        logger.info(
            "step %d of %d, %s: loss %.4f, codes predicted %.1f of %.1f, spread %.3f",
            record.step,
            num_steps,
            record.part.replace("_", " "),
            record.loss,
            record.health.predicted_codes,
            record.health.target_codes,
            record.health.hidden_spread,
        )

    return log
