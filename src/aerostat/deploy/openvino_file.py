"""OpenVINO's pair of files, .xml and .bin, for an exported ONNX model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from aerostat.errors import AerostatError
from aerostat.files import write_bytes
from aerostat.inference.backends.exported import KEY
from aerostat.inference.backends.openvino import openvino_module

if TYPE_CHECKING:
    from onnx import ModelProto


def write_openvino(model: ModelProto, path: Path, *, compress_to_fp16: bool = False) -> None:
    """Write an ONNX model, with its metadata, as OpenVINO's .xml and the .bin beside it.

    `openvino.Core` reads ONNX. `openvino.convert_model` would do the same, and send telemetry.

    Args:
        model: written by `aerostat.model.onnx_graph.onnx_model`, in float32 or INT8.
        path: of the .xml; both files are replaced if they exist.
        compress_to_fp16: halve the file by rounding weights to 11 bits.

    Raises:
        InputError: OpenVINO is not installed.
        AerostatError: OpenVINO cannot read the model.
    """
    openvino = openvino_module()
    try:
        read = openvino.Core().read_model(model.SerializeToString())
    except RuntimeError as error:
        why = str(error).strip().split("\n")[-1].rstrip(".")
        raise AerostatError(f"OpenVINO cannot read the exported model ({why}).") from None
    for entry in model.metadata_props:
        if entry.key == KEY:
            read.set_rt_info(entry.value, KEY)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".openvino-", dir=path.parent) as folder:
        draft = Path(folder) / "model.xml"
        openvino.save_model(read, str(draft), compress_to_fp16=compress_to_fp16)
        del read  # it holds files open, which Windows could not delete
        for part, place in ((draft.with_suffix(".bin"), path.with_suffix(".bin")), (draft, path)):
            write_bytes(place, part.read_bytes())
