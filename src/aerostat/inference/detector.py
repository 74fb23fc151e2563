"""Image in, Detections out: read, letterbox, network, decode, and back to the photograph's pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord
from aerostat.errors import AerostatError, InputError
from aerostat.geometry.postprocess import MAX_DETECTIONS, NMS_IOU, Candidates
from aerostat.images.prefetch import prefetch_images
from aerostat.images.read import read_image
from aerostat.inference.backends.engine import Engine, NotNumbersError
from aerostat.inference.backends.exported_backend import processors
from aerostat.inference.options import SHOW_SCORE, PredictOptions, PredictPlan
from aerostat.inference.tta import TTA
from aerostat.inference.views import SeenImage, as_detections, see
from aerostat.results.detections import Detections

if TYPE_CHECKING:  # torch is loaded when weights are: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Header

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
        plan = self._plan(PredictOptions(score, nms_iou, max_detections, tta))
        return self._detect(self.engine, [see(image_bgr, plan.views.views)], [path], plan)[0]

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
        plan = self._plan(PredictOptions(score, nms_iou, max_detections, tta))
        threads = min(MAX_WORKERS, processors()) if threads is None else threads
        if self.engine.parallel and threads > 1 and len(images) > 1:
            yield from self._predict_each(images, plan, threads, on_unreadable)
            return
        batches = prefetch_images(
            images,
            lambda _, image_bgr: see(image_bgr, plan.views.views),
            batch_size,
            threads,
            on_unreadable=on_unreadable,
        )
        for records, seen in batches:
            found = self._detect(self.engine, seen, [record.path for record in records], plan)
            yield from zip(records, found, strict=True)

    def _predict_each(
        self,
        images: Sequence[ImageRecord],
        plan: PredictPlan,
        threads: int,
        on_unreadable: Callable[[ImageRecord, InputError], None] | None,
    ) -> Iterator[tuple[ImageRecord, Detections]]:
        """Yield the detections of each image; several threads work on one image each."""

        def work(record: ImageRecord, image_bgr: NDArray[np.uint8]) -> Detections:
            return self._detect(engine, [see(image_bgr, plan.views.views)], [record.path], plan)[0]

        with ExitStack() as stack:
            engine = stack.enter_context(self.engine.concurrent(threads))
            batches = prefetch_images(images, work, threads, threads, on_unreadable=on_unreadable)
            for records, detections in batches:
                yield from zip(records, detections, strict=True)

    def _plan(self, options: PredictOptions) -> PredictPlan:
        """Return what the options come to for this model.

        Raises:
            InputError: the engine suppresses boxes by itself and cannot do what is asked.
        """
        plan = options.plan(self.input_size)
        if plan.view_score < self.engine.lowest_score:
            raise InputError(
                f"This exported model has suppression inside and gives nothing below a score of "
                f"{self.engine.lowest_score:g}, found a threshold of {plan.view_score:g}; "
                "ask for more, or export it without --nms."
            )
        inside = self.engine.nms_iou
        if inside is not None and options.nms_iou > inside:
            raise InputError(
                f"This exported model has suppression at an IoU of {inside:g} inside, found "
                f"{options.nms_iou:g}; ask for no more, or export it without --nms."
            )
        return plan

    def _detect(
        self,
        engine: Engine,
        images: Sequence[Sequence[SeenImage]],
        paths: Sequence[Path | None],
        plan: PredictPlan,
    ) -> list[Detections]:
        """Return the detections on photographs; each is given as all views show it."""
        by_view = []
        for view in zip(*images, strict=True):
            kept: list[Candidates] = []
            step = self._images_per_pass(view[0], len(view))
            for start in range(0, len(view), step):
                part = slice(start, start + step)
                kept += self._kept(engine, view[part], paths[part], plan)
            by_view.append(kept)
        return [
            as_detections(plan.merge(views), self.classes, first.letterbox.source_size, path)
            for views, (first, *_), path in zip(zip(*by_view, strict=True), images, paths, strict=True)
        ]

    def _images_per_pass(self, seen: SeenImage, count: int) -> int:
        """Return how many images of a view fit into the memory of `count` images of the own test size."""
        own, shown = (width * height for width, height in (self.input_size, seen.letterbox.input_size))
        return min(count, max(1, count * own // shown))

    def _kept(
        self, engine: Engine, view: Sequence[SeenImage], paths: Sequence[Path | None], plan: PredictPlan
    ) -> list[Candidates]:
        """Return the boxes that one pass of the network yields, in pixels of the photographs."""
        only, *others = (seen.input_bgr for seen in view)
        images_bgr = np.stack([only, *others]) if others else only[None]  # a single one is not copied
        sizes = [seen.letterbox.resized_size for seen in view]
        try:
            candidates = engine.candidates(
                images_bgr,
                score_threshold=plan.view_score,
                pre_nms=plan.options.pre_nms,
                content_sizes=sizes,
            )
        except NotNumbersError as error:
            path = paths[error.image]
            raise AerostatError(
                f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are "
                "damaged, or were trained until they diverged."
            ) from None
        return [
            seen.to_source(plan.keep(boxes, size))
            for boxes, size, seen in zip(candidates, sizes, view, strict=True)
        ]
