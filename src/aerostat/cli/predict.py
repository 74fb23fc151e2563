"""The verb `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import Flag, JsonFlag, app, document, load_for_use, read_for, refuse
from aerostat.cli.tta import ONE_LOOK, TtaOptions
from aerostat.errors import AerostatError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from aerostat.inference.detector import Detector
    from aerostat.inference.predict_folder import Judge


@app.command(sort_key=6, usage="Usage: aerostat predict WEIGHTS SOURCE... [OPTIONS]")
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
    sort: Flag = False,
    truth: Path | None = None,
    input_size: int | None = None,
    nms_iou: float = 0.65,
    look: TtaOptions = ONE_LOOK,
    engine: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    device: str = "auto",
    json_: JsonFlag = False,
) -> None:
    """Find objects on photographs.

    Writes pictures with boxes, and a file with the detections.

    Parameters
    ----------
    weights:
        Run directory, weights file, exported .onnx or .xml, or name of the zoo.
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
    sort:
        Put the pictures into correct/ (every object found, and nothing else), errors/ and not-annotated/.
    truth:
        The annotations to sort by: a data set folder or an annotation file; by default those of SOURCE, if it
        is such a folder.
    input_size:
        Side of the network's square input in pixels; by default the one it was trained at.
    nms_iou:
        Overlap above which the weaker of two detections of a class goes.
    look:
        How to look at each photograph.
    engine:
        What runs the network. auto takes for weights the ONNX file that `export` wrote beside them, if it is
        of these very weights, else torch.
    device:
        auto, cpu, cuda, cuda:1 or mps; the CPU in place of one that cannot be used here.
    json_:
        Print one JSON document.
    """
    from aerostat.inference.predict_folder import predict_to_folder

    if not 0 <= score < 1 or not 0 < nms_iou <= 1:
        raise InputError(f"Expected a score in [0, 1) and an NMS IoU in (0, 1], found {score} and {nms_iou}.")
    tta = look.chosen()
    judge = _judge(sources, truth, pictures) if sort else None
    if not sort:
        refuse({"--truth": truth}, "says what --sort sorts by, which was not given")
    done = predict_to_folder(
        lambda: load_for_use(weights, device, input_size, engine, tta),
        sources,
        out,
        score=score,
        nms_iou=nms_iou,
        tta=tta,
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
    from aerostat.datasets.discover import find_sources
    from aerostat.evaluation.per_image import judge_by

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
    find_sources(data)
    images = folder if data.is_file() else None  # annotations that stand elsewhere
    return lambda detector: judge_by(read_for(detector.classes, data, None, images=images), detector.classes)
