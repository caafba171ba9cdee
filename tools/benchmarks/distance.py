"""Frechet distances of a layers x emotions grid, and of 100 clips from waveform to distance.

The peer is fadtk: one distance at a time from means and covariances, and, end to end, one encoder pass
a layer and one clip at a time through Hugging Face's PyTorch. Its side takes minutes to hours, so
some cells and clips of it are timed and multiplied; the JSON says how many.
"""

import argparse
import importlib.util
import os
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.encoder import encoder_flops, random_encoder, torch_forward
from benchmarks.published import fadtk_distance, is_installed, sqrtm_distance
from benchmarks.timing import (
    Run,
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    say,
    time_in_turns,
    time_run,
    use_threads,
    versions,
    with_one_blas_thread,
)

NUM_LAYERS, NUM_EMOTIONS, WIDTH = 13, 6, 768


def add_distance_command(commands: Any) -> None:
    parser = commands.add_parser("distance", help="a grid of Frechet distances against fadtk's")
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--part", choices=("all", "grid", "end_to_end"), default="all")
    parser.add_argument("--rows", type=int, default=2000, help="frames behind each cell")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--clips", type=int, default=100, help="end to end, half of them in each set"
    )
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each clip")
    parser.add_argument(
        "--peer-clips", type=int, default=10, help="clips of the peer's that are timed"
    )
    parser.set_defaults(run=run_distance)


def run_distance(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both parts; `ratio` is the grid's, `ratio_end_to_end` the other's."""
    use_threads(arguments.threads)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    do_without_jaxtyping()
    # What scipy says of its own deprecations is no finding here.
    warnings.simplefilter("ignore")
    import jax

    peer, peer_name = peer_distance()
    grid = end_to_end = None
    if arguments.part != "end_to_end":
        grid = run_grid(arguments, peer)
    if arguments.part != "grid":
        end_to_end = run_end_to_end(arguments, peer)
    return {
        "benchmark": "distance",
        "ratio": grid and grid["ratio"],
        "ratio_end_to_end": end_to_end and end_to_end["ratio"],
        "peer": peer_name,
        "grid": grid,
        "end_to_end": end_to_end,
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions(
            "jax", "jaxlib", "flax", "numpy", "scipy", "torch", "transformers", "threadpoolctl"
        ),
    }


def peer_distance() -> tuple[Callable | None, str | None]:
    """fadtk's own function, else its formula, else nothing; with what was found in words."""
    if importlib.util.find_spec("scipy") is None:
        return None, None
    if is_installed("fadtk"):
        return fadtk_distance(), "fadtk's own calc_frechet_distance"
    return sqrtm_distance, "fadtk is not installed: the formula tr sqrtm(C1 C2) by scipy"


# --- The grid ------------------------------------------------------------------------------------------


def run_grid(arguments: argparse.Namespace, peer: Callable | None) -> dict[str, Any]:
    """All cells of the grid in one program against the peer's one cell at a time."""
    import jax
    import numpy as np

    from jaxemo.distances.frechet import distance_grid
    from jaxemo.distances.statistics import covariance

    a, b = (
        with_one_blas_thread(partial(grid_statistics, seed, arguments.rows))() for seed in (0, 1)
    )
    moments = [(np.asarray(s.mean), np.asarray(covariance(s))) for s in (a, b)]
    cells = iter(np.random.default_rng(0).permutation(NUM_LAYERS * NUM_EMOTIONS).tolist() * 2)
    peers_distances = {}

    sides = {"grid": with_one_blas_thread(lambda: jax.block_until_ready(distance_grid(a, b)))}
    if peer is not None:

        def one_cell():
            cell = np.unravel_index(next(cells), (NUM_LAYERS, NUM_EMOTIONS))
            (mean_a, cov_a), (mean_b, cov_b) = ((mean[cell], cov[cell]) for mean, cov in moments)
            peers_distances[cell] = peer(mean_a, cov_a, mean_b, cov_b)

        sides["peer_cell"] = one_cell
    runs = time_in_turns(sides, repeats=arguments.repeats)
    medians = {name: median_seconds(values) for name, values in runs.items()}
    ours = np.asarray(distance_grid(a, b).distance)
    num_cells, flops = ours.size, ours.size * cell_flops(WIDTH)
    whole = medians["peer_cell"] * num_cells if peer is not None else None
    core_seconds = {"jaxemo": median_core_seconds(runs["grid"])}
    if peer is not None:
        core_seconds["fadtk"] = median_core_seconds(runs["peer_cell"]) * num_cells
    differences = [abs(ours[cell] / value - 1) for cell, value in peers_distances.items()]
    return {
        "median_s": {"jaxemo": medians["grid"], "fadtk": whole},
        "ratio": whole and whole / medians["grid"],
        "peer_cell_median_s": medians.get("peer_cell"),
        "peer_cells_timed": arguments.repeats if peer is not None else 0,
        "peer_scaling": f"median of a cell times {num_cells} cells",
        "core_s": core_seconds,
        "ratio_of_core_s": core_seconds.get("fadtk")
        and core_seconds["fadtk"] / core_seconds["jaxemo"],
        "all_s": {name: [run.seconds for run in values] for name, values in runs.items()},
        "largest_relative_difference": max(differences, default=None),
        "kernel_s": medians["grid"],
        "kernel_gflop": flops / 1e9,
        "kernel_gflop_per_s": flops / 1e9 / medians["grid"],
        "layers": NUM_LAYERS,
        "emotions": NUM_EMOTIONS,
        "dimensions": WIDTH,
        "rows_per_cell": arguments.rows,
    }


def grid_statistics(seed: int, num_rows: int) -> Any:
    """Statistics of random rows whose variances fall as 1 / i, layer by layer to bound memory."""
    import jax
    import numpy as np

    from jaxemo.distances.statistics import empty_statistics, update

    random = np.random.default_rng(seed)
    deviations = 1 / np.sqrt(np.arange(1, WIDTH + 1, dtype=np.float32))
    layers = []
    for _ in range(NUM_LAYERS):
        rows = random.standard_normal((NUM_EMOTIONS, num_rows, WIDTH), np.float32) * deviations
        empty = empty_statistics(WIDTH, cells=(NUM_EMOTIONS,))
        layers.append(update(empty, rows + 0.1 * seed, np.ones(rows.shape[:2], bool)))
    with jax.enable_x64(True):
        stacked = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *layers)
    return jax.block_until_ready(stacked)


def cell_flops(width: int) -> float:
    """One distance: the product of two factors, 2 d^3, and its singular values, 8/3 d^3.

    Reference: Golub & Van Loan, Matrix Computations, 4th edition, section 8.6.3 (bidiagonalisation).
    """
    return (2 + 8 / 3) * width**3


# --- End to end ----------------------------------------------------------------------------------------


def run_end_to_end(arguments: argparse.Namespace, peer: Callable | None) -> dict[str, Any]:
    """Waveforms of two sets to a distance at every layer, compilation included on our side."""
    import jax.numpy as jnp
    import numpy as np

    encoder = random_encoder("base", jnp.float32)
    shape = arguments.clips, round(arguments.seconds * encoder.sample_rate_hz)
    waveform = np.random.default_rng(0).standard_normal(shape, np.float32)
    clip_runs, layer_run = [], None
    with_torch = importlib.util.find_spec("torch") and importlib.util.find_spec("transformers")
    if with_torch and peer is not None:
        forward = torch_forward(encoder, waveform[:1], threads=arguments.threads)
        forward()
        # The better of two settings: on a busy machine BLAS threads that wait for each other took 40
        # times as long as one alone.
        layer = peer_layer(encoder, shape, peer)
        settings = {"BLAS threads": layer, "one BLAS thread": with_one_blas_thread(layer)}
        layer_runs = time_in_turns(settings, repeats=2).values()
        layer_run = min(Run(median_seconds(runs), median_core_seconds(runs)) for runs in layer_runs)
        say(f"fadtk: statistics and distance of a layer {layer_run.seconds:.2f} s")
        # Half before and half after our run, so that a busy machine slows both alike.
        half = arguments.peer_clips // 2
        clip_runs += [time_run(forward) for _ in range(half)]
    first = time_run(with_one_blas_thread(our_pass(encoder, waveform)))
    say(f"jaxemo: {first.seconds:.1f} s")
    compiled = time_run(with_one_blas_thread(our_pass(encoder, waveform)))
    say(f"jaxemo, compiled: {compiled.seconds:.1f} s")
    if clip_runs:
        clip_runs += [time_run(forward) for _ in range(arguments.peer_clips - half)]
    theirs = None
    if layer_run is not None:
        clip = Run(median_seconds(clip_runs), median_core_seconds(clip_runs))
        theirs = Run(
            *(
                NUM_LAYERS * (arguments.clips * one_clip + one_layer)
                for one_clip, one_layer in zip(clip, layer_run, strict=True)
            )
        )
    frames = arguments.clips * encoder.config.num_frames(shape[1])
    return {
        "seconds": {
            "jaxemo": first.seconds,
            "jaxemo_compiled": compiled.seconds,
            "fadtk": theirs and theirs.seconds,
        },
        "ratio": theirs and theirs.seconds / first.seconds,
        "ratio_compiled": theirs and theirs.seconds / compiled.seconds,
        "ratio_of_core_s": theirs and theirs.core_seconds / first.core_seconds,
        "peer_clip_s": [run.seconds for run in clip_runs],
        "peer_layer_s": layer_run and layer_run.seconds,
        "peer_scaling": "13 layers x (clips x median of a clip's forward pass + one layer's np.cov of "
        "both sets and distance); reading and writing of its embedding files left out",
        "parts_s": our_parts(encoder, waveform),
        "encoder_tflop": arguments.clips * encoder_flops(encoder.config, shape[1]) / 1e12,
        "statistics_tflop": NUM_LAYERS * frames * 2 * WIDTH**2 / 1e12,
        "clips": arguments.clips,
        "clip_seconds": arguments.seconds,
        "layers": NUM_LAYERS,
    }


def our_pass(encoder: Any, waveform: Any) -> Callable[[], Any]:
    """Two sets, half the clips each: statistics of all layers in one pass, then the distances."""
    import numpy as np

    from jaxemo.distances.frechet import distance_grid
    from jaxemo.embedding.sets import embed_clip_set

    def run():
        sets = [
            embed_clip_set(
                encoder,
                clips.__getitem__,
                num_samples=np.full(len(clips), clips.shape[1]),
                max_frames=0,
            )
            for clips in np.array_split(waveform, 2)
        ]
        return np.asarray(distance_grid(*(found.statistics for found in sets)).distance)

    return run


def our_parts(encoder: Any, waveform: Any) -> dict[str, float]:
    """Median seconds of the parts of our pass: a batch of eight clips, and all the distances."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from jaxemo.distances.frechet import distance_grid
    from jaxemo.distances.statistics import empty_statistics, update

    batch = waveform[:8]
    num_samples = np.full(len(batch), batch.shape[1])
    hidden_states = encoder(batch, num_samples).hidden_states
    rows = hidden_states.reshape(NUM_LAYERS, -1, WIDTH)
    mask = jnp.ones(rows.shape[:2], bool)
    statistics = update(empty_statistics(WIDTH, cells=(NUM_LAYERS,)), rows, mask)
    sides = {
        "encoder_batch_of_8": lambda: jax.block_until_ready(encoder(batch, num_samples)),
        "update_batch_of_8": lambda: jax.block_until_ready(update(statistics, rows, mask)),
        "distances": lambda: jax.block_until_ready(distance_grid(statistics, statistics)),
    }
    limited = {name: with_one_blas_thread(run) for name, run in sides.items()}
    runs = time_in_turns(limited, repeats=3)
    return {name: median_seconds(values) for name, values in runs.items()}


def peer_layer(encoder: Any, shape: tuple[int, int], peer: Callable) -> Callable[[], Any]:
    """fadtk's work after the encoder, for one layer: np.cov of both sets and their distance."""
    import numpy as np

    num_frames = shape[0] // 2 * encoder.config.num_frames(shape[1])
    deviations = 1 / np.sqrt(np.arange(1, WIDTH + 1, dtype=np.float32))
    random = np.random.default_rng(0)
    x, y = (random.standard_normal((num_frames, WIDTH), np.float32) * deviations for _ in range(2))

    def run():
        return peer(x.mean(0), np.cov(x, rowvar=False), y.mean(0), np.cov(y, rowvar=False))

    return run
