"""Which clips are held out: published parts where they can be kept apart, else folds of our own.

The name of what was chosen stands in every result.
"""

import enum
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import PARTITIONS, Utterance, units_of

_LISTED = 5


class Protocol(enum.Enum):
    """Whose parts are used.

    AUTO: the published ones where no speaker, song or artist is in two of them, else our own.
    PUBLISHED: the published ones, even where speakers are in several.
    DISJOINT: our own, in which no speaker, song or artist is in two parts.
    """

    AUTO = "auto"
    PUBLISHED = "published"
    DISJOINT = "disjoint"


class Plan(NamedTuple):
    """A protocol that was settled on.

    Attributes:
      utterances: The clips, in order; where published parts share a speaker, each part counts as a
        unit of its own.
      protocol: PUBLISHED or DISJOINT.
      name: In words.
    """

    utterances: tuple[Utterance, ...]
    protocol: Protocol
    name: str


def plan(utterances: Sequence[Utterance], wanted: Protocol) -> Plan:
    """Settles on published or own parts.

    Raises:
      ValueError: Published parts were asked for and not every clip has one, or one part is empty.
    """
    rows = tuple(utterances)
    missing = _missing_parts(rows)
    if wanted is Protocol.PUBLISHED and missing:
        raise ValueError(
            f"config.folds.protocol is 'published', but {missing}. Use 'auto' or 'disjoint'."
        )
    shared = _shared_units(rows)
    if wanted is Protocol.DISJOINT or missing or (wanted is Protocol.AUTO and shared):
        return Plan(rows, Protocol.DISJOINT, _own_name(rows, shared=bool(shared and not missing)))
    apart = tuple(
        replace(row, group=f"{unit} in {row.partition}") if unit in shared else row
        for unit, row in zip(units_of(rows), rows, strict=True)
    )
    return Plan(apart, Protocol.PUBLISHED, _published_name(rows, shared))


def _missing_parts(rows: Sequence[Utterance]) -> str:
    """Why the published parts cannot be used, or "" if they can."""
    without = sorted({row.corpus for row in rows if not row.partition})
    if without:
        return f"clips of {', '.join(without)} have no published part"
    empty = [part for part in ("train", "test") if all(row.partition != part for row in rows)]
    return f"no clip is in the published part {' or '.join(empty)}" if empty else ""


def _shared_units(rows: Sequence[Utterance]) -> set[str]:
    parts: dict[str, set[str]] = defaultdict(set)
    for unit, row in zip(units_of(rows), rows, strict=True):
        parts[unit].add(row.partition)
    return {unit for unit, where in parts.items() if len(where) > 1}


def _published_name(rows: Sequence[Utterance], shared: set[str]) -> str:
    dev = "" if any(row.partition == "dev" for row in rows) else ", dev taken from train"
    if not shared:
        return f"published {', '.join(PARTITIONS)}{dev}"
    some = ", ".join(sorted(shared)[:_LISTED])
    return f"published {', '.join(PARTITIONS)}{dev}; {len(shared)} {_unit_words(rows)}s are in several ({some})"


def _own_name(rows: Sequence[Utterance], *, shared: bool) -> str:
    if {row.corpus for row in rows} == {"ravdess"}:
        return "EmoBox's folds of RAVDESS's actors"
    reason = "; the published parts share some" if shared else ""
    return f"{_unit_words(rows)}-disjoint folds{reason}"


def _unit_words(rows: Iterable[Utterance]) -> str:
    """Speaker, session, song or artist, as the corpora's descriptions say; speaker for others."""
    units = {corpus.corpus or corpus.name: corpus.unit for corpus in CATALOGUE.values()}
    return "- and ".join(sorted({units.get(name, "speaker") for name in {r.corpus for r in rows}}))
