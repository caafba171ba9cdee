"""Tables of emotion shift and shape: every figure with its interval, contrasts and tests."""

from typing import Any, NamedTuple

import pandas as pd

from jaxemo.analysis.intervals import holm
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, drawable, groups, present, records
from jaxemo.report.pivot import pivot
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

LEVEL = 0.05


class End(NamedTuple):
    """The emotion with the smallest or largest figure, and how many others it is told from.

    Attributes:
      row: Its row.
      told: Others whose contrast with it is found after Holm's correction.
      others: Emotions that it is compared with.
    """

    row: dict[str, Any]
    told: int
    others: int


def ends_of_order(content: Content, encoder: str, measure: str) -> tuple[End, End] | None:
    """Both ends of the order of emotions, mean over layers; None for fewer than two emotions."""
    wanted = {"encoder": encoder, "control": "none", "measure": measure, "layer": None}
    ordered = records(drawable(content.rows("emotion_shifts", **wanted)).sort_values("mean"))
    if len(ordered) < 2:
        return None
    contrasts = content.rows("emotion_contrasts", **wanted)
    found = contrasts[contrasts["p_holm"] <= LEVEL]
    first, last = (
        End(
            row,
            int((found[["emotion", "other_emotion"]] == row["emotion"]).any(axis=1).sum()),
            len(ordered) - 1,
        )
        for row in (ordered[0], ordered[-1])
    )
    return first, last


def corrected_tests(content: Content) -> list[dict[str, Any]]:
    """The tests of means over layers with `p_holm`: what the sentences of study 3 rest on is one family."""
    rows = content.rows("emotion_shift_tests", layer=None)
    tests = records(rows[rows["p_value"].notna()])
    corrected = holm([row["p_value"] for row in tests])
    return [{**row, "p_holm": p} for row, p in zip(tests, corrected, strict=True)]


def shift_order_table(content: Content) -> Table:
    """Smallest and largest shift of each encoder, and whether its emotions differ at all."""
    tests = {
        row["encoder"]: row
        for row in corrected_tests(content)
        if (row["test"], row["measure"], row["control"]) == ("emotions_differ", "shift", "none")
    }
    body: list[list[str | Cell]] = []
    for encoder in present(content.rows("emotion_shifts"), "encoder"):
        found = ends_of_order(content, encoder, "shift")
        if found is None:
            continue
        line: list[str | Cell] = [content.labels[encoder]]
        for end in found:
            line += [end.row["emotion"], interval_cell(end.row, r.distance)]
            line.append(f"{end.told} of {end.others}")
        test = tests.get(encoder, {})
        line += [number_cell(test.get(key), r.probability) for key in ("p_value", "p_holm")]
        body.append(line)
    ends = [
        part for name in ("smallest", "largest") for part in (name, "shift [95 %]", "told from")
    ]
    return Table(
        "emotion_shift_order",
        "Emotion shift, mean over layers (squared within-cell standard deviations)",
        ["encoder", *ends, "p, all alike", "p, Holm"],
        body,
        keys=1,
        figures=2,
    )


def measure_table(content: Content, encoder: str, measure: str) -> Table:
    """Shift or shape of one encoder by layer, with the test that its emotions differ."""
    caption = (
        f"emotion {measure} [95 %], p that all emotions are alike, and p after Holm's correction"
    )
    return _by_layer(content, encoder, measure, ("emotions_differ", caption))


def advantage_table(content: Content, encoder: str) -> Table:
    """Advantage of the same emotion by layer, with the test that there is any."""
    caption = (
        "advantage of the same emotion [95 %], p that there is none (exchange of music's emotions "
        "within speakers), and p after Holm's correction"
    )
    return _by_layer(content, encoder, "advantage", ("diagonal_nearer", caption))


def _by_layer(content: Content, encoder: str, measure: str, tested: tuple[str, str]) -> Table:
    """One measure by layer; `tested` has the test beside it, and the words for both."""
    wanted = {"encoder": encoder, "control": "none", "measure": measure}
    rows = content.rows("emotion_shifts", **wanted)
    emotions = present(rows, "emotion")
    tests = content.rows("emotion_shift_tests", **wanted)
    tests = tests[tests["test"] == tested[0]]
    p_values = {layer: _p_value(of) for (layer,), of in groups(tests, "layer")}
    known = {layer: p for layer, p in p_values.items() if layer is not None and p is not None}
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    body: list[list[str | Cell]] = []
    for (layer,), of in groups(rows, "layer"):
        at = {row["emotion"]: row for row in records(of)}
        cells = [interval_cell(at.get(emotion), r.distance) for emotion in emotions]
        found = (p_values.get(layer), corrected.get(layer))
        name = "mean" if layer is None else str(layer)
        first = next(iter(at.values()))
        width = first["d"] if r.known(first["d"]) else None
        space = [number_cell(width), number_cell(first["variance_kept"], r.percent)]
        body.append([name, *cells, *(number_cell(p, r.probability) for p in found), *space])
    return Table(
        f"emotion_{measure}_{encoder}",
        f"{content.labels[encoder]}: {tested[1]} over the layers; {rows['speakers'].max()} speakers",
        ["layer", *emotions, "p", "p, Holm", "d", "variance kept (%)"],
        body,
        keys=1,
        figures=len(emotions) + 4,
    )


def contrast_table(content: Content, encoder: str) -> Table:
    """Differences between the emotions' shifts and shapes, means over layers, of one encoder."""
    rows = content.rows("emotion_contrasts", encoder=encoder, control="none", layer=None)
    body: list[list[str | Cell]] = [
        [
            *(row["measure"], row["emotion"], row["other_emotion"]),
            interval_cell(row, r.distance),
            *(number_cell(row[key], r.probability) for key in ("p_value", "p_holm")),
            number_cell(row["speakers"]),
        ]
        for row in records(rows)
    ]
    return Table(
        f"emotion_contrasts_{encoder}",
        f"{content.labels[encoder]}: one emotion minus another, mean over layers",
        ["of", "emotion", "other", "difference [95 %]", "p", "p, Holm", "speakers"],
        body,
        keys=3,
        figures=4,
    )


def cross_emotion_table(content: Content, encoder: str) -> Table:
    """The distances of every speech emotion from every music emotion of one encoder."""
    rows = content.rows("cross_emotion", encoder=encoder)
    caption = f"{content.labels[encoder]}: distance of music (columns) from speech (rows) [95 %]"
    return pivot(
        f"cross_emotion_{encoder}",
        caption,
        rows,
        down=["layer", "emotion"],
        across=["other_emotion"],
        cell=lambda row: interval_cell(row, r.distance),
    )


def profile_table(content: Content) -> Table:
    """Whether the shifts of two encoders, each over its mean, differ."""
    body: list[list[str | Cell]] = [
        [
            content.labels[row["encoder"]],
            content.labels[row["other_encoder"]],
            number_cell(row["tau"], r.signed),
            *(number_cell(row[key], r.probability) for key in ("p_value", "p_holm")),
        ]
        for row in corrected_tests(content)
        if row["test"] == "encoders_differ"
    ]
    return Table(
        "encoder_profiles",
        "Do encoders differ in their shifts, each over its mean over the emotions? Mean over layers",
        ["encoder", "other encoder", "Kendall's tau of the orders", "p, no difference", "p, Holm"],
        body,
        keys=2,
        figures=3,
    )


def control_table(content: Content, encoder: str) -> Table:
    """The shift of one encoder with something held still, mean over layers, and its contrasts."""
    wanted = {"encoder": encoder, "measure": "shift", "layer": None}
    rows = content.rows("emotion_shifts", **wanted)
    emotions = present(rows, "emotion")
    tests = {
        row["control"]: row
        for row in corrected_tests(content)
        if (row["test"], row["measure"], row["encoder"]) == ("emotions_differ", "shift", encoder)
    }
    contrasts = content.rows("emotion_contrasts", **wanted)
    body: list[list[str | Cell]] = []
    for (control,), of in groups(rows, "control"):
        at = {row["emotion"]: row for row in records(of)}
        found = contrasts[contrasts["control"] == control]
        told = f"{(found['p_holm'] <= LEVEL).sum()} of {len(found)}"
        p_values = (tests.get(control, {}).get(key) for key in ("p_value", "p_holm"))
        cells = [interval_cell(at.get(emotion), r.distance) for emotion in emotions]
        cells += [number_cell(p, r.probability) for p in p_values]
        body.append([r.name("control", control), *cells, told])
    return Table(
        f"emotion_shift_controls_{encoder}",
        f"{content.labels[encoder]}: emotion shift [95 %] with something held still, mean over layers",
        ["held still", *emotions, "p", "p, Holm", "pairs told apart"],
        body,
        keys=1,
        figures=len(emotions) + 3,
    )


def p_of_emotions(
    content: Content, encoder: str, measure: str, control: str = "none"
) -> float | None:
    """The p-value that the emotions of one encoder are alike, mean over layers."""
    wanted = {"test": "emotions_differ", "encoder": encoder, "measure": measure, "layer": None}
    wanted["control"] = control
    return _p_value(content.rows("emotion_shift_tests", **wanted))


def _p_value(rows: pd.DataFrame) -> float | None:
    found = rows["p_value"].dropna()
    return float(found.iloc[0]) if len(found) else None
