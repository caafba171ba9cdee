"""Speaker-disjoint folds, and the audit that proves them disjoint before anything is trained.

A fold parts speakers, not clips: whoever is held out is held out of speech and music at once, so
that nothing of a test speaker reaches a model through the other domain. RAVDESS uses EmoBox's six
folds, a corpus with published parts those; any other gets balanced ones from a seed. What is parted
are units: speakers, or what goes beyond them (`Utterance.unit`).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int64

from jaxemo.data.corpora.corpus import DOMAINS, Utterance, units_of
from jaxemo.data.protocols import Protocol

PARTS = ("train", "dev", "test")
# Test actors of each fold. Reference: Ma et al. 2024, EmoBox, arXiv 2406.07162.
RAVDESS_TEST_ACTORS = (
    ("01", "11", "20", "21"),
    ("04", "10", "12", "14"),
    ("08", "09", "19", "23"),
    ("03", "05", "07", "24"),
    ("02", "15", "16", "18"),
    ("06", "13", "17", "22"),
)
# Of published parts without dev: one group of so many of what is trained on.
_GROUPS_OF_TRAIN = 5


class Fold(NamedTuple):
    """Speakers (units) of each part; `index` is the number of the test group, stable over seeds."""

    index: int
    train: tuple[str, ...]
    dev: tuple[str, ...]
    test: tuple[str, ...]


class Split(NamedTuple):
    """Positions of each part's clips among the utterances, ascending."""

    train: Int64[np.ndarray, " train"]
    dev: Int64[np.ndarray, " dev"]
    test: Int64[np.ndarray, " test"]


class EmptyCell(NamedTuple):
    """An emotion of a domain that has no clip in one part of a fold, though others have some."""

    fold: int
    part: str
    domain: str
    emotion: str


class LeakageError(ValueError):
    """Train, dev and test share a speaker or a file.

    Attributes:
      speakers: Every speaker that is in two parts of one fold.
      files: Every file whose bytes are in two parts of one fold.
    """

    def __init__(self, message: str, *, speakers: Sequence[str], files: Sequence[str]) -> None:
        super().__init__(message)
        self.speakers = tuple(speakers)
        self.files = tuple(files)


def make_folds(
    utterances: Sequence[Utterance],
    *,
    num_folds: int = 6,
    seed: int = 0,
    rotation: int = 0,
    protocol: Protocol = Protocol.DISJOINT,
) -> tuple[Fold, ...]:
    """Folds over the speakers of all corpora and both domains together.

    Speakers come in G groups. Fold f tests on group f, develops on group
    (f + 1 + rotation mod (G - 1)) mod G and trains on the rest. RAVDESS's groups are EmoBox's, without
    the actors that have no clip; a group without any is no fold. Other speakers are dealt out by
    the seed such that clips per domain and emotion are as even as whole speakers allow.

    Args:
      utterances: The usable clips of all corpora in the study.
      num_folds: Folds to return, at most G; for a corpus other than RAVDESS also the number of
        groups, at least three and at most the number of speakers.
      seed: How speakers other than RAVDESS's are dealt out.
      rotation: Which group is dev. Test groups stay as they are, so that rotations are repeats of
        one test and can be averaged within it.
      protocol: As `protocols.plan` chose it. Published parts are one fold, the same for all
        rotations unless its dev part has to be taken from train.

    Raises:
      ValueError: `num_folds` is not positive, or there are fewer than three groups of speakers.
    """
    if num_folds < 1:
        raise ValueError(f"num_folds is {num_folds}; expected at least 1.")
    if protocol is Protocol.PUBLISHED:
        return (_published_fold(utterances, seed=seed, rotation=rotation),)
    groups = _speaker_groups(utterances, num_folds=num_folds, seed=seed)
    indices = sorted(groups)
    if len(indices) < 3:
        raise ValueError(
            f"train, dev and test need three groups of speakers, found {len(indices)}: "
            f"{[groups[index] for index in indices]}. Add speakers of other groups"
            f" (RAVDESS's are {RAVDESS_TEST_ACTORS})."
        )
    step = 1 + rotation % (len(indices) - 1)
    folds = []
    for position, test in enumerate(indices[:num_folds]):
        dev = indices[(position + step) % len(indices)]
        train = [name for index in indices if index not in (test, dev) for name in groups[index]]
        folds.append(Fold(test, tuple(sorted(train)), groups[dev], groups[test]))
    return tuple(folds)


def split(utterances: Sequence[Utterance], fold: Fold) -> Split:
    """Positions of the clips of each part. Clips of speakers that are in no part are in none."""

    units = units_of(utterances)

    def positions(part: tuple[str, ...]) -> Int64[np.ndarray, " n"]:
        wanted = set(part)
        return np.array([i for i, unit in enumerate(units) if unit in wanted], np.int64)

    return Split(positions(fold.train), positions(fold.dev), positions(fold.test))


def audit(
    utterances: Sequence[Utterance], folds: Sequence[Fold], *, digests: Sequence[str]
) -> tuple[EmptyCell, ...]:
    """Checks all folds for leaks; run it before training.

    A leak is a speaker, or the bytes of a file, in two parts of one fold. The same bytes twice
    within one part are none (RAVDESS's actor 07 has such a pair).

    Args:
      utterances: The clips that the folds part.
      folds: The folds of a study.
      digests: `ClipStore.digests` of the same clips.

    Returns:
      The emotions that a part has no clip of, for the caller to weigh and to report.

    Raises:
      LeakageError: With all speakers and files concerned, of all folds.
      ValueError: The numbers of digests and clips differ.
    """
    if len(digests) != len(utterances):
        raise ValueError(f"{len(digests)} digests for {len(utterances)} clips; expected one each.")
    leaking_speakers: dict[str, list[str]] = defaultdict(list)
    leaking_files: dict[str, list[str]] = defaultdict(list)
    for fold in folds:
        for speaker, parts in _shared_speakers(fold).items():
            leaking_speakers[speaker].append(f"fold {fold.index} {' and '.join(parts)}")
        for file, parts in _shared_files(utterances, fold, digests=digests).items():
            leaking_files[file].append(f"fold {fold.index} {' and '.join(parts)}")
    if leaking_speakers or leaking_files:
        raise LeakageError(
            _leakage_message(leaking_speakers, leaking_files),
            speakers=sorted(leaking_speakers),
            files=sorted(leaking_files),
        )
    return tuple(cell for fold in folds for cell in _empty_cells(utterances, fold))


def fold_summary(utterances: Sequence[Utterance], folds: Sequence[Fold]) -> list[dict[str, Any]]:
    """One flat row for every fold and part: speakers by name, and number of clips in each domain."""
    rows = []
    for fold in folds:
        for part, positions in split(utterances, fold)._asdict().items():
            clips = [utterances[position] for position in positions]
            counts = Counter(clip.domain for clip in clips)
            speakers = sorted({clip.speaker for clip in clips})
            rows.append(
                {
                    "fold": fold.index,
                    "part": part,
                    "speakers": ", ".join(speakers),
                    **{f"clips_{domain}": counts[domain] for domain in DOMAINS},
                }
            )
    return rows


def _speaker_groups(
    utterances: Sequence[Utterance], *, num_folds: int, seed: int
) -> dict[int, tuple[str, ...]]:
    """Units by number of their test group, without empty groups."""
    speakers = set(units_of(utterances))
    fixed = {
        f"ravdess/{actor}": index
        for index, actors in enumerate(RAVDESS_TEST_ACTORS)
        for actor in actors
    }
    group_of = {name: index for name, index in fixed.items() if name in speakers}
    others = sorted(speakers.difference(group_of))
    num_groups = len(RAVDESS_TEST_ACTORS) if group_of else min(max(num_folds, 3), len(others))
    group_of = _deal_out(utterances, others, group_of=group_of, num_groups=num_groups, seed=seed)
    groups = defaultdict(list)
    for name in sorted(group_of):
        groups[group_of[name]].append(name)
    return {index: tuple(names) for index, names in groups.items()}


def _published_fold(utterances: Sequence[Utterance], *, seed: int, rotation: int) -> Fold:
    """The published parts; where there is no dev, a fifth of the units of train."""
    units = {part: set(units_of(r for r in utterances if r.partition == part)) for part in PARTS}
    if not units["dev"]:
        rows = [row for row in utterances if row.partition == "train"]
        order = sorted(units["train"])
        num_groups = min(_GROUPS_OF_TRAIN, len(order))
        group_of = _deal_out(rows, order, group_of={}, num_groups=num_groups, seed=seed)
        units["dev"] = {unit for unit in order if group_of[unit] == rotation % num_groups}
        units["train"] -= units["dev"]
    if empty := [part for part in PARTS if not units[part]]:
        raise ValueError(
            f"the published part {' and '.join(empty)} has no clip of its own. Set "
            "config.folds.protocol='disjoint' for folds of our own."
        )
    return Fold(0, *(tuple(sorted(units[part])) for part in PARTS))


def _deal_out(
    utterances: Sequence[Utterance],
    speakers: Sequence[str],
    *,
    group_of: dict[str, int],
    num_groups: int,
    seed: int,
) -> dict[str, int]:
    """Adds `speakers` to `group_of`, largest first, each where it overlaps least.

    With load[g, c] the share that group g has of the clips of cell c (a domain and emotion), a
    speaker of shares s goes to the group of least sum_c load[g, c] s[c], where it adds least to the
    sum of squared loads; of equal ones, to that with the fewest speakers.
    """
    if not speakers:
        return group_of
    shares = _cell_shares(utterances)
    load = np.zeros((num_groups, len(next(iter(shares.values())))))
    sizes = Counter(group_of.values())
    for name, group in group_of.items():
        load[group] += shares[name]
    order = np.random.default_rng(seed).permutation(len(speakers))
    shuffled = [speakers[int(position)] for position in order]
    group_of = dict(group_of)
    for name in sorted(shuffled, key=lambda name: -shares[name].sum()):
        # Rounded, so that equal overlaps stay equal whatever the order of summation was.
        overlap = (load @ shares[name]).round(9)
        group = min(range(num_groups), key=lambda g: (overlap[g], sizes[g]))
        group_of[name] = group
        load[group] += shares[name]
        sizes[group] += 1
    return group_of


def _cell_shares(utterances: Sequence[Utterance]) -> dict[str, np.ndarray]:
    """Each unit's share of the clips of each cell (corpus, domain, emotion)."""
    cells = sorted({(row.corpus, row.domain, row.emotion) for row in utterances})
    position = {cell: index for index, cell in enumerate(cells)}
    counts: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(cells)))
    for unit, row in zip(units_of(utterances), utterances, strict=True):
        counts[unit][position[row.corpus, row.domain, row.emotion]] += 1
    totals = sum(counts.values())
    return {name: count / totals for name, count in counts.items()}


def _shared_speakers(fold: Fold) -> dict[str, list[str]]:
    parts_of = defaultdict(list)
    for part in PARTS:
        for speaker in set(getattr(fold, part)):
            parts_of[speaker].append(part)
    return {speaker: parts for speaker, parts in parts_of.items() if len(parts) > 1}


def _shared_files(
    utterances: Sequence[Utterance], fold: Fold, *, digests: Sequence[str]
) -> dict[str, list[str]]:
    """Files whose bytes are in two parts, with the parts in which those bytes are."""
    parts_of: dict[str, set[str]] = defaultdict(set)
    for part, positions in split(utterances, fold)._asdict().items():
        for position in positions:
            parts_of[digests[int(position)]].add(part)
    # A file that could not be read has no digest, and is like no other.
    leaking = {digest for digest, parts in parts_of.items() if digest and len(parts) > 1}
    return {
        row.path: sorted(parts_of[digest], key=PARTS.index)
        for row, digest in zip(utterances, digests, strict=True)
        if digest in leaking
    }


def _leakage_message(speakers: dict[str, list[str]], files: dict[str, list[str]]) -> str:
    lines = ["train, dev and test are not independent."]
    lines += [f"  speaker {name}: {'; '.join(where)}" for name, where in sorted(speakers.items())]
    lines += [f"  bytes of {name}: {'; '.join(where)}" for name, where in sorted(files.items())]
    lines += ["Give each speaker to one part and remove copies (or correct their speaker)."]
    return "\n".join(lines)


def _empty_cells(utterances: Sequence[Utterance], fold: Fold) -> list[EmptyCell]:
    expected = sorted({(row.domain, row.emotion) for row in utterances})
    empty = []
    for part, positions in split(utterances, fold)._asdict().items():
        present = {(utterances[p].domain, utterances[p].emotion) for p in positions}
        empty += [EmptyCell(fold.index, part, *cell) for cell in expected if cell not in present]
    return empty
