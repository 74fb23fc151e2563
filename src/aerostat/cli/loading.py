"""How verbs load a detector to look at photographs with."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aerostat.inference.detector import Detector
    from aerostat.inference.tta import TTA

_log = logging.getLogger(__name__)


def load_for_use(weights: str, device: str, input_size: int | None, engine: str, tta: TTA | None) -> Detector:
    """Return a detector; with the engine auto it runs an export of the weights, if there is one."""
    from aerostat.inference.resolve import exported_beside, load

    found = exported_beside(weights, input_size=input_size, device=device) if engine == "auto" else None
    if found is not None:
        detector = load(found, input_size=input_size)
        sizes = tta.plan(detector.input_size).views if tta else ()
        if (
            all(view.input_size == detector.input_size for view in sizes)
            or detector.engine.fixed_size is None
        ):
            _log.info("running %s, the export of these weights (--engine torch for themselves)", found)
            return detector
    return load(weights, device=device, input_size=input_size, engine=engine)
