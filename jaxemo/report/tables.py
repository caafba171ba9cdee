"""Tables of the results, the same figures for the page, for Markdown and for the terminal.

A table's first `keys` columns name the row and its last `figures` columns are numbers. Intervals
are 95 % and stand in brackets behind the mean.
"""

import math
from typing import Any, NamedTuple

from jaxemo.report import rows as r
from jaxemo.results.checks import plain

_TOO_MUCH = ("folds", "clips", "trained parameters", "layers nearest", "layers farthest")
SMALL = "\N{DAGGER}"


class Table(NamedTuple):
    """Strings in rows; `keys` leading columns name the row, `figures` trailing ones are numbers."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    keys: int
    figures: int


def summary_table(results: dict) -> str:
    """The headline figures as short plain text for a terminal, in ASCII as far as names allow."""
    results = plain(results)
    blocks = [_plain(_without(table, *_TOO_MUCH)) for table in headlines(results)]
    text = "\n\n".join(blocks) if blocks else "The results hold no figures."
    return text.replace("→", "->").replace(r.MINUS, "-").replace(r.UNKNOWN, "-")


def headline_tables(results: dict) -> str:
    """The headline figures as Markdown tables, one a study that was run."""
    return "\n\n".join(_markdown(table) for table in headlines(results))


def headlines(results: dict) -> list[Table]:
    """The best layers, the transfer scores and the order of the emotions, where present."""
    made = [
        best_layer_table(results),
        transfer_table(results),
        emotion_order_table(results),
        bias_order_table(results),
    ]
    return [table for table in made if table.rows]


def best_layer_table(results: dict) -> Table:
    """The best layer by UA of each encoder and domain, with chance."""
    labels = r.encoder_labels(results)
    body = []
    for best in r.best_layers(results):
        row = best.row
        hand_made = row["origin"] == "hand-made"
        layer = r.UNKNOWN if hand_made else f"{row['layer']} of {best.last_layer}"
        score = [r.with_interval(row), r.percent(row["chance"])]
        size = [r.count(row["folds"]), r.count(row["n"])]
        body.append([labels[row["encoder"]], row["domain"], layer, *score, *size])
    return Table(
        "Layers: the layer with the highest UA (unweighted accuracy, %)",
        ["encoder", "domain", "best layer", "UA [95 %]", "chance", "folds", "clips"],
        body,
        keys=2,
        figures=5,
    )


def transfer_table(results: dict) -> Table:
    """UA on the target domain by regime, and the gains over target-only paired by fold."""
    scores = r.select(results.get("transfer"), metric="UA", emotion="all")
    gains = r.select(results.get("transfer"), metric="UA_gain", emotion="all")
    regimes, gained = r.values(scores, "regime"), r.values(gains, "regime")
    labels = r.encoder_labels(results)
    body = []
    for encoder, direction, method in combinations(scores, "encoder", "direction", "method"):
        run = {"encoder": encoder, "direction": direction, "method": method}
        first = r.select(scores, **run)[0]
        score = [r.with_interval(_first(r.select(scores, **run, regime=g))) for g in regimes]
        gain = [r.with_interval(_first(r.select(gains, **run, regime=g)), r.points) for g in gained]
        names = [labels[encoder], _name("direction", direction), _name("method", method)]
        size = [r.count(first["folds"]), r.count(first["trainable_parameters"])]
        body.append([*names, *score, *gain, *size])
    heads = [_name("regime", regime) for regime in regimes]
    heads += [f"gain of {_name('regime', regime)}" for regime in gained] + [
        "folds",
        "trained parameters",
    ]
    return Table(
        "Transfer: UA on the target domain (%), and its gain over target-only (points), [95 %]",
        ["encoder", "direction", "method", *heads],
        body,
        keys=3,
        figures=len(heads),
    )


def emotion_order_table(results: dict) -> Table:
    """Nearest and farthest emotion of each encoder by cross-domain FAD."""
    labels = r.encoder_labels(results)
    body = []
    for encoder in r.values(results.get("similarity") or [], "encoder"):
        placed = r.emotion_placements(r.select(results["similarity"], encoder=encoder))
        if len(placed) < 2:
            continue
        near, far = placed[0], placed[-1]
        body.append(
            [
                labels[encoder],
                near.emotion,
                f"{near.relative:.2f}",
                f"{near.layers_nearest} of {near.layers}",
                far.emotion,
                f"{far.relative:.2f}",
                f"{far.layers_farthest} of {far.layers}",
            ]
        )
    return Table(
        "Similarity: speech against music by FAD, relative to the mean over emotions at each layer",
        [
            "encoder",
            "nearest",
            "relative FAD",
            "layers nearest",
            "farthest",
            "relative FAD",
            "layers farthest",
        ],
        body,
        keys=1,
        figures=0,
    )


def bias_order_table(results: dict) -> Table:
    """Nearest and farthest emotion of each encoder by emotion bias, and whether they differ at all."""
    labels = r.encoder_labels(results)
    tests = r.select(results.get("emotion_bias_tests"), test="emotions_differ", layer=None)
    p_values = {row["encoder"]: row["p_value"] for row in tests}
    body = []
    for encoder in dict.fromkeys(row["encoder"] for row in results.get("emotion_bias") or []):
        of = r.select(results["emotion_bias"], encoder=encoder, layer=None)
        known = sorted((row for row in of if row["mean"] is not None), key=lambda row: row["mean"])
        if len(known) > 1:
            ends = [cell for row in (known[0], known[-1]) for cell in (row["emotion"], _ratio(row))]
            body.append([labels[encoder], *ends, r.probability(p_values.get(encoder))])
    return Table(
        "Emotion bias: cross-domain FAD over same-domain FAD of other speakers, mean over layers",
        ["encoder", "nearest", "ratio [95 %]", "farthest", "ratio [95 %]", "p, all alike"],
        body,
        keys=1,
        figures=1,
    )


def _ratio(row: dict) -> str:
    """A log ratio as the ratio that it is of."""
    limits = {key: row[key] and math.exp(row[key]) for key in ("mean", "low", "high")}
    return r.with_interval({**row, **limits}, r.distance)


def layer_score_table(results: dict, encoder: str) -> Table:
    """UA, WA and macro-F1 of every layer of one encoder, both domains side by side."""
    of = r.select(results["layers"], encoder=encoder, emotion="all")
    return _pivot(
        f"{r.encoder_labels(results)[encoder]}: score by layer (%)",
        of,
        down=["layer"],
        across=["domain", "metric"],
    )


def recall_table(results: dict, encoder: str) -> Table:
    """Recall of each emotion at every layer of one encoder, both domains."""
    of = r.select(results["layers"], encoder=encoder, metric="recall")
    return _pivot(
        f"{r.encoder_labels(results)[encoder]}: recall of each emotion by layer (%)",
        of,
        down=["domain", "layer"],
        across=["emotion"],
    )


def transfer_score_table(results: dict, encoder: str) -> Table:
    """Every score of one encoder in the transfer study."""
    of = [
        row for row in r.select(results["transfer"], encoder=encoder) if row["metric"] != "UA_gain"
    ]
    return _pivot(
        f"{r.encoder_labels(results)[encoder]}: all scores on the target domain (%)",
        of,
        down=["direction", "method", "regime"],
        across=["metric", "emotion"],
    )


def layer_weight_table(results: dict, encoder: str) -> Table:
    """The learnt layer weights of one encoder."""
    of = r.select(results["layer_weights"], encoder=encoder)
    return _pivot(
        f"{r.encoder_labels(results)[encoder]}: learnt layer weights (%)",
        of,
        down=["layer"],
        across=["method", "direction", "regime"],
    )


def confusion_table(caption: str, of: list[dict]) -> Table:
    """Counts of one confusion matrix: a row per true emotion, a column per answer."""
    answers = r.values(of, "predicted")
    body = []
    for emotion in r.values(of, "emotion"):
        counts = {row["predicted"]: row["count"] for row in r.select(of, emotion=emotion)}
        body.append([emotion, *(r.count(counts.get(answer, 0)) for answer in answers)])
    return Table(caption, ["true emotion", *map(str, answers)], body, keys=1, figures=len(answers))


def corpus_table(results: dict) -> Table:
    """Clips, speakers and length of each emotion in each domain, corpus by corpus."""
    rows = results.get("corpus") or []
    domains = r.values(rows, "domain")
    corpora = dict.fromkeys(row.get("corpus", "") for row in rows)
    body = []
    for corpus in corpora:
        of = [row for row in rows if row.get("corpus", "") == corpus]
        for emotion in r.values(of, "emotion"):
            at = {row["domain"]: row for row in r.select(of, emotion=emotion)}
            figures = [figure for domain in domains for figure in _corpus_cells(at.get(domain))]
            body.append([corpus, emotion, *figures])
    totals = [r.select(rows, domain=domain) for domain in domains]
    sums = [
        (r.count(_total(of, "clips")), r.UNKNOWN, r.duration(_total(of, "seconds")))
        for of in totals
    ]
    if rows:
        body.append(["all", "all", *(figure for three in sums for figure in three)])
    names = [f"{name}, {domain}" for domain in domains for name in ("clips", "speakers", "length")]
    columns = ["corpus", "emotion", *names]
    return Table("The corpus by emotion", columns, body, keys=2, figures=len(names))


def empty_cell_table(results: dict) -> Table:
    """Emotions that have no clip in a part of a fold, so that their figures rest on fewer folds."""
    columns = ["fold", "part", "domain", "emotion"]
    body = [[str(row[c]) for c in columns] for row in results.get("empty_cells") or []]
    return Table("Emotions without a clip in a part of a fold", columns, body, keys=4, figures=0)


def fold_table(results: dict) -> Table:
    """Who is in which part of which fold."""
    body = [
        [
            str(row["fold"]),
            str(row["part"]),
            str(row["speakers"]),
            r.count(row["clips_speech"]),
            r.count(row["clips_music"]),
        ]
        for row in results.get("folds") or []
    ]
    columns = ["fold", "part", "speakers", "clips, speech", "clips, music"]
    return Table("The folds", columns, body, keys=2, figures=2)


def left_out_table(results: dict) -> Table:
    """Every file that was left out, with its reason."""
    body = [[str(row["path"]), str(row["reason"])] for row in results.get("left_out") or []]
    return Table(f"Files left out: {len(body)}", ["file", "reason"], body, keys=1, figures=0)


def mapping_table(caption: str, names: tuple[str, str], mapping: dict) -> Table:
    """A nested mapping as dotted names and values."""
    return Table(caption, list(names), _flat(mapping) if mapping else [], keys=1, figures=0)


def encoder_table(results: dict) -> Table:
    """The encoders as the provenance records them."""
    columns = ["name", "origin", "source", "sample_rate_hz", "fingerprint"]
    described = (results.get("provenance") or {}).get("encoders") or []
    body = [[str(e.get(column) or r.UNKNOWN) for column in columns] for e in described]
    names = ["name", "origin", "source", "sample rate (Hz)", "fingerprint"]
    return Table("Encoders", names, body, keys=1, figures=0)


def _pivot(caption: str, of: list[dict], *, down: list[str], across: list[str]) -> Table:
    """A row for each combination of the `down` columns, a figure for each of `across`."""
    columns = combinations(of, *across)
    found = {tuple(row[c] for c in down + across): row for row in of}
    body = [
        [*(_name(c, value) for c, value in zip(down, names, strict=True))]
        + [r.with_interval(found.get((*names, *column))) for column in columns]
        for names in combinations(of, *down)
    ]
    heads = [", ".join(_head(across, column)) for column in columns]
    return Table(caption, [*down, *heads], body, keys=len(down), figures=len(heads))


def _head(across: list[str], column: tuple) -> list[str]:
    """The words of a column's name; `all` emotions go without saying."""
    pairs = zip(across, column, strict=True)
    return [_name(c, value) for c, value in pairs if not (c == "emotion" and value == "all")]


def _name(column: str, value: Any) -> str:
    names = {
        "metric": r.METRICS,
        "method": r.METHODS,
        "regime": r.REGIMES,
        "direction": r.DIRECTIONS,
    }
    return str(names.get(column, {}).get(value, value))


def combinations(of: list[dict], *columns: str) -> list[tuple]:
    """The combinations of values that occur, ordered column by column as `rows.values` orders."""
    orders = [r.values(of, column) for column in columns]
    present = {tuple(row[column] for column in columns) for row in of}
    return sorted(present, key=lambda c: [o.index(v) for o, v in zip(orders, c, strict=True)])


def _corpus_cells(row: dict | None) -> list[str]:
    if row is None:
        return [r.UNKNOWN] * 3
    return [r.count(row["clips"]), r.count(row["speakers"]), r.duration(row["seconds"])]


def _total(of: list[dict], column: str) -> r.Number:
    return sum(row[column] or 0 for row in of)


def _first(of: list[dict]) -> dict | None:
    return of[0] if of else None


def _flat(value: Any, prefix: str = "") -> list[list[str]]:
    if isinstance(value, dict) and value:
        parts = [_flat(v, f"{prefix}.{k}" if prefix else str(k)) for k, v in value.items()]
        return [row for part in parts for row in part]
    return [[prefix, ", ".join(map(str, value)) if isinstance(value, list) else str(value)]]


def _without(table: Table, *columns: str) -> Table:
    kept = [i for i, column in enumerate(table.columns) if column not in columns]
    body = [[row[i] for i in kept] for row in table.rows]
    return table._replace(columns=[table.columns[i] for i in kept], rows=body)


def _plain(table: Table) -> str:
    grid = [table.columns, *table.rows]
    cells = [[r.visible(cell) for cell in row] for row in grid]
    widths = [max(len(row[i]) for row in cells) for i in range(len(table.columns))]
    lines = [
        "  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells
    ]
    return "\n".join([table.caption, *(line.rstrip() for line in lines)])


def _markdown(table: Table) -> str:
    first = len(table.columns) - table.figures
    rule = ["---" if i < first else "---:" for i in range(len(table.columns))]
    escaped = [[_markdown_cell(c) for c in row] for row in [table.columns, *table.rows]]
    lines = ["| " + " | ".join(row) + " |" for row in [escaped[0], rule, *escaped[1:]]]
    return f"**{table.caption}**\n\n" + "\n".join(lines)


def _markdown_cell(cell: str) -> str:
    text = r.visible(cell).replace("\\", "\\\\")
    return "".join("\\" + c if c in "|<>[]*_`" else c for c in text)
