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
    print(f"{'name':<21}{'classes':<12}{'input':>6}{'box AP':>8}{'mask AP':>9}{'M params':>10}  here")
    for row in zoo_table():
        entry = row.entry
        box, mask = ("-" if ap is None else f"{ap:.1f}" for ap in (entry.box_ap, entry.mask_ap))
        about = f"{entry.name:<21}{entry.classes:<12}{entry.input_size[0]:>6}{box:>8}{mask:>9}"
        print(f"{about}{entry.parameters_m:>10.1f}  {'yes' if row.here else 'no'}")
    print("A model is downloaded when it is named as weights; --json has the addresses.")
    console.tell(f"They stand in {weights_folder()} (AEROSTAT_HOME changes that).")


@app.command(sort_key=12)
def doctor() -> None:
    """Print the environment, as a bug report needs it."""
    from aerostat.training.machine import describe_environment

    print(document(describe_environment()))
