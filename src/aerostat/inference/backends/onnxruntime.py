"""The ONNX engine: an exported file, run by ONNX Runtime on the CPU; needs no torch."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aerostat.errors import InputError
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.exported_backend import ExportedEngine
from aerostat.inference.backends.outputs import Inputs, Outputs
from aerostat.processors import compute_threads


def onnx_engine(model: Path | bytes, exported: Exported, *, threads: int = 0) -> ExportedEngine:
    """Return an engine that runs an exported ONNX model with ONNX Runtime.

    Args:
        model: the file's path, or its bytes.
        exported: what it says about itself.
        threads: that may call it at once, each call on one processor; 0 for one call on all of them.

    Raises:
        InputError: ONNX Runtime is not installed, or cannot read the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError(
            "The engine onnx needs ONNX Runtime; install it with: pip install onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if threads else compute_threads()
    options.log_severity_level = 3  # what it warns of is nothing that a user could mend
    try:
        session = onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # it has a dozen kinds of its own, without a common one
        why = str(error).split("\n", 1)[0].rstrip(".")
        name = "The exported model" if isinstance(model, bytes) else str(model)
        raise InputError(f"{name} cannot be run by ONNX Runtime ({why}); export it again.") from None
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Inputs) -> Outputs:
        return dict(zip(names, session.run(None, inputs), strict=True))

    # A session takes calls of any number of threads: one twin serves all counts.
    twin = cache(lambda: onnx_engine(model, exported, threads=1))
    return ExportedEngine("onnx", exported, run, lambda _: twin())
