"""How much of training's batches is padding, on the lengths of a folder's clips.

    python tools/measure_padding.py FOLDER [--batch_size=32] [--seconds=S] [--epochs=5]

Clips of FOLDER are divided over batches as training divides them (`data/batches.py`) and padded to one of
at most eight widths (`data/buckets.py`); each run trains on two thirds of them, drawn by its own seed.
Prints one JSON object: shares of padding without and with regard to length, of one run alone and of six that
share each step's width.
"""

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Int

from jaxemo.data.batches import shuffled_batches
from jaxemo.data.buckets import assign_buckets, choose_buckets, padding_share

FRAME_SECONDS = 0.02
NUM_RUNS = 6


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--batch_size", type=int, default=32)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument(
        "--seconds", type=float, help="longest stretch of a clip; default: all of it"
    )
    options = arguments.parse_args()
    seconds = _durations(options.folder)
    if options.seconds is not None:
        seconds = np.minimum(seconds, options.seconds)
    lengths = np.ceil(seconds / FRAME_SECONDS).astype(np.int64)
    how = {"batch_size": options.batch_size, "epochs": options.epochs}
    found = {
        "clips": len(lengths),
        "mean_seconds": round(float(seconds.mean()), 2),
        "one_width": round(padding_share(lengths, np.full_like(lengths, lengths.max())), 3),
    }
    for num_runs, sorted_ in itertools.product((1, NUM_RUNS), (False, True)):
        name = f"{num_runs}_runs_{'sorted' if sorted_ else 'shuffled'}"
        found[name] = round(_share(lengths, num_runs=num_runs, by_length=sorted_, **how), 3)
    print(json.dumps(found))


def _durations(folder: Path) -> np.ndarray:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac"))
    if not paths:
        raise SystemExit(f"{folder} has no .wav or .flac file; give a folder of clips.")
    return np.array([soundfile.info(path).duration for path in paths])


def _share(
    lengths: Int[np.ndarray, " n"],
    *,
    num_runs: int,
    by_length: bool,
    batch_size: int,
    epochs: int,
) -> float:
    """Share of padding where runs side by side are as wide as the widest of them."""
    widths = choose_buckets(lengths)
    rows = [
        np.random.default_rng(seed).permutation(len(lengths))[: 2 * len(lengths) // 3]
        for seed in range(num_runs)
    ]
    read, computed = [], []
    for epoch in range(epochs):
        batches = [
            shuffled_batches(
                own,
                batch_size=batch_size,
                seed=seed,
                epoch=epoch,
                lengths=lengths[own] if by_length else None,
            )
            for seed, own in enumerate(rows)
        ]
        for step in zip(*batches, strict=True):
            clips = np.stack([batch.rows for batch in step])
            width = widths[assign_buckets(lengths[clips].max(keepdims=True).ravel(), widths)]
            read.append(lengths[clips][[batch.valid for batch in step]])
            computed.append(np.full(clips.size, width))
    return padding_share(np.concatenate(read), np.concatenate(computed))


if __name__ == "__main__":
    main()
