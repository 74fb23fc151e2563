"""Box AM: heat maps of what in a photograph speaks for a detection."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.errors import InputError
from aerostat.explanation.activations import Objective, gradients
from aerostat.explanation.drise import DEFAULT_MASKS
from aerostat.explanation.forwarded import ForwardedImage, forward_image
from aerostat.explanation.map_requests import (
    MapRequest,
    request_for_place,
    requests_for_detections,
    requests_for_some,
)
from aerostat.explanation.maps import MapMaker
from aerostat.explanation.named_layers import Layer, find_layer, private_copy, record
from aerostat.explanation.options import ExplainArguments, ExplainOptions, Per, find_methods
from aerostat.explanation.result import Explanation, Explanations, Target
from aerostat.explanation.sheets import drawn_size
from aerostat.explanation.targets import Subject, loss_target, score_target
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet
from aerostat.model.decode import decode
from aerostat.model.head import RTMDetSepBNHead
from aerostat.progress import progress_shown
from aerostat.results.detections import Detections

SEVERAL_LEVELS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "backbone": ("backbone.stage2", "backbone.stage3", "backbone.stage4"),
        "neck": ("neck.out_convs[0]", "neck.out_convs[1]", "neck.out_convs[2]"),
    }
)
"""Names that stand for three layers, one for each pyramid level."""
LAYER_TEST_SIDE = 64
"""Pixels of the input on which a layer shows whether it gives a map: two cells at the last stride."""


def explain(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    *,
    layer: str | Sequence[str] | None = None,
    method: str | Sequence[str] | None = None,
    target: Target = "score",
    per: Per = "detection",
    progress: bool = True,
    **options: Unpack[ExplainArguments],
) -> Explanations:
    """Return heat maps of what in a photograph speaks for its detections.

    The detector is unchanged, including its training mode. The padding has no heat.

    Args:
        detector: from `aerostat.load`.
        image: path, or image (H, W, 3) uint8 BGR.
        layer: one or several layers by OpenMMLab's names; ``neck`` and ``backbone`` stand for their three
            levels. None is the last layer before the head at the detection's level,
            ``neck.out_convs[level]``.
        method: one or several of `METHODS`, also in the spelling of their papers. None is the method that
            `DEFAULT_METHOD` has for the target.
        target: number that the heat speaks for: ``score`` (`targets.score_target`) or ``loss``
            (`targets.loss_target`).
        per: one map for each detection, for each class, or for all detections at once.
        progress: whether progress is shown; the slow methods are ``drise`` and ``ablationcam``.
        **options: more fields of `ExplainOptions`: `top`, `score`, `box_xyxy`, `fuse`, `nms_iou`, `masks`.

    Raises:
        InputError: an image that cannot be read, an unknown layer or method, a layer that gives no map, a
            number out of its range, no detection above the score, or a box outside of the photograph.
        AerostatError: the network's outputs are not finite.

    Example:
        ``ae.explain(model, "party.jpg", method="layercam", top=3).save("why.jpg")``
    """
    wanted = ExplainOptions(target=target, per=per, **options)
    chosen = find_methods(method, target)
    forwarded, candidates, named = _looked_at(detector, image, layer, wanted)
    detections = forwarded.detections(candidates)
    if wanted.box_xyxy is None:
        requests = requests_for_detections(forwarded, candidates, detections, wanted)
    else:
        requests = [request_for_place(forwarded, candidates, detections, wanted.box_xyxy, wanted)]
    with progress_shown(progress):
        items = tuple(_explanations(forwarded, requests, chosen, named, wanted))
    return Explanations(items, drawn_size(forwarded.image_bgr), detections, forwarded.path)


def explain_detections(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    wanted: Detections,
    *,
    layer: str | Sequence[str] | None = None,
    method: str | None = None,
    masks: int = DEFAULT_MASKS,
) -> list[Explanation]:
    """Return one explanation for each of some detections of a photograph, in their order.

    Args:
        detector: that found them.
        image: path, or image (H, W, 3) uint8 BGR.
        wanted: the detections, such as those that a tracker confirmed.
        layer: see `explain`; several layers are fused.
        method: see `explain`.
        masks: number of masks of D-RISE.

    Raises:
        InputError: the image cannot be read, a layer or the method is unknown, or the detector sees nothing
            where a detection is.
    """
    if not len(wanted):
        return []
    chosen = find_methods(method)
    options = ExplainOptions(score=0.9 * float(wanted.scores.min()), top=None, fuse=True, masks=masks)
    forwarded, candidates, named = _looked_at(detector, image, layer, options)
    requests = requests_for_some(forwarded, candidates, wanted, options)
    with progress_shown(False):
        return list(_explanations(forwarded, requests, chosen, named, options))


def _looked_at(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    layer: str | Sequence[str] | None,
    options: ExplainOptions,
) -> tuple[ForwardedImage, Candidates, list[Layer] | None]:
    """Return an image with the outputs of its layers, its candidates, and the layers if they were named."""
    net = private_copy(detector.net)
    named = None if layer is None else find_map_layers(net, layer)
    layers = named or [find_layer(net, name) for name in SEVERAL_LEVELS["neck"]]
    forwarded = forward_image(detector, net, image, layers)
    candidates = decode(
        forwarded.done.cls,
        forwarded.done.reg,
        [forwarded.content_size],
        score_threshold=options.score,
        nms_iou=options.nms_iou,
    )[0]
    return forwarded, candidates, named


def explain_with(
    net: RTMDet, detector: Detector, image: Path | str | NDArray[np.uint8], explanation: Explanation
) -> Explanation:
    """Return an explanation that is made with another network instead of the detector's.

    It explains the scores that the other network gives to the candidates whose boxes, in the detector's own
    network, agree with the detection. So two maps differ only by what the networks see.

    Args:
        net: network of the same structure.
        detector: detector that made the explanation; it stays as it is.
        image: path, or image (H, W, 3) uint8 BGR.
        explanation: explanation by any method but D-RISE.
    """
    target: Target = "loss" if explanation.target == "loss" else "score"
    own = forward_image(detector, private_copy(detector.net), image, [])
    other = private_copy(net)
    layers = [find_layer(other, name) for name in explanation.layers]
    forwarded = forward_image(detector, other, image, layers)
    boxes_xyxy = forwarded.letterbox.boxes_to_input(np.asarray([d.box_xyxy for d in explanation.detections]))
    subject = Subject(
        torch.as_tensor(boxes_xyxy, dtype=torch.float32, device=detector.device),
        torch.tensor([d.label for d in explanation.detections], device=detector.device),
        torch.tensor(explanation.levels, device=detector.device),
        torch.tensor([d.score for d in explanation.detections], device=detector.device),
    )

    def objective(cls: list[Tensor], reg: list[Tensor]) -> Tensor:
        if target == "loss":
            return loss_target(cls, reg, subject)
        return score_target(cls, own.done.reg, subject, forwarded.content_size)

    request = MapRequest(explanation.detections, subject, explanation.candidate)
    _, gradient = next(gradients(forwarded.done, [objective], [layer.path for layer in layers]))
    maker = MapMaker(forwarded, [request], [objective], target, ExplainOptions().masks)
    maps = maker.of(0, explanation.method, layers, gradient)
    return _explanation(forwarded, request, target, explanation.method, layers, maps)


def find_map_layers(net: RTMDet, names: str | Sequence[str]) -> list[Layer]:
    """Return the layers that names stand for, each once; every one gives a single map.

    Args:
        net: private copy of a network.
        names: OpenMMLab's names; ``neck`` and ``backbone`` stand for their three levels.

    Raises:
        InputError: there is no such layer, or it gives no map.
    """
    wanted = [names] if isinstance(names, str) else list(names)
    layers: dict[str, Layer] = {}
    for name in wanted:
        layer = find_layer(net, name)
        if isinstance(layer.module, RTMDetSepBNHead):
            raise InputError(
                f"Expected a layer that gives a map, found {layer.name}, which gives classes and boxes; "
                f"choose one in it such as {layer.name}.cls_convs[2], or what it reads: neck.out_convs[2]."
            )
        for part in SEVERAL_LEVELS.get(layer.name, (layer.name,)):
            layers[part] = find_layer(net, part)
    if not layers:
        raise InputError("Expected at least one layer such as neck.out_convs[2], found none.")
    device = next(net.parameters()).device
    with torch.inference_mode():
        record(net, list(layers.values()), torch.zeros(1, 3, LAYER_TEST_SIDE, LAYER_TEST_SIDE, device=device))
    return list(layers.values())


def _explanations(
    image: ForwardedImage,
    requests: Sequence[MapRequest],
    chosen: Sequence[str],
    named: list[Layer] | None,
    options: ExplainOptions,
) -> Iterator[Explanation]:
    """Yield the explanations by request, then by method, then by layer."""
    objectives = [_objective(image, request.subject, options.target) for request in requests]
    maker = MapMaker(image, requests, objectives, options.target, options.masks)
    made: dict[int, list[Explanation]] = {}
    paths = [layer.path for layer in image.layers]
    # The gradients come in an order of their own: one backward pass serves several requests.
    for index, gradient in gradients(image.done, objectives, paths):
        request = requests[index]
        # Detections of several levels are explained at all of their levels at once.
        layers = named or [image.layers[level] for level in sorted(set(request.levels))]
        groups = [layers] if options.fuse or named is None else [[layer] for layer in layers]
        made[index] = [
            _explanation(
                image, request, options.target, method, group, maker.of(index, method, group, gradient)
            )
            for method in chosen
            for group in ([[]] if method == "drise" else groups)
        ]
    for index in range(len(requests)):
        yield from made[index]


def _explanation(
    image: ForwardedImage,
    request: MapRequest,
    target: Target,
    method: str,
    layers: Sequence[Layer],
    maps: Sequence[tuple[NDArray[np.float32], bool]],
) -> Explanation:
    return Explanation(
        detections=request.detections,
        levels=request.levels,
        method=method,
        layers=tuple(layer.name for layer in layers),
        target=target,
        maps=tuple(values for values, _ in maps),
        letterbox=image.letterbox,
        influences=tuple(influence for _, influence in maps),
        candidate=request.candidate,
        note=request.note,
    )


def _objective(image: ForwardedImage, subject: Subject, target: Target) -> Objective:
    if target == "loss":
        return partial(loss_target, subject=subject)
    return partial(score_target, subject=subject, content_size=image.content_size)
