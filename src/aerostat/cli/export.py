"""The verb `export`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import READ, Flag, Force, InputSize, JsonFlag, Switch, Words, split_names
from aerostat.cli.reading import read_for
from aerostat.cli.refusals import refuse, require_free
from aerostat.errors import InputError, clause
from aerostat.text import counted, listed

if TYPE_CHECKING:
    from aerostat.datasets.records import ImageRecord, Split
    from aerostat.deploy.export import Outcome
    from aerostat.deploy.photographs import Photographs
    from aerostat.inference.detector import Detector
    from aerostat.results.detections import Detections

    Pairs = list[tuple[ImageRecord, Detections]]

_log = logging.getLogger(__name__)

To = Literal["onnx", "openvino", "openmmlab"]
LayoutName = Literal["aerostat", "mmdeploy", "deepstream", "yolo", "tensorrt"]
SUFFIXES: dict[str, To] = {".onnx": "onnx", ".xml": "openvino", ".pth": "openmmlab"}


@app.command(sort_key=9, usage="Usage: aerostat export WEIGHTS [OPTIONS]")
def export(
    weights: str,
    /,
    *,
    to: To | None = None,
    layout: LayoutName = "aerostat",
    out: Path | None = None,
    int8: Flag = False,
    half: Flag = False,
    nms: Flag = False,
    nms_iou: Annotated[float | None, Parameter(show_default=False)] = None,
    score: Annotated[float | None, Parameter(show_default=False)] = None,
    dynamic: Flag = False,
    batch: Annotated[int | None, Parameter(show_default=False)] = None,
    input_size: InputSize = None,
    opset: Annotated[int | None, Parameter(show_default=False)] = None,
    licence: Annotated[str | None, Parameter(show_default=False)] = None,
    card: Switch = True,
    data: Path | None = None,
    classes: Words = None,
    images: Annotated[list[Path] | None, Parameter(consume_multiple=True, negative=())] = None,
    force: Force = False,
    json_: JsonFlag = False,
) -> None:
    """Export a detector to ONNX, OpenVINO or OpenMMLab.

    ONNX and OpenVINO files hold classes and input size: `predict` and `eval` need nothing else, not even
    torch. They are compared with the weights before they are kept. A model card is written beside them.

    Parameters
    ----------
    weights:
        Run directory, weights file or name of the zoo.
    to:
        onnx, openvino (.xml and .bin) or openmmlab (a .pth that MMDetection loads); by default what the
        suffix of --out says, else onnx.
    layout:
        What inputs and outputs look like: aerostat's own, or those that mmdeploy and rtmlib, DeepStream-Yolo,
        readers of YOLO files (OpenCV, Ultralytics), or TensorRT expect.
    out:
        File to write; by default the weights' own name with the suffix of the format, and of a layout for
        others.
    int8:
        Quantise to 8 bits. Ranges are chosen on training photographs of the run's data, of --data or of
        --images.
    half:
        Weights in half precision: half the size. Other types stay as they are.
    nms:
        Put non-maximum suppression into the graph, which then returns detections, not all points.
    nms_iou:
        Overlap above which the weaker of two detections of a class is dropped; 0.65 by default. Needs --nms,
        or a layout with suppression.
    score:
        The graph returns detections above this score; 0.001 by default, 0.01 for tensorrt. Needs --nms, or a
        layout with suppression.
    dynamic:
        Take any number of images at a time, of any size that is a multiple of 32.
    batch:
        Images at a time; 1 by default, 0 for any number.
    opset:
        Version of ONNX's operators, 11 to 17, for older consumers; 17 by default.
    licence:
        Licence of the weights, for the metadata and the model card.
    card:
        Write a model card, FILE.md, with figures on up to 100 annotated images if there are any (with --int8
        on all).
    data:
        Annotated data to compare on; by default the run's own. With --int8, AP of both is printed.
    classes:
        Class names of --data, if they are not those of the weights.
    images:
        Photographs, or folders of them, to compare on instead of data.
    """
    from aerostat.deploy.export import GraphOptions
    from aerostat.deploy.layouts.contract import Layout
    from aerostat.inference.backends.exported import SUFFIXES as EXPORTED
    from aerostat.inference.resolve import weights_path

    source = weights_path(weights)
    kind = to or (SUFFIXES.get(out.suffix.lower(), "onnx") if out else "onnx")
    suffix = next(s for s, k in SUFFIXES.items() if k == kind)
    marks = ["" if layout == "aerostat" else f".{layout}", ".int8" if int8 else "", ".half" if half else ""]
    target = out or source.with_suffix("".join(marks) + suffix)
    if kind == "openmmlab":
        given: dict[str, Any] = {
            "--layout": layout != "aerostat",
            "--int8": int8,
            "--half": half,
            "--nms": nms,
            "--dynamic": dynamic,
            "--batch": batch,
            "--opset": opset,
            "--licence": licence,
            "--data": data,
            "--input-size": input_size,
            "--images": images,
        }
        refuse(given, "is not for an OpenMMLab .pth")
    suppresses = layout in ("mmdeploy", "tensorrt")
    if not nms and not suppresses:
        refuse({"--nms-iou": nms_iou, "--score": score}, "is for suppression in the graph: add --nms")
    if dynamic:
        refuse({"--batch": batch}, "is any number with --dynamic")
    if data is not None:
        refuse({"--images": images}, "stands in place of --data")
    else:
        refuse({"--classes": classes}, "is for --data")
    if source.suffix.lower() in EXPORTED:
        raise InputError(f"{source} is an exported model already; name the weights it was exported from.")
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the file to export; choose another --out.")
    require_free(target, force, "--out")
    beside = target.with_name(f"{target.name}.md") if card and kind != "openmmlab" else None
    if beside is not None:
        require_free(beside, force, "--out")
    if kind == "openmmlab":
        _export_openmmlab(source, target)
        return
    if out is not None and out.suffix.lower() != suffix:
        raise InputError(f"Expected --out to end in {suffix} for {kind}, found {out}.")
    if (nms_iou is not None and not 0 < nms_iou <= 1) or (score is not None and not 0 <= score < 1):
        raise InputError(f"Expected a score in [0, 1) and an NMS IoU in (0, 1], found {score} and {nms_iou}.")
    if batch is not None and batch < 0:
        raise InputError(f"Expected a batch of at least 1, or 0 for any number, found {batch}.")
    _export_graph(
        weights,
        target,
        kind,
        seen=_photographs(weights, data, split_names(classes), images),
        int8=int8,
        json_=json_,
        card=beside,
        input_size=input_size,
        graph=GraphOptions(
            batch=1 if batch is None else batch or None,
            dynamic=dynamic,
            nms_iou=nms_iou,
            score_threshold=score,
            nms=nms,
            layout=Layout(layout),
            half=half,
            opset=opset,
            licence=_licence_of(weights) if licence is None else licence,
        ),
    )


def _export_openmmlab(source: Path, target: Path) -> None:
    from aerostat.weights.checkpoint import in_published_order, load_weights
    from aerostat.weights.openmmlab import write_pth

    loaded = load_weights(source)
    if loaded.header.kind != "detector":
        raise InputError(f"{source} holds a pretrained backbone, no detector; there is nothing to export.")
    state = in_published_order(loaded, source)
    write_pth(target, state, loaded.header.classes, {"input_size": loaded.header.input_size})
    console.tell(f"wrote {target}: rtmdet-{loaded.header.size}, classes {listed(loaded.header.classes)}")


def _licence_of(weights: str) -> str:
    """Return the licence of published weights; empty for others, whose owner knows it."""
    from aerostat.weights import zoo

    return next((entry.licence for entry in zoo.entries() if entry.name == weights), "")


def _export_graph(
    weights: str,
    target: Path,
    kind: Any,
    *,
    seen: Photographs,
    int8: bool,
    json_: bool,
    card: Path | None,
    **options: Any,
) -> None:
    from aerostat.deploy.export import export as export_graph
    from aerostat.inference.backends.exported import LAYOUT

    if int8 and not seen.calibration_bgr:
        raise InputError(
            "INT8 chooses its ranges on photographs like those it will see: name some with --images "
            "or --data."
        )
    done = export_graph(
        weights,
        target,
        to=kind,
        images_bgr=seen.compared_bgr,
        calibration_bgr=seen.calibration_bgr if int8 else None,
        **options,
    )
    size, pairs = _bytes_of(target, kind), None
    figures: dict[str, Any] = {
        "file": str(target),
        "bytes": size,
        "size": done.exported.size,
        "classes": list(done.exported.classes),
        "input_size": list(done.exported.input_size),
        "precision": done.exported.precision,
        "compared_on": seen.what,
        "agreement": done.parity.to_dict() if done.parity else None,
    }
    lines = [
        f"wrote {target}: rtmdet-{done.exported.size}, {done.exported.precision}, classes "
        f"{listed(done.exported.classes)}, {size / 1e6:.1f} MB",
        _comparison(done, seen),
    ]
    if int8 and done.detector is not None and seen.split is not None:
        both, pairs = _ap_of_both(done.reference, done.detector, seen.split)
        figures |= {what.replace(" ", "_").lower(): values for what, values in both.items()}
        lines += [
            f"{what} on {seen.split.name} ({counted(len(seen.split), 'image')}): "
            + ", ".join(f"{name} {ap:.3f}" for name, ap in values.items())
            for what, values in both.items()
        ]
    if card is not None:
        _write_card(done, seen, card, pairs)
    if done.exported.layout != LAYOUT:  # the lines of files of our own stay as they are
        figures |= {"layout": done.exported.layout, "card": card and str(card)}
        lines += [f"layout {done.exported.layout}" + (f"; model card {card}" if card else "")]
    if json_:
        print(document(figures))
    else:
        console.tell(*lines)


def _comparison(done: Outcome, seen: Photographs) -> str:
    if done.parity is None:
        return "not compared with the weights: install onnxruntime to have that done"
    hint = "" if seen.calibration_bgr else " (name some with --images or --data)"
    mark = "the same as the weights" if done.parity.same else "compared with the weights"
    return f"{mark}, {seen.what}{hint}: {done.parity.describe()}"


def _bytes_of(target: Path, kind: str) -> int:
    parts = [target, *([target.with_suffix(".bin")] if kind == "openvino" else [])]
    return sum(part.stat().st_size for part in parts)


def _ap_of_both(
    reference: Detector, quantised: Detector, split: Split
) -> tuple[dict[str, dict[str, float]], Pairs]:
    """Return AP of boxes, and of masks where there are any, of both networks; and what the second found."""
    from aerostat.evaluation.evaluate import detect, evaluate, score_detections

    before = evaluate(reference, split)  # refuses a split of which no image can be read
    pairs = detect(quantised, split)
    results = {"float32": before, "int8": score_detections(split, pairs)}
    found = {"AP": {name: result.ap for name, result in results.items()}}
    of_masks = {name: result.masks.ap for name, result in results.items() if result.masks is not None}
    return ({**found, "mask AP": of_masks} if of_masks else found), pairs


def _write_card(done: Outcome, seen: Photographs, path: Path, pairs: Pairs | None) -> None:
    from aerostat.deploy.card import measured, model_card
    from aerostat.files import write_text

    figures = measured(done, seen.split, pairs) if seen.split is not None else None
    write_text(path, model_card(done, seen.about, figures))


def _photographs(
    weights: str, data: Path | None, classes: list[str] | None, images: list[Path] | None
) -> Photographs:
    """Return what was asked for; else the photographs of the run's own data, if they are still there."""
    from aerostat.datasets.dataset import Dataset
    from aerostat.datasets.origin import Origin
    from aerostat.deploy.photographs import drawn, of_data, of_files
    from aerostat.inference.resolve import weights_path
    from aerostat.reporting.subject import recorded_source
    from aerostat.runs.directory import Run
    from aerostat.weights.checkpoint import read_header

    if images:
        return of_files(images)
    if data is not None:
        known = read_header(weights_path(weights)).classes
        return of_data(read_for(known, data, replace(READ, classes=classes)))
    path = Path(weights)
    origin = Origin.from_dict(recorded_source(Run(path if path.is_dir() else path.parent)))
    try:
        return of_data(Dataset.read_again(origin)) if origin else drawn()
    except InputError as error:
        _log.warning(f"the run's data cannot be read any more: {clause(error)}")
        return drawn()
