"""How many processes are asked for, and what started them."""

import pytest

from aerostat.errors import InputError
from aerostat.processes.placement import Placement, is_first

TORCHRUN = {"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}
SLURM = {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"}
PLAIN = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "1"}


@pytest.mark.parametrize(
    ("devices", "nodes", "name"), [(0, 1, "devices"), (-1, 1, "devices"), (1, 0, "nodes")]
)
def test_numbers_below_one_are_refused(devices, nodes, name):
    with pytest.raises(InputError, match=f"`{name}` to be at least 1"):
        Placement(devices, nodes)


@pytest.mark.parametrize(
    ("asked", "environment", "expected"),
    [
        (Placement(), {}, Placement()),
        (Placement(2), {}, Placement(2)),
        (Placement(), TORCHRUN, Placement(2, 2)),
        (Placement(2, 2), TORCHRUN, Placement(2, 2)),
        (Placement(2, 2), SLURM, Placement(2, 2)),
        # Tasks of a job may train different things, each alone.
        (Placement(), SLURM, Placement()),
        (Placement(2), {**SLURM, "SLURM_JOB_NAME": "bash"}, Placement(2)),
        (Placement(4, 2), PLAIN, Placement(4, 2)),
    ],
)
def test_the_processes_are_those_that_were_started(asked, environment, expected):
    assert asked.within(environment) == expected


@pytest.mark.parametrize(
    ("asked", "environment", "sentence"),
    [
        (Placement(3), TORCHRUN, "torchrun started 4 processes, but `devices=3` on each of 1 machine are 3"),
        (Placement(4, 2), SLURM, "SLURM started 4 processes, but `devices=4` on each of 2 machines are 8"),
        (Placement(2, 2), {}, "need MASTER_ADDR, MASTER_PORT, NODE_RANK in the environment"),
        (Placement(2, 2), {**PLAIN, "MASTER_ADDR": ""}, "need MASTER_ADDR in the environment"),
        (Placement(2, 2), {**PLAIN, "NODE_RANK": "2"}, "NODE_RANK from 0 to 1, found '2'"),
        (Placement(2, 2), {**PLAIN, "NODE_RANK": "-1"}, "NODE_RANK from 0 to 1, found '-1'"),
        (Placement(2, 2), {**PLAIN, "MASTER_PORT": "65536"}, "number of a port, found '65536'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(asked, environment, sentence):
    with pytest.raises(InputError) as refused:
        asked.within(environment)
    assert sentence in str(refused.value)


@pytest.mark.parametrize(
    ("placement", "environment", "first"),
    [
        (Placement(), {}, True),
        (Placement(2), {"LOCAL_RANK": "0", "RANK": "0"}, True),
        (Placement(2), {"LOCAL_RANK": "1"}, False),
        (Placement(1, 2), {"NODE_RANK": "1"}, False),
        (Placement(1, 2), {"RANK": "2", "LOCAL_RANK": "0"}, False),
        (Placement(2), {**SLURM, "SLURM_PROCID": "1"}, False),
        (Placement(), {**SLURM, "SLURM_PROCID": "1"}, True),
        (Placement(), {"RANK": "1", "NODE_RANK": "1"}, True),
    ],
)
def test_only_one_process_is_the_first(placement, environment, first):
    assert is_first(placement, environment) == first
