"""Variance components of a corpus's embeddings, for `tools/measure_coverage.py`.

    python tools/measure_components.py --audio=RAVDESS ENCODER...

writes `tools/simulation/components.json`: of the middle layer of each encoder, in its 16 leading principal
directions, whitened by the spread of clips within a speaker, emotion and domain (variance 1). Estimates
are moments: what the spread of clips adds to a mean of clips is taken off, and what remains below 0 is 0.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from jaxemo.analysis.design import Design, cell_of_clips
from jaxemo.analysis.emotion_shift import cell_means
from jaxemo.analysis.emotion_whitening import whiten
from jaxemo.analysis.resampling import principal_rows
from jaxemo.cli.provenance import user_cache_dir
from jaxemo.data.progress import Progress
from jaxemo.studies.config import default_config, read_settings
from jaxemo.studies.experiment import prepare_experiment
from jaxemo.studies.similarity.cells import make_cells
from jaxemo.studies.sources import Needs, embed_sources, load_sources

DIMENSIONS = 16
FILE = Path(__file__).with_name("simulation") / "components.json"


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("encoders", nargs="+", help="as `config.encoders`")
    parser.add_argument("--audio", required=True, help="a folder above RAVDESS's files")
    options = parser.parse_args()
    measured = measure(options.audio, options.encoders)
    names = " ".join(Path(name).name if Path(name).exists() else name for name in options.encoders)
    command = f"python tools/measure_components.py --audio=RAVDESS {names}"
    FILE.write_text(json.dumps({"command": command, "encoders": measured}) + "\n")


def measure(audio: str, encoders: list[str]) -> dict[str, dict[str, list]]:
    """Components by encoder."""
    config = default_config()
    config.corpus.name, config.corpus.audio_dir = "ravdess", audio
    config.encoders = tuple(encoders)
    # As study 3 compares them.
    config.audio.excerpt = "middle"
    config.audio.crop_seconds = config.similarity.crop_seconds
    config.audio.trim_silence_db = config.similarity.trim_silence_db
    settings = read_settings(config)
    sources = load_sources(settings.encoders)
    experiment = prepare_experiment(
        settings,
        sample_rates_hz=[source.sample_rate_hz for source in sources],
        num_seeds=1,
        cache_dir=user_cache_dir(),
        progress=Progress(lambda items, *_: items, lambda _: lambda done, total, words="", /: None),
    )
    design = make_cells(experiment).design
    embedded = embed_sources(experiment, settings, sources=sources, needs=Needs())
    return {one.source.name: components(_middle(one.embedding.pooled), design) for one in embedded}


def components(rows: np.ndarray, design: Design) -> dict[str, list]:
    """As `simulation.corpora.Components`, of speakers who have all emotions in both domains."""
    clips = whiten(principal_rows(rows, num_dimensions=DIMENSIONS).rows, design).clips
    cell = cell_of_clips(design)
    counts = np.bincount(cell, minlength=int(np.prod(design.shape))).reshape(design.shape)
    complete = (counts > 0).all(axis=(0, 1))
    means, counts = cell_means(clips, design)[:, :, complete], counts[:, :, complete]
    num_emotions, num_speakers = means.shape[1:3]
    emotions = means.mean(axis=2)
    left = means - emotions[:, :, None]
    of_speaker = left.mean(axis=1)
    noise = (1 / counts).mean()
    degrees = 2 * (num_emotions - 1) * (num_speakers - 1)
    between = ((left - of_speaker[:, None]) ** 2).sum(axis=(0, 1, 2)) / degrees
    of_cell = between - noise
    voice = (of_speaker[0] * of_speaker[1]).sum(axis=0) / (num_speakers - 1)
    both = (of_speaker**2).sum(axis=(0, 1)) / (2 * (num_speakers - 1)) - between / num_emotions
    variances = {"voice": voice, "voice_in_domain": both - np.maximum(voice, 0), "cell": of_cell}
    found = {name: np.maximum(values, 0).round(3).tolist() for name, values in variances.items()}
    centred = emotions - emotions.mean(axis=1, keepdims=True)
    return found | {"emotions": centred.round(3).tolist()}


def _middle(pooled: np.ndarray) -> np.ndarray:
    """The middle layer, its features in units of their spread: hand-made ones have units of their own."""
    rows = pooled[:, pooled.shape[1] // 2]
    return (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-6)


if __name__ == "__main__":
    main()
