"""Image in, Detections out: read, letterbox, network, decode, and back to the photograph's pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from aerostat import boxes as box_arithmetic
from aerostat import console
from aerostat.candidates import MAX_DETECTIONS, NMS_IOU, SCORE_THRESHOLD, Boxes
from aerostat.data.ahead import read_ahead
from aerostat.data.dataset import ImageRecord
from aerostat.data.image import Letterbox, read_image
from aerostat.detections import Detections
from aerostat.errors import AerostatError, InputError
from aerostat.model import RTMDet, build, decode, normalise, zoo
from aerostat.model.checkpoint import Header, fit_to, load_weights
from aerostat.tta import TTA, View, ViewPlan, merge_views, mirror_boxes, mirror_content

SHOW_SCORE = 0.3
"""A picture shows detections above this; AP wants nearly all of them (0.001)."""
RUN_WEIGHTS = ("best.safetensors", "last.safetensors")
"""What a run directory is asked for, in this order."""


@dataclass
class Detector:
    """A network with all that is needed to use it.

    Args:
        net: in evaluation mode, on the device that it shall work on.
        classes: names of its classes.
        input_size: (width, height) that images are letterboxed to.
        header: what the weights file says about itself, if there is one.
    """

    net: RTMDet
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    header: Header | None = field(default=None, repr=False)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

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
        asked = _Asked(score, nms_iou, max_detections, self._views(tta, nms_iou))
        return self._merged([_looks(image_bgr, asked.look.views)], [path], asked)[0]

    def predict_images(
        self,
        images: Sequence[ImageRecord],
        *,
        score: float = SHOW_SCORE,
        nms_iou: float = NMS_IOU,
        max_detections: int = MAX_DETECTIONS,
        tta: TTA | bool = False,
        batch_size: int = 4,
        threads: int = 2,
        on_unreadable: Callable[[ImageRecord, InputError], None] | None = None,
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        """Yield what is found on each image, in order, decoding the next ones meanwhile.

        Args:
            images: what to read; only their paths are looked at.
            score, nms_iou, max_detections, tta: as for `predict`.
            batch_size: images that the network sees at a time.
            threads: that read and decode.
            on_unreadable: told of images that cannot be read, which are then left out; None raises.
        """
        asked = _Asked(score, nms_iou, max_detections, self._views(tta, nms_iou))
        views = asked.look.views
        for records, looks in read_ahead(
            images, partial(_looks, views=views), batch_size, threads, on_unreadable=on_unreadable
        ):
            merged = self._merged(looks, [record.path for record in records], asked)
            yield from zip(records, merged, strict=True)

    def _views(self, tta: TTA | bool, nms_iou: float) -> ViewPlan:
        """Return the views that a request comes to; without augmentation that is one."""
        if not tta:
            return ViewPlan((View(self.input_size),))
        return (TTA() if tta is True else tta).plan(self.input_size, nms_iou)

    def _merged(
        self, looks: Sequence[Sequence[_Look]], paths: Sequence[Path | None], asked: _Asked
    ) -> list[Detections]:
        """Return what is found on photographs, given for each its looks by the same views."""
        by_view = []
        for same_view in zip(*looks, strict=True):
            found: list[Boxes] = []
            step = self._images_per_pass(same_view[0], len(same_view))
            for start in range(0, len(same_view), step):
                part = same_view[start : start + step]
                planes = torch.stack([look.planes for look in part])
                letterboxes = [look.letterbox for look in part]
                found += self._boxes(
                    planes, letterboxes, paths[start : start + step], asked, flip=part[0].flip
                )
            by_view.append(found)
        return [
            self._detections(asked.merge(found), first.letterbox, path)
            for found, (first, *_), path in zip(zip(*by_view, strict=True), looks, paths, strict=True)
        ]

    def _images_per_pass(self, look: _Look, count: int) -> int:
        """Return how many of a batch a view shows at a time: memory is for so many of the own test size."""
        own, shown = (width * height for width, height in (self.input_size, look.letterbox.input_size))
        return min(count, max(1, count * own // shown))

    @torch.inference_mode()
    def _boxes(
        self,
        images_bgr: torch.Tensor,  # (N, 3, H, W) uint8
        letterboxes: Sequence[Letterbox],
        paths: Sequence[Path | None],
        asked: _Asked,
        *,
        flip: bool = False,
    ) -> list[Boxes]:
        """Return what one pass of the network finds, in pixels of the photographs."""
        cls, reg = self.net(normalise(images_bgr.to(self.device)))
        _require_numbers([*cls, *reg], paths)
        found = decode(
            cls,
            reg,
            [letterbox.resized_size for letterbox in letterboxes],
            score_threshold=asked.view_score,
            nms_iou=asked.nms_iou,
            max_detections=asked.view_detections,
        )
        return [_in_source(boxes, way, flip) for boxes, way in zip(found, letterboxes, strict=True)]

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
    """A photograph as one view shows it: (3, H, W) uint8 BGR, the way there, and whether it is mirrored."""

    planes: torch.Tensor
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
        planes = torch.from_numpy(np.ascontiguousarray(shown.transpose(2, 0, 1)))
        looks.append(_Look(planes, letterbox, view.flip))
    return looks


def _in_source(found: Boxes, letterbox: Letterbox, flip: bool) -> Boxes:
    """Return boxes of the network's input in pixels of the photograph, a mirrored view's turned back."""
    width, height = letterbox.source_size
    boxes_xyxy = box_arithmetic.clip_boxes(letterbox.boxes_to_source(found.boxes_xyxy), width, height)
    if flip:
        boxes_xyxy = mirror_boxes(boxes_xyxy, width)
    return found._replace(boxes_xyxy=boxes_xyxy.astype(np.float32))


def _require_numbers(outputs: Sequence[torch.Tensor], paths: Sequence[Path | None]) -> None:
    """Refuse what would otherwise look as if nothing had been found: a NaN is above no threshold."""
    broken = torch.stack([output.isnan().flatten(1).any(1) for output in outputs]).any(0)  # (N,)
    if broken.any():
        path = paths[int(broken.nonzero()[0])]
        raise AerostatError(
            f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are damaged, "
            "or were trained until they diverged."
        )


def load(
    source: Path | str, *, device: str | torch.device = "auto", input_size: int | None = None
) -> Detector:
    """Return a detector from a run directory, a weights file or a name of the zoo.

    Args:
        source: a run directory (its best weights, else its last), a native ``.safetensors``, an OpenMMLab
            ``.pth`` or a zoo name such as ``rtmdet-tiny``.
        device: auto (CUDA if there is one, else CPU), cpu, cuda, ...
        input_size: side of the square input in pixels in place of the one that the weights state.

    Raises:
        InputError: if there is no such thing, or it holds no weights of a detector.
    """
    if input_size is not None and (input_size < 32 or input_size % 32):
        raise InputError(f"The input size must be a positive multiple of 32 pixels, found {input_size}.")
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
    return Detector(net.eval().to(choose_device(device)), header.classes, size, header)


def weights_path(source: Path | str) -> Path:
    """Return the weights file that a run directory, a file, a zoo name or an https:// address stands for.

    Raises:
        InputError: if there is none.
    """
    if "://" in str(source):
        return zoo.fetch(str(source))
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
    return zoo.fetch(str(source))


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device that a request names; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        InputError: if it is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # fails also where there is only the name
    except (RuntimeError, AssertionError, ImportError):
        raise InputError(f"There is no device {str(name)!r} on this machine; use cpu or auto.") from None
    return device
