"""Benchmark of a detector on this machine: cost, latency of each engine, and the machine's limits."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

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
from aerostat.inference.detector import MAX_WORKERS, Detector
from aerostat.inference.options import SHOW_SCORE
from aerostat.inference.resolve import load, load_network
from aerostat.processors import compute_threads
from aerostat.progress import activity, progress_shown

if TYPE_CHECKING:
    import torch

ENGINES = ("torch", "onnx", "openvino")
SCENE_SIZE = (1024, 768)
"""(width, height) of the scene that is drawn if no photograph is given: the size that messengers send."""
SCENE_SEED = 5
"""Seed of the drawn scene."""
PEAK_SECONDS = 3.0
"""Time for measuring the limits of a device."""
FOLDER_START = 2
"""Photographs for each thread before the clock of a folder starts."""
FOLDER_PER_THREAD = 16
"""Photographs for each thread that are timed: many enough that those already begun weigh little."""
MAX_FOLDERS = 3
"""Maximum number of folders for each engine."""


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """What is measured, and for how long.

    Args:
        engines: some of `ENGINES`; None takes all that are installed and can run the weights.
        batches: numbers of images in a call of the network.
        threads: number of threads of each engine; None leaves each its own number.
        seconds: approximate time of measuring; slow networks take longer.
        image: photograph for the way from file to detections; None draws a scene of 1024 x 768 pixels.

    Raises:
        InputError: a number is out of its range.
    """

    engines: Sequence[str] | None = None
    batches: Sequence[int] = (1, 8)
    threads: int | None = None
    seconds: float = 20.0
    image: Path | None = None

    def __post_init__(self) -> None:
        threads = 1 if self.threads is None else self.threads
        for what, number in {
            "a batch": min(self.batches, default=0),
            "the number of threads": threads,
        }.items():
            if number < 1:
                raise InputError(f"Expected at least 1 for {what}, found {number}.")
        if not 0 < self.seconds < float("inf"):
            raise InputError(f"Expected a number of seconds above 0, found {self.seconds:g}.")


class BenchmarkArguments(TypedDict, total=False):
    """Keyword arguments of `benchmark`; they make a `BenchmarkOptions`, which describes them."""

    engines: Sequence[str] | None
    batches: Sequence[int]
    threads: int | None
    seconds: float
    image: Path | None


def benchmark(
    source: Path | str,
    *,
    input_size: int | None = None,
    device: str | torch.device = "auto",
    progress: bool = True,
    **options: Unpack[BenchmarkArguments],
) -> BenchmarkResult:
    """Return cost and latency of a detector on this machine, and the machine's limits.

    Args:
        source: run directory, weights, exported model or name of the zoo, as for `aerostat.load`.
        input_size: side of the network's input in pixels; None takes that of the weights.
        device: as for `aerostat.load`; engines that only work on the CPU use the CPU.
        progress: whether progress is shown.
        **options: fields of `BenchmarkOptions`: `engines`, `batches`, `threads`, `seconds`, `image`.

    Raises:
        InputError: a source or photograph that cannot be read, an engine that cannot run the source, or a
            number out of its range.

    Example:
        ``benchmark("run", engines=["onnx"], seconds=5).lines()``
    """
    wanted = BenchmarkOptions(**options)
    if wanted.image is not None:
        read_image(wanted.image)  # refused before any work
    computer, others = describe_computer(), OthersWatch()
    with (
        progress_shown(progress),
        activity() as on_step,
        using_threads(wanted.threads) as used,
        _photograph(wanted.image) as path,
    ):
        on_step("loading the engines")
        subjects, missing = _load_all(source, wanted.engines, device, input_size)
        first = subjects[0].detector
        work, uncounted = _count(Path(source), first)
        photograph_bgr = read_image(path)
        networks, photographs = _time(subjects, wanted, photograph_bgr, path, on_step)
        # Read the memory before the limits are measured, which takes large arrays.
        memory, gpu_memory = peak_memory_bytes(), _gpu_memory(subjects)
        on_step("measuring the limits of the machine")
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
        photograph="" if wanted.image is None else str(wanted.image),
        missing=missing,
        peak_memory_bytes=memory,
        gpu_memory_bytes=gpu_memory,
    )


@dataclass(frozen=True)
class _Subject:
    """A detector with one of its engines."""

    name: str
    detector: Detector

    @property
    def device(self) -> str:
        """Device of the engine; an engine without torch does not load it for this."""
        return str(getattr(self.detector.engine, "device", "cpu"))

    @property
    def score(self) -> float:
        """Minimum score: that of pictures, unless the engine only gives stronger detections."""
        return max(SHOW_SCORE, self.detector.engine.lowest_score)

    def look(self, images_bgr: NDArray[np.uint8]) -> object:
        """Run the network on letterboxed images (N, H, W, 3)."""
        return self.detector.engine.candidates(images_bgr, score_threshold=self.score, pre_nms=PRE_NMS)

    def predict(self, path: Path) -> object:
        """Detect objects on a file."""
        return self.detector.predict(path, score=self.score, slices="off")

    def folder_rate(self, path: Path) -> float:
        """Return the photographs per second of a folder, whose photographs are all one file.

        The clock starts after the first photographs, because a large folder hides the start of the threads.
        """
        threads = min(MAX_WORKERS, compute_threads())
        first, images = threads * FOLDER_START, threads * (FOLDER_START + FOLDER_PER_THREAD)
        records = [ImageRecord(path, f"{i}.jpg", 0, 0, id=i) for i in range(images)]
        start = 0.0
        results = self.detector.predict_images(records, score=self.score, slices="off")
        for done, _ in enumerate(results, start=1):
            if done == first:
                start = time.perf_counter()
        return (images - first) / (time.perf_counter() - start)


def _load_all(
    source: Path | str,
    engines: Sequence[str] | None,
    device: str | torch.device,
    input_size: int | None,
) -> tuple[list[_Subject], dict[str, str]]:
    """Return a detector for each engine, and the reason why the others have none.

    Raises:
        InputError: an engine that was asked for cannot run the source, or no engine can.
    """
    subjects: list[_Subject] = []
    refused: dict[str, InputError] = {}
    exported = Path(source).suffix.lower() in SUFFIXES
    for name in dict.fromkeys(engines or ENGINES):
        on = device if name == "torch" else "cpu"
        try:
            detector = load(source, device=on, input_size=input_size, engine=name)
        except InputError as error:
            # Weights that torch cannot load are wrong; torch cannot load an exported model.
            if engines or (name == "torch" and not exported):
                raise
            refused[name] = error
        else:
            subjects.append(_Subject(name, detector))
    if not subjects:
        raise refused["onnx"]  # this names a fault of the file; torch only says that it holds no weights
    return subjects, {name: str(error) for name, error in refused.items()}


def _time(
    subjects: Sequence[_Subject],
    options: BenchmarkOptions,
    photograph_bgr: NDArray[np.uint8],
    path: Path,
    on_step: Callable[[str], object],
) -> tuple[list[Network], list[Photograph]]:
    """Return the latencies of networks and of photographs, all measured in turn."""
    size, batches = subjects[0].detector.input_size, list(dict.fromkeys(options.batches))
    shown = _letterboxed(photograph_bgr, size)[None]
    works: dict[str, Callable[[], object]] = {"reading": lambda: _letterboxed(read_image(path), size)}
    for s in subjects:
        for batch in {*batches, 1}:
            works[f"{s.name}, batch {batch}"] = partial(s.look, np.repeat(shown, batch, axis=0))
        works[f"{s.name}, photograph"] = partial(s.predict, path)
    tell = partial(_tell, on_step)
    timed = measure_in_turn(works, options.seconds, on_turn=tell)
    rates = _folder_rates(subjects, path, options.seconds, tell)
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


def _tell(on_step: Callable[[str], object], name: str) -> None:
    on_step(f"measuring: {name}")


def _folder_rates(
    subjects: Sequence[_Subject], path: Path, seconds: float, on_step: Callable[[str], object]
) -> dict[str, float]:
    """Return the median rate of each engine over at least one folder, measured in turn."""
    rates: dict[str, list[float]] = {s.name: [] for s in subjects}
    end = time.perf_counter() + seconds
    for _ in range(MAX_FOLDERS):
        for s in subjects:
            on_step(f"{s.name}, folder")
            rates[s.name].append(s.folder_rate(path))
        if time.perf_counter() > end:
            break
    return {name: float(np.median(rows)) for name, rows in rates.items()}


def _letterboxed(image_bgr: NDArray[np.uint8], input_size: tuple[int, int]) -> NDArray[np.uint8]:
    return Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), input_size).apply(image_bgr)


@contextmanager
def _photograph(image: Path | None) -> Iterator[Path]:
    """Yield the path of the photograph, or of a drawn scene that is deleted afterwards."""
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
    """Return the work of an image, or the reason why it is unknown."""
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
        masks=detector.has_masks,
    )


def _gpu_memory(subjects: Sequence[_Subject]) -> int | None:
    """Return the peak memory of tensors on the GPU, None without a GPU."""
    gpus = [s.device for s in subjects if s.device.startswith("cuda")]
    if not gpus:
        return None
    import torch

    return torch.cuda.max_memory_allocated(gpus[0])
