"""A detector on this machine: what it costs, how long it takes with each engine, what would be possible."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aerostat.benchmarking.benchmark_result import BenchmarkResult, Model, Network, Photograph
from aerostat.benchmarking.computer import OthersWatch, describe_computer, peak_memory_bytes, using_threads
from aerostat.benchmarking.latency import measure_in_turn
from aerostat.benchmarking.macs import Work, count_onnx_work, count_work
from aerostat.benchmarking.peak import measure_peak
from aerostat.datasets.records import ImageRecord
from aerostat.errors import InputError
from aerostat.geometry.postprocess import PRE_NMS
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.backends.exported import SUFFIXES
from aerostat.inference.backends.exported_backend import processors
from aerostat.inference.detector import MAX_WORKERS, Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.inference.resolve import load, load_network

if TYPE_CHECKING:
    import torch

ENGINES = ("torch", "onnx", "openvino")
SCENE_SIZE = (1024, 768)
"""(width, height) of the photograph that is drawn where none is given: of the size that messengers send."""
SCENE_SEED = 5
PEAK_SECONDS = 3.0
FOLDER_START = 2
"""Photographs for each thread before a folder's clock starts."""
FOLDER_PER_THREAD = 16
"""Photographs for each thread that are timed; what was begun before weighs little."""
MAX_FOLDERS = 3


def benchmark(
    source: Path | str,
    *,
    engines: Sequence[str] | None = None,
    batches: Sequence[int] = (1, 8),
    input_size: int | None = None,
    device: str | torch.device = "auto",
    threads: int | None = None,
    seconds: float = 20.0,
    image: Path | None = None,
    begun: Callable[[str], object] = lambda _: None,
) -> BenchmarkResult:
    """Measure a detector on this machine.

    Args:
        source: what `aerostat.inference.resolve.load` takes.
        engines: of `ENGINES`; None for all that are installed and can run the source.
        batches: numbers of images that the network is shown at a time.
        input_size, device: as for `load`; engines that only work on the CPU do so.
        threads: that each engine may use; None for as many as it takes by itself.
        seconds: of measuring, about; slow networks take longer.
        image: photograph for the way from file to detections; None draws one of 1024 x 768 pixels.
        begun: told what is being done.

    Raises:
        InputError: for what cannot be loaded or read, and numbers that are none.
    """
    _require_numbers(batches, threads, seconds)
    computer, others = describe_computer(), OthersWatch()
    if image is not None:
        read_image(image)  # refused before any work
    with using_threads(threads) as used, _photograph(image) as path:
        begun("loading the engines")
        subjects, missing = _load_all(source, engines, device, input_size)
        first = subjects[0].detector
        work, uncounted = _count(Path(source), first)
        photograph_bgr = read_image(path)
        networks, photographs = _time(
            subjects, list(dict.fromkeys(batches)), photograph_bgr, path, seconds, begun
        )
        memory = peak_memory_bytes()  # before the peaks are measured with large arrays
        gpu_memory = _gpu_memory(subjects)
        begun("measuring what the machine can do at most")
        peaks = {name: measure_peak(name, PEAK_SECONDS) for name in sorted({s.device for s in subjects})}
    return BenchmarkResult(
        model=_model(str(source), first),
        work=work,
        uncounted=uncounted,
        computer=computer,
        threads=used,
        others_cores=others.cores(),
        peaks=peaks,
        networks=networks,
        photographs=photographs,
        photograph_size=(photograph_bgr.shape[1], photograph_bgr.shape[0]),
        photograph="" if image is None else str(image),
        missing=missing,
        peak_memory_bytes=memory,
        gpu_memory_bytes=gpu_memory,
    )


def _require_numbers(batches: Sequence[int], threads: int | None, seconds: float) -> None:
    numbers = {"a batch": min(batches, default=0), "the number of threads": 1 if threads is None else threads}
    for what, number in numbers.items():
        if number < 1:
            raise InputError(f"Expected at least 1 for {what}, found {number}.")
    if not 0 < seconds < float("inf"):
        raise InputError(f"Expected a number of seconds above 0, found {seconds:g}.")


@dataclass(frozen=True)
class _Subject:
    """A detector with one of its engines."""

    name: str
    detector: Detector

    @property
    def device(self) -> str:
        """Where the engine works; torch is not loaded to know that of an engine that does without."""
        return str(getattr(self.detector.engine, "device", "cpu"))

    @property
    def score(self) -> float:
        """What detections need: as for pictures, unless the engine gives nothing that weak."""
        return max(SHOW_SCORE, self.detector.engine.lowest_score)

    def look(self, images_bgr: NDArray[np.uint8]) -> object:
        """Run the network on letterboxed images (N, H, W, 3)."""
        return self.detector.engine.candidates(images_bgr, score_threshold=self.score, pre_nms=PRE_NMS)

    def predict(self, path: Path) -> object:
        """Go all the way from a file to detections."""
        return self.detector.predict(path, score=self.score)

    def folder_rate(self, path: Path) -> float:
        """Return how many photographs of a folder, which stand all in one file, are done in a second.

        The clock starts when some are done: a folder of hundreds hides what starting the threads costs.
        """
        threads = min(MAX_WORKERS, processors())
        first, images = threads * FOLDER_START, threads * (FOLDER_START + FOLDER_PER_THREAD)
        records = [ImageRecord(path, f"{i}.jpg", 0, 0, id=i) for i in range(images)]
        start = 0.0
        for done, _ in enumerate(self.detector.predict_images(records, score=self.score), start=1):
            if done == first:
                start = time.perf_counter()
        return (images - first) / (time.perf_counter() - start)


def _load_all(
    source: Path | str,
    engines: Sequence[str] | None,
    device: str | torch.device,
    input_size: int | None,
) -> tuple[list[_Subject], dict[str, str]]:
    """Return a detector for each engine, and why there is none for the others.

    Raises:
        InputError: if one that was asked for cannot be had, or there is none at all.
    """
    subjects: list[_Subject] = []
    refused: dict[str, InputError] = {}
    exported = Path(source).suffix.lower() in SUFFIXES
    for name in dict.fromkeys(engines or ENGINES):
        on = device if name == "torch" else "cpu"
        try:
            detector = load(source, device=on, input_size=input_size, engine=name)
        except InputError as error:
            # Weights that torch cannot have are wrong; an exported model is not for torch.
            if engines or (name == "torch" and not exported):
                raise
            refused[name] = error
        else:
            subjects.append(_Subject(name, detector))
    if not subjects:
        raise refused["onnx"]  # a file's own fault is the same for all; torch only says that it is no weights
    return subjects, {name: str(error) for name, error in refused.items()}


def _time(
    subjects: Sequence[_Subject],
    batches: Sequence[int],
    photograph_bgr: NDArray[np.uint8],
    path: Path,
    seconds: float,
    begun: Callable[[str], object],
) -> tuple[list[Network], list[Photograph]]:
    """Return the latency of every network and of the way from the file, all measured in turn."""
    size = subjects[0].detector.input_size
    shown = _letterboxed(photograph_bgr, size)[None]
    works: dict[str, Callable[[], object]] = {"reading": lambda: _letterboxed(read_image(path), size)}
    for s in subjects:
        for batch in {*batches, 1}:
            works[f"{s.name}, batch {batch}"] = partial(s.look, np.repeat(shown, batch, axis=0))
        works[f"{s.name}, photograph"] = partial(s.predict, path)
    tell = partial(_tell, begun)
    timed = measure_in_turn(works, seconds, begun=tell)
    rates = _folder_rates(subjects, path, seconds, tell)
    networks = [
        Network(s.name, s.device, batch, timed[f"{s.name}, batch {batch}"])
        for s in subjects
        for batch in batches
    ]
    photographs = [
        Photograph(
            s.name,
            s.device,
            whole=timed[f"{s.name}, photograph"],
            reading=timed["reading"],
            network=timed[f"{s.name}, batch 1"],
            folder_images_per_second=rates[s.name],
        )
        for s in subjects
    ]
    return networks, photographs


def _tell(begun: Callable[[str], object], name: str) -> None:
    begun(f"measuring: {name}")


def _folder_rates(
    subjects: Sequence[_Subject], path: Path, seconds: float, begun: Callable[[str], object]
) -> dict[str, float]:
    """Return each engine's median rate of some folders, of one at least, taken in turn."""
    rates: dict[str, list[float]] = {s.name: [] for s in subjects}
    end = time.perf_counter() + seconds
    for _ in range(MAX_FOLDERS):
        for s in subjects:
            begun(f"{s.name}, folder")
            rates[s.name].append(s.folder_rate(path))
        if time.perf_counter() > end:
            break
    return {name: float(np.median(rows)) for name, rows in rates.items()}


def _letterboxed(image_bgr: NDArray[np.uint8], input_size: tuple[int, int]) -> NDArray[np.uint8]:
    return Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), input_size).apply(image_bgr)


@contextmanager
def _photograph(image: Path | None) -> Iterator[Path]:
    """Give the photograph that was named, or a JPEG of a drawn scene for as long as it is needed."""
    if image is not None:
        yield image
        return
    import cv2

    from aerostat.scenes.balloons import draw_scene

    scene, _ = draw_scene(np.random.default_rng(SCENE_SEED), *SCENE_SIZE)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.jpg"
        path.write_bytes(cv2.imencode(".jpg", scene)[1].tobytes())
        yield path


def _count(source: Path, detector: Detector) -> tuple[Work | None, str]:
    """Return what an image takes, or why that is not known."""
    if hasattr(detector.engine, "net"):
        return count_work(detector.net, detector.input_size), ""
    if detector.header is not None:  # weights, run by another engine
        return count_work(load_network(source)[0], detector.input_size), ""
    if source.suffix.lower() != ".onnx":
        return None, "parameters and multiply-adds are counted of weights and of .onnx files only"
    work = count_onnx_work(source, detector.input_size)
    return work, "" if work else "to count parameters and multiply-adds of an exported file: pip install onnx"


def _model(source: str, detector: Detector) -> Model:
    about: Any = detector.header or getattr(detector.engine, "exported", None)
    return Model(
        source=source,
        name=f"rtmdet-{about.size}",
        classes=len(detector.classes),
        input_size=detector.input_size,
        precision=getattr(about, "precision", "float32"),
    )


def _gpu_memory(subjects: Sequence[_Subject]) -> int | None:
    """Return the most that tensors have held on the GPU, None without one."""
    gpus = [s.device for s in subjects if s.device.startswith("cuda")]
    if not gpus:
        return None
    import torch

    return torch.cuda.max_memory_allocated(gpus[0])
