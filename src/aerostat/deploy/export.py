"""Export of a detector to ONNX or OpenVINO, checked against its weights."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.deploy.layouts.contract import Contract, Layout
from aerostat.deploy.parity import SCORE, SCORE_TOLERANCE, Parity, compare
from aerostat.errors import AerostatError, InputError
from aerostat.files import replacing
from aerostat.geometry.postprocess import (
    MASK_NMS_IOU,
    MAX_DETECTIONS,
    MAX_MASKS,
    NMS_IOU,
    SCORE_THRESHOLD,
)
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import KEY, Exported
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import installed, load, load_network, trained_on, weights_path

if TYPE_CHECKING:
    from onnx import ModelProto

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Header

Format = Literal["onnx", "openvino"]
OLDEST, NEWEST = 11, 17
"""Versions of ONNX's operators that can be asked for. 11 is the first with all that are used."""
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class GraphOptions:
    """What the exported graph takes and gives.

    Args:
        batch: images per call; None for any number.
        dynamic: whether it takes any number of images, whose sides are any multiples of 32.
        nms_iou: IoU threshold of non-maximum suppression inside the graph; None leaves suppression out,
            unless `nms` is set.
        score_threshold: of the suppression inside the graph; None for the default, which is 0.001 for most
            layouts.
        nms: whether suppression is inside the graph; without `nms_iou` at the published IoU of the network.
        layout: what inputs and outputs look like.
        half: whether the network is in half precision.
        opset: version of ONNX's operators, 11 to 17; None for 17.
        licence: of the weights, for the metadata; empty if it is not known.
    """

    batch: int | None = 1
    dynamic: bool = False
    nms_iou: float | None = None
    score_threshold: float | None = None
    nms: bool = False
    layout: Layout = Layout.AEROSTAT
    half: bool = False
    opset: int | None = None
    licence: str = ""

    def iou(self, masks: bool) -> float | None:
        """Return the IoU threshold of the suppression inside the graph of a network, None without one."""
        if self.nms_iou is not None or not self.nms:
            return self.nms_iou
        return MASK_NMS_IOU if masks else NMS_IOU


@dataclass(frozen=True)
class Outcome:
    """An exported file and how it was checked.

    Args:
        path: of the file.
        exported: what the file states about itself.
        reference: the detector that runs the weights.
        detector: the detector that runs the file; None if no runtime for it is installed, or if its layout is
            for others.
        parity: of the two detectors; None if nothing could be compared.
        tensors: name, type and shape of inputs and outputs, for people.
    """

    path: Path
    exported: Exported
    reference: Detector
    detector: Detector | None
    parity: Parity | None
    tensors: tuple[str, ...] = ()


def export(
    source: Path | str,
    target: Path,
    *,
    to: Format = "onnx",
    images_bgr: Sequence[NDArray[np.uint8]] = (),
    calibration_bgr: Sequence[NDArray[np.uint8]] | None = None,
    input_size: int | None = None,
    graph: GraphOptions = GraphOptions(),
) -> Outcome:
    """Write a detector as a file that needs neither torch nor the weights, and return how it was checked.

    The file is opened again and compared with the weights on photographs. A float32 file that differs by more
    than rounding is not kept.

    Args:
        source: a run directory, a weights file or a name of the zoo.
        target: the file to write; replaced if it exists. OpenVINO's .bin is written beside its .xml.
        to: the kind of file.
        images_bgr: photographs (H, W, 3) uint8 to compare on.
        calibration_bgr: photographs (H, W, 3) uint8 that choose the ranges of INT8; None writes float32.
        input_size: side of the square input in pixels, in place of the size that the weights state.
        graph: batch, input shapes and suppression of the graph.

    Raises:
        InputError: a package is missing, or an argument contradicts another.
        AerostatError: the file and the weights give different detections.
    """
    for package in ("onnx", *(["openvino"] if to == "openvino" else [])):
        if not installed(package):
            raise InputError(f"Export to {to} needs {package}; install it with: pip install {package}")
    from aerostat.deploy.layouts.contracts import CONTRACTS

    contract = CONTRACTS.get(graph.layout)
    net, weights, size = load_network(source, input_size=input_size)
    header = weights.header
    _require_possible(contract, to, graph, masks=header.masks, int8=calibration_bgr is not None)
    exported = _described(header, size, graph, contract, weights_path(source))
    if calibration_bgr is not None:
        exported = replace(exported, precision="int8")
    model = _model(net, exported, contract, calibration_bgr)
    if graph.opset is not None and graph.opset != NEWEST:
        from aerostat.deploy.opset import in_opset

        model = in_opset(model, graph.opset)
    _put_entry(model, exported, contract.metadata(exported) if contract else {})
    reference = Detector(TorchEngine(net), header.classes, size, header)
    engine = "openvino" if to == "openvino" else "onnx"
    has_runtime = engine == "openvino" or installed("onnxruntime")

    def check(path: Path) -> Parity | None:
        if not has_runtime or not images_bgr:
            return None
        if contract is not None:
            parity = _compare_layout(reference, path, contract, exported, images_bgr)
        else:
            parity = compare(reference, load(path, engine=engine), images_bgr, **_limits(exported))
        if exported.precision == "float32":
            _require_same(parity)
        return parity

    parity = _write(model, target, to, check)
    detector = load(target, engine=engine) if has_runtime and contract is None else None
    return Outcome(target, exported, reference, detector, parity, _tensors(model))


def _require_possible(
    contract: Contract | None, to: Format, graph: GraphOptions, *, masks: bool, int8: bool
) -> None:
    """Refuse what a layout cannot hold, in a sentence.

    Raises:
        InputError: naming the layout and the parameter.
    """
    if graph.opset is not None and not OLDEST <= graph.opset <= NEWEST:
        raise InputError(f"Expected `opset` from {OLDEST} to {NEWEST}, found {graph.opset}.")
    if graph.half and int8:
        raise InputError("A file holds INT8 or half precision, not both: leave out `int8` or `half`.")
    if graph.opset is not None and to == "openvino":
        raise InputError("`opset` is for ONNX files; an OpenVINO file has operators of its own.")
    if contract is None:
        return
    name = contract.layout.value
    if masks and not contract.holds_masks:
        raise InputError(
            f"The layout {name} cannot hold masks, which these weights predict; choose the `layout` mmdeploy "
            "or aerostat."
        )
    if to not in contract.kinds:
        raise InputError(f"The layout {name} is for ONNX files only, found {to}; leave `to` out.")
    if int8 and contract.no_int8:
        raise InputError(f"The layout {name} is not made in 8 bits: {contract.no_int8}; leave `int8` out.")
    if graph.dynamic and contract.no_dynamic:
        raise InputError(
            f"The layout {name} takes one size only: {contract.no_dynamic}; use `batch=0` for any number of "
            "images."
        )
    if not contract.suppresses and (graph.nms or graph.nms_iou is not None):
        raise InputError(f"The layout {name} leaves suppression to its readers; leave `nms` out.")


def _described(
    header: Header, size: tuple[int, int], graph: GraphOptions, contract: Contract | None, path: Path
) -> Exported:
    """Return what the file says about itself, in float32 or half precision."""
    nms_iou, score, seen = graph.iou(header.masks), SCORE_THRESHOLD, trained_on(header)
    half = graph.half
    if contract is not None:
        half, score = half or contract.half, contract.score_threshold
        if contract.suppresses and nms_iou is None:
            nms_iou = replace(graph, nms=True).iou(header.masks)
    exported = Exported(
        header.size,
        header.classes,
        size,
        dynamic=graph.dynamic,
        batch=None if graph.dynamic else graph.batch,
        precision="float16" if half else "float32",
        score_threshold=None
        if nms_iou is None
        else score
        if graph.score_threshold is None
        else graph.score_threshold,
        nms_iou=nms_iou,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        masks=header.masks,
        layout=graph.layout.value,
        licence=graph.licence,
        object_side=seen.object_side,
        slices=seen.slices,
    )
    if contract is None:
        return exported
    return replace(exported, colour_order=contract.colour_order, normalisation=contract.normalisation)


def _model(
    net: RTMDet,
    exported: Exported,
    contract: Contract | None,
    calibration_bgr: Sequence[NDArray[np.uint8]] | None,
) -> ModelProto:
    """Return the graph of a network in a precision and a layout."""
    from aerostat.model.onnx_graph import onnx_model
    from aerostat.model.onnx_nms import Suppression

    suppression = None
    if exported.nms_iou is not None and exported.score_threshold is not None:
        most = MAX_MASKS if exported.masks else MAX_DETECTIONS
        suppression = Suppression(exported.score_threshold, exported.nms_iou, most)
    model = onnx_model(
        net,
        input_size=exported.input_size,
        batch=exported.batch,
        dynamic=exported.dynamic,
        suppression=suppression if contract is None else None,
    )
    if calibration_bgr is not None:
        model = _int8_model(model, calibration_bgr, exported.input_size)
    if exported.precision == "float16":
        from aerostat.deploy.half import in_half_precision

        model = in_half_precision(model)
    if contract is None:
        return model
    from aerostat.deploy.layouts.core import open_core

    return contract.build(open_core(model), suppression)


def _compare_layout(
    reference: Detector,
    path: Path,
    contract: Contract,
    exported: Exported,
    images_bgr: Sequence[NDArray[np.uint8]],
) -> Parity:
    """Return the parity of weights and a file of another layout.

    Both see the letterboxed photographs as whole images: a graph without `content_sizes` cannot know where
    the photograph ends, and clips boxes to the input.
    """
    from aerostat.deploy.layouts.reader import best_class_only, read_exported

    seen = [_letterboxed(image_bgr, exported.input_size) for image_bgr in images_bgr]
    expected = best_class_only(reference) if contract.one_class else reference
    reader = read_exported(path, contract, exported)
    return compare(expected, reader, seen, **_limits(exported))


def _limits(exported: Exported) -> dict[str, Any]:
    """Return score and IoU for a comparison with a file that has suppression inside."""
    if exported.nms_iou is None or exported.score_threshold is None:
        return {}
    return {"score": max(SCORE, exported.score_threshold + SCORE_TOLERANCE), "nms_iou": exported.nms_iou}


def _int8_model(
    model: ModelProto, calibration_bgr: Sequence[NDArray[np.uint8]], size: tuple[int, int]
) -> ModelProto:
    from aerostat.deploy.quantise import quantise

    if not installed("onnxruntime"):
        raise InputError("INT8 needs onnxruntime; install it with: pip install onnxruntime")
    if not calibration_bgr:
        raise InputError("INT8 needs photographs that choose its ranges, found none in `calibration_bgr`.")
    return quantise(model, [_letterboxed(image_bgr, size) for image_bgr in calibration_bgr])


def _write(
    model: ModelProto,
    target: Path,
    to: Format,
    check: Callable[[Path], Parity | None],
) -> Parity | None:
    """Write the model to a temporary folder, check it there, then move it to its place."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        draft = Path(folder) / target.with_suffix(SUFFIX[to]).name
        if to == "openvino":
            from aerostat.deploy.openvino_file import write_openvino

            write_openvino(model, draft)
        else:
            draft.write_bytes(model.SerializeToString())
        parity = check(draft)
        for part in sorted(Path(folder).iterdir()):
            place = target if part.suffix == draft.suffix else target.with_suffix(part.suffix)
            with replacing(place) as temporary:
                shutil.copyfile(part, temporary)
    return parity


def _tensors(model: ModelProto) -> tuple[str, ...]:
    from onnx import helper

    lines = []
    for what, values in (("input", model.graph.input), ("output", model.graph.output)):
        for value in values:
            about = value.type.tensor_type
            shape = ", ".join(str(dim.dim_param or dim.dim_value) for dim in about.shape.dim)
            dtype = helper.tensor_dtype_to_np_dtype(about.elem_type).name
            lines.append(f"{what} `{value.name}` ({shape}) {dtype}")
    return tuple(lines)


def _require_same(parity: Parity) -> None:
    if not parity.same:
        raise AerostatError(
            f"The exported model and its weights give different detections ({parity.describe()}); nothing "
            "was written. Please report this with the versions that `aerostat doctor` prints."
        )


def _letterboxed(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), size).apply(image_bgr)


def _put_entry(model: ModelProto, exported: Exported, more: Mapping[str, str]) -> None:
    from onnx import helper

    entries = {KEY: exported.to_json(), "classes": "\n".join(exported.classes), **more}
    helper.set_model_props(model, entries)
