"""Write a detector as an ONNX or OpenVINO file, and prove that the file says what the weights say."""

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

from aerostat.deploy.parity import Agreement, compare
from aerostat.errors import AerostatError, InputError
from aerostat.files import replacing
from aerostat.geometry.postprocess import MAX_DETECTIONS
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import KEY, Exported
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import installed, load, load_network, weights_path

if TYPE_CHECKING:
    from onnx import ModelProto

Format = Literal["onnx", "openvino"]
SUFFIX: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml"}


@dataclass(frozen=True)
class Outcome:
    """What was exported and how it was checked.

    Args:
        path: the file.
        exported: what it says about itself.
        reference: the detector that runs the weights.
        detector: the one that runs the file; None if no runtime for it is installed.
        agreement: of both; None if there is nothing to compare with.
    """

    path: Path
    exported: Exported
    reference: Detector
    detector: Detector | None
    agreement: Agreement | None


def export(
    source: Path | str,
    target: Path,
    *,
    to: Format = "onnx",
    images_bgr: Sequence[NDArray[np.uint8]] = (),
    calibration_bgr: Sequence[NDArray[np.uint8]] | None = None,
    input_size: int | None = None,
    batch: int | None = 1,
    dynamic: bool = False,
    nms_iou: float | None = None,
    score_threshold: float = 0.001,
) -> Outcome:
    """Write a detector as a file that needs neither torch nor its weights.

    The file is opened again and compared with the weights on photographs; one in float32 that differs by more
    than rounding is not kept.

    Args:
        source: a run directory, a weights file or a name of the zoo.
        target: the file to write; replaced if it exists. OpenVINO's .bin is written beside its .xml.
        to: the kind of file.
        images_bgr: photographs (H, W, 3) uint8 to compare on.
        calibration_bgr: photographs to choose the ranges of INT8 by; None stays in float32.
        input_size: side of the square input in place of the one that the weights state.
        batch: images per call; None for any number.
        dynamic: whether the file takes any number of images, of any multiples of 32.
        nms_iou: puts non-maximum suppression into the graph, with this threshold.
        score_threshold: of the suppression in the graph.

    Raises:
        InputError: a package is missing, or the request does not fit.
        AerostatError: the file does not say what the weights say.
    """
    for package in ("onnx", *(["openvino"] if to == "openvino" else [])):
        if not installed(package):
            raise InputError(f"Export to {to} needs {package}; install it with: pip install {package}")
    from aerostat.model.onnx_graph import Suppression, onnx_model

    net, weights, size = load_network(source, input_size=input_size)
    header = weights.header
    exported = Exported(
        header.size,
        header.classes,
        size,
        dynamic=dynamic,
        batch=None if dynamic else batch,
        score_threshold=None if nms_iou is None else score_threshold,
        nms_iou=nms_iou,
        weights_sha256=hashlib.sha256(weights_path(source).read_bytes()).hexdigest(),
    )
    suppression = None if nms_iou is None else Suppression(score_threshold, nms_iou, MAX_DETECTIONS)
    model = onnx_model(net, input_size=size, batch=exported.batch, dynamic=dynamic, suppression=suppression)
    if calibration_bgr is not None:
        from aerostat.deploy.quantise import quantise

        if not installed("onnxruntime"):
            raise InputError("INT8 needs onnxruntime; install it with: pip install onnxruntime")
        if not calibration_bgr:
            raise InputError("INT8 needs photographs to choose its ranges by; name some.")
        model = quantise(model, [_letterboxed(image_bgr, size) for image_bgr in calibration_bgr])
        exported = replace(exported, precision="int8")
    _put_entry(model, exported)
    reference = Detector(TorchEngine(net), header.classes, size, header)

    runtime = "openvino" if to == "openvino" else "onnx"

    def check(path: Path) -> Agreement | None:
        if runtime == "onnx" and not installed("onnxruntime"):
            return None
        agreement = compare(reference, load(path, engine=runtime), images_bgr) if images_bgr else None
        if agreement is not None and exported.precision == "float32":
            _require_same(agreement)
        return agreement

    agreement = _write(model, target, to, check)
    there = runtime == "openvino" or installed("onnxruntime")
    detector = load(target, engine=runtime) if there else None
    return Outcome(target, exported, reference, detector, agreement)


def _write(
    model: ModelProto,
    target: Path,
    to: Format,
    check: Callable[[Path], Agreement | None],
) -> Agreement | None:
    """Write the model beside its place, check it there, and only then put it there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.parent) as folder:
        draft = Path(folder) / target.with_suffix(SUFFIX[to]).name
        if to == "openvino":
            from aerostat.deploy.openvino_file import write_openvino

            write_openvino(model, draft)
        else:
            draft.write_bytes(model.SerializeToString())
        agreement = check(draft)
        for part in sorted(Path(folder).iterdir()):
            place = target if part.suffix == draft.suffix else target.with_suffix(part.suffix)
            with replacing(place) as temporary:
                shutil.copyfile(part, temporary)
    return agreement


def _require_same(agreement: Agreement) -> None:
    if not agreement.same:
        raise AerostatError(
            f"The exported model does not say what its weights say ({agreement.describe()}); nothing was "
            "written. Please report this with the versions that `aerostat doctor` prints."
        )


def _letterboxed(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), size).apply(image_bgr)


def _put_entry(model: ModelProto, exported: Exported) -> None:
    from onnx import helper

    helper.set_model_props(model, {KEY: exported.to_json(), "classes": "\n".join(exported.classes)})
