"""The verb `demo`."""

from __future__ import annotations

from pathlib import Path

from aerostat.cli.app import app


@app.command(sort_key=1)
def demo(*, out: Path = Path("aerostat-demo")) -> None:
    """Try everything on drawn data, offline, in minutes.

    Converts, inspects, trains, evaluates, predicts, explains, and writes one page about it all.

    Parameters
    ----------
    out:
        Folder for the data, the run and report.html; it must not exist.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.demo import run_demo

    print(run_demo(out, COMMANDS))
