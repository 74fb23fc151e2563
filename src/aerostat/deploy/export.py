"""Export of a detector to ONNX or OpenVINO, checked against its weights."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from aerostat.deploy.parity import Parity, compare
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

Format = Literal["onnx", "openvino"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class GraphOptions:
    """What the exported graph takes and gives.

    Args:
        batch: images per call; None for any number.
        dynamic: whether it takes any number of images, whose sides are any multiples of 32.
        nms_iou: IoU threshold of non-maximum suppression inside the graph; None leaves suppression out,
            unless `nms` is set.
        score_threshold: of the suppression inside the graph.
        nms: whether suppression is inside the graph; without `nms_iou` at the published IoU of the network.
    """

    batch: int | None = 1
    dynamic: bool = False
    nms_iou: float | None = None
    score_threshold: float = SCORE_THRESHOLD
    nms: bool = False

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
        detector: the detector that runs the file; None if no runtime for it is installed.
        parity: of the two detectors; None if nothing could be compared.
    """

    path: Path
    exported: Exported
    reference: Detector
    detector: Detector | None
    parity: Parity | None


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
    net, weights, size = load_network(source, input_size=input_size)
    header = weights.header
    nms_iou = graph.iou(header.masks)
    exported = Exported(
        header.size,
        header.classes,
        size,
        dynamic=graph.dynamic,
        batch=None if graph.dynamic else graph.batch,
        score_threshold=None if nms_iou is None else graph.score_threshold,
        nms_iou=nms_iou,
        weights_sha256=hashlib.sha256(weights_path(source).read_bytes()).hexdigest(),
        masks=header.masks,
        object_side=trained_on(header).object_side,
        slices=trained_on(header).slices,
    )
    model = _float32_model(net, exported)
    if calibration_bgr is not None:
        model = _int8_model(model, calibration_bgr, size)
        exported = replace(exported, precision="int8")
    _put_entry(model, exported)
    reference = Detector(TorchEngine(net), header.classes, size, header)
    engine = "openvino" if to == "openvino" else "onnx"
    has_runtime = engine == "openvino" or installed("onnxruntime")

    def check(path: Path) -> Parity | None:
        if not has_runtime or not images_bgr:
            return None
        parity = compare(reference, load(path, engine=engine), images_bgr)
        if exported.precision == "float32":
            _require_same(parity)
        return parity

    parity = _write(model, target, to, check)
    detector = load(target, engine=engine) if has_runtime else None
    return Outcome(target, exported, reference, detector, parity)


def _float32_model(net: RTMDet, exported: Exported) -> ModelProto:
    from aerostat.model.onnx_graph import Suppression, onnx_model

    suppression = None
    if exported.nms_iou is not None and exported.score_threshold is not None:
        most = MAX_MASKS if exported.masks else MAX_DETECTIONS
        suppression = Suppression(exported.score_threshold, exported.nms_iou, most)
    return onnx_model(
        net,
        input_size=exported.input_size,
        batch=exported.batch,
        dynamic=exported.dynamic,
        suppression=suppression,
    )


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


def _require_same(parity: Parity) -> None:
    if not parity.same:
        raise AerostatError(
            f"The exported model and its weights give different detections ({parity.describe()}); nothing "
            "was written. Please report this with the versions that `aerostat doctor` prints."
        )


def _letterboxed(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), size).apply(image_bgr)


def _put_entry(model: ModelProto, exported: Exported) -> None:
    from onnx import helper

    helper.set_model_props(model, {KEY: exported.to_json(), "classes": "\n".join(exported.classes)})
