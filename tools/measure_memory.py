"""Peak memory and time of `jaxemo` on a corpus of RAVDESS's shape, under an encoder of any size.

    python tools/measure_memory.py [--size=small|base|large] [--command=fad|study] [--seconds=0.5]
        [--speakers=24] [--takes=8]

The corpus is made: speakers with so many takes of 6 emotions in speech and song (neutral half as many), as
many clips as RAVDESS has of them, noise of the given length (the length decides the time, and the memory of
stem features alone). The encoder has random weights, the depth and width of wav2vec 2.0 base (13 layers, 768)
or large (25, 1024), or 3 layers of 48, and a narrow feed-forward part: what is measured is what jaxemo
keeps, not the encoder. Prints one JSON object.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
SIZES = {"small": (48, 2, 4), "base": (768, 12, 12), "large": (1024, 24, 16)}
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful")
RATE_HZ = 16_000


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("--size", choices=SIZES, default="base")
    arguments.add_argument("--command", choices=("fad", "study"), default="fad")
    arguments.add_argument("--seconds", type=float, default=0.5)
    arguments.add_argument("--speakers", type=int, default=24)
    arguments.add_argument("--takes", type=int, default=8)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="jaxemo-memory-") as name:
        folder = Path(name)
        num_clips = _write_corpus(
            folder / "audio", options.seconds, speakers=options.speakers, takes=options.takes
        )
        _write_encoder(folder / "encoder", *SIZES[options.size])
        command = [
            *(sys.executable, "-m", "jaxemo", options.command),
            f"--config={ROOT / 'configs' / 'ravdess_quick.py'}",
            f"--config.encoders={folder / 'encoder'},",
            "--config.corpus.name=manifest",
            f"--config.corpus.manifest={folder / 'audio' / 'manifest.csv'}",
            f"--config.cache_dir={folder / 'cache'}",
            f"--workdir={folder / 'work'}",
            "--config.transfer.methods=weighted_sum,",
        ]
        started = time.monotonic()
        peak, log = _peak_bytes(command)
        print(log[-2000:], file=sys.stderr)
        print(
            json.dumps(
                {
                    "size": options.size,
                    "command": options.command,
                    "speakers": options.speakers,
                    "clips": num_clips,
                    "clip_seconds": options.seconds,
                    "peak_gigabytes": round(peak / 1e9, 2),
                    "wall_seconds": round(time.monotonic() - started),
                }
            )
        )


def _write_corpus(folder: Path, seconds: float, *, speakers: int, takes: int) -> int:
    folder.mkdir()
    generator = np.random.default_rng(0)
    rows = []
    for domain in ("speech", "music"):
        for speaker in range(speakers):
            for emotion in EMOTIONS:
                # RAVDESS has no strong intensity of neutral.
                for take in range(takes // 2 if emotion == "neutral" else takes):
                    name = f"{domain}-{speaker:04}-{emotion}-{take}.wav"
                    noise = generator.normal(0, 0.1, int(seconds * RATE_HZ))
                    soundfile.write(folder / name, noise, RATE_HZ)
                    rows.append((name, emotion, domain, f"s{speaker:04}"))
    with (folder / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "emotion", "domain", "speaker"), *rows])
    return len(rows)


def _write_encoder(folder: Path, width: int, depth: int, num_heads: int) -> None:
    import jax
    import jax.numpy as jnp

    from jaxemo.models.checkpoints.hub_layout import Origin
    from jaxemo.models.config import EncoderConfig
    from jaxemo.models.encoder import AudioEncoder
    from jaxemo.models.families import Normalisation
    from jaxemo.models.pretrained import Encoder, save_pretrained

    config = EncoderConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=num_heads,
        intermediate_size=64,
        conv_dim=(64,) * 6 + (512,),
    )
    module = AudioEncoder(config)
    init = jax.jit(module.init)
    params = init(jax.random.key(0), jnp.zeros((1, 800)), jnp.array([800]))["params"]
    encoder = Encoder(
        name="random",
        origin=Origin.UNTRAINED,
        module=module,
        params=params,
        sample_rate_hz=RATE_HZ,
        normalisation=Normalisation.NONE,
    )
    save_pretrained(encoder, folder)


def _peak_bytes(command: list[str]) -> tuple[int, str]:
    """Peak resident bytes of a command of its own, and what it printed."""
    program = (
        "import resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024\n"
        "sys.stderr.write(done.stdout + done.stderr)\n"
        "print(peak)\n"
        "sys.exit(done.returncode)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command], capture_output=True, text=True, cwd=ROOT
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return int(done.stdout), done.stderr


if __name__ == "__main__":
    main()
