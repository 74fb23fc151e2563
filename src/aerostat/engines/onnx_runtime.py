"""The ONNX engine: an exported file, run by ONNX Runtime on the CPU; needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aerostat.candidates import Boxes
from aerostat.engines.exported import Exported
from aerostat.engines.outputs import Inputs, Outputs, run_in_batches
from aerostat.errors import InputError


class OnnxEngine:
    """Runs an exported ONNX model with ONNX Runtime.

    Args:
        model: the file's path, or its bytes.
        exported: what it says about itself.
        threads: that one call may use; 0 for one per processor.

    Raises:
        InputError: ONNX Runtime is not installed, or cannot read the file.
    """

    name = "onnx"
    parallel = True

    def __init__(self, model: Path | bytes, exported: Exported, *, threads: int = 0) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise InputError(
                "The engine onnx needs ONNX Runtime; install it with: pip install onnxruntime"
            ) from None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or processors()
        options.log_severity_level = 3  # what it warns of is nothing that a user could mend
        self.exported = exported
        self._model = model
        self._others: dict[int, OnnxEngine] = {}
        try:
            self._session = onnxruntime.InferenceSession(
                model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # it has a dozen kinds of its own, without a common one
            why = str(error).split("\n", 1)[0].rstrip(".")
            name = "The exported model" if isinstance(model, bytes) else str(model)
            raise InputError(f"{name} cannot be run by ONNX Runtime ({why}); export it again.") from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (width, height) of input that it takes, None for any multiples of 32."""
        return None if self.exported.dynamic else self.exported.input_size

    @property
    def lowest_score(self) -> float:
        """Scores at or below this are never given."""
        return self.exported.score_threshold or 0.0

    @property
    def nms_iou(self) -> float | None:
        """The threshold of the suppression inside, if there is one."""
        return self.exported.nms_iou

    @contextmanager
    def concurrent(self, threads: int) -> Iterator[OnnxEngine]:
        """Give an engine for so many threads that call it at once, each call on one processor."""
        if 1 not in self._others:  # to make one takes as long as some photographs
            self._others[1] = OnnxEngine(self._model, self.exported, threads=1)
        yield self._others[1]

    def candidates(
        self,
        images_bgr: NDArray[np.uint8],
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Boxes]:
        """Return the candidates of each image; see `Engine.candidates`."""
        return run_in_batches(
            self._run,
            self.exported,
            images_bgr,
            score_threshold=score_threshold,
            pre_nms=pre_nms,
            content_sizes=content_sizes,
        )

    def _run(self, inputs: Inputs) -> Outputs:
        return dict(zip(self._outputs, self._session.run(None, inputs), strict=True))


def processors() -> int:
    """Return how many processors this process may use; a container's share counts, not the machine's."""
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
