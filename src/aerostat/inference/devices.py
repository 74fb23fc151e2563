"""Names of devices, the same for every verb, and the device that a name stands for on this machine."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from aerostat.errors import InputError
from aerostat.processors import threads_within_quota

if TYPE_CHECKING:  # names are checked without torch
    import torch

_log = logging.getLogger(__name__)

DEVICES = ("auto", "cpu", "cuda", "cuda:0", "mps")
"""Names of devices; cuda takes the number of any GPU."""


def check_device(name: str | torch.device) -> None:
    """Refuse what is not the name of a device; whether the machine has it is not looked at.

    Raises:
        InputError: naming those that are.
    """
    if not re.fullmatch(r"auto|(cpu|mps)(:0)?|cuda(:\d{1,3})?", str(name)):
        raise InputError(f"Expected one of the devices {', '.join(DEVICES)}, found {str(name)!r}.")


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device that a name stands for; ``auto`` is CUDA if there is one, else the CPU.

    If the device cannot be used here, it is the CPU, and a warning is logged.

    Raises:
        InputError: the name is not that of a device.
    """
    import torch

    check_device(name)
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # a name alone does not fail where there is no such device
    except (RuntimeError, AssertionError, ImportError) as error:
        why = " ".join(str(error).split()).partition(". ")[0].rstrip(".")[:120]
        _log.warning(f"the device {name} cannot be used here ({why}); the CPU is taken instead")
        return torch.device("cpu")
    return device


def respect_quota() -> None:
    """Lower torch's number of threads to the quota of the container; without one nothing changes."""
    import torch

    before = torch.get_num_threads()
    threads = threads_within_quota(before)
    if threads < before:
        torch.set_num_threads(threads)
