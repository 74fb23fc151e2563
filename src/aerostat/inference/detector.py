"""Image in, Detections out: read, letterbox, network, decode, and back to the photograph's pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import AerostatError, InputError
from aerostat.geometry import boxes as box_arithmetic
from aerostat.geometry.postprocess import MAX_DETECTIONS, NMS_IOU, PRE_NMS, SCORE_THRESHOLD, Boxes, keep
from aerostat.images.letterbox import Letterbox
from aerostat.images.prefetch import prefetch_images
from aerostat.images.read import read_image
from aerostat.inference.backends.engine import Engine, NotNumbersError
from aerostat.inference.backends.exported_backend import processors
from aerostat.inference.tta import TTA, View, ViewPlan, merge_views, mirror_boxes, mirror_content
from aerostat.results.detections import Detections

if TYPE_CHECKING:  # torch is loaded when weights are: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Header

SHOW_SCORE = 0.3
"""A picture shows detections above this; AP wants nearly all of them (0.001)."""
MAX_WORKERS = 8
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
        threads = min(MAX_WORKERS, processors()) if threads is None else threads
        if self.engine.parallel and threads > 1 and len(images) > 1:
            yield from self._predict_each(images, asked, threads, on_unreadable)
            return
        batches = prefetch_images(
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
            batches = prefetch_images(images, work, threads, threads, on_unreadable=on_unreadable)
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
