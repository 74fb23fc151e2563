"""Detections in the form of other packages, which are imported only here and only when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aerostat.errors import InputError
from aerostat.geometry.mask_measures import measure

if TYPE_CHECKING:
    import pandas
    import supervision

    from aerostat.results.detections import Detections

CLASS_NAME = "class_name"
"""Key under which `supervision.Detections.data` holds the names of classes."""


def to_supervision(detections: Detections) -> supervision.Detections:
    """Return detections as `supervision.Detections`; see `Detections.to_supervision`."""
    try:
        import supervision
    except ImportError:
        raise InputError(
            "Expected the package supervision for to_supervision(), found none: pip install supervision."
        ) from None
    names = [detections.classes[label] for label in detections.labels]
    return supervision.Detections(
        xyxy=detections.boxes_xyxy.copy(),
        confidence=detections.scores.copy(),
        class_id=detections.labels.copy(),
        mask=None if detections.masks is None else detections.masks.to_dense(),
        tracker_id=None if detections.track_ids is None else detections.track_ids.copy(),
        data={CLASS_NAME: np.asarray(names, dtype=np.str_), **detections.data},
    )


def fields_of_supervision(
    detections: supervision.Detections, classes: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return the arguments of the `Detections` that stand in supervision's; see `from_supervision`."""
    data = {name: np.asarray(values) for name, values in (detections.data or {}).items()}
    names = data.pop(CLASS_NAME, None)
    if detections.class_id is None:
        raise InputError("Expected supervision's detections with `class_id`, found none.")
    labels = np.asarray(detections.class_id, np.int64)
    if classes is None:
        if names is None:
            raise InputError(
                f"Expected `classes`, or names in data[{CLASS_NAME!r}] of supervision's detections, found "
                "neither."
            )
        known = dict(zip(labels.tolist(), map(str, names), strict=True))
        classes = [known.get(label, f"class {label}") for label in range(max(known, default=-1) + 1)]
    scores = detections.confidence
    return {
        "boxes_xyxy": np.asarray(detections.xyxy),
        "scores": np.ones(len(labels), np.float32) if scores is None else np.asarray(scores),
        "labels": labels,
        "classes": tuple(classes),
        "masks": None if detections.mask is None else np.asarray(detections.mask),
        "track_ids": detections.tracker_id,
        "data": data,
    }


def to_pandas(detections: Detections) -> pandas.DataFrame:
    """Return detections as a data frame; see `Detections.to_pandas`."""
    try:
        import pandas
    except ImportError:
        raise InputError(
            "Expected the package pandas for to_pandas(), found none: pip install pandas."
        ) from None
    columns: dict[str, Any] = {
        "file": [None if detections.path is None else str(detections.path)] * len(detections),
        "class": [detections.classes[label] for label in detections.labels],
        "score": detections.scores,
    }
    for place, name in enumerate(("x1", "y1", "x2", "y2")):
        columns[name] = detections.boxes_xyxy[:, place]
    if detections.track_ids is not None:
        columns["track_id"] = detections.track_ids
    if detections.masks is not None:
        measured = measure(detections.masks).columns()
        columns.update({f"mask_{name}": values for name, values in measured.items()})
        columns["mask_area"] = detections.masks.area()  # whole numbers
    for name, values in detections.data.items():
        columns[name] = values if values.ndim == 1 else list(values)
    return pandas.DataFrame(columns)
