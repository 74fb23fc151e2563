"""Read exported files with the programs that they are for, and compare with `aerostat predict`.

    python scripts/check_layouts.py WEIGHTS PHOTOGRAPHS --reader opencv|rtmlib|ultralytics|...

The readers are no dependencies of aerostat. rtmlib and Ultralytics need an environment of their own, with
aerostat beside them. Each detection of `predict` above a score of 0.3 must be found again, one to one.
`ultralytics` is given letterboxed photographs. `ultralytics-photograph` is given the photographs themselves,
which it puts into the middle of the grey: another picture for the network, whose detections differ more.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from aerostat.deploy.export import GraphOptions, export
from aerostat.deploy.layouts.contract import Layout
from aerostat.geometry.boxes import pairwise_iou
from aerostat.images.read import list_images, read_image
from aerostat.inference.resolve import load

SCORE = 0.3
"""Detections above it are compared."""
MIN_IOU, MAX_SCORE_DIFFERENCE = 0.8, 0.05
"""Readers resize in their own ways, a pixel more or less. Detections within the difference of `SCORE` are
neither missed nor found too much."""

LOW = SCORE - MAX_SCORE_DIFFERENCE

Found = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Boxes (n, 4), scores (n,) or NaN, labels (n,)."""
Reader = Callable[[np.ndarray], Found]


def letterboxed(image_bgr: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, float]:
    """Return an image at the top left of grey, and its scale."""
    width, height = size
    scale = min(width / image_bgr.shape[1], height / image_bgr.shape[0])
    w, h = (int(side * scale + 0.5) for side in image_bgr.shape[1::-1])
    image = np.full((height, width, 3), 114, np.uint8)
    image[:h, :w] = cv2.resize(image_bgr, (w, h))
    return image, scale


def opencv(path: Path, size: tuple[int, int]) -> Reader:
    """Return a reader of the layout yolo that runs it with OpenCV."""
    net = cv2.dnn.readNetFromONNX(str(path))

    def read(image_bgr: np.ndarray) -> Found:
        image, scale = letterboxed(image_bgr, size)
        net.setInput(cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True))
        rows = net.forward()[0].T
        boxes, scores, labels = rows[:, :4], rows[:, 4:].max(1), rows[:, 4:].argmax(1)
        boxes[:, :2] -= boxes[:, 2:] / 2
        kept = np.ravel(cv2.dnn.NMSBoxesBatched(boxes, scores, labels, LOW, 0.65)).astype(int)
        corners = np.concatenate([boxes[kept, :2], boxes[kept, :2] + boxes[kept, 2:]], 1)
        return corners / scale, scores[kept], labels[kept]

    return read


def rtmlib(path: Path, size: tuple[int, int]) -> Reader:
    """Return a reader of the layout mmdeploy: rtmlib's RTMDet, which returns boxes only."""
    from rtmlib.tools.object_detection.rtmdet import RTMDet

    model = RTMDet(str(path), model_input_size=size[::-1], score_thr=LOW)

    def read(image_bgr: np.ndarray) -> Found:
        boxes = np.asarray(model(image_bgr)).reshape(-1, 4)
        return boxes, np.full(len(boxes), np.nan), np.full(len(boxes), -1)

    return read


def ultralytics(path: Path, size: tuple[int, int], ready: bool = True) -> Reader:
    """Return a reader of the layout yolo: Ultralytics, which takes all it needs from the metadata."""
    from ultralytics import YOLO

    model = YOLO(str(path), task="detect")

    def read(image_bgr: np.ndarray) -> Found:
        image, scale = letterboxed(image_bgr, size) if ready else (image_bgr, 1.0)
        result = model.predict(image, conf=LOW, iou=0.65, verbose=False, device="cpu", rect=False)[0]
        boxes = result.boxes.cpu().numpy()
        return boxes.xyxy / scale, boxes.conf, boxes.cls.astype(int)

    return read


def onnxruntime(path: Path, size: tuple[int, int]) -> Reader:
    """Return a reader of the layout deepstream that does what its parser and nvinfer do."""
    import onnxruntime as runtime

    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def read(image_bgr: np.ndarray) -> Found:
        image, scale = letterboxed(image_bgr, size)
        rows = session.run(None, {"input": cv2.dnn.blobFromImage(image, 1 / 255, swapRB=True)})[0][0]
        rows = rows[rows[:, 4] > LOW]
        low, high = rows[:, :2].clip(0, size), rows[:, 2:4].clip(0, size)
        labels = rows[:, 5].astype(int)
        boxes = np.concatenate([low, high - low], 1)
        kept = np.ravel(cv2.dnn.NMSBoxesBatched(boxes, rows[:, 4], labels, LOW, 0.65)).astype(int)
        return np.concatenate([low, high], 1)[kept] / scale, rows[kept, 4], labels[kept]

    return read


READERS: dict[str, tuple[Layout, Any]] = {
    "opencv": (Layout.YOLO, opencv),
    "rtmlib": (Layout.MMDEPLOY, rtmlib),
    "ultralytics": (Layout.YOLO, ultralytics),
    "ultralytics-photograph": (Layout.YOLO, partial(ultralytics, ready=False)),
    "onnxruntime": (Layout.DEEPSTREAM, onnxruntime),
}


def paired(ours: Found, theirs: Found) -> tuple[list[float], list[float], int]:
    """Return IoU and difference of scores of each pair, and the number of further detections.

    Each takes the free partner of the best IoU. A reader that tells no scores has no further detections.
    """
    overlap = pairwise_iou(ours[0].astype(np.float32), theirs[0].astype(np.float32))
    unknown = theirs[2] < 0
    overlap[(ours[2][:, None] != theirs[2][None]) & ~unknown[None]] = 0
    ious, differences, left = [], [], set(range(len(theirs[0])))
    for mine in np.argsort(-ours[1]).tolist():
        best = int(overlap[mine].argmax()) if len(theirs[0]) else -1
        if best >= 0 and overlap[mine, best] >= 0.5:
            ious.append(float(overlap[mine, best]))
            differences.append(float(abs(ours[1][mine] - theirs[1][best])))
            overlap[:, best] = 0
            left.discard(best)
    more = sum(float(theirs[1][i]) > SCORE + MAX_SCORE_DIFFERENCE for i in left)
    return ious, differences, more


def main() -> int:
    """Compare one reader with `predict`, print how far they agree, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("weights")
    parser.add_argument("photographs", type=Path)
    parser.add_argument("--reader", choices=READERS, required=True)
    parser.add_argument("--half", action="store_true")
    typed = parser.parse_args()
    layout, reader_of = READERS[typed.reader]
    detector = load(typed.weights, device="cpu")
    width, height = detector.input_size
    ious: list[float] = []
    differences: list[float] = []
    ours_count = more = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export(typed.weights, path, graph=GraphOptions(layout=layout, half=typed.half))
        read = reader_of(path, (width, height))
        for photograph in list_images(typed.photographs, recursive=True):
            image_bgr = read_image(photograph)
            found = detector.predict(image_bgr, score=SCORE)
            boxes, scores, labels = read(image_bgr)
            edge = np.asarray([image_bgr.shape[1], image_bgr.shape[0]] * 2)
            theirs = np.clip(boxes, 0, edge), scores, labels
            pairs = paired((found.boxes_xyxy, found.scores, found.labels), theirs)
            ours_count, more = ours_count + len(found), more + pairs[2]
            ious += pairs[0]
            differences += pairs[1]
    worst = np.nanmax(differences) if not np.isnan(differences).all() else float("nan")
    print(
        f"{typed.reader}, layout {layout.value}: {len(ious)} of {ours_count} detections found again, "
        f"{more} more; IoU at least {min(ious):.3f}, median {np.median(ious):.4f}; "
        f"scores within {worst:.4f}"
    )
    same = len(ious) == ours_count and not more and min(ious) >= MIN_IOU
    return 0 if same and not worst > MAX_SCORE_DIFFERENCE else 1


if __name__ == "__main__":
    sys.exit(main())
