"""Image in, Detections out: read, letterbox, network, decode, and back to the photograph's pixels."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat import boxes as box_arithmetic
from aerostat import console
from aerostat.candidates import MAX_DETECTIONS, NMS_IOU, PRE_NMS, SCORE_THRESHOLD, Boxes, keep
from aerostat.data.ahead import read_ahead
from aerostat.data.dataset import ImageRecord
from aerostat.data.image import Letterbox, read_image
from aerostat.detections import Detections
from aerostat.engines.engine import ENGINES, Engine, NotNumbersError
from aerostat.engines.exported import SUFFIXES, Exported, read_onnx_entry
from aerostat.engines.exported_engine import processors
from aerostat.errors import AerostatError, InputError
from aerostat.tta import TTA, View, ViewPlan, merge_views, mirror_boxes, mirror_content

if TYPE_CHECKING:  # torch is loaded when weights are: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.model.checkpoint import Header, Weights

SHOW_SCORE = 0.3
"""A picture shows detections above this; AP wants nearly all of them (0.001)."""
RUN_WEIGHTS = ("best.safetensors", "last.safetensors")
"""What a run directory is asked for, in this order."""
DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
"""What `--device` takes; of several GPUs any number."""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package of each engine for exported models."""
GPU_MARKS = ("/dev/nvidiactl", "/dev/kfd")
"""Where one of these is, torch may find a GPU, which no exported model uses."""
MOST_WORKERS = 8
"""Photographs that are worked on at once at most: each needs memory for the network's maps."""


@dataclass
class Detector:
    """A network with all that is needed to use it.

    Args:
        engine: what runs the network.
        classes: names of its classes.
        input_size: (width, height) that images are letterboxed to.
        header: what the weights file says about itself, if there is one.
    """

    engine: Engine
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    header: Header | None = field(default=None, repr=False)

    @property
    def net(self) -> RTMDet:
        """The network, to look into.

        Raises:
            InputError: an exported model is run, which cannot be looked into.
        """
        net = getattr(self.engine, "net", None)
        if net is None:
            raise InputError(
                "An exported model cannot be looked into; name the weights that it was exported from."
            )
        return net  # type: ignore[no-any-return]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        import torch

        return getattr(self.engine, "device", None) or torch.device("cpu")

    def predict(
        self,
        source: Path | str | NDArray[np.uint8],
        *,
        score: float = SHOW_SCORE,
        nms_iou: float = NMS_IOU,
        max_detections: int = MAX_DETECTIONS,
        tta: TTA | bool = False,
    ) -> Detections:
        """Return what is found on one photograph.

        Args:
            source: a file, or an image (H, W, 3) uint8 BGR.
            score: detections need a higher score.
            nms_iou: overlap above which the weaker of two detections of a class goes.
            max_detections: the best so many are kept.
            tta: whether to look several times, scaled and mirrored, and merge what is found; or how.

        Raises:
            InputError: if the image cannot be read.
        """
        path = None if isinstance(source, np.ndarray) else Path(source)
        image_bgr = source if isinstance(source, np.ndarray) else read_image(source)
        shape = image_bgr.shape
        if len(shape) != 3 or shape[2] != 3 or not image_bgr.size or image_bgr.dtype != np.uint8:
            raise InputError(f"Expected an image (H, W, 3) of uint8, found {shape} of {image_bgr.dtype}.")
        asked = self._asked(score, nms_iou, max_detections, tta)
        return self._merged(self.engine, [_looks(image_bgr, asked.look.views)], [path], asked)[0]

    def predict_images(
        self,
        images: Sequence[ImageRecord],
        *,
        score: float = SHOW_SCORE,
        nms_iou: float = NMS_IOU,
        max_detections: int = MAX_DETECTIONS,
        tta: TTA | bool = False,
        batch_size: int = 4,
        threads: int | None = None,
        on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        """Yield what is found on each image, in order, while the next ones are worked on.

        On a GPU threads read and decode, and the network sees batches. On the CPU each thread takes a
        photograph from file to detections on one processor, which is faster than all of them sharing one.

        Args:
            images: what to read; only their paths are looked at.
            score, nms_iou, max_detections, tta: as for `predict`.
            batch_size: images that the network sees at a time, where it sees batches.
            threads: None for one per processor, 8 at most; 0 for none, which is slow.
            on_unreadable: told of images that cannot be read, which are then left out; None raises.
        """
        asked = self._asked(score, nms_iou, max_detections, tta)
        threads = min(MOST_WORKERS, processors()) if threads is None else threads
        if self.engine.parallel and threads > 1 and len(images) > 1:
            yield from self._predict_each(images, asked, threads, on_unreadable)
            return
        batches = read_ahead(
            images,
            lambda _, image_bgr: _looks(image_bgr, asked.look.views),
            batch_size,
            threads,
            on_unreadable=on_unreadable,
        )
        for records, looks in batches:
            merged = self._merged(self.engine, looks, [record.path for record in records], asked)
            yield from zip(records, merged, strict=True)

    def _predict_each(
        self,
        images: Sequence[ImageRecord],
        asked: _Asked,
        threads: int,
        on_unreadable: Callable[[ImageRecord, InputError], None] | None,
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        """Yield what is found on each image, several worked on at once, each by one thread."""

        def work(record: ImageRecord, image_bgr: NDArray[np.uint8]) -> Detections:
            return self._merged(engine, [_looks(image_bgr, asked.look.views)], [record.path], asked)[0]

        with ExitStack() as stack:
            engine = stack.enter_context(self.engine.concurrent(threads))
            batches = read_ahead(images, work, threads, threads, on_unreadable=on_unreadable)
            for records, found in batches:
                yield from zip(records, found, strict=True)

    def _asked(self, score: float, nms_iou: float, max_detections: int, tta: TTA | bool) -> _Asked:
        asked = _Asked(score, nms_iou, max_detections, self._views(tta, nms_iou))
        if asked.view_score < self.engine.lowest_score:
            raise InputError(
                f"This exported model has suppression inside and gives nothing below a score of "
                f"{self.engine.lowest_score:g}, found a threshold of {asked.view_score:g}; "
                "ask for more, or export it without --nms."
            )
        inside = self.engine.nms_iou
        if inside is not None and asked.nms_iou > inside:
            raise InputError(
                f"This exported model has suppression at an IoU of {inside:g} inside, found "
                f"{asked.nms_iou:g}; ask for no more, or export it without --nms."
            )
        return asked

    def _views(self, tta: TTA | bool, nms_iou: float) -> ViewPlan:
        """Return the views that a request comes to; without augmentation that is one."""
        if not tta:
            return ViewPlan((View(self.input_size),))
        return (TTA() if tta is True else tta).plan(self.input_size, nms_iou)

    def _merged(
        self,
        engine: Engine,
        looks: Sequence[Sequence[_Look]],
        paths: Sequence[Path | None],
        asked: _Asked,
    ) -> list[Detections]:
        """Return what is found on photographs, given for each its looks by the same views."""
        by_view = []
        for same_view in zip(*looks, strict=True):
            found: list[Boxes] = []
            step = self._images_per_pass(same_view[0], len(same_view))
            for start in range(0, len(same_view), step):
                part = same_view[start : start + step]
                found += self._boxes(engine, part, paths[start : start + step], asked)
            by_view.append(found)
        return [
            self._detections(asked.merge(found), first.letterbox, path)
            for found, (first, *_), path in zip(zip(*by_view, strict=True), looks, paths, strict=True)
        ]

    def _images_per_pass(self, look: _Look, count: int) -> int:
        """Return how many of a batch a view shows at a time: memory is for so many of the own test size."""
        own, shown = (width * height for width, height in (self.input_size, look.letterbox.input_size))
        return min(count, max(1, count * own // shown))

    def _boxes(
        self, engine: Engine, looks: Sequence[_Look], paths: Sequence[Path | None], asked: _Asked
    ) -> list[Boxes]:
        """Return what one pass of the network finds, in pixels of the photographs."""
        only, *others = (look.image_bgr for look in looks)
        images_bgr = np.stack([only, *others]) if others else only[None]  # no copy of a single one
        try:
            found = engine.candidates(
                images_bgr,
                score_threshold=asked.view_score,
                pre_nms=PRE_NMS,
                content_sizes=[look.letterbox.resized_size for look in looks],
            )
        except NotNumbersError as error:
            path = paths[error.image]
            raise AerostatError(
                f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are "
                "damaged, or were trained until they diverged."
            ) from None
        return [asked.kept(boxes, look) for boxes, look in zip(found, looks, strict=True)]

    def _detections(self, found: Boxes, letterbox: Letterbox, path: Path | None) -> Detections:
        return Detections(
            boxes_xyxy=found.boxes_xyxy,
            scores=found.scores,
            labels=found.labels,
            classes=self.classes,
            image_size=letterbox.source_size,
            path=path,
        )


class _Look(NamedTuple):
    """A photograph as one view shows it: (H, W, 3) uint8 BGR, the way there, and whether it is mirrored."""

    image_bgr: NDArray[np.uint8]
    letterbox: Letterbox
    flip: bool


class _Asked(NamedTuple):
    """What a prediction was asked for, and what follows for each of its views and for the merge."""

    score: float
    nms_iou: float
    max_detections: int
    look: ViewPlan

    @property
    def view_score(self) -> float:
        """What candidates of a view need: fusion averages the weak ones too, whatever is shown of them."""
        return min(self.score, SCORE_THRESHOLD) if self.look.merge == "wbf" else self.score

    @property
    def view_detections(self) -> int:
        """How many are kept of a view: what it ranks low, another view may have a use for."""
        return max(self.max_detections, MAX_DETECTIONS) if len(self.look.views) > 1 else self.max_detections

    def kept(self, candidates: Boxes, look: _Look) -> Boxes:
        """Return what a view keeps of its candidates, in pixels of the photograph."""
        size, number = look.letterbox.resized_size, self.view_detections
        found = keep(candidates, size, nms_iou=self.nms_iou, max_detections=number)
        return _in_source(found, look.letterbox, look.flip)

    def merge(self, found: Sequence[Boxes]) -> Boxes:
        """Return the one result of all views."""
        merged = merge_views(found, merge=self.look.merge, iou_threshold=self.look.merge_iou)
        count = min(int((merged.scores > self.score).sum()), self.max_detections)  # best score first
        return Boxes(merged.boxes_xyxy[:count], merged.scores[:count], merged.labels[:count])


def _looks(image_bgr: NDArray[np.uint8], views: Sequence[View]) -> list[_Look]:
    """Return a photograph (H, W, 3) as each view shows it; it is resized once for each size."""
    size = (image_bgr.shape[1], image_bgr.shape[0])
    plain: dict[tuple[int, int], NDArray[np.uint8]] = {}
    looks = []
    for view in views:
        letterbox = Letterbox.fit(size, view.input_size)
        if view.input_size not in plain:
            plain[view.input_size] = letterbox.apply(image_bgr)
        shown = plain[view.input_size]
        shown = mirror_content(shown, letterbox) if view.flip else shown
        looks.append(_Look(shown, letterbox, view.flip))
    return looks


def _in_source(found: Boxes, letterbox: Letterbox, flip: bool) -> Boxes:
    """Return boxes of the network's input in pixels of the photograph, a mirrored view's turned back."""
    width, height = letterbox.source_size
    boxes_xyxy = box_arithmetic.clip_boxes(letterbox.boxes_to_source(found.boxes_xyxy), width, height)
    if flip:
        boxes_xyxy = mirror_boxes(boxes_xyxy, width)
    return found._replace(boxes_xyxy=boxes_xyxy.astype(np.float32))


# ---------------------------------------------------------------------------------------- from a file


def load(
    source: Path | str,
    *,
    device: str | torch.device = "auto",
    input_size: int | None = None,
    engine: str = "auto",
) -> Detector:
    """Return a detector from a run directory, a weights file, an exported model or a name of the zoo.

    Args:
        source: a run directory (its best weights, else its last), a native ``.safetensors``, an OpenMMLab
            ``.pth``, an exported ``.onnx`` or ``.xml``, or a zoo name such as ``rtmdet-tiny``.
        device: auto (CUDA if there is one, else CPU), cpu, cuda, cuda:1 or mps; in place of one that cannot
            be used here the CPU, with a note. Exported models run on the CPU.
        input_size: side of the square input in pixels in place of the one that the weights state.
        engine: torch, onnx or openvino; auto takes torch for weights and for an exported model what runs it:
            ONNX Runtime first, for INT8 OpenVINO.

    Raises:
        InputError: if there is no such thing, it holds no weights of a detector, the engine is not
            installed, or the device is none.
    """
    _check_input_size(input_size)
    check_device(device)
    if engine not in ENGINES:
        raise InputError(f"Unknown engine {engine!r}; the engines are {', '.join(ENGINES)}.")
    if engine in ("onnx", "openvino"):
        _require_cpu(device, f"the engine {engine}")
    path = Path(source)
    if path.suffix.lower() in SUFFIXES and "://" not in str(source):
        return _load_exported(path, device, input_size, engine)
    return _load_weights(source, device, input_size, engine)


def exported_beside(
    source: Path | str, *, input_size: int | None = None, device: str = "auto"
) -> Path | None:
    """Return the ONNX file beside a run's or file's weights, if it was made from them and can be run here.

    It says the same as the weights and starts sooner, for torch is not loaded. One in INT8, with suppression
    inside, or for another size of input, is another thing and is left where it is.

    Args:
        source: a run directory or a weights file; anything else has nothing beside it.
        input_size: side of the input that is wanted, if it matters.
        device: auto or cpu, or there is nothing to return.
    """
    if Path(source).suffix.lower() in SUFFIXES:
        return None
    gpu = device == "auto" and any(Path(name).exists() for name in GPU_MARKS)
    if device not in ("auto", "cpu") or gpu or not installed("onnxruntime") or not Path(source).exists():
        return None
    weights = weights_path(source)
    path = weights.with_suffix(".onnx")
    if path == weights or not path.is_file():
        return None
    try:
        exported = read_onnx_entry(path)
    except InputError:
        return None
    plain = exported.precision == "float32" and not exported.suppressed
    fits = input_size is None or exported.dynamic or exported.input_size == (input_size, input_size)
    if not (plain and fits):
        return None
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return path if digest == exported.weights_sha256 else None


def _load_exported(path: Path, device: str | torch.device, input_size: int | None, engine: str) -> Detector:
    """Return a detector from an exported file; torch is not loaded."""
    if not path.is_file():
        raise InputError(f"There is no exported model {path}.")
    if engine == "torch":
        raise InputError(f"{path} is an exported model, which the engine torch cannot run; name the weights.")
    _require_cpu(device, "an exported model")
    if path.suffix.lower() == ".onnx":
        exported, chosen = read_onnx_entry(path), engine
        if chosen == "auto":
            # ONNX Runtime runs INT8 slower than float32, OpenVINO twice as fast (benchmarks/int8.md).
            prefers = ("openvino", "onnx") if exported.precision == "int8" else ("onnx", "openvino")
            chosen = next((name for name in prefers if installed(RUNTIMES[name])), "onnx")
    else:
        from aerostat.engines.open_vino import read_openvino_entry

        if engine == "onnx":
            raise InputError(f"{path} is an OpenVINO model, which the engine onnx cannot run.")
        exported, chosen = read_openvino_entry(path), "openvino"
    if input_size is not None and exported.dynamic:
        side = (input_size, input_size)
    elif input_size is not None and (input_size, input_size) != exported.input_size:
        width, height = exported.input_size
        raise InputError(
            f"{path} takes images of {width} x {height} px only, found {input_size}; "
            "export it with --dynamic."
        )
    else:
        side = exported.input_size
    return Detector(_exported_engine(path, exported, chosen), exported.classes, side)


def _exported_engine(model: Path | bytes, exported: Exported, engine: str) -> Engine:
    if engine == "openvino":
        from aerostat.engines.open_vino import openvino_engine

        return openvino_engine(model, exported)
    from aerostat.engines.onnx_runtime import onnx_engine

    return onnx_engine(model, exported)


def _load_weights(
    source: Path | str, device: str | torch.device, input_size: int | None, engine: str
) -> Detector:
    """Return a detector from weights, which other engines than torch run as they would be exported."""
    net, weights, size = load_network(source, input_size=input_size)
    from aerostat.engines.pytorch import TorchEngine

    header = weights.header
    if engine not in ("onnx", "openvino"):
        return Detector(TorchEngine(net.to(choose_device(device))), header.classes, size, header)
    if not installed("onnx"):
        raise InputError(
            f"The engine {engine} runs weights as ONNX, which needs a package; install it with: "
            "pip install onnx"
        )
    from aerostat.engines.onnx_graph import onnx_model

    exported = Exported(header.size, header.classes, size, dynamic=True, batch=None)
    model = onnx_model(net, input_size=size, batch=None, dynamic=True)
    runner = _exported_engine(model.SerializeToString(), exported, engine)
    return Detector(runner, header.classes, size, header)


def load_network(
    source: Path | str, *, input_size: int | None = None
) -> tuple[RTMDet, Weights, tuple[int, int]]:
    """Return a network in evaluation mode on the CPU, its weights file, and (width, height) of its input.

    Args:
        source, input_size: as for `load`; no exported model.

    Raises:
        InputError: as `load`.
    """
    _check_input_size(input_size)
    if not installed("torch"):
        raise InputError(f"To run the weights {source} torch is needed; install it with: pip install torch")
    from aerostat.model import build
    from aerostat.model.checkpoint import fit_to, load_weights

    weights = load_weights(weights_path(source))
    header = weights.header
    if header.kind != "detector":
        raise InputError(
            f"{source} holds a pretrained backbone, no detector; train one with --weights {source}."
        )
    for remark in header.notes:
        console.note(f"{source}: {remark}")
    net = build(header.size, len(header.classes))
    state, _ = fit_to(weights, header.size, header.classes, net.state_dict(), source)
    net.load_state_dict(state)
    size = (input_size, input_size) if input_size else header.input_size
    if size[0] % 32 or size[1] % 32:
        raise InputError(
            f"{source} states an input of {size[0]} x {size[1]} px, expected multiples of 32; "
            "name another input size."
        )
    return net.eval(), weights, size


def _check_input_size(side: int | None) -> None:
    if side is not None and (side < 32 or side % 32):
        raise InputError(f"The input size must be a positive multiple of 32 pixels, found {side}.")


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def _require_cpu(device: str | torch.device, what: str) -> None:
    if str(device) not in ("auto", "cpu"):
        raise InputError(f"Expected the device cpu for {what}, found {device}.")


def weights_path(source: Path | str) -> Path:
    """Return the weights file that a run directory, a file, a zoo name or an https:// address stands for.

    Raises:
        InputError: if there is none.
    """
    if "://" in str(source):
        return _fetch(str(source))
    path = Path(source)
    if path.is_dir():
        for name in RUN_WEIGHTS:
            if (path / name).is_file():
                return path / name
        raise InputError(f"{path} is no run with weights: it has neither {' nor '.join(RUN_WEIGHTS)}.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"There is no weights file or run directory {path}.")
    return _fetch(str(source))


def _fetch(source: str) -> Path:
    from aerostat.model import zoo

    return zoo.fetch(source)


def check_device(name: str | torch.device) -> None:
    """Refuse what is no device's name; whether there is one is seen when it is chosen.

    Raises:
        InputError: naming those that are.
    """
    if not re.fullmatch(r"auto|(cpu|mps)(:0)?|cuda(:\d{1,3})?", str(name)):
        raise InputError(f"Expected one of the devices {', '.join(DEVICES)}, found {str(name)!r}.")


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device that a request names; ``auto`` is CUDA where there is one, else the CPU.

    In place of one that cannot be used here it is the CPU, and a note says why.

    Raises:
        InputError: if the name is none of a device.
    """
    import torch

    check_device(name)
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # fails also where there is only the name
    except (RuntimeError, AssertionError, ImportError) as error:
        why = " ".join(str(error).split()).partition(". ")[0].rstrip(".")[:120]
        console.note(f"the device {name} cannot be used here ({why}); the CPU is taken instead")
        return torch.device("cpu")
    return device
