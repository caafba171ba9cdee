"""`jaxemo embed`: layerwise embeddings of a whole corpus, clip by clip, in files for other programs.

Whole clips, no crop. Clips are sorted by length and padded to a few bucket lengths; what is longer
than the window goes through in overlapping windows. The folder's format, and how a killed run goes
on, is in `embedding/files.py`.
"""

import dataclasses
import enum
import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from jaxemo.data.audio import DECODER_VERSION
from jaxemo.data.buckets import padding_share
from jaxemo.data.clip_store import ClipStore
from jaxemo.data.corpora.corpus import OPTIONAL_LABELS, Utterance, manifest_hash
from jaxemo.data.progress import Progress
from jaxemo.embedding.files import (
    EmbeddingWriter,
    FolderFiles,
    Stage,
    find_stage,
    partial,
    start,
)
from jaxemo.embedding.hand_made import HAND_MADE
from jaxemo.embedding.passes import (
    SECONDS_BETWEEN_COMMITS,
    Timing,
    plain_network,
    row_mesh,
    run_passes,
)
from jaxemo.embedding.plan import Pass, plan_passes
from jaxemo.embedding.stream import Settings as StreamSettings
from jaxemo.embedding.stream import window_plan
from jaxemo.models.pretrained import Encoder, load_encoder
from jaxemo.studies.audio_settings import EmbedSettings
from jaxemo.studies.config import Settings
from jaxemo.studies.corpora import open_corpora
from jaxemo.studies.experiment import usable_stores
from jaxemo.studies.sources import check_long_enough
from jaxemo.training.processes import first_goes_first

logger = logging.getLogger("jaxemo")


class Kept(enum.Enum):
    """What is kept of a clip: the mean of each layer, or every frame as well."""

    POOLED = "pooled"
    FRAMES = "frames"


class Job(NamedTuple):
    """One encoder's share of the work."""

    encoder: Encoder
    store: ClipStore
    passes: list[Pass]
    folder: Path
    stage: Stage


class Outcome(NamedTuple):
    """What became of one encoder's folder.

    Attributes:
      num_clips: In the folder.
      timing: Of what was embedded in this run; all zero if the folder was complete.
      num_shapes: Shapes of the forward pass.
      padding: Share of the computed samples that is padding.
    """

    encoder: str
    folder: Path
    num_clips: int
    timing: Timing
    num_shapes: int
    padding: float


def embed(
    config: Settings,
    *,
    workdir: Path,
    cache_dir: Path,
    progress: Progress,
    provenance: dict[str, Any],
) -> list[Outcome]:
    """Embeds the config's corpus with each of its encoders, into WORKDIR/<encoder's name>/.

    Of several processes each embeds with some of them, and returns what became of those.

    Args:
      provenance: Goes into about.json as it is.

    Raises:
      ValueError: For a config, corpus or folder that cannot be used, before any compute.
    """
    settings = config.embed
    sources = [source for source in config.encoders if source not in HAND_MADE]
    if len(sources) < len(config.encoders):
        logger.info("hand-made features are no encoder and are not embedded")
    if not sources:
        raise ValueError("config.encoders names no encoder; expected at least one to embed with")
    encoders = [load_encoder(source, dtype=settings.compute_dtype) for source in sources]
    folders = _folders(workdir, encoders)
    with first_goes_first("the corpus is decoded"):
        corpus = open_corpora(config, cache_dir)
        stores = usable_stores(
            corpus.utterances,
            [encoder.sample_rate_hz for encoder in encoders],
            unusable=config.corpus.unusable,
            cache_dir=cache_dir,
            progress=progress,
        )
    # A folder is written pass by pass, so that several processes share the encoders.
    own = slice(jax.process_index(), None, jax.process_count())
    jobs = [
        prepare_job(encoder, stores[encoder.sample_rate_hz], folder=folder, settings=settings)
        for encoder, folder in zip(encoders[own], folders[own], strict=True)
    ]
    return [
        run_job(
            job,
            settings,
            progress=progress,
            about={
                "left_out": [item._asdict() for item in (*corpus.left_out, *job.store.left_out)],
                "provenance": provenance,
            },
        )
        for job in jobs
    ]


def prepare_job(
    encoder: Encoder, store: ClipStore, *, folder: Path, settings: EmbedSettings
) -> Job:
    """Plans the passes and finds out what the folder holds already."""
    check_long_enough(encoder, store)
    plan = window_plan(
        encoder.config,
        StreamSettings(settings.batch_size, settings.window_seconds, settings.overlap_seconds),
        sample_rate_hz=encoder.sample_rate_hz,
        longest_samples=None,
    )
    passes = plan_passes(encoder.config, store.num_samples, plan)
    stage = find_stage(folder, _identity(encoder, store, settings))
    return Job(encoder, store, passes, folder, stage)


def run_job(
    job: Job, settings: EmbedSettings, *, progress: Progress, about: dict[str, Any]
) -> Outcome:
    """Embeds what is not there yet.

    Args:
      about: Further entries of about.json.
    """
    done = len(job.passes)
    timing = Timing(0, 0.0, 0.0, 0.0)
    if job.stage is Stage.COMPLETE:
        logger.info("%s is complete; nothing is computed", job.folder)
    else:
        if job.stage is Stage.ABSENT:
            start(job.folder, {**_about(job, settings), **about})
        with EmbeddingWriter(job.folder) as writer:
            done = writer.num_committed
            if done:
                logger.info(
                    "%s goes on at pass %d of %d", partial(job.folder), done, len(job.passes)
                )
            timing = _write_passes(job, settings, writer, progress)
            writer.finish(_columns(job))
    widths = np.repeat([step.width for step in job.passes], settings.batch_size)
    lengths = [row.window.num_samples for step in job.passes for row in step.rows]
    return Outcome(
        encoder=job.encoder.name,
        folder=job.folder,
        num_clips=len(job.store),
        timing=timing,
        num_shapes=np.unique(widths).size,
        padding=padding_share(np.array(lengths), widths),
    )


def _write_passes(
    job: Job, settings: EmbedSettings, writer: EmbeddingWriter, progress: Progress
) -> Timing:
    """Runs the passes that are not committed."""
    done = writer.num_committed
    _, first_frame = _frame_rows(job)
    files = FolderFiles(
        writer,
        first_frame=first_frame,
        with_frames=Kept(settings.frames) is Kept.FRAMES,
        passes_done=done,
    )
    return run_passes(
        plain_network(job.encoder),
        job.passes[done:],
        job.store.waveform,
        [files],
        mesh=row_mesh(),
        batch_size=settings.batch_size,
        track=progress.track,
        seconds_between_commits=SECONDS_BETWEEN_COMMITS,
    )


# The folder ----------------------------------------------------------------------------------


def _folders(workdir: Path, encoders: list[Encoder]) -> list[Path]:
    names = ["".join(c if c.isalnum() else "-" for c in e.name).strip("-") for e in encoders]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(
            f"several of config.encoders would write to the folder {', '.join(twice)}; give each a "
            "workdir of its own"
        )
    return [workdir / name for name in names]


def _identity(encoder: Encoder, store: ClipStore, settings: EmbedSettings) -> dict[str, Any]:
    """What fixes every number in the folder but the versions of the programs."""
    return {
        "encoder_fingerprint": encoder.fingerprint,
        "normalisation": str(encoder.normalisation),
        "decoder": DECODER_VERSION,
        "corpus_hash": manifest_hash(store.utterances, store.digests),
        "order_of_clips": hashlib.sha256(" ".join(store.digests).encode()).hexdigest(),
        **settings.to_dict(),
    }


def _about(job: Job, settings: EmbedSettings) -> dict[str, Any]:
    num_frames, _ = _frame_rows(job)
    num_layers, width = _layers_and_width(job.encoder)
    shapes = {"pooled": [len(job.store), num_layers, width]}
    if Kept(settings.frames) is Kept.FRAMES:
        shapes["frames"] = [int(num_frames.sum()), num_layers, width]
    return {
        "encoder": {
            "name": job.encoder.name,
            "origin": str(job.encoder.origin),
            "sample_rate_hz": job.encoder.sample_rate_hz,
            "hop_samples": job.encoder.config.hop_samples,
        },
        "identity": _identity(job.encoder, job.store, settings),
        "shapes": shapes,
        "axes": "clip or frame; layer (0 = input of the first, i = output of the i-th); feature",
        "dtype": settings.dtype,
        "audio_seconds": float(job.store.duration_s.sum()),
    }


def _columns(job: Job) -> dict[str, Any]:
    num_frames, first_frame = _frame_rows(job)
    labels = {
        field.name: [getattr(row, field.name) for row in job.store.utterances]
        for field in dataclasses.fields(Utterance)
    }
    blank = ("", None, ())
    unused = [name for name in OPTIONAL_LABELS if all(value in blank for value in labels[name])]
    return {name: column for name, column in labels.items() if name not in unused} | {
        "digest": list(job.store.digests),
        "seconds": job.store.duration_s,
        "num_frames": num_frames,
        "first_frame": first_frame,
    }


def _frame_rows(job: Job) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
    """Number of frames of each clip, and the row that its first one has."""
    num_frames = np.asarray(job.encoder.config.num_frames(job.store.num_samples), np.int64)
    return num_frames, np.cumsum(num_frames) - num_frames


def _layers_and_width(encoder: Encoder) -> tuple[int, int]:
    length = encoder.config.shortest_clip_samples
    output = jax.eval_shape(
        encoder.module.apply,
        {"params": encoder.params},
        jax.ShapeDtypeStruct((1, length), jnp.float32),
        jax.ShapeDtypeStruct((1,), jnp.int32),
    )
    num_layers, _, _, width = output.hidden_states.shape
    return num_layers, width
