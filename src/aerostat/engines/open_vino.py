"""The OpenVINO engine: an exported ONNX or OpenVINO file on the CPU; needs no torch."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aerostat.candidates import Boxes
from aerostat.engines.exported import KEY, Exported
from aerostat.engines.onnx_runtime import processors
from aerostat.engines.outputs import Inputs, Outputs, run_in_batches
from aerostat.errors import InputError

_TELEMETRY = "openvino_telemetry"


class OpenVinoEngine:
    """Runs an exported ONNX or OpenVINO model with OpenVINO, in float32 as it is written, or in INT8.

    Args:
        model: path of the .onnx or .xml, or the bytes of an ONNX file.
        exported: what it says about itself.
        threads: that may call it at once, each call on one processor; 0 for one call on all of them.

    Raises:
        InputError: OpenVINO is not installed, or cannot read the file.
    """

    name = "openvino"
    parallel = True

    def __init__(self, model: Path | bytes, exported: Exported, *, threads: int = 0) -> None:
        openvino = openvino_module()
        self.exported = exported
        self._model = model
        self._others: dict[int, OpenVinoEngine] = {}
        # Without the hint bfloat16 would be used where the processor has it: another answer than the others'.
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        settings["INFERENCE_NUM_THREADS"] = threads or processors()
        if threads:
            settings |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads}
        core = openvino.Core()
        try:
            read = core.read_model(model if isinstance(model, bytes) else str(model))
            self._compiled = core.compile_model(read, "CPU", settings)
        except RuntimeError as error:
            why = str(error).strip().split("\n")[-1].rstrip(".")
            name = "The exported model" if isinstance(model, bytes) else str(model)
            raise InputError(f"{name} cannot be run by OpenVINO ({why}); export it again.") from None
        self._of_thread = threading.local()
        self._outputs = [output.get_any_name() for output in self._compiled.outputs]

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
    def concurrent(self, threads: int) -> Iterator[OpenVinoEngine]:
        """Give an engine for so many threads that call it at once, each call on one processor."""
        if threads not in self._others:  # to make one takes as long as some photographs
            self._others[threads] = OpenVinoEngine(self._model, self.exported, threads=threads)
        yield self._others[threads]

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
        if not hasattr(self._of_thread, "request"):  # threads do not share one, and making one takes long
            self._of_thread.request = self._compiled.create_infer_request()
        request = self._of_thread.request
        request.infer(inputs)
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(self._outputs)}


def read_openvino_entry(path: Path) -> Exported:
    """Return what an OpenVINO .xml says about itself.

    Raises:
        InputError: it is no such file, or not one of ours; or OpenVINO is not installed.
    """
    openvino = openvino_module()
    try:
        model = openvino.Core().read_model(str(path))
    except RuntimeError:
        raise InputError(f"{path} is no whole OpenVINO model; export it again.") from None
    if not model.has_rt_info(KEY):
        raise InputError(
            f"{path} does not say what its classes and input are: expected an OpenVINO file written by "
            "`aerostat export`."
        )
    return Exported.from_json(str(model.get_rt_info(KEY).astype(str)), path)


def openvino_module() -> Any:
    """Return the package openvino, imported without its telemetry.

    Left to itself the import alone reports to Google Analytics, in a process of its own that may take three
    seconds to fail, and writes an identifier into the home folder. OpenVINO has a stand-in that does nothing
    for where its package of telemetry is missing; for the time of the import it is.

    Raises:
        InputError: it is not installed.
    """
    silenced = not {"openvino", _TELEMETRY} & sys.modules.keys()
    if silenced:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # whose import fails, then
    try:
        import openvino
    except ImportError:
        raise InputError(
            "The engine openvino needs OpenVINO; install it with: pip install openvino"
        ) from None
    finally:
        if silenced:
            sys.modules.pop(_TELEMETRY, None)
    return openvino
