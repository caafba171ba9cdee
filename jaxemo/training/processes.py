"""Several processes that run one command together, each on devices of its own.

All of them run the same program; what one decides alone (the time, a signal, what lies on its disk) must
become the decision of all before any of them acts on it, since they meet in every compiled step. Files
are written by the first.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Bool

from jaxemo.training.sharding import replicated


def is_first() -> bool:
    """Whether this is the process that writes results, models and logs."""
    return jax.process_index() == 0


def word_of_first(number: int) -> int:
    """The number that the first process has; every process waits for it here."""
    if jax.process_count() == 1:
        return number
    from jax.experimental import multihost_utils

    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))


@contextlib.contextmanager
def first_goes_first(stage: str) -> Iterator[None]:
    """The block runs in the first process, and in the others once it has ended there.

    What the first one leaves in a folder that all see, the others find.
    """
    from jax.experimental import multihost_utils

    if jax.process_count() == 1:
        yield
        return
    if not is_first():
        multihost_utils.sync_global_devices(stage)
    try:
        yield
    finally:
        # Whatever went wrong: the others wait, and will meet with the same.
        if is_first():
            multihost_utils.sync_global_devices(stage)


def on_host(tree: Any) -> Any:
    """The arrays of a tree as numpy's, whole in every process; keys are not among them.

    A leaf that lies on devices of several processes is put together leaf by leaf, so that no device has
    to hold more than one of them whole.
    """
    return jax.tree.map(_on_host, tree)


def _on_host(leaf: Any) -> np.ndarray:
    if not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated:
        return np.array(leaf)  # A copy: the next step reuses the buffer that this would look into.
    from jax.experimental import multihost_utils

    return np.array(multihost_utils.process_allgather(leaf, tiled=True))


class Votes:
    """Flags that any process may raise and all see at once.

    Asking does not wait for the device: of several processes, each vote is counted on the devices behind
    the step that was dispatched before it, and read when the next one is cast. A flag is then seen one
    vote late, by all processes in the same one.
    """

    def __init__(self, mesh: Mesh, *, num_flags: int) -> None:
        self._mesh = mesh
        self._num_flags = num_flags
        self._cast: jax.Array | None = None
        self._count = jax.jit(lambda votes: votes.any(axis=0), out_shardings=replicated(mesh))

    def cast(self, *flags: bool) -> Bool[np.ndarray, " flags"]:
        """This process's flags; returns those that any process raised in the vote before."""
        if jax.process_count() == 1:
            return np.array(flags)
        before, self._cast = self._cast, self._start(flags)
        return np.zeros(self._num_flags, bool) if before is None else np.array(before)

    def settle(self, *flags: bool) -> Bool[np.ndarray, " flags"]:
        """As `cast`, and waits for this very vote."""
        seen = self.cast(*flags)
        return seen if self._cast is None else seen | np.array(self._cast)

    def _start(self, flags: tuple[bool, ...]) -> jax.Array:
        votes = np.broadcast_to(np.array(flags), (self._mesh.size, self._num_flags))
        sharding = NamedSharding(self._mesh, PartitionSpec(self._mesh.axis_names))
        # Not `placed`: here the processes differ, and each gives its own devices its own flags.
        own = jax.make_array_from_callback(votes.shape, sharding, votes.__getitem__)
        return self._count(own)
