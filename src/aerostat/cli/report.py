"""The verb `report`."""

from __future__ import annotations

from pathlib import Path

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.errors import InputError


@app.command(sort_key=10, usage="Usage: aerostat report RUN [DATA]")
def report(run: Path, data: Path | None = None, /) -> None:
    """Rebuild the HTML page of a run.

    Parameters
    ----------
    run:
        Run directory.
    data:
        Where the run's data are now, if they have moved.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.datasets.dataset import read_dataset
    from aerostat.datasets.origin import Origin, ReadOptions
    from aerostat.reporting import report as write_report
    from aerostat.reporting.subject import recorded_source
    from aerostat.runs.directory import Run

    known = Run(run)
    if not known.recipe.is_file():
        what = "has no recipe.toml" if run.is_dir() else "does not exist"
        raise InputError(f"{run} is no run: it {what}; name the --out directory of a training.")
    dataset = None
    if data is not None:
        origin = Origin.from_dict(recorded_source(known))
        dataset = read_dataset(data, origin.options if origin else ReadOptions())
    console.tell(f"wrote {write_report(known, dataset, commands=COMMANDS)}")
