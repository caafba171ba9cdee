"""What is seen of training while it goes on: a line of progress and the curves."""

import itertools
from collections.abc import Callable

from jaxemo.data.progress import Progress
from jaxemo.studies.runs import Bench, OnPlaceEpoch, Place
from jaxemo.training.progress import EpochRecord, EpochTiming

LogEpoch = Callable[[str, EpochRecord, EpochTiming | None], None]


def watch_epochs(
    bench: Bench,
    *,
    progress: Progress,
    total: int,
    name_of: Callable[[Place], str],
    log_epoch: LogEpoch,
) -> OnPlaceEpoch:
    """The `on_epoch` of `train_runs`: logs every epoch of every run, and shows how many are done.

    Args:
      total: Epochs of all runs that will be told of.
      name_of: What a run is called in the log.
    """
    report = progress.count(f"{bench.source.name}: {bench.method.name}, epochs")
    done = itertools.count(1)

    def on_epoch(place: Place, record: EpochRecord, timing: EpochTiming | None) -> None:
        log_epoch(name_of(place), record, timing)
        report(next(done), total, _in_words(record, timing))

    return on_epoch


def _in_words(record: EpochRecord, timing: EpochTiming | None) -> str:
    words = f"loss {record.train_loss:.3f}, dev score {record.dev_score:.3f}"
    if timing is None:
        return words
    return (
        f"{words}, {timing.audio_seconds_per_second:.3g} audio-seconds per second, waited for data "
        f"{timing.data_wait:.0%} of the time"
    )
