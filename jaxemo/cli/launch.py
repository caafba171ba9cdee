"""Whether this process is one of several that run one command together, as its environment says.

It is said by variables and not by the config: a launcher sets them, they differ from process to process,
and the config that results carry does not.

    JAXEMO_COORDINATOR=HOST:PORT   where process 0 is met; `auto` leaves all three to jax
    JAXEMO_NUM_PROCESSES=N
    JAXEMO_PROCESS_ID=I            0 to N-1

Without them a step of Slurm, a world of Open MPI or a TPU slice of several hosts counts, each where it
has more than one process; on one machine, in a job of one task, nothing is started.
"""

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

logger = logging.getLogger("jaxemo")

COORDINATOR, NUM_PROCESSES, PROCESS_ID = (
    "JAXEMO_COORDINATOR",
    "JAXEMO_NUM_PROCESSES",
    "JAXEMO_PROCESS_ID",
)
_AUTO = "auto"
_OWN = (COORDINATOR, NUM_PROCESSES, PROCESS_ID)
_MOST_PROCESSES = 1_000_000
# A process that failed alone waits so long for the others; they fail as soon as it is gone.
_SHUTDOWN_SECONDS = 10


class Launch(NamedTuple):
    """How the processes of a command find each other.

    Attributes:
      by: The variable that says so.
      arguments: Of `jax.distributed.initialize`.
    """

    by: str
    arguments: dict[str, Any]


def launch_of(environment: Mapping[str, str]) -> Launch | None:
    """The launch that the variables describe; None for a process on its own.

    Raises:
      ValueError: A variable cannot be used; the message has its name, its value and what was expected.
    """
    if any(name in environment for name in _OWN):
        return _own_launch(environment)
    for name, method in (("SLURM_STEP_NUM_TASKS", "slurm"), ("OMPI_COMM_WORLD_SIZE", "ompi")):
        if name in environment and _number(environment, name, least=1) > 1:
            if method == "ompi" and "OMPI_MCA_orte_hnp_uri" not in environment:
                raise ValueError(
                    f"{name} is {environment[name]!r}, and this Open MPI (5 or later) does not say where "
                    f"its first process is. Set {COORDINATOR}=HOST:PORT, {NUM_PROCESSES} and, from "
                    f"$OMPI_COMM_WORLD_RANK, {PROCESS_ID}."
                )
            return Launch(name, {"cluster_detection_method": method})
    if len(environment.get("TPU_WORKER_HOSTNAMES", "").split(",")) > 1:
        return Launch("TPU_WORKER_HOSTNAMES", {})
    return None


def _own_launch(environment: Mapping[str, str]) -> Launch | None:
    if environment.get(COORDINATOR) == _AUTO:
        return Launch(COORDINATOR, {})
    missing = [name for name in _OWN if name not in environment]
    if missing:
        given = ", ".join(f"{name}={environment[name]}" for name in _OWN if name in environment)
        raise ValueError(
            f"{' and '.join(missing)} is not set, and {given} is; expected all of {', '.join(_OWN)}, or "
            f"{COORDINATOR}={_AUTO}."
        )
    count = _number(environment, NUM_PROCESSES, least=1)
    process = _number(environment, PROCESS_ID, least=0)
    if process >= count:
        raise ValueError(
            f"{PROCESS_ID} is {process}; expected 0 to {count - 1}, since {NUM_PROCESSES} is {count}."
        )
    address = environment[COORDINATOR]
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(
            f"{COORDINATOR} is {address!r}; expected HOST:PORT with a port from 1 to 65535 that is free on "
            f"the host of process 0, such as node1:8476, or {_AUTO}."
        )
    if count == 1:
        return None
    return Launch(
        COORDINATOR,
        {
            "coordinator_address": address,
            "num_processes": count,
            "process_id": process,
            # All devices of the host that this process may see, whatever else launched it.
            "cluster_detection_method": "deactivate",
        },
    )


def _number(environment: Mapping[str, str], name: str, *, least: int) -> int:
    text = environment[name]
    if not text.isdecimal() or not least <= int(text) <= _MOST_PROCESSES:
        raise ValueError(
            f"{name} is {text!r}; expected a whole number from {least} to {_MOST_PROCESSES}."
        )
    return int(text)


def join(launch: Launch) -> None:
    """Meets the other processes; before this nothing may have asked jax for a device.

    Raises:
      ValueError: They cannot be met.
    """
    import jax

    # Of CPUs; GPUs and TPUs have their own.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    # It would take SIGTERM for itself; here the signal saves and ends, in all processes.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(**launch.arguments, shutdown_timeout_seconds=_SHUTDOWN_SECONDS)
    except (RuntimeError, ValueError) as error:
        raise ValueError(
            f"{launch.by} says that several processes run this command, and they do not meet: {error}. "
            f"Start it in all of them, or set {', '.join(_OWN)}."
        ) from error
    if jax.process_index() > 0:
        logger.setLevel(logging.WARNING)  # What all would say, the first one says.
    logger.info(
        "%d processes with %d devices, by %s",
        jax.process_count(),
        jax.device_count(),
        launch.by,
    )
