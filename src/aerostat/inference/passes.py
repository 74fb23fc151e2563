"""Passes of a network over photographs, each as all views show it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.errors import AerostatError, InputError
from aerostat.geometry.postprocess import Candidates
from aerostat.images.prefetch import prefetch_images
from aerostat.inference.backends.engine import Engine, NotNumbersError
from aerostat.inference.options import PredictPlan
from aerostat.inference.views import SeenImage


@dataclass(frozen=True)
class Work:
    """What happens to images on their way to the network.

    Args:
        prepare: makes the views of an image from its pixels.
        read: reads its pixels.
        on_unreadable: is told of an image that cannot be read; without it the error is raised.
    """

    prepare: Callable[[Any, NDArray[np.uint8]], list[SeenImage]]
    read: Callable[[Any], NDArray[np.uint8]]
    on_unreadable: Callable[[Any, InputError], None] | None = None


def look(
    engine: Engine,
    images: Iterable[Any],
    work: Work,
    plan: PredictPlan,
    batch_size: int,
    threads: int,
    input_size: tuple[int, int],
) -> Iterator[tuple[Any, list[SeenImage], Candidates]]:
    """Yield each image, as it was seen, with its boxes; on a CPU each thread works on one of them.

    Args:
        engine: runs the network.
        images: frames, files or windows.
        work: reads and prepares them.
        plan: of the views.
        batch_size: images that the network sees at a time, where threads do not work on one each.
        threads: that read ahead.
        input_size: (width, height) of the network's own input.
    """
    if engine.parallel and threads > 1:
        with ExitStack() as stack:
            own = stack.enter_context(engine.concurrent(threads))

            def each(item: Any, image_bgr: NDArray[np.uint8]) -> tuple[list[SeenImage], Candidates]:
                seen = work.prepare(item, image_bgr)
                boxes = candidates_of(own, [seen], [item.path], plan, input_size)[0]
                # The pixels are not needed any more.
                return [view._replace(input_bgr=view.input_bgr[:0]) for view in seen], boxes

            batches = prefetch_images(
                images, each, threads, threads, read=work.read, on_unreadable=work.on_unreadable
            )
            for items, results in batches:
                for item, (seen, boxes) in zip(items, results, strict=True):
                    yield item, seen, boxes
        return
    prepared = prefetch_images(
        images, work.prepare, batch_size, threads, read=work.read, on_unreadable=work.on_unreadable
    )
    for items, views in prepared:
        found = candidates_of(engine, views, [item.path for item in items], plan, input_size)
        yield from zip(items, views, found, strict=True)


def candidates_of(
    engine: Engine,
    images: Sequence[Sequence[SeenImage]],
    paths: Sequence[Path | None],
    plan: PredictPlan,
    input_size: tuple[int, int],
) -> list[Candidates]:
    """Return the boxes of images, merged from all views, in pixels of each image.

    Args:
        engine: runs the network.
        images: each as all views show it.
        paths: of their files, for messages.
        plan: of the views.
        input_size: (width, height) of the network's own input.

    Raises:
        AerostatError: outputs of the network are not numbers.
    """
    by_view = []
    for view in zip(*images, strict=True):
        kept: list[Candidates] = []
        step = _images_per_pass(view[0], len(view), input_size)
        for start in range(0, len(view), step):
            part = slice(start, start + step)
            kept += _kept(engine, view[part], paths[part], plan)
        by_view.append(kept)
    return [plan.merge(views) for views in zip(*by_view, strict=True)]


def _images_per_pass(seen: SeenImage, count: int, input_size: tuple[int, int]) -> int:
    """Return how many images of a view fit into the memory of `count` images of the own test size."""
    own, shown = (width * height for width, height in (input_size, seen.letterbox.input_size))
    return min(count, max(1, count * own // shown))


def _kept(
    engine: Engine, view: Sequence[SeenImage], paths: Sequence[Path | None], plan: PredictPlan
) -> list[Candidates]:
    """Return the boxes that one pass of the network yields, in pixels of the photographs."""
    only, *others = (seen.input_bgr for seen in view)
    images_bgr = np.stack([only, *others]) if others else only[None]  # a single one is not copied
    sizes = [seen.letterbox.resized_size for seen in view]
    try:
        candidates = engine.candidates(
            images_bgr,
            score_threshold=plan.view_score,
            pre_nms=plan.pre_nms,
            content_sizes=sizes,
        )
    except NotNumbersError as error:
        path = paths[error.image]
        raise AerostatError(
            f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are "
            "damaged, or were trained until they diverged."
        ) from None
    return [
        seen.to_source(plan, plan.keep(boxes, size))
        for boxes, size, seen in zip(candidates, sizes, view, strict=True)
    ]
