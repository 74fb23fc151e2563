"""The verb `study`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aerostat.cli.app import Classes, Flag, app, document, name_of, read, split_names
from aerostat.errors import InputError

if TYPE_CHECKING:
    from aerostat.experiments.study import Arm


@app.command(sort_key=4.5, usage="Usage: aerostat study DATA [OPTIONS]")
def study(
    data: Path,
    /,
    *,
    classes: Classes = None,
    seeds: int | None = None,
    folds: int = 0,
    recipe: Annotated[list[str] | None, Parameter(negative=())] = None,
    vary: Annotated[list[str] | None, Parameter(negative=())] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    model: str | None = None,
    weights: str | None = None,
    tta: Flag = False,
    out: Path | None = None,
    class_attribute: str | None = None,
    images: Path | None = None,
    strict: Flag = False,
    json: Flag = False,
) -> None:
    """Repeat a recipe over seeds or folds: mean, spread and interval of AP; compare recipes.

    Type the same command again to go on with a study that was stopped, or with more seeds to extend it.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    seeds:
        How many seeds each recipe is trained with; by default 5, and 1 with --folds.
    folds:
        Cross-validation on so many parts of the training images; a val split is not looked at.
    recipe:
        "auto", "small", "published" or a TOML file; several are compared, the first being the base.
    vary:
        One more recipe: the first one with "section.key=value section.key=value" changed; may be repeated.
    set_:
        A recipe field that all of them share, as section.key=value; may be repeated.
    model:
        rtmdet-nano, -tiny, -s, -m, -l or -x; by default that of the weights, else rtmdet-tiny.
    weights:
        What to start from: a file, a run, or a name of the zoo.
    tta:
        Score the last weights with test-time augmentation, too.
    out:
        Directory of the study; by default studies/NAME-OF-DATA, with -folds-K where there are folds.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    images:
        Folder of the images, if they are not beside their annotations.
    strict:
        Refuse data of which anything would be dropped.
    json:
        Print the study as JSON.
    """
    from aerostat.cli import console
    from aerostat.experiments import study as studies
    from aerostat.experiments.summary import plot, render

    if seeds is not None and seeds < 1:
        raise InputError(f"Expected --seeds to be at least 1, found {seeds}.")
    arms = _arms(recipe or ["auto"], vary or [], set_ or [], model)
    dataset = read(
        data,
        classes=split_names(classes),
        class_attribute=class_attribute,
        images=None if images is None else str(images.absolute()),
        strict=strict,
    )
    path = out or Path("studies") / (name_of(data) + (f"-folds-{folds}" if folds else ""))
    count = seeds or (1 if folds else 5)
    found = studies.study(
        dataset,
        arms,
        out=path,
        seeds=range(count),
        folds=folds,
        model=model,
        weights=weights,
        tta=tta,
    )
    picture = plot(found, path / "study.png")
    if json:
        print(document(found.to_dict()))
        return
    console.stdout().print(render(found))
    print(f"{path / 'results.json'}\n{picture}")


def _arms(recipes: list[str], variations: list[str], shared: list[str], model: str | None) -> list[Arm]:
    """Return the recipes of a study: the named ones, then the first one's variations."""
    from aerostat.cli.train import recipe_values
    from aerostat.experiments.study import Arm
    from aerostat.training.recipe import parse_assignments

    arms = []
    for name in recipes:
        preset, values = recipe_values(name, shared, [], model)
        arms.append(Arm(Path(name).stem if preset != name else name, preset, values))
    base = arms[0]
    for text in variations:
        changed: dict[str, dict[str, Any]] = {s: dict(fields) for s, fields in base.values.items()}
        for section, fields in parse_assignments(text.split()).items():
            changed.setdefault(section, {}).update(fields)
        arms.append(Arm(text, base.preset, changed))
    return arms
