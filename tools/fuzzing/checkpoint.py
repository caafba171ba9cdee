"""A trained checkpoint, its record and its bytes spoilt, through `load_model` and a prediction."""

import shutil
from pathlib import Path

import numpy as np

from fuzzing.outcomes import Outcome, Verdict
from fuzzing.spoiling import Generator, spoil_file, spoil_folder, spoil_json

NAMES = r"spoilt-checkpoint|\b(audio|corpus|training|head|method|encoder|figures)\.\w+"
_RATE_HZ = 16_000
_RECORD = "record/metadata"
_TRAINING = (
    "--config=demo",
    "--config.corpus.clips_per_cell=1",
    "--config.folds.num_folds=3",
    "--config.training.epochs=1",
    "--config.audio.excerpt=middle",
    "--config.audio.crop_seconds=0.3",
    "--config.train.encoder=untrained/speech",
    "--config.train.method=lora",
)


class Checkpoint:
    """Trained once; what it says of one clip is the truth."""

    def __init__(self, folder: Path) -> None:
        import jax

        cache = folder / "cache"
        jax.config.update("jax_compilation_cache_dir", str(cache / "xla"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        self._valid = folder / "trained" / "checkpoint"
        if not self._valid.is_dir():
            _train(folder / "trained", cache)
        self._truth = _predict(self._valid)

    def spoil(self, rng: Generator, place: Path) -> str:
        """Half of the spoilt records have right checksums: someone wrote them on purpose."""
        directory = place / "spoilt-checkpoint"
        shutil.copytree(self._valid, directory)
        draw = rng.random()
        if draw < 0.1:
            return spoil_folder(rng, directory)
        [step] = (path for path in directory.iterdir() if path.is_dir())
        if draw < 0.5:
            text, words = spoil_json(rng, (step / _RECORD).read_text())
            (step / _RECORD).write_text(text)
            if rng.random() < 0.7:
                _sign(step)
                (place / "signed").touch()
                words += ", signed"
            return f"record: {words}"
        files = sorted(path for path in step.rglob("*") if path.is_file())
        return spoil_file(rng, files[rng.integers(len(files))])

    def judge(self, place: Path) -> Verdict:
        """Probabilities are the truth's; those of a record written on purpose are probabilities."""
        probabilities = _predict(place / "spoilt-checkpoint")
        if not np.isfinite(probabilities).all():
            return Verdict(Outcome.WRONG, "probabilities that are not finite")
        if abs(float(probabilities.sum()) - 1) > 1e-4:
            return Verdict(Outcome.WRONG, "probabilities that do not sum to 1")
        if (place / "signed").exists() or np.array_equal(probabilities, self._truth):
            return Verdict(Outcome.ACCEPTED)
        return Verdict(Outcome.WRONG, "other probabilities")


def _train(workdir: Path, cache: Path) -> None:
    from jaxemo.cli.main import main

    if main(["train", *_TRAINING, f"--config.cache_dir={cache}", f"--workdir={workdir}"]):
        raise RuntimeError("The checkpoint to be spoilt could not be trained.")


def _predict(directory: Path) -> np.ndarray:
    from jaxemo.embedding.stream import Clips
    from jaxemo.studies.config import read_audio
    from jaxemo.studies.saved_models import load_model, predictions_of
    from jaxemo.studies.sources import recognised_excerpt
    from jaxemo.training.sharding import make_mesh

    model = load_model(directory, mesh=make_mesh())
    waveform = np.random.default_rng(0).standard_normal(_RATE_HZ).astype(np.float32)
    excerpt = recognised_excerpt(read_audio(model.record["audio"]))
    lengths = np.array([waveform.size])
    rate_hz = model.source.sample_rate_hz
    clips = Clips(("a",), [waveform].__getitem__, lengths, rate_hz, excerpt)
    return predictions_of(model, clips)


def _sign(step: Path) -> None:
    """Writes checksums that fit, as whoever forges a checkpoint would."""
    from jaxemo.data.checksums import write_checksums

    write_checksums(step)
