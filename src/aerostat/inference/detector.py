"""The detector: from images to detections, through letterbox, network and post-processing."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.geometry.windows import WindowGrid
from aerostat.images.frame import AnyImage, Frame, as_frame
from aerostat.images.prefetch import ImageFile, read_file
from aerostat.inference.backends.engine import Engine
from aerostat.inference.clip_sources import StreamArguments, open_stream
from aerostat.inference.options import PredictArguments, PredictOptions, PredictPlan
from aerostat.inference.passes import Work, candidates_of, look
from aerostat.inference.sliced import Slicer, look_at_slices
from aerostat.inference.slices import TrainedOn, merge_slices
from aerostat.inference.views import SeenImage, as_detections, see
from aerostat.processors import compute_threads
from aerostat.progress import progress_shown, track
from aerostat.results.detections import Detections

if TYPE_CHECKING:  # torch is loaded when weights are: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Header

Item = TypeVar("Item", bound=Frame | ImageFile)

BATCH_SIZE = 4
"""Images that the network sees at a time, where it is faster with batches."""

MAX_WORKERS = 8
"""Maximum number of photographs in work at once: each needs memory for the network's maps."""


@dataclass
class Detector:
    """A network with all that is needed to use it.

    Args:
        engine: what runs the network.
        classes: names of its classes.
        input_size: (width, height) that images are letterboxed to.
        header: what the weights file says about itself, if there is one.
        trained_on: the size of the training objects, if the file states it.
    """

    engine: Engine
    classes: tuple[str, ...]
    input_size: tuple[int, int]
    header: Header | None = field(default=None, repr=False)
    trained_on: TrainedOn | None = field(default=None, repr=False)

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
    def has_masks(self) -> bool:
        """Whether the network predicts masks."""
        return bool(getattr(self.engine, "has_masks", False))  # engines of others may know nothing of masks

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        import torch

        return getattr(self.engine, "device", None) or torch.device("cpu")

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a str is one image, though it is a sequence, too
        self, images: AnyImage | Frame, *, progress: bool = True, **options: Unpack[PredictArguments]
    ) -> Detections: ...

    @overload
    def __call__(
        self,
        images: Sequence[AnyImage | Frame],
        *,
        progress: bool = True,
        **options: Unpack[PredictArguments],
    ) -> list[Detections]: ...

    def __call__(
        self,
        images: AnyImage | Frame | Sequence[AnyImage | Frame],
        *,
        progress: bool = True,
        **options: Unpack[PredictArguments],
    ) -> Detections | list[Detections]:
        """Return the detections on one image, or a list of them for a list or tuple of images.

        Args:
            images: a path, an image (H, W, 3) uint8 BGR, or a PIL image; or a list of them.
            progress: whether to show progress for a list.
            **options: see `PredictOptions`.

        Raises:
            InputError: an image cannot be read.
        """
        if not isinstance(images, list | tuple):
            return self.predict(images, **options)  # type: ignore[arg-type]
        frames = [as_frame(image, index) for index, image in enumerate(images)]
        with progress_shown(progress):
            results = track(self.predict_images(frames, **options), "predicting", len(frames))
            return [detections for _, detections in results]

    def predict(self, image: AnyImage | Frame, **options: Unpack[PredictArguments]) -> Detections:
        """Return the detections on one image.

        Args:
            image: a path, an image (H, W, 3) uint8 BGR, or a PIL image.
            **options: ``score``, ``nms_iou``, ``max_detections``, ``tta``; see `PredictOptions`.

        Raises:
            InputError: the image cannot be read.
        """
        frame = as_frame(image)
        plan = self._plan(PredictOptions(**options))
        if plan.slices is not None and not plan.slices.never:
            grid = Slicer(plan.slices).grid(frame)
            if grid is not None:
                return self._predict_large(frame, grid, plan, 4, min(MAX_WORKERS, compute_threads()))
        return self._detect(self.engine, [see(frame.read(), plan.views.views)], [frame.path], plan)[0]

    def predict_images(
        self,
        images: Iterable[Item],
        *,
        batch_size: int = BATCH_SIZE,
        threads: int | None = None,
        on_unreadable: Callable[[Item, InputError], None] | None = None,
        **options: Unpack[PredictArguments],
    ) -> Generator[tuple[Item, Detections]]:
        """Yield each image with its detections, in order, while the next ones are worked on.

        On a GPU threads read and decode, and the network sees batches. On the CPU each thread takes a
        photograph from file to detections. One thread per photograph is faster than several threads on one.

        Args:
            images: a source of frames, or any iterable of frames and of objects with a ``path``. It may be
                endless; it is read a few batches ahead.
            batch_size: images that the network sees at a time, if it sees batches.
            threads: None for one per processor, 8 at most. 0 reads and detects in the calling thread.
            on_unreadable: is called with each image that cannot be read, which is then left out; None raises.
            **options: see `PredictOptions`.

        Raises:
            InputError: an image cannot be read, and `on_unreadable` is None.
        """
        plan = self._plan(PredictOptions(**options))
        threads = min(MAX_WORKERS, compute_threads()) if threads is None else threads
        if plan.slices is None or plan.slices.never:
            yield from self._predict_whole(images, plan, batch_size, threads, on_unreadable)
            return
        slicer = Slicer(plan.slices)
        sized = ((image, slicer.grid(image)) for image in images)
        for is_whole, group in groupby(sized, lambda pair: pair[1] is None):
            if is_whole:
                small = (image for image, _ in group)
                yield from self._predict_whole(small, plan, batch_size, threads, on_unreadable)
                continue
            for image, grid in group:
                assert grid is not None
                try:
                    found = self._predict_large(image, grid, plan, batch_size, threads)
                except InputError as error:
                    if on_unreadable is None:
                        raise
                    on_unreadable(image, error)
                    continue
                yield image, found

    def stream(
        self, source: Path | str | int | Iterable[Frame], **options: Unpack[StreamArguments]
    ) -> Generator[tuple[Frame, Detections]]:
        """Yield each frame of a clip, a camera or a stream with its detections, in order.

        Of a live source each frame is the latest one. Frames that came meanwhile are dropped.

        >>> for frame, detections in model.stream("door.mp4", every=2):  # doctest: +SKIP
        ...     print(frame.index, frame.time_s, detections)

        Args:
            source: a path, the number of a camera, an address (rtsp, http), or a source of frames.
            **options: ``every``, ``start_s``, ``end_s`` and ``fps`` choose frames, see `Selection`; for the
                others see `PredictOptions`.

        Raises:
            InputError: the source cannot be opened.
            AerostatError: it could not be read to its end, such as a clip that is cut.
        """
        stream = open_stream(source, options)
        yield from self.predict_images(stream.frames, **stream.plan, **stream.predict)
        stream.check()

    def _predict_whole(
        self,
        images: Iterable[Item],
        plan: PredictPlan,
        batch_size: int,
        threads: int,
        on_unreadable: Callable[[Item, InputError], None] | None,
    ) -> Iterator[tuple[Item, Detections]]:
        """Yield the detections of each image, which is looked at as a whole."""
        single = isinstance(images, Sized) and len(images) < 2
        work = Work(lambda _, image_bgr: see(image_bgr, plan.views.views), _pixels, on_unreadable)
        for image, seen, boxes in look(
            self.engine, images, work, plan, batch_size, 0 if single else threads, self.input_size
        ):
            size = seen[0].letterbox.source_size
            yield image, as_detections(plan, boxes, self.classes, size, image.path)

    def _predict_large(
        self, image: Frame | ImageFile, grid: WindowGrid, plan: PredictPlan, batch_size: int, threads: int
    ) -> Detections:
        """Return the detections on one image, which is looked at by windows and as a whole."""
        views, found = look_at_slices(
            lambda slices, read, prepare: (
                (view, boxes)
                for view, _, boxes in look(
                    self.engine, slices, Work(prepare, read), plan, batch_size, threads, self.input_size
                )
            ),
            image,
            grid,
            plan,
        )
        merged = merge_slices(views, found, grid, self.input_size, plan.options.max_detections)
        return as_detections(plan, merged, self.classes, grid.image_size, image.path)

    def _plan(self, options: PredictOptions) -> PredictPlan:
        """Return what the options come to for this model.

        Raises:
            InputError: the engine suppresses boxes by itself and cannot do what is asked.
        """
        plan = options.plan(self.input_size, has_masks=self.has_masks, trained_on=self.trained_on)
        if plan.view_score < self.engine.lowest_score:
            raise InputError(
                f"This exported model has suppression inside and gives nothing below a score of "
                f"{self.engine.lowest_score:g}, found a threshold of {plan.view_score:g}; "
                "ask for more, or export it again without suppression, not by `export(nms=True)`."
            )
        inside = self.engine.nms_iou
        if inside is not None and plan.nms_iou > inside:
            raise InputError(
                f"This exported model has suppression at an IoU of {inside:g} inside, found "
                f"{plan.nms_iou:g}; ask for no more, or export it again, not by `export(nms=True)`."
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
        found = candidates_of(engine, images, paths, plan, self.input_size)
        return [
            as_detections(plan, boxes, self.classes, first.letterbox.source_size, path)
            for boxes, (first, *_), path in zip(found, images, paths, strict=True)
        ]


def _pixels(image: Frame | ImageFile) -> NDArray[np.uint8]:
    return image.read() if isinstance(image, Frame) else read_file(image)
