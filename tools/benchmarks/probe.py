"""All probes of study 1 as one program against the same probes in a loop over scikit-learn.

Both sides standardise over the training part, choose the strength by UA on dev, and fit again on train and
dev at that strength. The loop's probes are independent of each other: it runs some of them, drawn evenly
over domains, layers and runs (`sklearn_cells_timed`), and its time is that share's, scaled up. It is timed at
scikit-learn's own tolerance; answers are compared with those of a thousandth of it, which are the optimum's.
"""

import argparse
import os
from typing import Any, NamedTuple

import numpy as np

from benchmarks.timing import (
    do_without_jaxtyping,
    median_core_seconds,
    median_seconds,
    peak_gigabytes,
    time_in_turns,
    use_threads,
    versions,
    with_one_blas_thread,
)

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
CLASSES = 6
# scikit-learn's default for `LogisticRegression`.
TOLERANCE = 1e-4


class Size(NamedTuple):
    """Of the problem; `full` has RAVDESS's clips of the six emotions that are spoken and sung."""

    layers: int
    width: int
    clips: tuple[int, ...]
    folds: int
    seeds: int


SIZES = {"full": Size(13, 768, (1056, 1012), 6, 5), "small": Size(3, 256, (480,), 6, 1)}


def add_probe_command(commands: Any) -> None:
    parser = commands.add_parser(
        "probe", help="probes of all layers against scikit-learn's, in a loop"
    )
    parser.add_argument("--threads", type=int, default=2, help="cores for both sides")
    parser.add_argument("--size", choices=tuple(SIZES), default="full")
    parser.add_argument("--peer", type=int, default=12, help="probes of the loop that are run")
    parser.add_argument("--repeats", type=int, default=1)
    parser.set_defaults(run=run_probe)


def run_probe(arguments: argparse.Namespace) -> dict[str, Any]:
    """One call per domain on our side; it is compiled before the clock starts."""
    use_threads(arguments.threads)
    do_without_jaxtyping()
    import jax

    size = SIZES[arguments.size]
    domains = [problem(size, clips, seed) for seed, clips in enumerate(size.clips)]
    total = len(domains) * size.layers * size.folds * size.seeds
    asked = np.unique(np.linspace(0, total - 1, min(arguments.peer, total)).astype(int))
    shape = len(domains), size.layers, size.folds * size.seeds
    places = [np.unravel_index(place, shape) for place in asked]
    answers: dict[str, list[np.ndarray]] = {}

    def ours():
        answers["ours"] = [np.asarray(fit_all(domain)) for domain in domains]

    def peer():
        for d, layer, run in places:
            fit_one(domains[d], layer, run, tolerance=TOLERANCE)

    timed = time_in_turns(
        {"jaxemo": with_one_blas_thread(ours), "scikit-learn": peer}, repeats=arguments.repeats
    )
    seconds = {name: median_seconds(values) for name, values in timed.items()}
    seconds["scikit-learn"] *= total / len(places)
    exact = [
        fit_one(domains[d], layer, run, tolerance=TOLERANCE / 1000) for d, layer, run in places
    ]
    same = [
        answers["ours"][d][layer, run][rows] == theirs[rows]
        for (d, layer, run), theirs in zip(places, exact, strict=True)
        for rows in [domains[d]["test"][run]]
    ]
    return {
        "benchmark": "probe",
        "median_s": seconds,
        "ratio": seconds["scikit-learn"] / seconds["jaxemo"],
        "probes": total,
        "sklearn_cells_timed": [[int(number) for number in place] for place in places],
        "sklearn_scaled_by": total / len(places),
        "same_answers": float(np.mean(np.concatenate(same))),
        "largest_difference_of_ua": max(
            abs(
                test_ua(domains[d], run, answers["ours"][d][layer, run])
                - test_ua(domains[d], run, theirs)
            )
            for (d, layer, run), theirs in zip(places, exact, strict=True)
        ),
        "core_s": {name: median_core_seconds(values) for name, values in timed.items()},
        "peak_gigabytes": peak_gigabytes(),
        "size": {**size._asdict(), "strengths": len(STRENGTHS), "classes": CLASSES},
        "device": jax.devices()[0].device_kind,
        "threads": arguments.threads,
        "load_average": os.getloadavg()[0],
        "versions": versions("jax", "jaxlib", "numpy", "scikit-learn"),
    }


def test_ua(domain: dict[str, np.ndarray], run: int, answers: np.ndarray) -> float:
    """UA of one probe's answers to the test clips."""
    from sklearn.metrics import recall_score

    rows = domain["test"][run]
    return float(recall_score(domain["labels"][rows], answers[rows], average="macro"))


def problem(size: Size, clips: int, seed: int) -> dict[str, np.ndarray]:
    """Overlapping classes in every layer, and the folds' parts with another dev part for each seed."""
    draw = np.random.default_rng(seed)
    labels = np.arange(clips) % CLASSES
    centres = 0.15 * draw.standard_normal((size.layers, CLASSES, size.width))
    features = draw.standard_normal((size.layers, clips, size.width)) + centres[:, labels]
    fold = draw.permutation(clips) % size.folds
    runs = [(test, seed) for test in range(size.folds) for seed in range(size.seeds)]
    test = np.stack([fold == number for number, _ in runs])
    dev = np.stack([fold == (number + 1 + step) % size.folds for number, step in runs])
    parts = {"test": test, "dev": dev, "train": ~test & ~dev}
    return {"features": features.astype(np.float32), "labels": labels, **parts}


def fit_all(domain: dict[str, np.ndarray]) -> Any:
    """Answers of all probes of one domain, (layers, runs, clips)."""
    from jaxemo.analysis.probing import FinalFit, fit_probes

    return fit_probes(
        domain["features"],
        domain["labels"],
        train_weight=domain["train"].astype(np.float32),
        dev_weight=domain["dev"].astype(np.float32),
        num_classes=CLASSES,
        l2_strengths=STRENGTHS,
        final_fit=FinalFit.TRAIN_AND_DEV,
    ).predictions


def fit_one(domain: dict[str, np.ndarray], layer: int, run: int, *, tolerance: float) -> np.ndarray:
    """The answers of one probe of scikit-learn's, to all clips."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import recall_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, labels = domain["features"][layer], domain["labels"]
    train, dev = domain["train"][run], domain["dev"][run]

    def fitted(rows: np.ndarray, strength: float) -> Any:
        regression = LogisticRegression(
            C=1 / (strength * rows.sum()), class_weight="balanced", max_iter=10_000, tol=tolerance
        )
        return make_pipeline(StandardScaler(), regression).fit(x[rows], labels[rows])

    scores = {}
    for strength in sorted(STRENGTHS, reverse=True):
        answers = fitted(train, strength).predict(x[dev])
        scores[strength] = recall_score(labels[dev], answers, average="macro")
    return fitted(train | dev, max(scores, key=lambda strength: scores[strength])).predict(x)
