"""The verb `report`."""

from __future__ import annotations

from pathlib import Path

from aerostat.cli.app import app


@app.command(sort_key=10)
def report(run: Path, /) -> None:
    """Rebuild the HTML page of a run.

    Parameters
    ----------
    run:
        Run directory.
    """
    from aerostat.report import report as write_report
    from aerostat.training.run import Run

    print(f"wrote {write_report(Run(run))}")
