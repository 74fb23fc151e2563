"""The page about a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from aerostat.errors import AerostatError, clause

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.runs.directory import Run

_log = logging.getLogger(__name__)


def write_page(run: Run, data: Dataset | None = None) -> None:
    """Write the page about a run and print its path, once however many processes trained the run.

    A page that cannot be written is no reason to call a training failed.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.reporting import report
    from aerostat.training.machine import is_main_process

    if not is_main_process():
        return
    try:
        print(report(run, data, commands=COMMANDS))
    except (AerostatError, OSError) as error:
        why = clause(error) if isinstance(error, AerostatError) else error
        _log.warning(f"the run in {run.path} is whole, but its report could not be written: {why}")
