"""The protocol of engines: letterboxed images in, candidates out, whatever runs the network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.postprocess import Candidates

ENGINES = ("auto", "torch", "onnx", "openvino")
"""Names of engines; auto chooses one of the others."""


class Engine(Protocol):
    """Runs a network."""

    @property
    def name(self) -> str:
        """torch, onnx or openvino."""

    @property
    def has_masks(self) -> bool:
        """Whether the network predicts masks."""

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (width, height) of its input; None if any multiples of 32 will do."""

    @property
    def lowest_score(self) -> float:
        """Candidates have a higher score than this; more than 0 if the graph drops weak ones by itself."""

    @property
    def nms_iou(self) -> float | None:
        """IoU above which the graph itself drops the weaker of two boxes; None if it drops none."""

    @property
    def parallel(self) -> bool:
        """Whether several calls at once, each on one processor, are faster than batches."""

    def concurrent(self, threads: int) -> AbstractContextManager[Engine]:
        """Yield an engine that this number of threads may call at once, each call on one processor."""

    def candidates(
        self,
        images_bgr: NDArray[np.uint8],
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Candidates]:
        """Return the candidates of each image in input pixels, before clipping and suppression.

        With masks they have `mask_maps`, or masks that the graph has drawn, in the column ``mask_logits``.

        Args:
            images_bgr: (N, H, W, 3), letterboxed, 0-255.
            score_threshold: candidates have a higher score.
            pre_nms: maximum number of candidates of each level.
            content_sizes: (width, height) of each resized photograph within its padded input, which graphs
                with suppression need; None for the whole input.

        Raises:
            NotNumbersError: an output is NaN.
        """


class NotNumbersError(Exception):
    """The network's outputs on one image are not numbers.

    Args:
        image: its index in the batch.
    """

    def __init__(self, image: int) -> None:
        super().__init__(f"outputs are not numbers on image {image} of the batch")
        self.image = image
