"""The verb `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aerostat.cli.app import Classes, Flag, app, name_of, read, refuse, split_names
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from aerostat.datasets.dataset import Dataset
    from aerostat.runs.directory import Run


@app.command(sort_key=4, usage="Usage: aerostat train DATA [OPTIONS]")
def train(
    data: Path | None = None,
    /,
    *,
    classes: Classes = None,
    model: str | None = None,
    weights: str | None = None,
    out: Path | None = None,
    recipe: str = "auto",
    epochs: int | None = None,
    batch_size: int | None = None,
    input_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    device: Literal["auto", "cpu", "cuda", "mps"] | None = None,
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] | None = None,
    freeze_backbone: Flag = False,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    resume: Path | None = None,
    class_attribute: str | None = None,
    images: Path | None = None,
    strict: Flag = False,
    dry_run: Flag = False,
) -> None:
    """Fine-tune RTMDet on annotated images.

    DATA is a folder with train/ and val/, each with images and annotations in VIA or COCO format.

    Parameters
    ----------
    data:
        Data set folder, or one split's annotation file.
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    model:
        rtmdet-nano, -tiny, -s, -m, -l or -x; by default the recipe file's or the weights', else rtmdet-tiny.
    weights:
        What to start from: a file, a run, or a name of the zoo (downloaded if it is not in the cache).
    out:
        Run directory, which must not exist; by default runs/NAME-OF-DATA.
    recipe:
        "auto" (chosen by the size of the data), "small", "published", or a TOML file.
    epochs:
        Passes over the training images; warm-up, stage 2 and averaging follow.
    batch_size:
        Images per iteration.
    input_size:
        Side of the network's square input in pixels, a multiple of 32.
    lr:
        Learning rate after warm-up.
    seed:
        Of weights, data order and augmentation.
    device:
        What computes; by default auto, a GPU if there is one.
    precision:
        Of the forward pass; losses are always float32.
    freeze_backbone:
        Leave the backbone as it is.
    set_:
        Any other recipe field, as section.key=value; may be repeated.
    resume:
        Go on with this run directory; DATA is read again from where it was, unless given.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    images:
        Folder of the images, if they are not beside their annotations.
    strict:
        Refuse data about which lint has an error or a warning.
    dry_run:
        Print the data card and the resolved recipe, and train nothing.
    """
    from aerostat.runs.directory import Run
    from aerostat.training.signals import leaving_at_once

    reading: dict[str, Any] = {
        "classes": split_names(classes),
        "class_attribute": class_attribute,
        "images": None if images is None else str(images.absolute()),
        "strict": strict,
    }
    fields = {
        "--epochs": ("schedule", "epochs", epochs),
        "--batch-size": ("optim", "batch_size", batch_size),
        "--input-size": ("data", "input_size", input_size),
        "--lr": ("optim", "lr", lr),
        "--seed": ("run", "seed", seed),
        "--device": ("run", "device", device),
        "--precision": ("optim", "precision", precision),
        "--freeze-backbone": ("model", "freeze", "backbone" if freeze_backbone else None),
    }
    if resume is not None:
        own: dict[str, Any] = {
            "--model": model,
            "--weights": weights,
            "--out": out,
            "--recipe": recipe != "auto",
        }
        own |= {option: value for option, (_, _, value) in fields.items()}
        own |= {"--set": set_, "--dry-run": dry_run}
        refuse(own, "cannot go with --resume, which goes on with the run's own recipe")
        with leaving_at_once(lambda: Run(resume).left):
            _report(_resumed(resume, data, reading))
        return
    if data is None:
        hint = " (--classes takes every name up to the next option, so DATA goes before it)" * bool(classes)
        raise InputError(f"Expected a data set folder to train on: aerostat train DATA{hint}.")
    preset, values = recipe_values(recipe, set_ or [], list(fields.values()), model)
    if dry_run:
        from aerostat.training import api as training

        dataset = read(data, **reading)
        planned = training.plan(dataset, model=model, weights=weights, preset=preset, values=values)
        training.show_plan(dataset, planned, training.look_at(dataset, strict=strict))
        print(planned.recipe.to_toml(), end="")
        return
    run = _free_run(out, data)
    source = {"path": str(data.absolute()), **reading}
    with leaving_at_once(lambda: Run(run).left):
        from aerostat.training import api as training

        dataset = read(data, **reading)
        trained = training.train(
            dataset,
            model=model,
            weights=weights,
            out=run,
            preset=preset,
            values=values,
            source=source,
            strict=strict,
        )
        _report(trained, dataset)


def recipe_values(
    recipe: str, assignments: list[str], flags: list[tuple[str, str, Any]], model: str | None
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Return the preset to start from and the fields that override it: those of a file, --set, then flags.

    Args:
        recipe: a preset or a TOML file.
        assignments: ``section.key=value`` each.
        flags: section, key and value of each flag that has a field; None where it was not given.
        model: what --model asks for.

    Raises:
        InputError: a key or value is none of a recipe's; said before the data are read, which may take long.
    """
    from aerostat.training.presets import PRESETS
    from aerostat.training.recipe import Recipe, parse_assignments, read_values

    preset, values = recipe, dict[str, dict[str, Any]]()
    if recipe not in PRESETS:
        if not recipe.endswith(".toml") and not Path(recipe).is_file():
            known = ", ".join(PRESETS)
            raise InputError(f"Unknown recipe {recipe!r}; expected one of {known}, or a TOML file.")
        preset, values = "auto", read_values(Path(recipe))
    for section, fields in parse_assignments(assignments).items():
        values.setdefault(section, {}).update(fields)
    for section, key, value in flags:
        if value is not None:
            values.setdefault(section, {})[key] = value
    if model is not None:
        values.get("model", {}).pop("size", None)  # like every flag, --model beats the recipe file
    Recipe().override(values)
    return preset, values


def _resumed(run: Path, data: Path | None, reading: dict[str, Any]) -> Run:
    """Go on with a run, on its own data unless others are named."""
    from aerostat.training.api import resume

    if data is None:
        of_data = {f"--{name.replace('_', '-')}": value for name, value in reading.items()}
        refuse(of_data, "cannot go with --resume unless DATA is named too")
        return resume(run)
    return resume(run, read(data, **reading), source={"path": str(data.absolute()), **reading})


def _free_run(out: Path | None, data: Path) -> Path:
    """Return the directory of a new run, by default named after its data, which must not exist."""
    from aerostat.runs.directory import Run

    path = out or Path("runs") / name_of(data)
    Run(path).require_absent()
    return path


def _report(run: Run, data: Dataset | None = None) -> None:
    """Write the page about a run and say where it is, once however many processes trained it.

    A page that cannot be written is no reason to call a training failed.
    """
    from aerostat.cli import console
    from aerostat.report import report as write_report
    from aerostat.training.machine import is_main_process

    if not is_main_process():
        return
    try:
        print(write_report(run, data))
    except (AerostatError, OSError) as error:
        console.note(f"the run in {run.path} is whole, but its report could not be written: {error}")
