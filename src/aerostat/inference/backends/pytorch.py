"""The torch engine: folded, channels-last, in inference mode."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aerostat.geometry.mask_kernels import KERNEL_PARAMETERS
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.backends.engine import NotNumbersError
from aerostat.inference.devices import respect_quota
from aerostat.model import BoxOutputs, InstanceOutputs, Outputs, normalise
from aerostat.model.decode import candidate_boxes
from aerostat.model.folding import folded


class TorchEngine:
    """Runs a network with torch, on the device that it is on.

    Args:
        net: in evaluation mode, as `aerostat.model.build` makes it. It is copied and folded at its first use;
            make a new engine after its weights have changed.
    """

    name = "torch"
    fixed_size = None
    lowest_score = 0.0
    nms_iou = None

    def __init__(self, net: nn.Module) -> None:
        self.net = net
        self._folded: nn.Module | None = None
        self._threads = threading.local()
        self._shared = False

    @property
    def has_masks(self) -> bool:
        """Whether the network predicts masks."""
        return bool(getattr(self.net, "has_masks", False))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.net.parameters()).device

    @property
    def parallel(self) -> bool:
        """Whether several calls at once, each on one processor, are faster than batches."""
        return self.device.type == "cpu"

    @contextmanager
    def concurrent(self, threads: int) -> Iterator[TorchEngine]:
        """Yield an engine that this number of threads may call at once, each call on one processor."""
        engine = TorchEngine(self.net)
        engine._folded = self._prepared()
        engine._shared = True
        try:
            yield engine
        finally:
            torch.set_num_threads(torch.get_num_threads())  # MKL's number is shared by all threads

    @torch.inference_mode()
    def candidates(
        self,
        images_bgr: NDArray[np.uint8],
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Candidates]:
        """Return the candidates of each image; see `Engine.candidates`."""
        outputs = self.outputs(images_bgr)
        cls, reg = outputs.cls, outputs.reg
        require_numbers([*cls, *reg])
        found = [
            candidate_boxes(
                [x[i] for x in cls], [x[i] for x in reg], score_threshold=score_threshold, pre_nms=pre_nms
            )
            for i in range(len(images_bgr))
        ]
        if isinstance(outputs, InstanceOutputs):
            require_numbers([*outputs.kernels, outputs.mask_features])
            return [replace(boxes, mask_maps=_TorchMaskMaps(outputs, i)) for i, boxes in enumerate(found)]
        return found

    @torch.inference_mode()
    def outputs(self, images_bgr: NDArray[np.uint8]) -> Outputs:
        """Return the head's raw outputs for images (N, H, W, 3) uint8."""
        if self._shared and not hasattr(self._threads, "one"):
            torch.set_num_threads(1)  # of the calling thread
            self._threads.one = True
        # As seen by torch the pixels already lie channels last: normalising keeps that.
        planes = torch.from_numpy(images_bgr).to(self.device).permute(0, 3, 1, 2)
        outputs = self._prepared()(normalise(planes))
        # A network of somebody else may give the two lists as a plain pair.
        return outputs if isinstance(outputs, InstanceOutputs) else BoxOutputs(*outputs)

    def _prepared(self) -> nn.Module:
        if self._folded is None:
            respect_quota()  # before the weights are laid out for the number of threads
            self._folded = folded(self.net)
        return self._folded


@dataclass(frozen=True, slots=True)
class _TorchMaskMaps:
    """What a network says about the masks of one image of a batch; see `MaskMaps`."""

    outputs: InstanceOutputs
    image: int

    def features(self) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self.outputs.mask_features[self.image].cpu().numpy()
        return np.ascontiguousarray(features)

    def kernels(self, levels: NDArray[np.int64], points: NDArray[np.int64]) -> NDArray[np.float32]:
        kernels = np.empty((len(levels), KERNEL_PARAMETERS), np.float32)
        for level, values in enumerate(self.outputs.kernels):
            rows = np.flatnonzero(levels == level)
            cells = values[self.image].flatten(1)  # (169, h * w)
            kernels[rows] = cells[:, torch.from_numpy(points[rows]).to(cells.device)].T.float().cpu().numpy()
        return kernels


def require_numbers(outputs: list[Tensor]) -> None:
    """Refuse outputs with a NaN, which is above no threshold and would look like an empty image.

    Raises:
        NotNumbersError: naming the first image of the batch with a NaN.
    """
    # Sums over three axes: flattening would copy maps that lie channels last.
    broken = torch.stack([output.sum((1, 2, 3)).isnan() for output in outputs]).any(0)  # (N,)
    if broken.any():
        nan = torch.stack([output.isnan().flatten(1).any(1) for output in outputs]).any(0)
        if nan.any():  # a sum is NaN also for infinities of both signs
            raise NotNumbersError(int(nan.nonzero()[0]))
