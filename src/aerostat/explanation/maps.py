"""The maps of an explanation: one array for each request, method and layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.explanation import methods
from aerostat.explanation.ablation import ablated_values
from aerostat.explanation.activations import Objective
from aerostat.explanation.black_box import scorer_of_detector
from aerostat.explanation.drise import Masks, drise
from aerostat.explanation.features import content_cells
from aerostat.explanation.forwarded import ForwardedImage
from aerostat.explanation.map_requests import MapRequest
from aerostat.explanation.named_layers import Layer
from aerostat.explanation.result import Target
from aerostat.explanation.targets import share_lost
from aerostat.inference.backends.pytorch import TorchEngine

Formula = Callable[[Tensor, Tensor], Tensor]
"""Activations and gradients (C, h, w) in, a map (h, w) out."""

GRADIENT_METHODS: Mapping[str, Formula] = MappingProxyType(
    {
        "gradcam": methods.gradcam,
        "gradcampp": methods.gradcampp,
        "hirescam": methods.hirescam,
        "layercam": methods.layercam,
        "eigengradcam": methods.eigengradcam,
    }
)
PUBLISHED_FORMS: Mapping[str, Formula] = MappingProxyType(
    {"gradcam": methods.boxam_gradcam, "gradcampp": methods.boxam_gradcampp}
)
"""Formulas for the `loss` target, which exists for comparison with published pictures."""


class MapMaker:
    """Makes the maps of one photograph, and computes what several of them share only once.

    Args:
        image: photograph with the raw outputs and the outputs of its layers.
        requests: what the maps explain.
        objectives: number that each request's heat speaks for, parallel to `requests`.
        target: see `ExplainOptions`.
        masks: number of masks of D-RISE.
    """

    def __init__(
        self,
        image: ForwardedImage,
        requests: Sequence[MapRequest],
        objectives: Sequence[Objective],
        target: Target,
        masks: int,
    ) -> None:
        self._image, self._requests, self._objectives = image, requests, objectives
        self._target, self._masks = target, masks
        self._eigen: dict[str, NDArray[np.float32]] = {}
        self._drops: dict[str, Tensor] = {}
        self._drise: NDArray[np.float32] | None = None

    def of(
        self, index: int, method: str, layers: Sequence[Layer], gradient: Mapping[str, Tensor]
    ) -> list[tuple[NDArray[np.float32], bool]]:
        """Return for each layer a map (h, w), and whether the layer has any influence.

        Args:
            index: index of the request.
            method: one of `METHODS`.
            layers: layers of the network; empty for a black box, which has one map.
            gradient: gradient (C, h, w) of the objective by the layer's path.
        """
        if method == "drise":
            heat = self._black_box(index)
            return [(heat, bool(heat.any()))]
        return [
            (self._map(index, method, layer, gradient[layer.path]), bool(gradient[layer.path].any()))
            for layer in layers
        ]

    def _map(self, index: int, method: str, layer: Layer, gradient: Tensor) -> NDArray[np.float32]:
        # Without influence a map would show something that has nothing to do with the detection.
        if not gradient.any():
            return np.zeros(tuple(gradient.shape[1:]), np.float32)
        activations = self._image.done.activations[layer.path][0].detach()
        if method == "eigencam":
            if layer.path not in self._eigen:
                self._eigen[layer.path] = self._on_content(lambda a, _: methods.eigencam(a), activations)
            return self._eigen[layer.path]
        if method == "ablationcam":
            drops = self._channel_drops(layer)[index]
            return self._on_content(lambda a, _: methods.ablationcam(a, drops), activations)
        published = self._target == "loss" and method in PUBLISHED_FORMS
        formula = (PUBLISHED_FORMS if published else GRADIENT_METHODS)[method]
        return self._on_content(formula, activations, gradient)

    def _black_box(self, index: int) -> NDArray[np.float32]:
        """Return the map of D-RISE; the map of several detections is the mean of their maps."""
        image = self._image
        if self._drise is None:
            boxes_xyxy = torch.cat([request.subject.boxes_xyxy for request in self._requests]).cpu().numpy()
            labels = torch.cat([request.subject.labels for request in self._requests]).cpu().numpy()
            detector = replace(image.detector, engine=TorchEngine(image.net))
            scorer = scorer_of_detector(detector, boxes_xyxy, labels, image.content_size)
            seen = image.letterbox.apply(image.image_bgr)
            self._drise = drise(scorer, seen, image.content_size, masks=Masks(self._masks))
        start = sum(len(request.detections) for request in self._requests[:index])
        own = self._drise[start : start + len(self._requests[index].detections)]
        return np.asarray(own.mean(axis=0), np.float32)

    def _channel_drops(self, layer: Layer) -> Tensor:
        """Return (n, C): the share of each objective that is lost without each channel."""
        if layer.path not in self._drops:
            done = self._image.done
            without = ablated_values(self._image.net, layer, self._image.images, self._objectives)
            with torch.no_grad():
                whole = torch.stack([objective(done.cls, done.reg) for objective in self._objectives])
            self._drops[layer.path] = share_lost(self._target, whole, without)
        return self._drops[layer.path]

    def _on_content(
        self, formula: Formula, activations: Tensor, gradient: Tensor | None = None
    ) -> NDArray[np.float32]:
        """Return a formula's map of the cells on the photograph, with zeros under the padding."""
        rows, columns = content_cells(self._image.letterbox, activations.shape[1:])
        whole = np.zeros(tuple(activations.shape[1:]), np.float32)
        inside = activations[:, rows, columns]
        values = formula(inside, inside if gradient is None else gradient[:, rows, columns])
        whole[rows, columns] = values.float().cpu().numpy()
        return whole
