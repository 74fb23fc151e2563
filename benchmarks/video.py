"""Clips: prediction beside the rate of the network, and its processor time beside the sum of its stages.

The clip is real: one person after another walks through, 768 x 432 px, 10 frames a second. The network is
RTMDet-nano at 320 px with published weights for persons.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerostat.images.frame import Frame
from aerostat.inference.clip_sinks import RowSink, VideoSink
from aerostat.inference.detector import Detector
from aerostat.inference.options import PredictOptions
from aerostat.inference.predict_folder import predict_to_sinks
from aerostat.inference.resolve import load
from aerostat.inference.sinks import Sink
from aerostat.inference.views import see
from aerostat.processors import compute_threads
from aerostat.video.capture import VideoFile
from aerostat.video.times import Selection
from aerostat.video.writer import VideoFormat, VideoWriter
from benchmarks.case import Case, Unavailable
from benchmarks.machine import ROOT

SHARED = ROOT.parent / "shared"
CLIP = SHARED / "data" / "video" / "one-by-one-person-detection.mp4"
WEIGHTS = SHARED / "weights" / "rtmdet_nano_person.pth"
ENGINES = ("onnx", "openvino")
NETWORK, LINES = "the network alone", "predict, JSON lines"
STAGES, VIDEO = "sum of the stages alone", "predict with video"


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons about clips."""
    if not CLIP.is_file() or not WEIGHTS.is_file():
        raise Unavailable(f"needs the clip and the weights in {SHARED.name}/ beside the project")
    for engine in ENGINES[: 1 if quick else 2]:
        detector = load(WEIGHTS, engine=engine, input_size=320)
        yield _rate(detector, engine, 24 if quick else 60)
        for format_ in ("vp8",) if quick else ("vp8", "webm"):
            yield _processor_time(detector, engine, format_, 12 if quick else 16)


def _source(frames: int) -> VideoFile:
    """Return the first frames of the clip, which has ten a second."""
    return VideoFile(CLIP, selection=Selection(end_s=frames / 10))


def _predict(detector: Detector, frames: int, make: Callable[[Path], list[Sink]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        done = predict_to_sinks(detector, _source(frames), make(Path(folder)), progress=False)
    assert done == frames


def _rate(detector: Detector, engine: str, frames: int) -> Case:
    plan = PredictOptions().plan(detector.input_size)
    inputs = [see(frame.read(), plan.views.views)[0].input_bgr[None] for frame in _source(frames)]
    threads = compute_threads()

    def network() -> float:
        with detector.engine.concurrent(threads) as runner, ThreadPoolExecutor(threads) as pool:
            run = partial(runner.candidates, score_threshold=0.3, pre_nms=plan.pre_nms)
            start = time.perf_counter()
            list(pool.map(run, inputs))
            return frames / (time.perf_counter() - start)

    def lines() -> float:
        start = time.perf_counter()
        _predict(detector, frames, lambda folder: [RowSink(folder / "rows.jsonl", "jsonl")])
        return frames / (time.perf_counter() - start)

    return Case(
        f"a clip of 768 x 432 px, RTMDet-nano, 320 px, {engine}",
        "images/s",
        {NETWORK: network, LINES: lines},
        baseline=NETWORK,
        higher_is_better=True,
        goal="JSON lines at 0.7 of the network's rate",
        note="the network's rate is that of prepared inputs on all processors, with its candidates decoded",
    )


def _processor_time(detector: Detector, engine: str, format_: VideoFormat, frames: int) -> Case:
    read = [frame.read() for frame in _source(frames)]
    plan = PredictOptions().plan(detector.input_size)
    found = [detector.predict(image) for image in read]
    drawn = [detections.draw(image).image_bgr for detections, image in zip(found, read, strict=True)]

    def detect() -> None:
        with detector.engine.concurrent(compute_threads()) as runner:
            seen = [see(image, plan.views.views) for image in read]
            for one in seen:
                detector._detect(runner, [one], [None], plan)

    def encode() -> None:
        with tempfile.TemporaryDirectory() as folder:
            writer = VideoWriter(Path(folder) / "a.webm", 10, format_)
            for image in drawn:
                writer.write(partial(_same, image))
            writer.close()

    def rows() -> None:
        with tempfile.TemporaryDirectory() as folder:
            sink = RowSink(Path(folder) / "rows.jsonl", "jsonl")
            for index, (image, detections) in enumerate(zip(read, found, strict=True)):
                sink.write(Frame(image, "a", index), detections)
            sink.close()

    stages: tuple[Callable[[], object], ...] = (
        lambda: list(_source(frames)),
        detect,
        lambda: [detections.draw(image) for detections, image in zip(found, read, strict=True)],
        encode,
        rows,
    )

    def alone() -> float:
        return sum(_milliseconds(stage) for stage in stages) / frames

    def together() -> float:
        def sinks(folder: Path) -> list[Sink]:
            return [VideoSink(folder / "a.webm", format_, 10), RowSink(folder / "rows.jsonl", "jsonl")]

        return _milliseconds(lambda: _predict(detector, frames, sinks)) / frames

    codec = {"webm": "VP9", "vp8": "VP8"}[format_]
    return Case(
        f"a clip of 768 x 432 px with its video in {codec}, RTMDet-nano, 320 px, {engine}: processor time",
        "ms a frame",
        {STAGES: alone, VIDEO: together},
        baseline=STAGES,
        goal="at most 1.1 times the sum of the stages: reading, network, drawing, encoding, rows",
        rounds=3,
    )


def _same(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image


def _milliseconds(work: Callable[[], object]) -> float:
    """Return the processor time of all threads."""
    start = time.process_time()
    work()
    return (time.process_time() - start) * 1000
