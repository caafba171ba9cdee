"""Charts of results.json for notebooks, papers and scripts, drawn with Altair.

Every function takes a results.json (its path, the object that it holds, or typed results) and returns
an Altair chart, which a notebook shows as it is and `chart.save("x.svg")`, `.png` or `.pdf` writes
without a network. Panels are those of the report, side by side; `columns` of them stand in a row.

    jaxemo.figures.layer_curves("runs/demo/results.json").save("layers.pdf")
"""

from collections.abc import Callable

import altair as alt

from jaxemo.report.boards import figure_board
from jaxemo.report.contents import Content, Source, content_of
from jaxemo.report.figures import Figure
from jaxemo.report.sections import confusions as confusion_charts
from jaxemo.report.sections import layers, sharing, shift, similarity, transfer

__all__ = [
    "confusions",
    "cross_emotion",
    "distance_curves",
    "distance_fields",
    "emotion_shape",
    "emotion_shift",
    "layer_curves",
    "layer_weights",
    "recalls",
    "second_opinions",
    "shared_emotion",
    "shift_controls",
    "shift_curves",
    "transfer_gains",
    "transfer_scores",
]


def layer_curves(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Unweighted accuracy by layer, speech against music, one panel per encoder.

    Args:
      results: A results.json that `jaxemo probe` or `study` wrote.
      columns: Panels in a row.

    Raises:
      ValueError: The results do not fit the schema, or hold no scores of an encoder's layers.
    """
    return _board(layers.layer_curves, results, columns, "jaxemo probe")


def recalls(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Recall of each emotion by layer as matrices, one per encoder and domain; else as `layer_curves`."""
    return _board(layers.recalls, results, columns, "jaxemo probe")


def transfer_scores(results: Source, *, columns: int = 2) -> alt.ConcatChart:
    """UA on the target domain by method and regime, one panel per encoder and direction.

    Args:
      results: A results.json that `jaxemo transfer` or `study` wrote.
      columns: Panels in a row.

    Raises:
      ValueError: The results do not fit the schema, or hold no scores of transfer.
    """
    return _board(transfer.transfer_scores, results, columns, "jaxemo transfer")


def transfer_gains(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Gains over target-only paired by fold, one panel per encoder; else as `transfer_scores`."""
    return _board(transfer.transfer_gains, results, columns, "jaxemo transfer")


def layer_weights(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Learnt weights of the layers, one panel per encoder of several and method; else as `transfer_scores`."""
    return _board(transfer.layer_weights, results, columns, "jaxemo transfer")


def distance_curves(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """FAD between speech and music of each emotion by layer, one panel per encoder.

    Args:
      results: A results.json that `jaxemo fad` or `study` wrote.
      columns: Panels in a row.

    Raises:
      ValueError: The results do not fit the schema, or hold no distances of emotions.
    """
    return _board(similarity.distance_curves, results, columns, "jaxemo fad")


def second_opinions(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """FAD at equal n, extrapolated FAD, and KAD by layer, three panels per encoder; else as `distance_curves`."""
    return _board(similarity.second_opinions, results, columns, "jaxemo fad")


def distance_fields(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """FAD by layer and emotion as matrices, one per encoder; else as `distance_curves`."""
    return _board(similarity.distance_fields, results, columns, "jaxemo fad")


def emotion_shift(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """How far music of each emotion lies from speech of it, one panel per encoder; else as `distance_curves`."""
    return _board(shift.emotion_shift, results, columns, "jaxemo fad")


def shift_curves(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """The same by layer, one panel per encoder; else as `distance_curves`."""
    return _board(shift.shift_curves, results, columns, "jaxemo fad")


def shift_controls(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """The shift with sentence, intensity or cues held still, one panel per encoder; else as `distance_curves`."""
    return _board(shift.shift_controls, results, columns, "jaxemo fad")


def emotion_shape(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """How differently clips of each emotion spread in both domains; else as `distance_curves`."""
    return _board(shift.emotion_shape, results, columns, "jaxemo fad")


def cross_emotion(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Every speech emotion against every music emotion, a matrix per encoder and layer; else as `distance_curves`."""
    return _board(sharing.cross_emotion, results, columns, "jaxemo fad")


def shared_emotion(results: Source, *, columns: int = 3) -> alt.ConcatChart:
    """Which layers share emotion across speech and music, one panel per encoder; else as `distance_curves`."""
    return _board(sharing.shared_emotion, results, columns, "jaxemo fad")


def confusions(results: Source, *, study: str = "layers", columns: int = 3) -> alt.ConcatChart:
    """Which emotions are taken for which.

    Args:
      results: A results.json that `jaxemo probe`, `transfer` or `study` wrote.
      study: `layers` for the probes or `transfer`.
      columns: Panels in a row.

    Raises:
      ValueError: Another study, results that do not fit the schema, or none of this study.
    """
    if study not in ("layers", "transfer"):
        raise ValueError(f"study is {study!r}; expected 'layers' or 'transfer'.")

    def make(content: Content) -> Figure:
        return confusion_charts.confusions(content, study)

    return _board(
        make, results, columns, "jaxemo probe" if study == "layers" else "jaxemo transfer"
    )


def _board(
    make: Callable[[Content], Figure], results: Source, columns: int, command: str
) -> alt.ConcatChart:
    figure = make(content_of(results))
    if not figure.panels:
        raise ValueError(
            f"The results hold nothing to draw for {figure.heading!r}; `{command}` writes it, and so "
            "does `jaxemo study`."
        )
    return figure_board(figure, columns=columns)
