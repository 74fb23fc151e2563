"""The verb `eval`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.loading import load_for_use
from aerostat.cli.options import (
    MASKS,
    ONE_VIEW,
    READ,
    SEVERAL,
    WINDOWS,
    Device,
    Engine,
    Force,
    InputSize,
    JsonFlag,
    Masks,
    Read,
    Several,
    Slicing,
    Tta,
)
from aerostat.cli.processes import own_device, quiet_unless_first
from aerostat.cli.reading import held_out_apart, read_for, split_to_evaluate, tell_losses
from aerostat.cli.refusals import require_free
from aerostat.errors import AerostatError, InputError, clause
from aerostat.text import counted

if TYPE_CHECKING:
    from aerostat.datasets.records import ImageRecord, Split
    from aerostat.results.detections import Detections
    from aerostat.results.io import MaskFormat

_log = logging.getLogger(__name__)


@app.command(name="eval", sort_key=5, usage="Usage: aerostat eval WEIGHTS DATA [OPTIONS]")
def evaluate(
    weights: str,
    data: Path,
    /,
    *,
    split: str | None = None,
    reading: Read = READ,
    views: Tta = ONE_VIEW,
    windows: Slicing = WINDOWS,
    drawn: Masks = MASKS,
    max_dets: Annotated[tuple[int, int, int], Parameter(negative=())] = (1, 10, 100),
    save: Path | None = None,
    mask_format: Annotated[Literal["rle", "polygons"] | None, Parameter(show_default=False)] = None,
    force: Force = False,
    input_size: InputSize = None,
    engine: Engine = "auto",
    device: Device = "auto",
    several: Several = SEVERAL,
    json_: JsonFlag = False,
) -> None:
    """Evaluate a detector on annotated images: COCO's table, and AP of each class.

    Parameters
    ----------
    weights:
        Run directory, work directory of MMDetection, weights file, exported .onnx or .xml, or name of the
        zoo.
    data:
        Data set folder, or one split's annotation file. Data without class names take the detector's.
    split:
        Split of a folder with several; by default val, else test.
    max_dets:
        COCO's three limits on detections per image.
    save:
        Also write the detections as COCO results to this file.
    mask_format:
        How --save states masks: rle (run lengths, the default) or polygons. Both are exact.
    """
    from aerostat.datasets.summary import require_usable
    from aerostat.evaluation.coco import evaluate_detections
    from aerostat.evaluation.evaluate import detect, mask_remark
    from aerostat.evaluation.object_masks import require_masks
    from aerostat.evaluation.sharing import sharing
    from aerostat.processes.placement import is_first

    placement = several.chosen()
    quiet_unless_first(placement)
    tta = views.chosen()
    slices, overlap = windows.chosen()
    if save is not None:
        require_free(save, force, "--save")
    elif mask_format is not None:
        raise InputError(f"--mask-format {mask_format} is for --save, which was not given.")
    detector = load_for_use(weights, own_device(device, placement), input_size, engine, tta)
    dataset = read_for(detector.classes, data, reading)
    if split in (None, "val"):
        dataset = held_out_apart(dataset, weights)
    part = split_to_evaluate(dataset, split)
    tell_losses(dataset, part)
    require_usable(dataset, [part.name])
    if drawn.masks:
        require_masks(part.images)
    most = max((len(record.instances) for record in part.images), default=0)
    if isinstance(slices, int) and most > max_dets[-1]:
        _log.warning(
            f"an image of {part.name} has {most} objects, and COCO's figures count {max_dets[-1]} detections "
            f"of an image: give --max-dets 1 10 {most}"
        )
    unreadable: list[str] = []

    def leave_out(record: ImageRecord, error: InputError) -> None:
        unreadable.append(record.file_name)
        _log.warning(f"{part.name}: {record.file_name} is left out with its objects: {clause(error)}")

    with sharing(placement) as processes:
        found = detect(
            detector,
            part,
            tta=tta or False,
            masks=drawn.masks,
            mask_threshold=drawn.mask_threshold,
            on_unreadable=leave_out,
            processes=processes,
            slices=slices,
            overlap=overlap,
        )
    if not is_first(placement):
        return
    if not found:
        raise AerostatError(f"None of the {counted(len(part), 'image')} of {part.name} can be read.")
    records = [record for record, _ in found]
    of_images = [detections for _, detections in found]
    result = evaluate_detections(records, of_images, part.classes, max_dets=max_dets, masks=drawn.masks)
    if remark := mask_remark(part, of_images, result, drawn.masks):
        _log.warning(remark)
    if save is not None:
        _save_results(save, part, found, mask_format or "rle")
    planned = None if tta is None else tta.plan(detector.input_size)
    if json_:
        print(document(result.to_dict() | {"tta": planned and planned.to_dict(), "unreadable": unreadable}))
    else:
        console.tell(*result.render().split("\n"), *(planned.describe().split("\n") if planned else ()))


def _save_results(
    path: Path, part: Split, found: list[tuple[ImageRecord, Detections]], mask_format: MaskFormat
) -> None:
    """Write COCO results under the image and category ids of the annotations."""
    from aerostat.results.io import write_coco

    id_of = dict(zip(part.classes, part.category_ids, strict=True))
    results = []
    for record, detections in found:
        shared = [name for name in detections.classes if name in id_of]
        results.append((record.id, detections.filter(classes=shared)))
    write_coco(path, results, [id_of.get(name, 0) for name in found[0][1].classes], mask_format=mask_format)
