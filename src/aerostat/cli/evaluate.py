"""The verb `eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import (
    Classes,
    Flag,
    JsonFlag,
    app,
    document,
    load_for_use,
    read_for,
    require_free,
    split_names,
    split_to_evaluate,
    tell_losses,
)
from aerostat.cli.tta import ONE_LOOK, TtaOptions
from aerostat.errors import AerostatError, InputError, clause
from aerostat.text import counted

if TYPE_CHECKING:
    from aerostat.datasets.records import ImageRecord, Split
    from aerostat.results.detections import Detections


@app.command(name="eval", sort_key=5, usage="Usage: aerostat eval WEIGHTS DATA [OPTIONS]")
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
    look: TtaOptions = ONE_LOOK,
    max_dets: Annotated[tuple[int, int, int], Parameter(negative=())] = (1, 10, 100),
    save: Path | None = None,
    engine: Literal["auto", "torch", "onnx", "openvino"] = "auto",
    device: str = "auto",
    strict: Flag = False,
    force: Flag = False,
    json_: JsonFlag = False,
) -> None:
    """Print the COCO table of a detector on annotated images.

    Parameters
    ----------
    weights:
        Run directory, weights file, exported .onnx or .xml, or name of the zoo.
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
    look:
        How to look at each photograph.
    max_dets:
        COCO's three limits on detections per image.
    save:
        Also write the detections as COCO results to this file.
    engine:
        What runs the network. auto takes for weights the ONNX file that `export` wrote beside them, if it is
        of these very weights, else torch.
    device:
        auto, cpu, cuda, cuda:1 or mps; the CPU in place of one that cannot be used here.
    strict:
        Refuse data of which anything would be dropped.
    force:
        Let --save replace a file that exists.
    json_:
        Print one JSON document.
    """
    from aerostat.datasets.summary import require_usable
    from aerostat.evaluation.coco import evaluate_detections
    from aerostat.evaluation.evaluate import detect

    tta = look.chosen()
    if save is not None:
        require_free(save, force, "--save")
    detector = load_for_use(weights, device, input_size, engine, tta)
    reading = {"class_attribute": class_attribute, "images": images, "strict": strict}
    dataset = read_for(detector.classes, data, split_names(classes), **reading)
    part = split_to_evaluate(dataset, split)
    tell_losses(dataset, part)
    require_usable(dataset, [part.name])
    unreadable: list[str] = []

    def leave_out(record: ImageRecord, error: InputError) -> None:
        unreadable.append(record.file_name)
        console.note(f"{part.name}: {record.file_name} is left out with its objects: {clause(error)}")

    found = detect(detector, part, tta=tta or False, on_unreadable=leave_out)
    if not found:
        raise AerostatError(f"None of the {counted(len(part), 'image')} of {part.name} can be read.")
    records = [record for record, _ in found]
    result = evaluate_detections(
        records, [detections for _, detections in found], part.classes, max_dets=max_dets
    )
    if save is not None:
        _save_results(save, part, found)
    views = None if tta is None else tta.plan(detector.input_size)
    if json_:
        print(document(result.to_dict() | {"tta": views and views.to_dict(), "unreadable": unreadable}))
    else:
        console.tell(*result.render().split("\n"), *(views.describe().split("\n") if views else ()))


def _save_results(path: Path, part: Split, found: list[tuple[ImageRecord, Detections]]) -> None:
    """Write COCO results under the image and category ids of the annotations."""
    from aerostat.results.detections import write_coco

    id_of = dict(zip(part.classes, part.category_ids, strict=True))
    results = []
    for record, detections in found:
        shared = [name for name in detections.classes if name in id_of]
        results.append((record.id, detections.filter(classes=shared)))
    write_coco(path, results, [id_of.get(name, 0) for name in found[0][1].classes])
