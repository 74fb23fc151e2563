"""The seam: padded images in, candidate boxes out, whatever runs the network."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.postprocess import Candidates

ENGINES = ("auto", "torch", "onnx", "openvino")
"""What `--engine` takes."""


class Engine(Protocol):
    """Runs a network; `name` is torch, onnx or openvino."""

    @property
    def name(self) -> str:
        """What `--engine` calls it."""

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (width, height) of input that it takes, None for any multiples of 32."""

    @property
    def lowest_score(self) -> float:
        """Scores at or below this are never given, whatever is asked for; 0 for engines that give all."""

    @property
    def nms_iou(self) -> float | None:
        """Overlap above which the weaker of two boxes never leaves it; None for engines that give all."""

    @property
    def parallel(self) -> bool:
        """Whether several calls at once, each on one processor, are better than batches."""

    def concurrent(self, threads: int) -> AbstractContextManager[Engine]:
        """Give an engine for so many threads that call it at once, each call on one processor."""

    def candidates(
        self,
        images_bgr: NDArray[np.uint8],
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Candidates]:
        """Return the candidates of each image in input pixels, before clipping and suppression.

        Args:
            images_bgr: (N, H, W, 3), letterboxed, 0-255.
            score_threshold: candidates have a higher score.
            pre_nms: best candidates of each level.
            content_sizes: (width, height) of each resized photograph within its padded input, for engines
                that suppress by themselves; None for all of it.

        Raises:
            NotNumbersError: an output is NaN.
        """


class NotNumbersError(Exception):
    """The network's outputs on an image of the batch are not numbers.

    Args:
        image: its index in the batch.
    """

    def __init__(self, image: int) -> None:
        super().__init__(f"outputs are not numbers on image {image} of the batch")
        self.image = image
