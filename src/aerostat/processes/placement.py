"""How many processes are asked for, and whether whoever started this process agrees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from aerostat.errors import InputError
from aerostat.text import counted, listed

_PLAIN = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
"""Variables that tell machines without torchrun or SLURM of each other."""


@dataclass(frozen=True)
class Placement:
    """How many processes work together.

    Args:
        devices: of each machine; one process works on each.
        nodes: machines.
    """

    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        for name, value in (("devices", self.devices), ("nodes", self.nodes)):
            if value < 1:
                raise InputError(f"Expected `{name}` to be at least 1, found {value}.")

    @property
    def count(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes

    def within(self, environment: Mapping[str, str] | None = None) -> Placement:
        """Return the placement of processes that were started together with this one.

        torchrun says how many processes there are, so nothing needs to be asked for under it.

        Args:
            environment: variables; by default those of this process.

        Raises:
            InputError: torchrun or SLURM started another number, or machines cannot find each other.

        >>> Placement().within({"TORCHELASTIC_RUN_ID": "a", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"})
        Placement(devices=2, nodes=2)
        """
        known = os.environ if environment is None else environment
        if "TORCHELASTIC_RUN_ID" in known:
            started, here = int(known.get("WORLD_SIZE", "1")), int(known.get("LOCAL_WORLD_SIZE", "1"))
            if self.count == 1:
                return Placement(here, max(1, started // here))
            self._require_started("torchrun", started)
        elif self.count > 1 and under_slurm(known):
            self._require_started("SLURM", int(known["SLURM_NTASKS"]))
        elif self.nodes > 1:
            self._require_found(known)
        return self

    def _require_started(self, starter: str, started: int) -> None:
        if started != self.count:
            raise InputError(
                f"{starter} started {counted(started, 'process', 'processes')}, but `devices={self.devices}` "
                f"on each of {counted(self.nodes, 'machine')} are {self.count}; let both be equal."
            )

    def _require_found(self, known: Mapping[str, str]) -> None:
        missing = [name for name in _PLAIN if not known.get(name)]
        if missing:
            raise InputError(
                f"{self.nodes} machines need {listed(missing)} in the environment: address and free port of "
                "the first machine, and the number of this one from 0; or start by torchrun or srun."
            )
        number, port = known["NODE_RANK"], known["MASTER_PORT"]
        if not (number.isdecimal() and int(number) < self.nodes):
            raise InputError(f"Expected NODE_RANK from 0 to {self.nodes - 1}, found {number!r}.")
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise InputError(f"Expected MASTER_PORT to be the number of a port, found {port!r}.")


ALONE = Placement()
"""One process."""


def under_slurm(environment: Mapping[str, str] | None = None) -> bool:
    """Return whether srun started this process; a shell within a job does not count."""
    known = os.environ if environment is None else environment
    return "SLURM_NTASKS" in known and known.get("SLURM_JOB_NAME") not in ("bash", "interactive")


def is_first(placement: Placement, environment: Mapping[str, str] | None = None) -> bool:
    """Return whether this is process 0, as far as is known before the processes have met.

    Args:
        placement: as asked for.
        environment: variables; by default those of this process.

    >>> is_first(Placement(2), {"LOCAL_RANK": "1"})
    False
    """
    known = os.environ if environment is None else environment
    names = ["LOCAL_RANK"]
    if "LOCAL_RANK" in known or placement.nodes > 1:  # some clouds number machines that work alone
        names += ["RANK", "NODE_RANK"]
    if placement.count > 1 and under_slurm(known):
        names.append("SLURM_PROCID")
    return all(known.get(name, "0") in ("", "0") for name in names)
