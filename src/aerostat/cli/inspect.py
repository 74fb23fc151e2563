"""The verb `inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import Classes, Flag, JsonFlag, app, document, read, split_names
from aerostat.cli.train import recipe_values
from aerostat.errors import AerostatError, clause

if TYPE_CHECKING:
    from aerostat.inspection.pictures import StagePictures
    from aerostat.training.api import Plan


@app.command(sort_key=3, usage="Usage: aerostat inspect DATA [OPTIONS]")
def inspect(
    data: Path,
    /,
    *,
    out: Path = Path("inspection"),
    limit: int = 16,
    seed: int | None = None,
    classes: Classes = None,
    model: str | None = None,
    weights: str | None = None,
    recipe: str = "auto",
    input_size: int | None = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    class_attribute: str | None = None,
    images: Path | None = None,
    strict: Flag = False,
    force: Flag = False,
    json_: JsonFlag = False,
) -> None:
    """Look at annotated images before training on them.

    Prints the data card and what lint finds; draws the images, their labels, the batches that the network
    will see, and plots of sizes, shapes and places.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    out:
        Folder for the pictures; an earlier inspection in it is replaced.
    limit:
        Images of each split, and samples of each stage of training, that are shown.
    seed:
        Of which images are shown, and of the augmentation; by default the recipe's.
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    model:
        As for train: what decides the input size and the augmentation.
    weights:
        As for train: what the run would start from, which decides the input size.
    recipe:
        As for train: "auto", "small", "published", or a TOML file.
    input_size:
        As for train: side of the network's square input in pixels, a multiple of 32.
    set_:
        As for train: any other recipe field, as section.key=value; may be repeated.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    images:
        Folder of the images, if they are not beside their annotations.
    strict:
        Show everything all the same, and then fail if lint has an error or a warning.
    force:
        Write into a folder that holds something else than an earlier inspection.
    json_:
        Print one JSON document.
    """
    from aerostat.datasets.summary import data_card
    from aerostat.inspection.folder import DOCUMENT, check_request, inspect_to_folder
    from aerostat.lint.lint import lint, require_clean
    from aerostat.training.preview import plan_to_show

    check_request(out, limit=limit, force=force)
    flags = [("data", "input_size", input_size), ("run", "seed", seed)]
    preset, values = recipe_values(recipe, set_ or [], flags, model)
    dataset = read(data, classes=split_names(classes), class_attribute=class_attribute, images=images)
    planned, refusal = plan_to_show(dataset, model=model, weights=weights, preset=preset, values=values)
    findings = lint(dataset)
    if not json_:
        console.stdout().print(data_card(dataset).render(problems=False))
        console.stdout().print(findings.render(f"all stand in {out / DOCUMENT}"))
    if refusal:
        console.note(f"train would refuse these data: {refusal}")
    decided = planned.recipe if planned else None
    if planned and decided:
        console.note(
            f"batches as for rtmdet-{decided.model.size} at {decided.data.input_size} px, batch "
            f"{decided.optim.batch_size}, seed {decided.run.seed} ({planned.reasons[0]})"
        )
    done = inspect_to_folder(
        dataset,
        out,
        limit=limit,
        seed=decided.run.seed if decided else seed or 0,
        force=force,
        batches=lambda: _batches(planned, limit),
        input_size=decided.data.input_size if decided else None,
        recipe=decided.to_dict() if decided else None,
        refusal=refusal,
        findings=findings,
    )
    print(document(done.to_dict()) if json_ else "\n".join(done.lines()))
    if strict:
        require_clean(findings)


def _batches(planned: Plan | None, limit: int) -> Sequence[StagePictures]:
    """Return what the network would see; nothing, with a note, if there is no plan or no readable image."""
    from aerostat.training.preview import preview_pictures

    if planned is None:
        return []
    try:
        return preview_pictures(planned.train_split, planned.recipe, limit=limit)
    except AerostatError as error:
        console.note(f"the batches of training cannot be shown: {clause(error)}")
        return []
