"""Passes of a network over photographs, each as all views show it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aerostat.errors import AerostatError
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.backends.engine import Engine, NotNumbersError
from aerostat.inference.options import PredictPlan
from aerostat.inference.views import SeenImage


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
