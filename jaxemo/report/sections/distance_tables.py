"""Tables of study 3: every distance with its interval, its sample sizes and its second opinions."""

from typing import Any

import pandas as pd

from jaxemo.analysis.intervals import holm
from jaxemo.report import rows as r
from jaxemo.report.agreement import agreements
from jaxemo.report.contents import Content, groups, records, select
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

SMALL = "\N{DAGGER}"
_KINDS = ("cross_domain", "null_speech", "null_music")
_OPINIONS = ("FAD_equal_n", "FAD_infinite_speakers", "FAD_clip", "KAD")
_SIZES = ("n_a", "n_b", "clips_a", "clips_b", "d")


def distance_table(content: Content, encoder: str) -> Table:
    """FAD by layer and emotion of one encoder, with its same-domain nulls and the sample sizes."""
    rows = content.rows("similarity", encoder=encoder, metric="FAD")
    body: list[list[str | Cell]] = []
    for (layer, emotion), of in groups(rows[rows["comparison"].isin(_KINDS)], "layer", "emotion"):
        at = _by(of, "comparison")
        first = next(at[kind] for kind in _KINDS if kind in at)
        distances = [_distance(at.get(kind)) for kind in _KINDS]
        sizes = [number_cell(first[column]) for column in _SIZES]
        body.append([str(layer), emotion, *distances, *sizes])
    names = [*map(r.COMPARISONS.__getitem__, _KINDS), "frames, speech", "frames, music"]
    return Table(
        f"distances_{encoder}",
        f"{content.labels[encoder]}: FAD by layer and emotion ({SMALL} fewer than 2 d frames)",
        ["layer", "emotion", *names, "clips, speech", "clips, music", "d"],
        body,
        keys=2,
        figures=8,
    )


def opinion_table(content: Content, encoder: str) -> Table:
    """The other distances of one encoder: at equal n, extrapolated, of clips, and of kernels."""
    rows = content.rows("similarity", encoder=encoder)
    rows = _with_holm(rows[rows["metric"].isin(_OPINIONS)])
    body = [
        _opinion_line(layer, emotion, comparison, of)
        for (layer, emotion, comparison), of in groups(rows, "layer", "emotion", "comparison")
    ]
    names = [r.DISTANCES[metric] for metric in _OPINIONS]
    heads = ["p, KAD", "p, KAD, Holm", "error of the deals", "frames, a", "frames, b", "d"]
    return Table(
        f"second_opinions_{encoder}",
        f"{content.labels[encoder]}: second opinions [95 %] ({SMALL} fewer than 2 d rows; sizes are "
        "of the extrapolation)",
        ["layer", "emotion", "comparison", *names, *heads, "variance kept (%)"],
        body,
        keys=3,
        figures=len(names) + len(heads) + 1,
    )


def _with_holm(rows: pd.DataFrame) -> pd.DataFrame:
    """The p-values of one encoder, of all emotions and layers, corrected as one family."""
    tested = rows.index[rows["p_value"].notna()]
    corrected = holm(rows.loc[tested, "p_value"].tolist())
    return rows.assign(p_holm=pd.Series(corrected, index=tested, dtype=float))


def _opinion_line(
    layer: int, emotion: str, comparison: str, rows: pd.DataFrame
) -> list[str | Cell]:
    at = _by(rows, "metric")
    extrapolated, kernel = at.get("FAD_infinite_speakers", {}), at.get("KAD", {})
    return [
        *(str(layer), emotion, r.name("comparison", comparison)),
        *(_distance(at.get(metric)) for metric in _OPINIONS),
        *(number_cell(kernel.get(key), r.probability) for key in ("p_value", "p_holm")),
        number_cell(extrapolated.get("fit_error"), r.distance),
        *(number_cell(extrapolated.get(key)) for key in ("n_a", "n_b", "d")),
        number_cell(extrapolated.get("variance_kept"), r.percent),
    ]


def agreement_table(content: Content) -> Table:
    """Where two distances order the emotions differently, layer by layer."""
    body: list[list[str | Cell]] = [
        [
            content.labels[found.encoder],
            str(found.layer),
            number_cell(found.tau, r.signed),
            f"{len(found.swapped)} of {found.num_pairs}",
            ", ".join(found.clear) or "none",
        ]
        for found in agreements(content.rows("similarity"))
    ]
    return Table(
        "distance_agreement",
        "FAD extrapolated over speakers against KAD: do they order the emotions alike?",
        ["encoder", "layer", "Kendall's tau", "pairs that swap", "beyond their error"],
        body,
        keys=2,
        figures=0,
    )


def _by(rows: pd.DataFrame, column: str) -> dict[str, dict[str, Any]]:
    return {row[column]: row for row in records(rows)}


def _distance(row: dict[str, Any] | None) -> Cell:
    return interval_cell(row, r.distance, mark=SMALL if row and row["small_sample"] else "")


def small_cells(content: Content) -> tuple[int, int]:
    """Cross-domain cells that rest on fewer than 2 d frames, and all of them."""
    cells = select(content.rows("similarity", metric="FAD"), comparison="cross_domain")
    return int(cells["small_sample"].sum()), len(cells)
