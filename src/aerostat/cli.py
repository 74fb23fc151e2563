"""One function per verb, thin: parse, call, print. Heavy modules are imported by the verb that needs them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from aerostat import console
from aerostat.errors import AerostatError, InputError
from aerostat.files import nearest_existing
from aerostat.wording import listed

if TYPE_CHECKING:
    from aerostat.data.dataset import Dataset, ImageRecord, Split
    from aerostat.detections import Detections
    from aerostat.training.run import Run

app = App(
    name="aerostat",
    help="RTMDet object detection, lighter than air: annotations in, trained detector out.",
    version_flags=["--version"],
    group_parameters="Options",
    suppress_keyboard_interrupt=False,  # it would end without a word
)

Classes = Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())]
Flag = Annotated[bool, Parameter(negative=(), show_default=False)]
JsonFlag = Annotated[bool, Parameter(name="--json", negative=(), show_default=False)]


@app.command(sort_key=1)
def demo(*, out: Path = Path("aerostat-demo")) -> None:
    """Show the whole story on embedded data, offline, in minutes.

    Convert, look at the data, train, evaluate, predict, and one page about it all.

    Parameters
    ----------
    out:
        Folder for the data, the run and report.html; it must not exist.
    """
    from aerostat.demo import run_demo

    print(run_demo(out))


@app.command(sort_key=2, usage="Usage: aerostat convert SRC DST [OPTIONS]")
def convert(
    src: Path,
    dst: Path,
    /,
    *,
    classes: Classes = None,
    class_attribute: str | None = None,
    from_: Annotated[Literal["via", "coco"] | None, Parameter(name="--from")] = None,
    to: Literal["via", "coco"] | None = None,
    area: Literal["polygon", "box"] = "polygon",
    images: Path | None = None,
    strict: Flag = False,
    force: Flag = False,
    json_: JsonFlag = False,
) -> None:
    """Convert annotations between VIA and COCO.

    The format of SRC is recognised from its content. Images stay where they are.

    Parameters
    ----------
    src:
        Annotation file, or a data set folder.
    dst:
        File to write, or a folder for several splits.
    classes:
        Class names in order, up to the next option; VIA files without class attributes need the one name.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    from_:
        Refuse a source in another format.
    to:
        Format to write; by default VIA if DST's name has "via" in it, else COCO.
    area:
        "polygon" as COCO means it, or "box" as the usual balloon converter writes it.
    images:
        Folder of the images, if they are not beside their annotations.
    strict:
        Refuse a source of which anything would be dropped.
    force:
        Replace files that exist.
    json_:
        Print one JSON document.
    """
    from aerostat.data.convert import convert as convert_annotations

    done = convert_annotations(
        src,
        dst,
        to=to,
        from_format=from_,
        classes=_split_names(classes),
        class_attribute=class_attribute,
        area=area,
        images=images,
        strict=strict,
        force=force,
    )
    print(_document(done.to_dict()) if json_ else "\n".join(done.lines()))


@app.command(sort_key=3, usage="Usage: aerostat train DATA [OPTIONS]")
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
        Refuse data of which anything would be dropped.
    dry_run:
        Print the data card and the resolved recipe, and train nothing.
    """
    from aerostat.training import train as training

    reading: dict[str, Any] = {
        "classes": _split_names(classes),
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
        _refuse(own, "cannot go with --resume, which goes on with the run's own recipe")
        _report(_resumed(resume, data, reading))
        return
    if data is None:
        hint = " (--classes takes every name up to the next option, so DATA goes before it)" * bool(classes)
        raise InputError(f"Expected a data set folder to train on: aerostat train DATA{hint}.")
    preset, values = _recipe_values(recipe, set_ or [], list(fields.values()), model)
    if dry_run:
        dataset = _read(data, **reading)
        planned = training.plan(dataset, model=model, weights=weights, preset=preset, values=values)
        training.show_plan(dataset, planned)
        print(planned.recipe.to_toml(), end="")
        return
    run = _free_run(out, data)
    source = {"path": str(data.absolute()), **reading}
    dataset = _read(data, **reading)
    _report(
        training.train(
            dataset, model=model, weights=weights, out=run, preset=preset, values=values, source=source
        )
    )


@app.command(name="eval", sort_key=4, usage="Usage: aerostat eval WEIGHTS DATA [OPTIONS]")
def evaluate(
    weights: str,
    data: Path,
    /,
    *,
    split: str | None = None,
    classes: Classes = None,
    class_attribute: str | None = None,
    images: Path | None = None,
    input_size: int | None = None,
    max_dets: Annotated[tuple[int, int, int], Parameter(negative=())] = (1, 10, 100),
    save: Path | None = None,
    device: str = "auto",
    strict: Flag = False,
    force: Flag = False,
    json_: JsonFlag = False,
) -> None:
    """Print the COCO table of a detector on annotated images.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    data:
        Data set folder, or one split's annotation file.
    split:
        Which split of a folder with several; by default val, else test.
    classes:
        Class names of the annotations, up to the next option; by default the detector's.
    class_attribute:
        VIA region attribute that holds the class, where there are several.
    images:
        Folder of the images, if they are not beside their annotations.
    input_size:
        Side of the network's square input in pixels; by default the one it was trained at.
    max_dets:
        COCO's three limits on detections per image.
    save:
        Also write the detections as COCO results to this file.
    device:
        auto, cpu, cuda or mps.
    strict:
        Refuse data of which anything would be dropped.
    force:
        Let --save replace a file that exists.
    json_:
        Print one JSON document.
    """
    from aerostat.data.card import require_usable
    from aerostat.evaluation.coco import evaluate_detections
    from aerostat.evaluation.evaluate import detect
    from aerostat.predict import load

    if save is not None:
        _require_free(save, force, "--save")
    detector = load(weights, device=device, input_size=input_size)
    reading = {"class_attribute": class_attribute, "images": images, "strict": strict}
    dataset = _read_for(detector.classes, data, _split_names(classes), **reading)
    part = _split_to_evaluate(dataset, split)
    _tell_losses(dataset, part)
    require_usable(dataset, [part.name])
    found = detect(detector, part)
    result = evaluate_detections(
        part.images, [detections for _, detections in found], part.classes, max_dets=max_dets
    )
    if save is not None:
        _save_results(save, part, found)
    print(_document(result.to_dict()) if json_ else result.render())


@app.command(sort_key=5, usage="Usage: aerostat predict WEIGHTS SOURCE... [OPTIONS]")
def predict(
    weights: str,
    /,
    *sources: str,
    score: float = 0.3,
    out: Path = Path("predictions"),
    format_: Annotated[
        list[Literal["json", "csv", "coco"]] | None, Parameter(name="--format", negative=())
    ] = None,
    pictures: Annotated[bool, Parameter(show_default=False)] = True,
    input_size: int | None = None,
    nms_iou: float = 0.65,
    device: str = "auto",
    json_: JsonFlag = False,
) -> None:
    """Find objects on photographs.

    Writes pictures with boxes, and a file with the detections.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    sources:
        Images, folders, or patterns such as "photos/*.jpg".
    score:
        Show detections above this.
    out:
        Folder for what is written.
    format_:
        File with the detections: json (default), csv or coco; may be repeated.
    pictures:
        Draw the boxes on the photographs, as is done by default, or do not.
    input_size:
        Side of the network's square input in pixels; by default the one it was trained at.
    nms_iou:
        Overlap above which the weaker of two detections of a class goes.
    device:
        auto, cpu, cuda or mps.
    json_:
        Print one JSON document.
    """
    from aerostat.predict import load
    from aerostat.predictions import predict_to_folder

    if not 0 <= score < 1 or not 0 < nms_iou <= 1:
        raise InputError(f"Expected a score in [0, 1) and an NMS IoU in (0, 1], found {score} and {nms_iou}.")
    done = predict_to_folder(
        lambda: load(weights, device=device, input_size=input_size),
        sources,
        out,
        score=score,
        nms_iou=nms_iou,
        formats=tuple(dict.fromkeys(format_ or ["json"])),
        pictures=pictures,
    )
    print(_document(done.to_dict()) if json_ else "\n".join(done.lines()))
    if done.failed:
        total = len(done.failed) + len(done.found)
        rest = "the others are done" if done.found else "nothing was written"
        raise AerostatError(
            f"{len(done.failed)} of {total} images could not be read, first {done.failed[0][0]}; {rest}."
        )


@app.command(sort_key=6, usage="Usage: aerostat export WEIGHTS [OPTIONS]")
def export(
    weights: str,
    /,
    *,
    to: Literal["openmmlab"] = "openmmlab",
    out: Path | None = None,
    force: Flag = False,
) -> None:
    """Write weights for other tools.

    That is, for now, an OpenMMLab .pth that MMDetection loads.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    to:
        The only format so far is openmmlab.
    out:
        File to write; by default the weights' own name with .pth.
    force:
        Replace a file that exists.
    """
    from aerostat.model.checkpoint import in_published_order, load_weights
    from aerostat.model.openmmlab import write_pth
    from aerostat.predict import weights_path

    source = weights_path(weights)
    loaded = load_weights(source)
    target = out or source.with_suffix(".pth")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the file to export; choose another --out.")
    _require_free(target, force, "--out")
    if loaded.header.kind != "detector":
        raise InputError(f"{source} holds a pretrained backbone, no detector; there is nothing to export.")
    state = in_published_order(loaded, source)
    write_pth(target, state, loaded.header.classes, {"input_size": loaded.header.input_size})
    print(f"wrote {target}: rtmdet-{loaded.header.size}, classes {listed(loaded.header.classes)}")


@app.command(sort_key=7)
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


@app.command(sort_key=8)
def models(*, json_: JsonFlag = False) -> None:
    """List the published weights, and whether they are here.

    Parameters
    ----------
    json_:
        Print one JSON document.
    """
    from aerostat.model.zoo import weights_folder, zoo_table

    if json_:
        print(_document([row.to_dict() for row in zoo_table()]))
        return
    print(f"{'name':<21}{'classes':<12}{'input':>6}{'box AP':>8}{'M params':>10}  here")
    for row in zoo_table():
        entry = row.entry
        ap = "-" if entry.box_ap is None else f"{entry.box_ap:.1f}"
        parameters = "-" if entry.parameters_m is None else f"{entry.parameters_m:.1f}"
        here = ("yes" if row.here else "no") if entry.supported else "no: masks are to come"
        print(f"{entry.name:<21}{entry.classes:<12}{entry.input_size[0]:>6}{ap:>8}{parameters:>10}  {here}")
    print(f"Only naming one as weights fetches it, into {weights_folder()}")
    print("(AEROSTAT_HOME changes that; --json has the names and addresses of the files).")


@app.command(sort_key=9)
def doctor() -> None:
    """Print the environment, as a bug report needs it."""
    from aerostat.training.machine import describe_environment

    print(_document(describe_environment()))


def _read(data: Path, **reading: Any) -> Dataset:
    from aerostat.data.dataset import Dataset

    return Dataset.read(data, **reading)


def _read_for(known: tuple[str, ...], data: Path, classes: list[str] | None, **reading: Any) -> Dataset:
    """Read data for a detector of the classes `known`, whose names stand for those that nobody states."""
    from aerostat.data.dataset import OtherClassesError

    if classes:
        return _read(data, classes=classes, **reading)
    try:
        return _read(data, classes=list(known), **reading)
    except OtherClassesError:  # whoever compares them says so
        return _read(data, classes=None, **reading)


def _split_to_evaluate(dataset: Dataset, name: str | None) -> Split:
    """Return the split asked for; if none was, val, else test, else the only one there is."""
    from aerostat.data.dataset import ONLY_SPLIT

    if name is not None or "val" in dataset.splits:
        return dataset.split(name or "val")
    only = list(dataset.splits) if len(dataset.splits) == 1 else []
    chosen = "test" if "test" in dataset.splits else only[0] if only else "val"
    part = dataset.split(chosen)
    if chosen != ONLY_SPLIT:
        console.note(f"there is no val split: evaluating on {chosen}")
    return part


def _tell_losses(dataset: Dataset, part: Split) -> None:
    """Say what the figures of a split are missing, so that they are not compared with those of the whole."""
    from aerostat.data.card import data_card
    from aerostat.data.dataset import LOSSES

    for card in data_card(dataset).splits:
        for problem in card.problems:
            if card.name == part.name and problem.kind in LOSSES:
                first = problem.first[0]
                console.note(
                    f"{part.name}: {problem.kind} ({problem.count}), {problem.consequence}; "
                    f"first {first.file_name}: {first.detail}"
                )


def _save_results(path: Path, part: Split, found: list[tuple[ImageRecord, Detections]]) -> None:
    """Write COCO results under the image and category ids of the annotations."""
    from aerostat.detections import write_coco

    id_of = dict(zip(part.classes, part.category_ids, strict=True))
    results = []
    for record, detections in found:
        shared = [name for name in detections.classes if name in id_of]
        results.append((record.id, detections.filter(classes=shared)))
    write_coco(path, results, [id_of.get(name, 0) for name in found[0][1].classes])


def _require_free(path: Path, force: bool, option: str) -> None:
    """Refuse, before any work is done, a file to write that exists or can never be.

    Raises:
        InputError: naming the option that asked for it.
    """
    above = nearest_existing(path.absolute().parent)
    if path.is_dir() or not above.is_dir():
        found = "is a folder" if path.is_dir() else f"cannot be written: {above} is a file"
        raise InputError(f"{path} {found}; {option} names a file to write.")
    if path.exists() and not force:
        raise InputError(f"{path} exists already; choose another {option} or allow it with --force.")


def _refuse(options: dict[str, Any], why: str) -> None:
    """Refuse options that would be ignored, rather than let somebody wonder.

    Raises:
        InputError: naming those that were given.
    """
    given = [name for name, value in options.items() if value not in (None, False)]
    if given:
        raise InputError(f"{', '.join(given)} {why}; leave {'it' if len(given) == 1 else 'them'} out.")


def _split_names(classes: list[str] | None) -> list[str] | None:
    """Return the class names; one text with commas is several names."""
    if classes is not None and len(classes) == 1:
        return [name.strip() for name in classes[0].split(",") if name.strip()]
    return classes


def _recipe_values(
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
    from aerostat.training.preset import PRESETS
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
    from aerostat.training.train import resume

    if data is None:
        of_data = {f"--{name.replace('_', '-')}": value for name, value in reading.items()}
        _refuse(of_data, "cannot go with --resume unless DATA is named too")
        return resume(run)
    return resume(run, _read(data, **reading), source={"path": str(data.absolute()), **reading})


def _free_run(out: Path | None, data: Path) -> Path:
    """Return the directory of a new run, by default named after its data, which must not exist."""
    from aerostat.training.run import Run

    named = data.resolve()  # `.` and `..` have names too
    path = out or Path("runs") / (named.stem if named.is_file() else named.name)
    Run(path).require_absent()
    return path


def _report(run: Run) -> None:
    """Write the page about a run and say where it is, once however many processes trained it."""
    from aerostat.report import report as write_report
    from aerostat.training.machine import is_main_process

    if is_main_process():
        print(write_report(run))


def _document(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=not _prints_unicode())


def _prints_unicode() -> bool:
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
