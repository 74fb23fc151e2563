"""One photograph in the network: how it went in, and the raw outputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aerostat.errors import AerostatError, InputError
from aerostat.explanation.activations import ForwardPass, forward_from
from aerostat.explanation.named_layers import Layer
from aerostat.geometry.postprocess import Candidates
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.inference.views import boxes_as_detections, boxes_in_source
from aerostat.model import RTMDet, normalise
from aerostat.results.detections import Detections


@dataclass(frozen=True, eq=False)
class ForwardedImage:
    """A photograph, its letterbox, and the outputs of the network for it.

    Args:
        detector: detector whose network is looked into.
        net: private copy of the network.
        layers: layers whose outputs are recorded in `done`.
        image_bgr: photograph (H, W, 3) uint8.
        path: path of the photograph, if known.
        letterbox: resize and padding of the photograph.
        images: input of the network (1, 3, H, W), normalised.
        done: the pass through the network.
    """

    detector: Detector
    net: RTMDet
    layers: Sequence[Layer]
    image_bgr: NDArray[np.uint8]
    path: Path | None
    letterbox: Letterbox
    images: Tensor
    done: ForwardPass

    @property
    def content_size(self) -> tuple[int, int]:
        """Width and height of the photograph within the input, in pixels."""
        return self.letterbox.resized_size

    @property
    def name(self) -> str:
        """Name of the photograph in messages."""
        return str(self.path or "the image")

    def detections(self, candidates: Candidates) -> Detections:
        """Return boxes of the input as detections on the photograph, in the same order."""
        boxes = boxes_in_source(candidates, self.letterbox)
        return boxes_as_detections(boxes, self.detector.classes, self.letterbox.source_size, self.path)


def forward_image(
    detector: Detector, net: RTMDet, image: Path | str | NDArray[np.uint8], layers: Sequence[Layer]
) -> ForwardedImage:
    """Run a network on a photograph and record the outputs of some layers.

    Args:
        detector: gives classes, input size and device.
        net: private copy of its network, or of one of the same structure.
        image: path, or image (H, W, 3) uint8 BGR.
        layers: layers of `net`.

    Raises:
        InputError: the image cannot be read.
        AerostatError: the outputs are not finite.
    """
    image_bgr, path = image_and_path(image)
    letterbox = Letterbox.fit((image_bgr.shape[1], image_bgr.shape[0]), detector.input_size)
    planes = torch.from_numpy(np.ascontiguousarray(letterbox.apply(image_bgr).transpose(2, 0, 1)))[None]
    images = normalise(planes.to(detector.device))
    done = forward_from(net, layers, images)
    if not all(torch.isfinite(x).all() for x in (*done.cls, *done.reg)):
        raise AerostatError(
            f"The network's outputs are not numbers{f' on {path}' if path else ''}; its weights are damaged, "
            "or were trained until they diverged."
        )
    return ForwardedImage(detector, net, layers, image_bgr, path, letterbox, images, done)


def image_and_path(image: Path | str | NDArray[np.uint8]) -> tuple[NDArray[np.uint8], Path | None]:
    """Return an image (H, W, 3) uint8 BGR, and its path if it came from a file.

    Raises:
        InputError: the file cannot be read, or the array is not such an image.
    """
    path = None if isinstance(image, np.ndarray) else Path(image)
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    shape = image_bgr.shape
    if len(shape) != 3 or shape[2] != 3 or not image_bgr.size or image_bgr.dtype != np.uint8:
        raise InputError(f"Expected an image (H, W, 3) of uint8, found {shape} of {image_bgr.dtype}.")
    return image_bgr, path
