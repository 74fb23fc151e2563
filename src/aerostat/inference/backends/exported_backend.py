"""The engine of an exported graph, the same for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from aerostat.geometry.postprocess import Candidates
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.outputs import Inputs, Outputs, run_in_batches


class ExportedEngine:
    """An `Engine` of an exported graph that a runtime has loaded.

    Args:
        name: onnx or openvino.
        exported: what the file says about itself.
        run: maps the graph's inputs to its outputs; several threads may call it at once.
        twin: makes an engine of the same file for a number of threads that call it at once, each call on one
            processor.
    """

    parallel = True

    def __init__(
        self,
        name: str,
        exported: Exported,
        run: Callable[[Inputs], Outputs],
        twin: Callable[[int], ExportedEngine],
    ) -> None:
        self.name, self.exported, self.run = name, exported, run
        self._twin = twin
        self._twins: dict[int, ExportedEngine] = {}

    @property
    def has_masks(self) -> bool:
        """Whether the graph gives masks."""
        return self.exported.masks

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (width, height) of its input; None if any multiples of 32 will do."""
        return None if self.exported.dynamic else self.exported.input_size

    @property
    def lowest_score(self) -> float:
        """Candidates have a higher score than this."""
        return self.exported.score_threshold or 0.0

    @property
    def nms_iou(self) -> float | None:
        """The IoU of the suppression in the graph, if there is one."""
        return self.exported.nms_iou

    @contextmanager
    def concurrent(self, threads: int) -> Iterator[ExportedEngine]:
        """Yield an engine that this number of threads may call at once, each call on one processor."""
        if threads not in self._twins:  # making one takes as long as several photographs
            self._twins[threads] = self._twin(threads)
        yield self._twins[threads]

    def candidates(
        self,
        images_bgr: NDArray[np.uint8],
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Candidates]:
        """Return the candidates of each image; see `Engine.candidates`."""
        return run_in_batches(
            self.run,
            self.exported,
            images_bgr,
            score_threshold=score_threshold,
            pre_nms=pre_nms,
            content_sizes=content_sizes,
        )
