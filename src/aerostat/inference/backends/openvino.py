"""The OpenVINO engine: an exported ONNX or OpenVINO file on the CPU; needs no torch."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from aerostat.errors import InputError
from aerostat.inference.backends.exported import KEY, Exported
from aerostat.inference.backends.exported_backend import ExportedEngine
from aerostat.inference.backends.outputs import Inputs, Outputs
from aerostat.processors import compute_threads

_TELEMETRY = "openvino_telemetry"


def openvino_engine(model: Path | bytes, exported: Exported, *, threads: int = 0) -> ExportedEngine:
    """Return an engine that runs an exported ONNX or OpenVINO model with OpenVINO, in its own precision.

    Args:
        model: path of the .onnx or .xml, or the bytes of an ONNX file.
        exported: what it says about itself.
        threads: that may call it at once, each call on one processor; 0 for one call on all of them.

    Raises:
        InputError: OpenVINO is not installed, or cannot read the file.
    """
    openvino = openvino_module()
    # Without the hint bfloat16 would be used where the processor has it: another answer than the others'.
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    settings["INFERENCE_NUM_THREADS"] = threads or compute_threads()
    if threads:
        settings |= {"PERFORMANCE_HINT": "THROUGHPUT", "NUM_STREAMS": threads}
    core = openvino.Core()
    try:
        read = core.read_model(model if isinstance(model, bytes) else str(model))
        with _own_signal_stack():
            compiled = core.compile_model(read, "CPU", settings)
    except RuntimeError as error:
        why = str(error).strip().split("\n")[-1].rstrip(".")
        name = "The exported model" if isinstance(model, bytes) else str(model)
        raise InputError(f"{name} cannot be run by OpenVINO ({why}); export it again.") from None
    names = [output.get_any_name() for output in compiled.outputs]
    of_thread = threading.local()

    def run(inputs: Inputs) -> Outputs:
        if not hasattr(of_thread, "request"):  # threads do not share one, and making one takes long
            of_thread.request = compiled.create_infer_request()
        request = of_thread.request
        request.infer(inputs)
        return {name: request.get_output_tensor(i).data.copy() for i, name in enumerate(names)}

    def twin(threads: int) -> ExportedEngine:
        return openvino_engine(model, exported, threads=threads)

    return ExportedEngine("openvino", exported, run, twin)


class _SignalStack(ctypes.Structure):
    """Linux's `stack_t`: where handlers of signals run."""

    _fields_: ClassVar = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


@contextmanager
def _own_signal_stack() -> Iterator[None]:
    """Let signals be handled after the block where they were before it.

    The first model that is compiled gives the calling thread another stack for them, which does not live as
    long as the thread. Once it is gone, Ctrl-C ends the process with a segmentation fault: Python's handlers
    ask for that stack.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    known = library.sigaltstack(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known:
            library.sigaltstack(ctypes.byref(before), None)


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
