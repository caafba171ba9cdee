"""What the page says first: cautions, and for each study its sentences with the figure to look at.

The sentences are made in the sections, each from an interval or a corrected test. Nothing here ranks
encoders against each other or explains a cause.
"""

from typing import NamedTuple

from jaxemo.report.contents import Content
from jaxemo.report.figures import Section, Sentence

LEADING = 3  # sentences per study that are shown at once


class Finding(NamedTuple):
    """What one study says.

    Attributes:
      heading: Name of the study.
      figure: Address and name of the figure to look at first.
      sentences: Shown at once.
      more: Shown on demand.
    """

    heading: str
    figure: tuple[str, str] | None
    sentences: list[Sentence]
    more: list[Sentence]


def findings(sections: list[Section]) -> list[Finding]:
    """One finding per study that says something."""
    return [_finding(section) for section in sections if section.findings]


def _finding(section: Section) -> Finding:
    said = section.findings
    figure = None
    if section.figures:
        figure = section.figures[0].identifier, section.figures[0].heading
    # A single sentence is not worth a fold.
    shown = LEADING if len(said) > LEADING + 1 else LEADING + 1
    return Finding(section.heading, figure, said[:shown], said[shown:])


def cautions(content: Content) -> list[str]:
    """What a reader must know first: random weights, single folds, and the run's own notes."""
    said = []
    untrained = [name for name, origin in content.origins.items() if origin == "untrained"]
    if untrained:
        said.append(
            f"{_listed(untrained)} {'has' if len(untrained) == 1 else 'have'} random weights. Their "
            "figures show what architecture and pipeline give without any learning; they are no "
            "evidence about pretrained representations."
        )
    scored = [*content.results.layers, *content.results.transfer]
    if scored and all(row.low is None for row in scored):
        said.append(
            "This run has one fold, so scores carry no interval and no difference can be judged."
        )
    return said + list(content.results.provenance.notes)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
