"""The verbs `models` and `doctor`."""

from __future__ import annotations

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import JsonFlag


@app.command(sort_key=11)
def models(*, json_: JsonFlag = False) -> None:
    """List the published weights, and whether they are here."""
    from aerostat.weights.zoo import weights_folder, zoo_table

    if json_:
        print(document([row.to_dict() for row in zoo_table()]))
        return
    print(f"{'name':<21}{'classes':<12}{'input':>6}{'box AP':>8}{'M params':>10}  here")
    for row in zoo_table():
        entry = row.entry
        ap = "-" if entry.box_ap is None else f"{entry.box_ap:.1f}"
        parameters = "-" if entry.parameters_m is None else f"{entry.parameters_m:.1f}"
        here = ("yes" if row.here else "no") if entry.supported else "not yet: masks"
        print(f"{entry.name:<21}{entry.classes:<12}{entry.input_size[0]:>6}{ap:>8}{parameters:>10}  {here}")
    print("A model is downloaded when it is named as weights; --json has the addresses.")
    console.tell(f"They stand in {weights_folder()} (AEROSTAT_HOME changes that).")


@app.command(sort_key=12)
def doctor() -> None:
    """Print the environment, as a bug report needs it."""
    from aerostat.training.machine import describe_environment

    print(document(describe_environment()))
