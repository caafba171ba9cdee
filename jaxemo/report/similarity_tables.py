"""Tables of study 3: every distance with its interval, its sample sizes and its second opinions."""

from jaxemo.report import rows as r
from jaxemo.report import tables
from jaxemo.report.agreement import agreements
from jaxemo.report.tables import Table, combinations

_OPINIONS = ("FAD_equal_n", "FAD_infinity", "FAD_clip", "KAD")


def distance_table(results: dict, encoder: str) -> Table:
    """FAD by layer and emotion of one encoder, with its same-domain nulls and the sample sizes."""
    kinds = ("cross_domain", "null_speech", "null_music")
    rows = r.select(results["similarity"], encoder=encoder, metric="FAD")
    of = [row for row in rows if row["comparison"] in kinds]
    body = []
    for layer, emotion in combinations(of, "layer", "emotion"):
        at = {row["comparison"]: row for row in r.select(of, layer=layer, emotion=emotion)}
        first = next(at[kind] for kind in kinds if kind in at)
        sizes = [first[column] for column in ("n_a", "n_b", "clips_a", "clips_b", "d")]
        distances = [_distance(at.get(kind)) for kind in kinds]
        body.append([str(layer), emotion, *distances, *map(r.count, sizes)])
    names = (
        "layer|emotion|speech against music|null, speech|null, music|frames, speech|frames, music"
    )
    return Table(
        f"{r.encoder_labels(results)[encoder]}: FAD by layer and emotion ({tables.SMALL} fewer than 2 d "
        "frames)",
        [*names.split("|"), "clips, speech", "clips, music", "d"],
        body,
        keys=2,
        figures=8,
    )


def cross_emotion_table(results: dict, encoder: str) -> Table:
    """The cross-emotion distances of one encoder as a long table."""
    of = r.select(results["similarity"], encoder=encoder, comparison="cross_emotion")
    body = [
        [
            *(str(row["layer"]), row["emotion"], row["other_emotion"]),
            *(_distance(row), r.count(row["n_a"]), r.count(row["n_b"])),
        ]
        for row in of
    ]
    names = "layer|speech emotion|music emotion|FAD [95 %]|frames, speech|frames, music"
    return Table(
        f"{r.encoder_labels(results)[encoder]}: FAD of every pair ({tables.SMALL} fewer than 2 d frames)",
        names.split("|"),
        body,
        keys=3,
        figures=3,
    )


def opinion_table(results: dict, encoder: str) -> Table:
    """The other distances of one encoder: at equal n, at infinite n, of clips, and of kernels."""
    rows = r.select(results["similarity"], encoder=encoder)
    of = [row for row in rows if row["metric"] in _OPINIONS]
    body = []
    for layer, emotion in combinations(of, "layer", "emotion"):
        for comparison, name in r.COMPARISONS.items():
            here = r.select(of, layer=layer, emotion=emotion, comparison=comparison)
            at = {row["metric"]: row for row in here}
            if not at:
                continue
            infinite, kernel = at.get("FAD_infinity", {}), at.get("KAD", {})
            cells = [
                *(_distance(at.get(metric)) for metric in _OPINIONS),
                r.probability(kernel.get("p_value")),
                *(r.distance(infinite.get(key)) for key in ("fit_error", "r_squared")),
                *(r.count(infinite.get(key)) for key in ("n_a", "n_b", "d")),
                r.percent(infinite.get("variance_kept")),
            ]
            body.append([str(layer), emotion, name, *cells])
    names = [r.DISTANCES[metric] for metric in _OPINIONS]
    heads = ["p, KAD", "error of the fit", "R² of the fit", "frames, a", "frames, b", "d"]
    return Table(
        f"{r.encoder_labels(results)[encoder]}: second opinions [95 %] ({tables.SMALL} fewer than 2 d "
        "rows; sizes are of the column of infinite n)",
        ["layer", "emotion", "comparison", *names, *heads, "variance kept (%)"],
        body,
        keys=3,
        figures=len(names) + len(heads) + 1,
    )


def agreement_table(results: dict) -> Table:
    """Where two distances order the emotions differently, layer by layer."""
    labels = r.encoder_labels(results)
    body = [
        [
            labels[found.encoder],
            str(found.layer),
            f"{found.tau:+.2f}".replace("-", r.MINUS),
            f"{len(found.swapped)} of {found.num_pairs}",
            ", ".join(found.clear) or "none",
        ]
        for found in agreements(results.get("similarity") or [])
    ]
    return Table(
        "FAD at infinite n against KAD: do they order the emotions alike?",
        ["encoder", "layer", "Kendall's tau", "pairs that swap", "beyond their error"],
        body,
        keys=2,
        figures=0,
    )


def bias_table(results: dict, encoder: str) -> Table:
    """Emotion bias of one encoder by layer, with the test that its emotions differ."""
    of = r.select(results["emotion_bias"], encoder=encoder)
    tests = r.select(results.get("emotion_bias_tests"), test="emotions_differ", encoder=encoder)
    p_values = {row["layer"]: row["p_value"] for row in tests}
    emotions = r.values(of, "emotion")
    body = []
    for layer in dict.fromkeys(row["layer"] for row in of):
        at = {row["emotion"]: row for row in r.select(of, layer=layer)}
        cells = [r.with_interval(at.get(emotion), r.distance) for emotion in emotions]
        name = "mean" if layer is None else str(layer)
        body.append([name, *cells, r.probability(p_values.get(layer))])
    speakers = max(row["speakers"] for row in of)
    return Table(
        f"{r.encoder_labels(results)[encoder]}: emotion bias, log ratio [95 %] over {speakers} "
        "speakers, and p that all emotions are alike",
        ["layer", *emotions, "p"],
        body,
        keys=1,
        figures=len(emotions) + 1,
    )


def disagreement_table(results: dict) -> Table:
    """Whether encoders disagree about the emotions, for each pair of them."""
    labels = r.encoder_labels(results)
    body = [
        [
            labels[row["encoder"]],
            labels[row["other_encoder"]],
            r.UNKNOWN if row["tau"] is None else f"{row['tau']:+.2f}".replace("-", r.MINUS),
            r.probability(row["p_value"]),
        ]
        for row in r.select(results.get("emotion_bias_tests"), test="encoders_disagree")
    ]
    return Table(
        "Do encoders disagree about the emotions? Their biases compared, mean over layers",
        ["encoder", "other encoder", "Kendall's tau of the orders", "p, no difference"],
        body,
        keys=2,
        figures=2,
    )


def _distance(row: dict | None) -> str:
    return r.with_interval(row, r.distance) + (tables.SMALL if row and row["small_sample"] else "")
