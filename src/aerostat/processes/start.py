"""How processes are started and find each other.

Fabric tells who this process is, under torchrun, SLURM and others. Where a single process was started, it
starts the others of its machine itself, each with the same command. Fabric's own starter is not used: it
ends a run without a word when one process dies, where `aerostat.processes.lifeline` says what happened.
"""

from __future__ import annotations

import inspect
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from torch import distributed
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]
from torch.nn.parallel import DistributedDataParallel

from aerostat.errors import AerostatError, InputError
from aerostat.inference.devices import choose_device
from aerostat.processes.placement import Placement
from aerostat.processors import THREADS, processor_quota, usable_processors
from aerostat.text import counted, listed

JOIN_SECONDS = 300.0
"""How long processes wait for each other at the start. The slowest may have to read its data first."""
_ASK_SECONDS = 0.1
# Batch normalisation keeps its statistics equal itself. Versions of torch name the option differently.
_NEW_NAME = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
_NO_BUFFERS: dict[str, Any] = {"forward_sync_buffers" if _NEW_NAME else "broadcast_buffers": False}
_AGENT = "TORCHELASTIC_USE_AGENT_STORE"  # set by torchrun, which then holds the store itself


@dataclass(frozen=True)
class Start:
    """How processes compute.

    Args:
        device: see `aerostat.inference.devices`; the number of a GPU goes with a single process.
        precision: of Fabric.
        unused_parameters: whether some parameters get no gradient in some steps only.
        join_seconds: how long the processes wait for each other.
    """

    device: str = "auto"
    precision: Any = "32-true"
    unused_parameters: bool = False
    join_seconds: float = JOIN_SECONDS


def launch(placement: Placement, start: Start) -> Fabric:
    """Start the processes and let them find each other; returns the Fabric of this one.

    Args:
        placement: how many, as `Placement.within` returns it.
        start: how they compute.

    Raises:
        InputError: there are fewer GPUs, or the processes do not find each other.
        AerostatError: a process ended before it found the others.
    """
    device = require_devices(start.device, placement)
    strategy: Any = "auto"
    if placement.count > 1:
        strategy = DDPStrategy(find_unused_parameters=start.unused_parameters, **_NO_BUFFERS)
    try:
        fabric = Fabric(
            accelerator=device.type,
            devices=fabric_devices(device, placement.devices),
            num_nodes=placement.nodes,
            strategy=strategy,
            precision=start.precision,
        )
        if placement.count > 1 and not distributed.is_initialized():
            _join(strategy.cluster_environment, placement, device, start.join_seconds)
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        why = " ".join(str(error).split()).rstrip(".")
        raise InputError(f"Cannot work on {placement.devices} x {device}: {why}.") from None
    return fabric


def fabric_devices(device: torch.device, count: int) -> int | list[int]:
    """Return which devices Fabric is asked for: a number of them, or one GPU by its number.

    >>> fabric_devices(torch.device("cuda:1"), 1)
    [1]
    """
    return [device.index] if device.type == "cuda" and device.index is not None else count


def require_devices(name: str, placement: Placement) -> torch.device:
    """Return the device that a name stands for, of which each machine has enough.

    Raises:
        InputError: it has fewer, or the name is that of a single one.
    """
    device = choose_device(name)
    if device.type == "cpu" or placement.devices == 1:
        return device
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if ":" in name or placement.devices > there:
        raise InputError(
            f"`devices={placement.devices}` needs as many {device.type} devices on each machine, but "
            f"{socket.gethostname()} has {there}; ask for fewer, or for `device='cpu'`."
        )
    return device


def _join(
    environment: ClusterEnvironment, placement: Placement, device: torch.device, seconds: float
) -> None:
    """Start what is not started, wait until all processes are there, and make their process group."""
    environment.validate_settings(placement.devices, placement.nodes)
    others: list[subprocess.Popen[bytes]] = []
    if not environment.creates_processes_externally:
        others = _start_others(environment, placement)
    rank = environment.node_rank() * placement.devices + environment.local_rank()
    try:
        store = _store(environment, rank, seconds)
        _meet(store, rank, placement.count, others, seconds)
        options: dict[str, Any] = {}
        if device.type == "cuda":
            options["device_id"] = torch.device("cuda", environment.local_rank())
            torch.cuda.set_device(options["device_id"])
        distributed.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=rank,
            world_size=placement.count,
            **options,
        )
    except BaseException:
        for other in others:
            other.kill()
        raise


def _start_others(environment: ClusterEnvironment, placement: Placement) -> list[subprocess.Popen[bytes]]:
    """Start the other processes of this machine with the command of this one; they print no results."""
    main = sys.modules["__main__"]
    name = main.__spec__.name if main.__spec__ is not None else ""
    if not name and not hasattr(main, "__file__"):
        raise InputError(
            "Several processes repeat a script or a command, so they cannot be started from a notebook or a "
            "prompt; put the call into a file, or use the command line."
        )
    words = ["-m", name] if name else [os.path.abspath(sys.argv[0])]  # noqa: PTH100 - links stay
    _share_quota(placement.devices)
    os.environ.update(
        MASTER_ADDR=environment.main_address,
        MASTER_PORT=str(environment.main_port),
        NODE_RANK=str(environment.node_rank()),
        LOCAL_RANK="0",
        WORLD_SIZE=str(placement.count),
    )
    return [
        subprocess.Popen(
            [sys.executable, *words, *sys.argv[1:]],
            env={**os.environ, "LOCAL_RANK": str(number)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for number in range(1, placement.devices)
    ]


def _share_quota(processes: int) -> None:
    """Let the processes of this machine share the threads that a container's quota grants.

    Without a quota Fabric shares the processors out. A number of threads that the user set is that of each
    process.
    """
    granted = usable_processors()
    if processor_quota() is not None and os.environ.get(THREADS) == str(granted):
        share = max(1, granted // processes)
        os.environ[THREADS] = str(share)
        torch.set_num_threads(share)


def _store(environment: ClusterEnvironment, rank: int, seconds: float) -> Any:
    """Return what the processes leave word in; process 0 holds it, or torchrun.

    Raises:
        InputError: the port is taken, or process 0 cannot be reached.
    """
    host, port = environment.main_address, environment.main_port
    holds = rank == 0 and os.environ.get(_AGENT) != "True"
    patience = timedelta(seconds=seconds)
    try:
        store = TCPStore(host, port, None, holds, patience, wait_for_workers=False)
    except RuntimeError:
        if holds:
            raise InputError(
                f"Port {port} of {socket.gethostname()} cannot be listened on, perhaps because another "
                "program does; set MASTER_PORT to a free port on every machine."
            ) from None
        raise InputError(
            f"Process {rank} on {socket.gethostname()} does not reach process 0 at {host}:{port} within "
            f"{seconds:.0f} s; is it running, is MASTER_ADDR its address, and is the port open?"
        ) from None
    return PrefixStore(f"aerostat/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def _meet(
    store: Any, rank: int, count: int, others: Sequence[subprocess.Popen[bytes]], seconds: float
) -> None:
    """Wait until all processes are there.

    Raises:
        InputError: some are not there in time; the sentence names them.
        AerostatError: a process of this machine has ended.
    """
    began = time.monotonic()
    try:
        store.set(f"here/{rank}", socket.gethostname())
        missing = list(range(count))
        while missing := [number for number in missing if not store.check([f"here/{number}"])]:
            _require_alive(others)
            if time.monotonic() - began > seconds:
                named = listed([f"process {number}" for number in missing], 3)
                raise InputError(
                    f"Only {counted(count - len(missing), 'process', 'processes')} of {count} came within "
                    f"{seconds:.0f} s; {named} did not: are all machines started, with the same `devices` "
                    "and `nodes`?"
                )
            time.sleep(_ASK_SECONDS)
        # Process 0 holds the store, so it stays until all have seen that all are there.
        store.set(f"seen/{rank}", "")
        if rank == 0:
            _wait(lambda: store.check([f"seen/{number}" for number in range(count)]), seconds)
    except distributed.DistError:
        raise InputError(
            f"Process {rank} on {socket.gethostname()} lost process 0 before all were there; it says why."
        ) from None


def _wait(done: Callable[[], bool], seconds: float) -> None:
    began = time.monotonic()
    while not done() and time.monotonic() - began < seconds:
        time.sleep(_ASK_SECONDS)


def _require_alive(others: Sequence[subprocess.Popen[bytes]]) -> None:
    for number, other in enumerate(others, 1):
        if other.poll() is not None:
            error = InputError if other.returncode == InputError.exit_code else AerostatError
            raise error(
                f"Process {number} on {socket.gethostname()} ended before all were there, with exit code "
                f"{other.returncode}."
            )
