"""The verb `study`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import (
    READ,
    Assignments,
    Fields,
    Flag,
    JsonFlag,
    Model,
    Read,
    Recipe,
    RecipeDevice,
    StartWeights,
)
from aerostat.cli.reading import name_of, read
from aerostat.cli.recipes import training_request
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.experiments.study import Arm


@app.command(sort_key=4.5, usage="Usage: aerostat study DATA [OPTIONS]")
def study(
    data: Path,
    /,
    *,
    seeds: int | None = None,
    folds: int = 0,
    recipe: Annotated[list[str] | None, Parameter(negative=())] = None,
    vary: Annotated[list[str] | None, Parameter(negative=())] = None,
    set_: Assignments = None,
    model: Model = None,
    weights: StartWeights = None,
    masks: Annotated[bool | None, Parameter(show_default=False)] = None,
    tta: Flag = False,
    out: Path | None = None,
    device: RecipeDevice = None,
    reading: Read = READ,
    json_: JsonFlag = False,
) -> None:
    """Repeat a training over seeds or folds, and compare recipes by mean and spread of AP.

    Mean and spread are those of mask AP where all recipes have masks. Type the same command again to
    resume a study that was stopped, or with more seeds to extend it.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    seeds:
        Number of seeds for each recipe; by default 5, and 1 with --folds.
    folds:
        Number of parts of the training images for cross-validation; a val split is not used.
    recipe:
        "auto", "small", "published", a TOML file or a config of OpenMMLab. Several are compared with the
        first.
    vary:
        Another recipe: the first one with changes "section.key=value section.key=value"; may be repeated.
    masks:
        Also train instance masks, which needs outlines, or boxes alone; by default what the weights have.
    tta:
        Also score the last weights with test-time augmentation.
    out:
        Directory of the study; by default studies/NAME-OF-DATA, and -folds-K with --folds.
    """
    from aerostat.cli.commands import COMMANDS
    from aerostat.experiments import study as studies
    from aerostat.experiments.summary import plot, render

    if seeds is not None and seeds < 1:
        raise InputError(f"Expected --seeds to be at least 1, found {seeds}.")
    shared = Recipe(model=model, weights=weights, set_=set_)
    arms = _arms(recipe or ["auto"], vary or [], shared, Fields(device=device, masks=masks))
    dataset = read(data, reading)
    path = out or Path("studies") / (name_of(data) + (f"-folds-{folds}" if folds else ""))
    count = seeds or (1 if folds else 5)
    found = studies.study(
        dataset,
        arms,
        out=path,
        seeds=range(count),
        folds=folds,
        tta=tta,
        commands=COMMANDS,
    )
    picture = plot(found, path / "study.png")
    if json_:
        print(document(found.to_dict()))
        return
    console.stdout().print(render(found))
    print(f"{path / 'results.json'}\n{picture}")


def _arms(recipes: list[str], variations: list[str], shared: Recipe, fields: Fields) -> list[Arm]:
    """Return the recipes of a study: the named ones, then the first one's variations."""
    from aerostat.experiments.study import Arm
    from aerostat.training.presets import PRESETS
    from aerostat.training.recipe import parse_assignments

    arms = []
    for name in recipes:
        request = training_request(replace(shared, recipe=name), fields)
        arms.append(Arm(name if name in PRESETS else Path(name).stem, request))
    base = arms[0].request
    for text in variations:
        changed: dict[str, dict[str, Any]] = {s: dict(values) for s, values in base.values.items()}
        for section, values in parse_assignments(text.split()).items():
            changed.setdefault(section, {}).update(values)
        arms.append(Arm(text, replace(base, values=changed)))
    return arms
