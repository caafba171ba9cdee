"""The one place where audio meets an encoder outside training.

Passes (`plan.py`) are loaded ahead in threads, run over the devices of a mesh, and handed to
collectors (`collectors.py`, `files.py`), which reduce a batch on the device and take the result to
the host while the next batch is computed.
"""

import contextlib
import functools
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float, Float32

from jaxemo.data.audio import standardise
from jaxemo.data.loading import loaded_ahead
from jaxemo.embedding.clock import DeviceClock
from jaxemo.embedding.plan import Pass
from jaxemo.models.encoder import StemOutput
from jaxemo.models.layers import ChannelMoments
from jaxemo.models.pretrained import Encoder, Normalisation
from jaxemo.models.windows import Clip, WindowBatch, clip_moments, cut_windows

Waveforms = Callable[[int], Float32[np.ndarray, " N"]]
Track = Callable[[Iterable, str, int], Iterable]

# What a killed run loses at most, beside the passes that it was in.
SECONDS_BETWEEN_COMMITS = 5.0
# The windows of a clip follow each other, and each loading thread may be at another clip.
_OPEN_CLIPS = 2


def untracked(items: Iterable, description: str, total: int) -> Iterable:
    """The `Track` that reports nothing."""
    del description, total
    return items


class Network(NamedTuple):
    """What clips are put through: an encoder as it is, or adapted.

    Attributes:
      encoder: Its sizes, rate and normalisation; its parameters may be among `params`.
      params: First argument of `forward`.
      forward: (params, waveform, num_samples, moments) -> (stem, hidden states).
    """

    encoder: Encoder
    params: Any
    forward: Callable[..., tuple[StemOutput, Float[Array, "M B T D"]]]


class Encoded(NamedTuple):
    """One batch, still on the devices.

    Attributes:
      step: The pass that it is of.
      stem: Of every row, rows that only fill the batch included.
      hidden_states: Likewise.
      given: True on the frames that the pass's windows give, each clip's once in all passes.
    """

    step: Pass
    stem: StemOutput
    hidden_states: Float[Array, "M B T D"]
    given: Bool[np.ndarray, "B T"]


@runtime_checkable
class Collector(Protocol):
    """Makes something of a stream of encoded batches."""

    def missing(self) -> Bool[np.ndarray, " n"]:
        """The clips that it has to see."""
        ...

    def reduce(self, encoded: Encoded) -> Any:
        """What it wants of a batch, as device arrays; dispatched, not waited for."""
        ...

    def add(self, step: Pass, reduced: Any) -> None:
        """Takes what `reduce` gave, on the host by now, in the order of the passes."""
        ...

    def commit(self) -> None:
        """Makes safe what was added; no clip is open."""
        ...


class Timing(NamedTuple):
    """How a stream went.

    Attributes:
      num_clips: That went through the network.
      audio_seconds: Their length, without padding.
      wall_seconds: Compilation included.
      device_wait: Share of the time from the first batch on in which the devices had nothing to do.
    """

    num_clips: int
    audio_seconds: float
    wall_seconds: float
    device_wait: float


def row_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of one axis, over which the rows of a batch lie; this process's devices where None."""
    devices = jax.local_devices() if devices is None else devices
    # Auto axes: under Explicit ones (jax's default since 0.7) contracting a sharded axis raises.
    return jax.make_mesh(
        (len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=list(devices)
    )


# The jitted function holds the module alone, so an encoder's weights go when it does.
_forwards: weakref.WeakKeyDictionary[Encoder, Callable] = weakref.WeakKeyDictionary()


def plain_network(encoder: Encoder) -> Network:
    """The encoder as it was loaded; compiled once for each width, however often it is asked for."""
    if encoder not in _forwards:
        _forwards[encoder] = jax.jit(functools.partial(_forward, encoder.module))
    return Network(encoder, encoder.params, _forwards[encoder])


def _forward(module, params, waveform, num_samples, moments):
    variables = {"params": params}
    stem = module.apply(variables, waveform, num_samples, moments, method="stem")
    return stem, module.apply(variables, *stem, method="contextualise")


def run_passes(
    network: Network,
    passes: Sequence[Pass],
    waveforms: Waveforms,
    collectors: Sequence[Collector],
    *,
    mesh: Mesh,
    batch_size: int,
    track: Track = untracked,
    seconds_between_commits: float = SECONDS_BETWEEN_COMMITS,
) -> Timing:
    """Runs every pass once and gives it to every collector.

    Args:
      network: What clips are put through.
      passes: As planned for this encoder, at most `batch_size` rows each.
      waveforms: Clip number -> what of the clip is looked at, mono at the encoder's rate; it is
        normalised here as the encoder asks.
      collectors: Each sees every pass, in order.
      mesh: Rows lie on all its devices; batches are filled up to a multiple of them.
      track: Wraps the loop over passes, for progress.
      seconds_between_commits: Collectors commit when so much time has passed and no clip is open.
    """
    started = time.monotonic()
    num_rows = -(-batch_size // mesh.size) * mesh.size
    load = functools.partial(_load, _clip_reader(network.encoder, waveforms), num_rows)
    params = jax.device_put(network.params, NamedSharding(mesh, PartitionSpec()))
    over_devices = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    committed = started
    with DeviceClock() as clock, contextlib.closing(loaded_ahead(passes, load)) as loaded:
        tracked = track(loaded, f"embedding with {network.encoder.name}", len(passes))
        for step, reduced in _one_behind(
            _dispatched(network._replace(params=params), tracked, collectors, over_devices, clock)
        ):
            for collector, part in zip(collectors, jax.device_get(reduced), strict=True):
                collector.add(step, part)
            if step.closes_clips and time.monotonic() - committed >= seconds_between_commits:
                _commit(collectors)
                committed = time.monotonic()
        _commit(collectors)
        waited = clock.stop()
    lengths = {row.clip: row.window for step in passes for row in step.rows}
    samples = sum(window.start_sample + window.num_samples for window in lengths.values())
    seconds = samples / network.encoder.sample_rate_hz
    return Timing(len(lengths), seconds, time.monotonic() - started, waited)


def _commit(collectors: Sequence[Collector]) -> None:
    for collector in collectors:
        collector.commit()


def _dispatched(
    network: Network,
    loaded: Iterable[tuple[Pass, WindowBatch]],
    collectors: Sequence[Collector],
    sharding: NamedSharding,
    clock: DeviceClock,
) -> Iterator[tuple[Pass, list[Any]]]:
    """Starts each batch and what every collector wants of it."""
    for step, batch in loaded:
        begun = time.monotonic()
        batch = jax.tree.map(lambda leaf: jax.device_put(leaf, sharding), batch)
        stem, hidden_states = network.forward(network.params, *batch)
        given = np.zeros(hidden_states.shape[1:3], bool)
        for place, row in enumerate(step.rows):
            given[place, row.window.given] = True
        encoded = Encoded(step, stem, hidden_states, given)
        reduced = [collector.reduce(encoded) for collector in collectors]
        clock.watch(begun, reduced)
        yield step, reduced


def _one_behind(items: Iterable) -> Iterator:
    """The same items, each given when the next has been started: the device never waits for a disk."""
    held: list = []
    for item in items:
        held.append(item)
        if len(held) > 1:
            yield held.pop(0)
    yield from held


def _load(open_clip: Callable, num_rows: int, step: Pass) -> tuple[Pass, WindowBatch]:
    sources = [(open_clip(row.clip, in_windows=step.in_windows), row.window) for row in step.rows]
    return step, cut_windows(sources, width=step.width, batch_size=num_rows)


def _clip_reader(encoder: Encoder, waveforms: Waveforms) -> Callable[..., Clip]:
    @functools.lru_cache(maxsize=_OPEN_CLIPS)
    def open_clip(number: int, *, in_windows: bool) -> Clip:
        waveform = waveforms(number)
        if encoder.normalisation is Normalisation.ZERO_MEAN_UNIT_VARIANCE:
            waveform = standardise(waveform)
        moments: ChannelMoments | None = None
        if in_windows:
            moments = clip_moments(encoder, waveform)
        return Clip(waveform, moments)

    return open_clip
