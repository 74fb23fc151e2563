"""Options of an explanation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypedDict, get_args

from aerostat.errors import InputError, nearest
from aerostat.explanation import methods
from aerostat.explanation.drise import DEFAULT_MASKS, Masks
from aerostat.explanation.result import Target
from aerostat.geometry.postprocess import NMS_IOU
from aerostat.inference.options import SHOW_SCORE

Per = Literal["detection", "class", "all"]

METHODS = tuple(methods.TITLES)
DEFAULT_METHOD: Mapping[Target, str] = MappingProxyType({"score": "layercam", "loss": "gradcam"})
"""By target: the most faithful method, and the method of the published pictures.

LayerCAM of ``neck.out_convs[level]`` has the best mean of heat in the box (0.73), deletion (0.052) and
insertion (0.931) over 85 detections of two runs (benchmarks/explain.md), and no layer is cheaper. GradCAM
weights channels by averages over the photograph, so it also lights up objects that resemble the detection
(0.13, 0.103, 0.817).
"""
DEFAULT_TOP = 10
"""Maximum number of detections that are explained unless the caller asks for more."""


@dataclass(frozen=True, slots=True)
class ExplainOptions:
    """What is asked of an explanation.

    Args:
        target: number that the heat speaks for: ``score`` (`targets.score_target`) or ``loss``
            (`targets.loss_target`).
        per: one map for each detection, for each class, or for all detections at once.
        top: maximum number of detections, best first; None explains all.
        score: detections need a higher score.
        box_xyxy: a place in pixels of the photograph. The best raw candidate there is explained, whatever
            its score, instead of the detections.
        fuse: one map of all layers instead of one map for each layer.
        nms_iou: IoU above which the weaker of two detections of a class is dropped.
        masks: number of masks of D-RISE; each costs one prediction. More masks give a steadier map.

    Raises:
        InputError: an unknown target or grouping, a number out of its range, or no box.
    """

    target: Target = "score"
    per: Per = "detection"
    top: int | None = DEFAULT_TOP
    score: float = SHOW_SCORE
    box_xyxy: Sequence[float] | None = None
    fuse: bool = False
    nms_iou: float = NMS_IOU
    masks: int = DEFAULT_MASKS

    def __post_init__(self) -> None:
        choices = (("target", self.target, get_args(Target)), ("grouping", self.per, get_args(Per)))
        for what, value, known in choices:
            if value not in known:
                raise InputError(
                    f"Expected a {what} ({', '.join(known)}), found {value!r}.{nearest(value, known)}"
                )
        check_top(self.top)
        if not 0 <= self.score < 1:
            raise InputError(f"Expected a score in [0, 1), found {self.score}.")
        if self.box_xyxy is not None:
            _check_box([float(value) for value in self.box_xyxy])
        Masks(self.masks)  # refuses a number out of range


class ExplainArguments(TypedDict, total=False):
    """Keyword arguments of `explain`; they make an `ExplainOptions`, which describes them."""

    top: int | None
    score: float
    box_xyxy: Sequence[float] | None
    fuse: bool
    nms_iou: float
    masks: int


def find_methods(method: str | Sequence[str] | None, target: Target = "score") -> list[str]:
    """Return methods under the names in `METHODS`, each once.

    Args:
        method: one or several names, also in the spelling of their papers; None is `DEFAULT_METHOD`.
        target: see `ExplainOptions`.

    Raises:
        InputError: an unknown method, or none.

    >>> find_methods(["Grad-CAM++", "gradcampp"])
    ['gradcampp']
    """
    if method is None:
        return [DEFAULT_METHOD[target]]
    names = [_method(name) for name in ([method] if isinstance(method, str) else method)]
    if not names:
        raise InputError(f"Expected at least one method ({', '.join(METHODS)}), found none.")
    return list(dict.fromkeys(names))


def check_top(top: int | None) -> None:
    """Refuse a maximum number of detections below 1.

    Raises:
        InputError: it is.
    """
    if top is not None and top < 1:
        raise InputError(f"Expected to explain at least the best detection, found top {top}.")


def _check_box(box: Sequence[float]) -> None:
    if len(box) != 4 or not all(map(math.isfinite, box)) or not (box[0] < box[2] and box[1] < box[3]):
        raise InputError(
            f"Expected a box as x1,y1,x2,y2 in pixels of the photograph with x1 < x2 and y1 < y2, "
            f"found {','.join(f'{value:g}' for value in box)}."
        )


def _method(name: str) -> str:
    plain = name.strip().lower().replace("++", "pp").replace("-", "").replace("_", "")
    if plain not in METHODS:
        raise InputError(
            f"Expected a method ({', '.join(METHODS)}), found {name!r}.{nearest(plain, METHODS)}"
        )
    return plain
