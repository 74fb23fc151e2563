"""How processes are started, and what happens where they do not find each other."""

import socket
import sys

import pytest
import torch

from aerostat.errors import AerostatError, InputError
from aerostat.processes import start
from aerostat.processes.placement import Placement
from aerostat.processes.start import Start, fabric_devices, launch

SHORTLY = Start("cpu", join_seconds=1.0)


@pytest.fixture
def port(monkeypatch) -> int:
    """Let this process be the first of others that were started elsewhere, and return a free port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    values = {"LOCAL_RANK": "0", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(number)}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return number


@pytest.mark.parametrize(
    ("device", "count", "asked"),
    [
        ("cpu", 1, 1),
        ("cpu", 4, 4),
        ("cpu:0", 1, 1),
        ("cuda", 2, 2),
        ("cuda:0", 1, [0]),
        ("cuda:3", 1, [3]),
        ("mps", 1, 1),
        ("mps:0", 1, 1),
    ],
)
def test_a_numbered_gpu_is_asked_for_by_its_number(device, count, asked):
    assert fabric_devices(torch.device(device), count) == asked


@pytest.mark.parametrize(("device", "there"), [("cuda", 3), ("mps", 1), ("cuda:1", 3)])
def test_more_gpus_than_there_are_is_one_sentence(device, there, monkeypatch):
    monkeypatch.setattr("aerostat.processes.start.choose_device", torch.device)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(InputError, match=rf"`devices=4` needs as many .* has {there}; ask for fewer"):
        launch(Placement(4), Start(device))


def test_a_port_that_is_taken_is_one_sentence(port):
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(InputError, match=f"Port {port} of .* cannot be listened on"),
    ):
        launch(Placement(2), SHORTLY)


def test_processes_that_do_not_come_are_named(port):
    with pytest.raises(InputError, match="Only 1 process of 3 came within 1 s; process 1, process 2 did not"):
        launch(Placement(3), SHORTLY)


def test_a_first_process_that_is_not_reached_is_one_sentence(port, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(InputError, match=f"Process 1 on .* does not reach process 0 at 127.0.0.1:{port}"):
        launch(Placement(2), SHORTLY)


def test_a_notebook_cannot_start_processes(monkeypatch):
    for name in ("LOCAL_RANK", "NODE_RANK", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "__main__", type("Main", (), {"__spec__": None})())
    with pytest.raises(InputError, match="cannot be started from a notebook"):
        launch(Placement(2), SHORTLY)


@pytest.mark.parametrize(("asked", "quota", "each"), [("4", 4.0, "2"), ("3", 4.0, "3"), ("4", None, "4")])
def test_processes_share_the_threads_of_a_quota_but_not_those_that_are_asked_for(
    asked, quota, each, monkeypatch
):
    class Started:
        returncode = 1

        def __init__(self, *_, env, **__):
            environments.append(env)

        def poll(self) -> int:
            return 1

        def kill(self) -> None:
            """Do nothing: it has ended."""

    environments: list[dict[str, str]] = []
    before = torch.get_num_threads()
    for name in ("LOCAL_RANK", "NODE_RANK", "MASTER_ADDR", "MASTER_PORT", "WORLD_SIZE"):
        monkeypatch.setenv(name, "0")  # so that it is as it was after the test
        monkeypatch.delenv(name)
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    # A worker of pytest-xdist has no script that could be repeated.
    main = type("Main", (), {"__spec__": None, "__file__": __file__})()
    monkeypatch.setitem(sys.modules, "__main__", main)
    monkeypatch.setattr(sys, "argv", [__file__])
    monkeypatch.setattr(start.subprocess, "Popen", Started)
    monkeypatch.setattr(start, "processor_quota", lambda: quota)
    monkeypatch.setattr(start, "usable_processors", lambda: 4)
    try:
        with pytest.raises(
            AerostatError, match=r"Process 1 on .* ended before all were there, with exit code 1"
        ):
            launch(Placement(2), SHORTLY)
    finally:
        torch.set_num_threads(before)
    assert [(env["OMP_NUM_THREADS"], env["LOCAL_RANK"]) for env in environments] == [(each, "1")]
