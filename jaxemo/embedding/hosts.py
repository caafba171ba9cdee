"""Several hosts share the work on a corpus by clips, and what they made by the store.

Each host runs the clips that are its own through the encoder on its own devices, so that no forward
pass crosses the network. A cell's clips stay on one host: its statistics need no merging. What is not
kept in a store (two folders without labels) is gathered.
"""

import heapq
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Int


def own_clips(
    num_samples: Int[np.ndarray, " n"],
    cell_of_clip: Int[np.ndarray, " n"] | None,
    *,
    host: int,
    num_hosts: int,
) -> Bool[np.ndarray, " n"]:
    """Which clips one host embeds.

    Longest first, each to the host that has least; all hosts come to the same answer by themselves.

    Args:
      num_samples: Length of each clip.
      cell_of_clip: Clips of one cell stay together; None where each may go alone.
      host: Number of the host.
      num_hosts: How many there are.
    """
    units = np.arange(len(num_samples)) if cell_of_clip is None else cell_of_clip
    lengths = np.bincount(units, weights=num_samples).tolist()
    loads = [(0.0, number) for number in range(num_hosts)]
    host_of_unit = np.zeros(len(lengths), np.int64)
    for unit in np.argsort(np.negative(lengths), kind="stable").tolist():
        load, number = heapq.heappop(loads)
        host_of_unit[unit] = number
        heapq.heappush(loads, (load + lengths[unit], number))
    return host_of_unit[units] == host


def wait_for_hosts(stage: str) -> None:
    """Returns once every host has come to this stage."""
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(stage)


def gathered(tree: Any) -> Any:
    """The arrays of every host, of one shape on all, stacked along a first axis; float64 stays so."""
    from jax.experimental import multihost_utils

    with jax.enable_x64(True):
        return multihost_utils.process_allgather(tree)
