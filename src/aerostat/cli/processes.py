"""The command line in several processes: the first one speaks for all of them."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aerostat.processes.placement import Placement


def quiet_unless_first(placement: Placement) -> None:
    """Let this process print nothing if it is not the first one, apart from a sentence when it fails.

    Args:
        placement: as asked for.
    """
    from aerostat.processes.placement import is_first

    if is_first(placement):
        return
    logging.getLogger("aerostat").setLevel(logging.CRITICAL)
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - to the end of the process


def own_device(device: str, placement: Placement) -> str:
    """Return the device of this process: its own GPU if several processes share those of a machine.

    Raises:
        InputError: there are fewer GPUs, or one of them is named.
    """
    if placement.devices == 1 or device in ("cpu", "cpu:0"):
        return device
    from aerostat.processes.start import require_devices

    chosen = require_devices(device, placement)
    number = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0"))
    return f"cuda:{number}" if chosen.type == "cuda" else str(chosen)
