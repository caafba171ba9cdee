"""The command `jaxemo corpora`: what is known of published corpora, and what a folder of one holds."""

from collections.abc import Sequence
from pathlib import Path

from jaxemo.cli.command import ArgumentFault, nearest
from jaxemo.data.corpora.catalogue import CATALOGUE
from jaxemo.data.corpora.corpus import Corpus, corpus_summary
from jaxemo.data.corpora.published import (
    QUADRANT_WORDS,
    Names,
    PublishedCorpus,
    quadrant_of_label,
)
from jaxemo.studies.config import CorpusSettings
from jaxemo.studies.corpora import open_corpus
from jaxemo.studies.corpus_settings import RAVDESS_NAMES, known_emotions

_COLUMNS = ("name", "domain", "licence", "labels", "folds", "how to obtain it")
_MARKDOWN_COLUMNS = ("name", "corpus", *_COLUMNS[1:], "layout checked against")
_LISTED = 20


def corpora(*, names: tuple[str, ...], audio_dir: Path | None, format: str) -> None:
    """Lists all corpora, or says all of one; with a folder, what is in it."""
    if not names:
        rows = [_row(corpus) for corpus in CATALOGUE.values()]
        print(_markdown() if format == "markdown" else _aligned((_COLUMNS, *rows)))
        return
    (name,) = names
    if name not in CATALOGUE:
        hint = nearest(name, CATALOGUE)
        raise ArgumentFault(
            f"{name!r} is no corpus of `jaxemo corpora`"
            + (f"; did you mean {hint!r}?" if hint else f"; expected one of {', '.join(CATALOGUE)}")
        )
    print("\n".join(_described(CATALOGUE[name])))
    if audio_dir is not None:
        print("\n" + "\n".join(_scanned(CATALOGUE[name], audio_dir)))


def _row(corpus: PublishedCorpus) -> tuple[str, ...]:
    return (
        corpus.name,
        _domain(corpus),
        corpus.licence,
        _labels(corpus),
        _folds(corpus),
        corpus.obtain,
    )


def _domain(corpus: PublishedCorpus) -> str:
    return corpus.domain if isinstance(corpus.domain, str) else " and ".join(corpus.domain)


def _labels(corpus: PublishedCorpus) -> str:
    emotions = dict.fromkeys(corpus.emotions.values())
    kinds = [", ".join(emotions)] if emotions else []
    kinds += ["quadrants"] if corpus.quadrants and not emotions else []
    kinds += ["valence, arousal"] if corpus.scale is not None else []
    return "; ".join(kinds)


def _folds(corpus: PublishedCorpus) -> str:
    own = f"{corpus.unit}-disjoint"
    return f"{corpus.partition_words} (else {own})" if corpus.partition_words else own


def _markdown() -> str:
    rows = [
        (f"`{row[0]}`", f"{corpus.title}. {corpus.citation}", *row[1:], corpus.checked)
        for corpus in CATALOGUE.values()
        if (row := _row(corpus))
    ]
    lines = [_MARKDOWN_COLUMNS, ("---",) * len(_MARKDOWN_COLUMNS), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


# One corpus -----------------------------------------------------------------------------------


def _described(corpus: PublishedCorpus) -> list[str]:
    layout = corpus.layout
    where = "names of files" if isinstance(layout, Names) else layout.files
    lines = [
        f"{corpus.title} ({corpus.name}), {_domain(corpus)}",
        f"licence     {corpus.licence}",
        f"cite        {corpus.citation}",
        f"to obtain   {corpus.obtain}",
        f"layout      {layout.example}; labels in {where}; checked against {corpus.checked}",
        f"folds       {_folds(corpus)}",
    ]
    if corpus.partitions:
        parts = ", ".join(f"{own} = {part}" for own, part in corpus.partitions.items())
        lines.append(f"parts       {parts}")
    if corpus.scale is not None:
        low, high = (f"{end:g}" for end in corpus.scale)
        lines.append(f"ratings     {low} to {high} become -1 to 1; quadrants by their signs")
    return [*lines, "", *_label_map(corpus)]


def _label_map(corpus: PublishedCorpus) -> list[str]:
    labels = dict.fromkeys((*corpus.emotions, *corpus.quadrants))
    rows = [
        (label, corpus.emotions.get(label, "-"), _quadrant(quadrant_of_label(corpus, label)))
        for label in labels
    ]
    head = ("label", "emotion", "quadrant")
    return [_aligned((head, *rows)), "Other labels are counted and take no part."] if rows else []


def _quadrant(name: str) -> str:
    return f"{name} ({QUADRANT_WORDS[name]})" if name else "-"


def _scanned(corpus: PublishedCorpus, audio_dir: Path) -> list[str]:
    """Clips by class, labels that are none, and files left out, of a folder."""
    ravdess = known_emotions(corpus.name) if corpus.name in RAVDESS_NAMES else ()
    settings = CorpusSettings(
        name=corpus.name,
        audio_dir=str(audio_dir),
        emotions=ravdess[:6] if corpus.domain == "music" else ravdess,
        classes="emotions" if corpus.emotions else "quadrants",
    )
    found = open_corpus(settings, audio_dir)
    rows = [
        (row["domain"], row["emotion"], str(row["clips"]), str(row["speakers"]))
        for row in corpus_summary(found.utterances)
    ]
    head = ("domain", "class", "clips", f"{corpus.unit}s")
    return [_aligned((head, *rows)), *found.notes, *_left_out(found)]


def _left_out(found: Corpus) -> list[str]:
    lines = [f"left out: {item.path}: {item.reason}" for item in found.left_out[:_LISTED]]
    rest = len(found.left_out) - _LISTED
    return [*lines, f"left out: {rest} more"] if rest > 0 else lines
