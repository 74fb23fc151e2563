"""The processes of one run: as many as are asked for, computing as the recipe says."""

from __future__ import annotations

from lightning_fabric import Fabric, seed_everything

from aerostat.errors import InputError
from aerostat.inference.devices import choose_device, respect_quota
from aerostat.processes.placement import Placement
from aerostat.processes.start import Start
from aerostat.processes.start import launch as launch_processes
from aerostat.text import counted
from aerostat.training.recipe import Recipe


def launch(recipe: Recipe, placement: Placement | None = None) -> Fabric:
    """Seed everything and start the processes of a run; returns the Fabric of this one.

    Args:
        recipe: resolved.
        placement: how many processes; by default one on each device of the recipe.

    Raises:
        InputError: the device, its number or the precision cannot be used here, or the batch has fewer images
            than there are processes.
    """
    device = choose_device(recipe.run.device)
    respect_quota()
    if recipe.optim.precision == "16-mixed" and device.type == "cpu":
        raise InputError("The precision 16-mixed needs a GPU; on the CPU use bf16-mixed or 32-true.")
    asked = Placement(recipe.run.devices) if placement is None else placement
    there = asked.within()
    if there.count > recipe.optim.batch_size:
        raise InputError(
            f"A batch of {counted(recipe.optim.batch_size, 'image')} cannot be shared by {there.count} "
            f"processes; ask for fewer `devices`, or for `batch_size={there.count}`."
        )
    seed_everything(recipe.run.seed, verbose=False)
    start = Start(recipe.run.device, recipe.optim.precision, unused_parameters=_thaws(recipe))
    return launch_processes(there, start)


def _thaws(recipe: Recipe) -> bool:
    """Return whether the backbone is frozen in some epochs, so that its parameters get no gradient there."""
    return recipe.freezes_backbone(0) and not recipe.freezes_backbone(recipe.schedule.epochs - 1)
