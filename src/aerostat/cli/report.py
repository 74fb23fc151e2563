"""The verb `report`."""

from __future__ import annotations

from pathlib import Path

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.options import READ
from aerostat.cli.reading import read, read_for
from aerostat.cli.recipes import is_config
from aerostat.errors import InputError


@app.command(sort_key=10, usage="Usage: aerostat report RUN [DATA]")
def report(run: Path, data: Path | None = None, /) -> None:
    """Rebuild the HTML page of a run, or write one about a work directory of MMDetection.

    Parameters
    ----------
    run:
        Run directory, or work directory of MMEngine with its weights, config and logs.
    data:
        Where the run's data are now, if they have moved.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.datasets.dataset import read_dataset
    from aerostat.datasets.origin import Origin, ReadOptions
    from aerostat.openmmlab.work_dir import find_work_dir
    from aerostat.reporting import report as write_report
    from aerostat.reporting.subject import recorded_source
    from aerostat.runs.directory import Run

    known = Run(run)
    work_dir = None if known.recipe.is_file() else find_work_dir(run)
    if work_dir is not None:
        from aerostat.reporting.work_dir import report_work_dir

        given = None if data is None else read_for(work_dir.classes, data, READ)
        console.tell(f"wrote {report_work_dir(work_dir, given, commands=COMMANDS)}")
        return
    if not known.recipe.is_file():
        what = "has no recipe.toml" if run.is_dir() else "does not exist"
        raise InputError(f"{run} is no run: it {what}; name the --out directory of a training.")
    dataset = None
    if data is not None and is_config(data):
        dataset = read(data, READ)
    elif data is not None:
        origin = Origin.from_dict(recorded_source(known))
        dataset = read_dataset(data, origin.options if origin else ReadOptions())
    console.tell(f"wrote {write_report(known, dataset, commands=COMMANDS)}")
