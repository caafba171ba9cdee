"""What the transfer study's gains say: the table of comparisons with both p-values, and its sentences.

The family that Holm's correction is for is the table's. A source domain helps where a gain holds over
target-only training, over as many updates on the target, and over the placebo.
"""

from typing import Any

from jaxemo.analysis.intervals import holm
from jaxemo.analysis.power import detectable_mean
from jaxemo.report import rows as r
from jaxemo.report.contents import Content, groups, records
from jaxemo.report.figures import Sentence
from jaxemo.report.table import Cell, Table, interval_cell, number_cell

# Fewer folds than this cannot reach p = .05 in a sign-flip test (2 / 2^n), whatever they show.
MIN_FOLDS = 6
LEVEL = 0.05
_CONTROLS = ("target_only", "target_only_longer", "placebo")
CLAIMED = ("two_stage", "joint")

Row = dict[str, Any]


def comparisons(content: Content) -> list[Row]:
    """Every gain of UA that has a figure, with `p_holm` over all of them; None where there is no p."""
    rows = content.rows("transfer", metric="UA_gain", emotion="all")
    gains = records(rows[rows["mean"].notna()])
    tested = [row for row in gains if r.known(row["p_value"])]
    corrected = holm([float(row["p_value"]) for row in tested])
    for row in gains:
        row["p_holm"] = None
    for row, p_value in zip(tested, corrected, strict=True):
        row["p_holm"] = p_value
    return gains


def transfer_gain_table(content: Content) -> Table:
    """Every comparison: the gain paired by speaker, its p, and p corrected for the table."""
    gains = comparisons(content)
    body: list[list[str | Cell]] = []
    for row in gains:
        names = [content.labels[row["encoder"]]]
        names += [r.name(column, row[column]) for column in ("direction", "method")]
        names += [r.percent(row["share"]) if row["share"] else r.UNKNOWN]
        names += [r.name("regime", row["regime"]), r.name("baseline", row["baseline"])]
        figures = [
            _gain_cell(row),
            number_cell(row["p_value"], r.probability),
            number_cell(row["p_holm"], r.probability),
            number_cell(row["speakers"]),
            number_cell(row["seed_spread"], r.percent),
        ]
        body.append([*names, *figures])
    heads = ["gain [95 %]", "p", "p, Holm", "speakers", "spread over seeds"]
    columns = ["encoder", "direction", "method", "share (%)", "regime", "over", *heads]
    return Table(
        "transfer_gains",
        f"Gains of UA, paired by speaker (points); p two-sided, Holm over the {len(gains)} of this table. "
        "Share: of the target's training speakers",
        columns,
        body,
        keys=6,
        figures=len(heads),
    )


def transfer_sentences(content: Content) -> list[Sentence]:
    """Power first, then what helps, then the family as a whole and its largest gain."""
    gains = comparisons(content)
    if not gains:
        return []
    power = _power(gains)
    said = [*([power] if power else []), _helps(content, gains), _family(gains)]
    return [*said, Sentence("Largest gain", _largest(content, gains))]


def _gain_cell(row: Row) -> Cell:
    cell = interval_cell(row, r.points)
    return (
        cell
        if r.has_interval(row) or not row["reason"]
        else cell._replace(text=f"{r.points(row['mean'])} ({row['reason']})")
    )


def _power(gains: list[Row]) -> Sentence | None:
    """How large a gain must be to be found."""
    sizes = [
        detectable_mean(low=row["low"], high=row["high"], n=int(row["speakers"]))
        for row in gains
        if r.has_interval(row) and row["speakers"] > 1
    ]
    if not sizes:
        return None
    low, high = (f"{100 * size:.1f}" for size in (min(sizes), max(sizes)))
    size = low if low == high else f"{low} to {high}"
    speakers = _span([int(row["speakers"]) for row in gains])
    return Sentence(
        "Power",
        f"with {speakers} speakers, a gain of {size} points of UA, by comparison, is found at 5 % in 80 % "
        "of studies like this one, before correction; what is smaller may well be missed.",
    )


def _helps(content: Content, gains: list[Row]) -> Sentence:
    """Where the source domain helps, by all controls."""
    about = "Does the source domain help"
    folds = max(int(row["folds"]) for row in gains)
    if folds < MIN_FOLDS:
        return Sentence(
            about,
            f"no verdict: {_many(folds, 'fold')} cannot tell a gain from chance at 5 % ({MIN_FOLDS} are "
            "needed).",
        )
    judged, helped = [], []
    for run, against in _by_run(gains).items():
        if set(_CONTROLS) <= set(against):
            judged.append(run)
            if all(_holds(against[control]) for control in _CONTROLS):
                helped.append(run)
    if not judged:
        return Sentence(
            about,
            "no verdict: it needs two-stage or joint training beside target_only, target_only_longer and "
            "placebo (config.transfer.regimes).",
        )
    rule = (
        "a gain counts that holds over target-only training, over as many updates on the target and over "
        f"the placebo, each at 5 % after Holm's correction for {len(gains)} comparisons."
    )
    named = "; ".join(_run_words(content, run) for run in helped)
    found = (
        f"in {len(helped)} of {len(judged)} cases ({named})"
        if helped
        else (f"not shown in any of {len(judged)} cases")
    )
    return Sentence(about, f"{found}: {rule}")


def _by_run(gains: list[Row]) -> dict[tuple[Any, ...], dict[str, Row]]:
    """(encoder, direction, method, share, regime) of what may help -> its gain over each baseline."""
    runs: dict[tuple[Any, ...], dict[str, Row]] = {}
    for row in gains:
        if row["regime"] in CLAIMED:
            key = tuple(row[name] for name in ("encoder", "direction", "method", "share", "regime"))
            runs.setdefault(key, {})[row["baseline"]] = row
    return runs


def _holds(row: Row) -> bool:
    return _is_found(row) and row["mean"] > 0


def _is_found(row: Row) -> bool:
    return row["p_holm"] is not None and row["p_holm"] <= LEVEL and row["folds"] >= MIN_FOLDS


def _family(gains: list[Row]) -> Sentence:
    """How many comparisons differ from 0, and which have no interval and why."""
    about = f"All {_many(len(gains), 'comparison')}"
    says = []
    if max(row["folds"] for row in gains) >= MIN_FOLDS:
        up = sum(_is_found(row) and row["mean"] > 0 for row in gains)
        down = sum(_is_found(row) and row["mean"] < 0 for row in gains)
        says.append(f"above 0 after Holm's correction: {up}; below: {down}.")
    reasons = sorted({row["reason"] for row in gains if row["reason"]})
    missing = sum(not r.has_interval(row) for row in gains)
    if missing:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        says.append(f"Without an interval: {missing}{why}; they claim nothing.")
    return Sentence(about, " ".join(says) or "each has an interval; too few folds for a verdict.")


def _largest(content: Content, gains: list[Row]) -> str:
    claimed = [row for row in gains if row["regime"] in CLAIMED] or gains
    top = max(claimed, key=lambda row: row["mean"])
    run = tuple(top[name] for name in ("encoder", "direction", "method", "share", "regime"))
    over = r.name("baseline", top["baseline"])
    figure = (
        f"{r.with_interval(top, r.points)} points of UA ({_run_words(content, run)}, over {over})"
    )
    if top["mean"] <= 0:
        return f"none: not one of {_many(len(claimed), 'gain')} lies above 0."
    if not r.has_interval(top):
        return f"{figure}; without an interval it shows nothing by itself."
    p_values = (
        f"p {r.probability(top['p_value'])}, {r.probability(top['p_holm'])} after Holm's correction"
    )
    picked = f"the largest of {len(claimed)}"
    if top["folds"] < MIN_FOLDS:
        return f"{figure}, {picked}; {_many(int(top['folds']), 'fold')} allow no verdict."
    if not _is_found(top):
        return f"{figure}, {picked}; {p_values}, so that it does not show a gain."
    return f"{figure}, {picked}; {p_values}."


def _run_words(content: Content, run: tuple[Any, ...]) -> str:
    encoder, direction, method, share, regime = run
    words = [content.labels[encoder], r.name("method", method), r.name("direction", direction)]
    words += [r.name("regime", regime)]
    if 0 < share < 1:
        words.append(f"{r.percent(share)} % of the target's speakers")
    return ", ".join(words)


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{low} to {high}"


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def transfer_run_table(content: Content, encoder: str) -> Table:
    """The epochs that dev speakers chose, run by run."""
    body: list[list[str | Cell]] = []
    rows = content.rows("transfer_runs", encoder=encoder)
    for (method, domain, regime, share), of in groups(rows, "method", "domain", "regime", "share"):
        runs = sorted(records(of), key=lambda row: (row["seed"], row["fold"]))
        chosen = " ".join(f"{row['chosen_epoch']}/{row['epochs']}" for row in runs)
        names = [r.name("method", method), domain, r.name("regime", regime), r.percent(share)]
        body.append([*names, _span([int(row["updates"]) for row in runs]), chosen])
    columns = [
        "method",
        "trained for",
        "regime",
        "share (%)",
        "updates",
        "chosen epoch of each run",
    ]
    caption = f"{content.labels[encoder]}: runs, by seed and fold"
    return Table(f"transfer_runs_{encoder}", caption, columns, body, keys=6, figures=0)
