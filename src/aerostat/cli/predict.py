"""The verb `predict`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.loading import load_for_use
from aerostat.cli.options import (
    ONE_VIEW,
    PREDICT,
    READ,
    Device,
    Engine,
    Flag,
    InputSize,
    JsonFlag,
    Predict,
    Switch,
    Tta,
)
from aerostat.cli.reading import read_for
from aerostat.cli.refusals import refuse
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aerostat.inference.detector import Detector
    from aerostat.inference.sinks import Judge


@app.command(sort_key=6, usage="Usage: aerostat predict WEIGHTS SOURCE... [OPTIONS]")
def predict(
    weights: str,
    /,
    *sources: str,
    keep: Predict = PREDICT,
    views: Tta = ONE_VIEW,
    out: Path = Path("predictions"),
    format_: Annotated[
        list[Literal["json", "csv", "coco"]] | None, Parameter(name="--format", negative=())
    ] = None,
    pictures: Switch = True,
    sort: Flag = False,
    truth: Path | None = None,
    input_size: InputSize = None,
    engine: Engine = "auto",
    device: Device = "auto",
    json_: JsonFlag = False,
) -> None:
    """Detect objects on photographs.

    Writes pictures with boxes, and a file with the detections.

    Parameters
    ----------
    weights:
        Run directory, weights file, exported .onnx or .xml, or name of the zoo.
    sources:
        Images, folders, or patterns such as "photos/*.jpg".
    out:
        Folder for what is written.
    format_:
        File with the detections: json (default), csv or coco; may be repeated.
    pictures:
        Draw the boxes on the photographs, which is the default, or do not.
    sort:
        Sort the pictures into correct/ (every object found, nothing else), errors/ and not-annotated/.
    truth:
        Annotations to sort by: a data set folder or an annotation file; by default those of SOURCE.
    """
    from aerostat.inference.predict_folder import predict_to_folder

    keep.check()
    tta = views.chosen()
    judge = _judge(sources, truth, pictures) if sort else None
    if not sort:
        refuse({"--truth": truth}, "says what --sort sorts by, which was not given")
    done = predict_to_folder(
        lambda: load_for_use(weights, device, input_size, engine, tta),
        sources,
        out,
        score=keep.score,
        nms_iou=keep.nms_iou,
        tta=tta or False,
        formats=tuple(dict.fromkeys(format_ or ["json"])),
        pictures=pictures,
        judge=judge,
    )
    if json_:
        print(document(done.to_dict()))
    else:
        console.tell(*done.lines())
    if done.failed:
        total = len(done.failed) + len(done.found)
        rest = "the others are done" if done.found else "nothing was written"
        raise AerostatError(
            f"{len(done.failed)} of {total} images could not be read, first {done.failed[0][0]}; {rest}."
        )


def _judge(sources: tuple[str, ...], truth: Path | None, pictures: bool) -> Callable[[Detector], Judge]:
    """Return what makes the judge of detections, having looked at where the annotations stand.

    Raises:
        InputError: there are none, or no pictures to sort.
    """
    from aerostat.datasets.layout import find_splits
    from aerostat.evaluation.per_image import image_evaluator

    if not pictures:
        raise InputError(
            "The option --sort sorts the pictures, which --no-pictures leaves out; give one of them."
        )
    folder = Path(sources[0]) if len(sources) == 1 and Path(sources[0]).is_dir() else None
    data = truth or folder
    if data is None:
        raise InputError(
            "The option --sort needs annotations: name them with --truth, or give a data set's folder "
            "as SOURCE."
        )
    find_splits(data, READ.chosen())
    images = folder if data.is_file() else None  # annotations that stand elsewhere
    reading = replace(READ, images=images)
    return lambda detector: image_evaluator(read_for(detector.classes, data, reading), detector.classes)
