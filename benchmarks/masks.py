"""Masks beside boxes alone: the network, a whole photograph, and the training step.

Each case compares a network with masks and the same network without, round by round. Weights are random,
with batch statistics of their own, boxes of ten strides and a fixed number of candidates. Exactly twenty
objects of a photograph are kept (300 of the large one), each with a mask. `augmentation.py` has the samples.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.benchmarking.computer import peak_memory_bytes
from aerostat.geometry.mask_kernels import COORDINATE_SCALE, KERNEL_PARTS, WEIGHTS
from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.geometry.polygons import ellipse
from aerostat.geometry.postprocess import MASK_NMS_IOU, MAX_DETECTIONS, MAX_MASKS, NMS_IOU
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import detection_loss, instance_loss
from aerostat.model.onnx_graph import Suppression, onnx_model
from aerostat.model.rtmdet import RTMDet, build
from aerostat.results.detections import Detections
from aerostat.scenes.balloons import draw_scene
from aerostat.training.network import TrainedNetwork
from aerostat.training.optimiser import build_optimiser, set_training_mode
from benchmarks.case import Case
from benchmarks.inference import LOW, bring_to_life
from benchmarks.machine import ROOT

OBJECTS = 20
CANDIDATES = 1000
"""Points above the threshold of scores: more than suppression needs for its twenty boxes."""
REACH = 5.0
"""Strides between a point and the sides of its box."""
SLOPE = 100.0
"""By how much the logits of masks fall in as many strides as `COORDINATE_SCALE`: more than the noise of
random weights."""
PHOTOGRAPH = (1024, 768)
LARGE, LARGE_OBJECTS = (6000, 8000), 300
BATCH = 8
BOXES, MASKS = "boxes alone", "with masks"
ENGINES = ("torch", "onnx", "onnx with suppression inside", "openvino", "openvino with suppression inside")


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of masks."""
    for size, side in (("tiny", 640),) if quick else (("tiny", 640), ("nano", 320)):
        yield _network(size, side)
        for engine in ENGINES:
            yield photograph_case(size, side, engine)
        yield _step(size, side)
    yield _memory("tiny", 640)


def _built(size: str, side: int, masks: bool, photograph: NDArray[np.uint8], candidates: int) -> RTMDet:
    torch.manual_seed(0)
    net = build(size, 1, masks)
    seen = Letterbox.fit((photograph.shape[1], photograph.shape[0]), (side, side)).apply(photograph)
    bring_to_life(net, seen[None], candidates, REACH)
    for kernel in net.bbox_head.rtm_kernel if masks else ():
        with torch.no_grad():
            kernel.weight.mul_(0.2)
            kernel.bias.copy_(torch.from_numpy(_diamond()))
    return net


def _diamond() -> NDArray[np.float32]:
    """Return the kernel of a mask that reaches as far as the box, to each side of its point."""
    first, second, third, *biases = (np.zeros(part, np.float32) for part in KERNEL_PARTS)
    weights = first.reshape(WEIGHTS[0])
    weights[:4, :2] = [[1, 0], [-1, 0], [0, 1], [0, -1]]  # how far a cell is to each side
    second.reshape(WEIGHTS[1])[:4, :4] = np.eye(4)
    third[:4] = -SLOPE
    biases[2][:] = SLOPE * REACH / COORDINATE_SCALE
    return np.concatenate([first, second, third, *biases])


def _network(size: str, side: int) -> Case:
    scene = _scene((side, side))
    engines = {
        name: TorchEngine(_built(size, side, name == MASKS, scene, CANDIDATES)) for name in (BOXES, MASKS)
    }

    def milliseconds(engine: TorchEngine) -> float:
        start = time.perf_counter()
        for _ in range(5):
            engine.outputs(scene[None])
        return (time.perf_counter() - start) * 200

    return Case(
        f"RTMDet-{size}, the network alone, {side} px, torch",
        "ms",
        {name: lambda engine=engine: milliseconds(engine) for name, engine in engines.items()},  # type: ignore[misc]
        baseline=BOXES,
        goal="at most 1.35 times the time of boxes alone, which is 0.74 times better",
        rounds=9,
    )


def photograph_case(size: str, side: int, engine: str) -> Case:
    """Return the comparison on a photograph, with one of `ENGINES`."""
    photograph = _scene(PHOTOGRAPH)
    detectors, unavailable = {}, {}
    for name in (BOXES, MASKS):
        net = _built(size, side, name == MASKS, photograph, CANDIDATES)
        try:
            detectors[name] = _detector(net, size, side, engine)
        except Exception as error:
            unavailable[name] = str(error)

    def milliseconds(detector: Detector) -> float:
        start = time.perf_counter()
        for _ in range(3):
            found = detector.predict(photograph, score=LOW, max_detections=OBJECTS)
        seconds = time.perf_counter() - start
        _require(found, OBJECTS)
        return seconds * 1000 / 3

    return Case(
        f"RTMDet-{size}, a photograph of {PHOTOGRAPH[0]} x {PHOTOGRAPH[1]} px with {OBJECTS} objects, "
        f"{side} px, {engine}",
        "ms",
        {name: lambda detector=detector: milliseconds(detector) for name, detector in detectors.items()},  # type: ignore[misc]
        baseline=BOXES,
        goal="at most 1.45 times the time of boxes alone, which is 0.69 times better",
        reference="MMDetection 3.3: masks cost 4.5 times the photograph",
        rounds=9,
        unavailable=unavailable,
    )


def _require(found: Detections, count: int) -> None:
    """Refuse a measurement of another number of objects, or of masks without pixels."""
    if len(found) != count or (found.masks is not None and not found.masks.area().all()):
        raise ValueError(f"expected {count} objects, each with pixels, found {len(found)}")


def _detector(net: RTMDet, size: str, side: int, engine: str) -> Detector:
    if engine == "torch":
        return Detector(TorchEngine(net), ("object",), (side, side))
    exported = Exported(size, ("object",), (side, side), masks=net.has_masks)
    suppression = None
    if "suppression" in engine:
        nms_iou, count = (MASK_NMS_IOU, MAX_MASKS) if net.has_masks else (NMS_IOU, MAX_DETECTIONS)
        suppression = Suppression(LOW, nms_iou, min(count, OBJECTS))
        exported = replace(exported, score_threshold=LOW, nms_iou=nms_iou)
    content = onnx_model(net, input_size=(side, side), suppression=suppression).SerializeToString()
    runner: Any
    if engine.startswith("onnx"):
        from aerostat.inference.backends.onnxruntime import onnx_engine

        runner = onnx_engine(content, exported)
    else:
        from aerostat.inference.backends.openvino import openvino_engine

        runner = openvino_engine(content, exported)
    return Detector(runner, ("object",), (side, side))


def _scene(size: tuple[int, int]) -> NDArray[np.uint8]:
    image_bgr, _ = draw_scene(np.random.default_rng(0), *size)
    return np.asarray(image_bgr, np.uint8)


def _memory(size: str, side: int) -> Case:
    def megabytes(masks: bool) -> float:
        net = _built(size, side, masks, _large_photograph(), 8 * LARGE_OBJECTS)
        with tempfile.TemporaryDirectory() as folder:
            torch.save(net.state_dict(), Path(folder) / "state.pt")
            call = f"masks.megabytes_above_network({size!r}, {side}, {masks}, {folder + '/state.pt'!r})"
            command = [sys.executable, "-c", f"from benchmarks import masks; print({call})"]
            ran = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        return float(ran.stdout)

    return Case(
        f"RTMDet-{size}, a photograph of {LARGE[0]} x {LARGE[1]} px with {LARGE_OBJECTS} objects, {side} px, "
        "torch: peak memory above that of the network",
        "MB",
        {BOXES: lambda: megabytes(False), MASKS: lambda: megabytes(True)},
        baseline=BOXES,
        goal="at most 400 MB",
        rounds=1,
        note="the photograph itself takes 144 MB, which are there before the network runs",
    )


def megabytes_above_network(size: str, side: int, masks: bool, state: str) -> float:
    """Return by how much the peak of this process grows from a pass of the network to a large photograph.

    Args:
        size: of the network.
        side: of its input.
        masks: whether it has masks.
        state: file with its weights.
    """
    net = build(size, 1, masks).eval()
    net.load_state_dict(torch.load(state, weights_only=True))
    photograph = _large_photograph()
    detector = _detector(net, size, side, "torch")
    letterbox = Letterbox.fit(LARGE, (side, side))
    detector.engine.candidates(letterbox.apply(photograph)[None], score_threshold=0.9, pre_nms=1)
    before = peak_memory_bytes()
    found = detector.predict(photograph, score=LOW, max_detections=LARGE_OBJECTS)
    _require(found, LARGE_OBJECTS)
    return (peak_memory_bytes() - before) / 1e6


def _large_photograph() -> NDArray[np.uint8]:
    small = _scene((LARGE[0] // 8, LARGE[1] // 8))
    return np.asarray(cv2.resize(small, LARGE, interpolation=cv2.INTER_LINEAR), np.uint8)


def _step(size: str, side: int) -> Case:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (BATCH, side, side, 3), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    boxes, labels, masks = [], [], []
    for _ in range(BATCH):
        of_image, targets = _objects(rng, 12, side)
        boxes.append(torch.from_numpy(of_image))
        labels.append(torch.zeros(len(of_image), dtype=torch.long))
        masks.append(targets)

    def stepper(with_masks: bool) -> Callable[[], float]:
        net = build(size, 1, with_masks)
        set_training_mode(net, freeze_backbone=False)
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        trained, optimiser = TrainedNetwork(net), build_optimiser(net, lr=1e-5, weight_decay=0.05)

        def step() -> float:
            start = time.perf_counter()
            outputs: Any = trained(images)
            losses = (
                instance_loss(outputs, boxes, labels, masks)
                if with_masks
                else detection_loss(outputs.cls, outputs.reg, boxes, labels)
            )
            torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            return time.perf_counter() - start

        return step

    return Case(
        f"RTMDet-{size}, training step, {side} px, batch {BATCH}, 12 objects an image, mask stride 4",
        "s",
        {BOXES: stepper(False), MASKS: stepper(True)},
        baseline=BOXES,
        goal="at most 1.35 times the time of boxes alone (aimed at: 1.25), which is 0.74 times better",
        reference="MMDetection 3.3: masks cost 1.6 times the training step",
        rounds=5,
    )


def _objects(rng: np.random.Generator, count: int, side: int) -> tuple[NDArray[np.float32], MaskTargets]:
    centres, radii = rng.uniform(0.1, 0.9, (count, 2)) * side, rng.uniform(0.03, 0.15, (count, 2)) * side
    boxes = np.clip(np.concatenate([centres - radii, centres + radii], 1), 0, side).astype(np.float32)
    outlines = [[ellipse(*centre, *radius)] for centre, radius in zip(centres, radii, strict=True)]
    return boxes, rasterise(Outlines.of(outlines, {}, (side, side)), boxes, (side, side), 4)
