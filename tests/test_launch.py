"""What the environment says of the processes that run a command together."""

import pytest

from jaxemo.cli.launch import launch_of

OWN = {
    "JAXEMO_COORDINATOR": "node1:8476",
    "JAXEMO_NUM_PROCESSES": "4",
    "JAXEMO_PROCESS_ID": "3",
}
SLURM = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "1"}


def test_an_explicit_coordinator_is_given_to_jax_as_it_is():
    assert launch_of(OWN).arguments == {
        "coordinator_address": "node1:8476",
        "num_processes": 4,
        "process_id": 3,
        "cluster_detection_method": "deactivate",
    }


def test_its_own_variables_count_before_the_launchers():
    assert launch_of(OWN | {"SLURM_STEP_NUM_TASKS": "8"}).by == "JAXEMO_COORDINATOR"


@pytest.mark.parametrize(
    ("environment", "arguments"),
    [
        ({"JAXEMO_COORDINATOR": "auto"}, {}),
        ({"SLURM_STEP_NUM_TASKS": "2"}, {"cluster_detection_method": "slurm"}),
        (
            {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_MCA_orte_hnp_uri": "1.0;tcp://10.0.0.1:3"},
            {"cluster_detection_method": "ompi"},
        ),
        ({"TPU_WORKER_HOSTNAMES": "10.0.0.1,10.0.0.2"}, {}),
    ],
)
def test_launchers_of_several_processes_are_found_by_jax(environment, arguments):
    assert launch_of(environment).arguments == arguments


@pytest.mark.parametrize(
    "environment",
    [
        {},
        SLURM,  # A batch script of four tasks that did not go through srun.
        SLURM | {"SLURM_STEP_NUM_TASKS": "1"},
        {"OMPI_COMM_WORLD_SIZE": "1"},
        {"TPU_WORKER_HOSTNAMES": "localhost"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "3"},
        OWN | {"JAXEMO_NUM_PROCESSES": "1", "JAXEMO_PROCESS_ID": "0"},
    ],
)
def test_one_process_starts_nothing(environment):
    assert launch_of(environment) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"JAXEMO_COORDINATOR": "node1"}, "JAXEMO_COORDINATOR is 'node1'; expected HOST:PORT"),
        ({"JAXEMO_COORDINATOR": ":8476"}, "expected HOST:PORT"),
        ({"JAXEMO_COORDINATOR": "node1:99999"}, "a port from 1 to 65535"),
        (
            {"JAXEMO_NUM_PROCESSES": "four"},
            "JAXEMO_NUM_PROCESSES is 'four'; expected a whole number",
        ),
        ({"JAXEMO_NUM_PROCESSES": "0"}, "from 1 to"),
        ({"JAXEMO_PROCESS_ID": "-1"}, "JAXEMO_PROCESS_ID is '-1'"),
        ({"JAXEMO_PROCESS_ID": "4"}, "JAXEMO_PROCESS_ID is 4; expected 0 to 3"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_value(change, words):
    with pytest.raises(ValueError, match=words):
        launch_of(OWN | change)


@pytest.mark.parametrize("name", sorted(OWN))
def test_the_three_variables_go_together(name):
    environment = {key: value for key, value in OWN.items() if key != name}
    with pytest.raises(ValueError, match=f"{name} is not set"):
        launch_of(environment)


def test_other_launchers_numbers_are_checked_too():
    with pytest.raises(ValueError, match="SLURM_STEP_NUM_TASKS is 'x'"):
        launch_of({"SLURM_STEP_NUM_TASKS": "x"})


def test_an_open_mpi_that_jax_cannot_read_asks_for_the_coordinator():
    with pytest.raises(ValueError, match="Set JAXEMO_COORDINATOR=HOST:PORT"):
        launch_of({"OMPI_COMM_WORLD_SIZE": "2"})
