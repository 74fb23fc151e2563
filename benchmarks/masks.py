"""Masks beside boxes alone: the network, a whole photograph, and the training step.

Each case compares a network with masks and the same network without, round by round. Weights are random,
with boxes of ten strides; the best twenty of a photograph are kept. `augmentation.py` has the samples.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.geometry.polygons import ellipse
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import detection_loss, instance_loss
from aerostat.model.onnx_graph import onnx_model
from aerostat.model.rtmdet import RTMDet, build
from aerostat.scenes.balloons import draw_scene
from aerostat.training.network import TrainedNetwork
from aerostat.training.optimiser import build_optimiser, set_training_mode
from benchmarks.case import Case, Unavailable

OBJECTS = 20
BATCH = 8
BOXES, MASKS = "boxes alone", "with masks"


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons of masks."""
    for size, side in (("tiny", 640),) if quick else (("tiny", 640), ("nano", 320)):
        yield _network(size, side)
        for engine in ("torch", "onnx", "openvino"):
            yield _photograph(size, side, engine)
        yield _step(size, side)


def _built(size: str, masks: bool) -> RTMDet:
    torch.manual_seed(0)
    net = build(size, 1, masks).eval()
    with torch.no_grad():  # boxes of ten strides, and scores that differ
        for cls, reg in zip(net.bbox_head.rtm_cls, net.bbox_head.rtm_reg, strict=True):
            cls.weight.mul_(300)
            reg.bias.fill_(5)
    return net


def _network(size: str, side: int) -> Case:
    image = np.random.default_rng(0).integers(0, 255, (1, side, side, 3), dtype=np.uint8)
    engines = {name: TorchEngine(_built(size, name == MASKS)) for name in (BOXES, MASKS)}

    def milliseconds(engine: TorchEngine) -> float:
        start = time.perf_counter()
        for _ in range(5):
            engine.outputs(image)
        return (time.perf_counter() - start) * 200

    return Case(
        f"RTMDet-{size}, the network alone, {side} px, torch",
        "ms",
        {name: lambda engine=engine: milliseconds(engine) for name, engine in engines.items()},  # type: ignore[misc]
        baseline=BOXES,
        goal="at most 1.35 times the time of boxes alone, which is 0.74 times better",
        rounds=9,
    )


def _photograph(size: str, side: int, engine: str) -> Case:
    photograph = _scene((1024, 768))
    detectors = {name: _detector(size, side, engine, name == MASKS) for name in (BOXES, MASKS)}
    scores = {name: _score_of_twenty(detector, photograph) for name, detector in detectors.items()}

    def milliseconds(name: str) -> float:
        start = time.perf_counter()
        for _ in range(3):
            found = detectors[name].predict(photograph, score=scores[name], max_detections=OBJECTS)
        assert len(found) == OBJECTS
        return (time.perf_counter() - start) * 1000 / 3

    return Case(
        f"RTMDet-{size}, a photograph of 1024 x 768 px with {OBJECTS} objects, {side} px, {engine}",
        "ms",
        {BOXES: lambda: milliseconds(BOXES), MASKS: lambda: milliseconds(MASKS)},
        baseline=BOXES,
        goal="at most 1.45 times the time of boxes alone, which is 0.69 times better",
        reference="MMDetection 3.3: masks cost 4.5 times the photograph",
        rounds=9,
    )


def _detector(size: str, side: int, engine: str, masks: bool) -> Detector:
    net = _built(size, masks)
    if engine == "torch":
        return Detector(TorchEngine(net), ("object",), (side, side))
    exported = Exported(size, ("object",), (side, side), masks=masks)
    content = onnx_model(net, input_size=(side, side)).SerializeToString()
    runner: Any
    try:
        if engine == "onnx":
            from aerostat.inference.backends.onnxruntime import onnx_engine

            runner = onnx_engine(content, exported)
        else:
            from aerostat.inference.backends.openvino import openvino_engine

            runner = openvino_engine(content, exported)
    except Exception as error:
        raise Unavailable(str(error)) from None
    return Detector(runner, ("object",), (side, side))


def _score_of_twenty(detector: Detector, photograph: NDArray[np.uint8]) -> float:
    """Return a score above which there are some more than twenty detections."""
    scores = np.sort(detector.predict(photograph, score=0.0, max_detections=100).scores)[::-1]
    return float(scores[min(2 * OBJECTS, len(scores) - 1)])


def _scene(size: tuple[int, int]) -> NDArray[np.uint8]:
    image_bgr, _ = draw_scene(np.random.default_rng(0), *size)
    return np.asarray(image_bgr, np.uint8)


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
