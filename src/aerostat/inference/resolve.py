"""From a name, a run or a path to a detector: weights, exported models, devices and engines."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from aerostat.errors import InputError
from aerostat.inference.backends.engine import ENGINES, Engine
from aerostat.inference.backends.exported import SUFFIXES, Exported, read_onnx_entry

if TYPE_CHECKING:  # torch is loaded when weights are: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Weights

from aerostat.inference.detector import Detector

_log = logging.getLogger(__name__)

RUN_WEIGHTS = ("best.safetensors", "last.safetensors")
"""What a run directory is asked for, in this order."""


DEVICES = ("auto", "cpu", "cuda", "cuda:1", "mps")
"""What `--device` takes; of several GPUs any number."""


RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package of each engine for exported models."""


GPU_MARKS = ("/dev/nvidiactl", "/dev/kfd")
"""Where one of these is, torch may find a GPU, which no exported model uses."""


def load(
    source: Path | str,
    *,
    device: str | torch.device = "auto",
    input_size: int | None = None,
    engine: str = "auto",
) -> Detector:
    """Return a detector from a run directory, a weights file, an exported model or a name of the zoo.

    Args:
        source: a run directory (its best weights, else its last), a native ``.safetensors``, an OpenMMLab
            ``.pth``, an exported ``.onnx`` or ``.xml``, or a zoo name such as ``rtmdet-tiny``.
        device: auto (CUDA if there is one, else CPU), cpu, cuda, cuda:1 or mps; in place of one that cannot
            be used here the CPU, with a note. Exported models run on the CPU.
        input_size: side of the square input in pixels in place of the one that the weights state.
        engine: torch, onnx or openvino; auto takes torch for weights and for an exported model what runs it:
            ONNX Runtime first, for INT8 OpenVINO.

    Raises:
        InputError: if there is no such thing, it holds no weights of a detector, the engine is not
            installed, or the device is none.
    """
    _check_input_size(input_size)
    check_device(device)
    if engine not in ENGINES:
        raise InputError(f"Unknown engine {engine!r}; the engines are {', '.join(ENGINES)}.")
    if engine in ("onnx", "openvino"):
        _require_cpu(device, f"the engine {engine}")
    path = Path(source)
    if path.suffix.lower() in SUFFIXES and "://" not in str(source):
        return _load_exported(path, device, input_size, engine)
    return _load_weights(source, device, input_size, engine)


def exported_beside(
    source: Path | str, *, input_size: int | None = None, device: str = "auto"
) -> Path | None:
    """Return the ONNX file beside a run's or file's weights, if it was made from them and can be run here.

    It says the same as the weights and starts sooner, for torch is not loaded. One in INT8, with suppression
    inside, or for another size of input, is another thing and is left where it is.

    Args:
        source: a run directory or a weights file; anything else has nothing beside it.
        input_size: side of the input that is wanted, if it matters.
        device: auto or cpu, or there is nothing to return.
    """
    if Path(source).suffix.lower() in SUFFIXES:
        return None
    gpu = device == "auto" and any(Path(name).exists() for name in GPU_MARKS)
    if device not in ("auto", "cpu") or gpu or not installed("onnxruntime") or not Path(source).exists():
        return None
    weights = weights_path(source)
    path = weights.with_suffix(".onnx")
    if path == weights or not path.is_file():
        return None
    try:
        exported = read_onnx_entry(path)
    except InputError:
        return None
    plain = exported.precision == "float32" and not exported.suppressed
    fits = input_size is None or exported.dynamic or exported.input_size == (input_size, input_size)
    if not (plain and fits):
        return None
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return path if digest == exported.weights_sha256 else None


def _load_exported(path: Path, device: str | torch.device, input_size: int | None, engine: str) -> Detector:
    """Return a detector from an exported file; torch is not loaded."""
    if not path.is_file():
        raise InputError(f"There is no exported model {path}.")
    if engine == "torch":
        raise InputError(f"{path} is an exported model, which the engine torch cannot run; name the weights.")
    _require_cpu(device, "an exported model")
    if path.suffix.lower() == ".onnx":
        exported, chosen = read_onnx_entry(path), engine
        if chosen == "auto":
            # ONNX Runtime runs INT8 slower than float32, OpenVINO twice as fast (benchmarks/int8.md).
            prefers = ("openvino", "onnx") if exported.precision == "int8" else ("onnx", "openvino")
            chosen = next((name for name in prefers if installed(RUNTIMES[name])), "onnx")
    else:
        from aerostat.inference.backends.openvino import read_openvino_entry

        if engine == "onnx":
            raise InputError(f"{path} is an OpenVINO model, which the engine onnx cannot run.")
        exported, chosen = read_openvino_entry(path), "openvino"
    if input_size is not None and exported.dynamic:
        side = (input_size, input_size)
    elif input_size is not None and (input_size, input_size) != exported.input_size:
        width, height = exported.input_size
        raise InputError(
            f"{path} takes images of {width} x {height} px only, found {input_size}; "
            "export it with --dynamic."
        )
    else:
        side = exported.input_size
    return Detector(_exported_engine(path, exported, chosen), exported.classes, side)


def _exported_engine(model: Path | bytes, exported: Exported, engine: str) -> Engine:
    if engine == "openvino":
        from aerostat.inference.backends.openvino import openvino_engine

        return openvino_engine(model, exported)
    from aerostat.inference.backends.onnxruntime import onnx_engine

    return onnx_engine(model, exported)


def _load_weights(
    source: Path | str, device: str | torch.device, input_size: int | None, engine: str
) -> Detector:
    """Return a detector from weights, which other engines than torch run as they would be exported."""
    net, weights, size = load_network(source, input_size=input_size)
    from aerostat.inference.backends.pytorch import TorchEngine

    header = weights.header
    if engine not in ("onnx", "openvino"):
        return Detector(TorchEngine(net.to(choose_device(device))), header.classes, size, header)
    if not installed("onnx"):
        raise InputError(
            f"The engine {engine} runs weights as ONNX, which needs a package; install it with: "
            "pip install onnx"
        )
    from aerostat.model.onnx_graph import onnx_model

    exported = Exported(header.size, header.classes, size, dynamic=True, batch=None)
    model = onnx_model(net, input_size=size, batch=None, dynamic=True)
    runner = _exported_engine(model.SerializeToString(), exported, engine)
    return Detector(runner, header.classes, size, header)


def load_network(
    source: Path | str, *, input_size: int | None = None
) -> tuple[RTMDet, Weights, tuple[int, int]]:
    """Return a network in evaluation mode on the CPU, its weights file, and (width, height) of its input.

    Args:
        source, input_size: as for `load`; no exported model.

    Raises:
        InputError: as `load`.
    """
    _check_input_size(input_size)
    if not installed("torch"):
        raise InputError(f"To run the weights {source} torch is needed; install it with: pip install torch")
    from aerostat.model import build
    from aerostat.weights.checkpoint import fit_to, load_weights

    weights = load_weights(weights_path(source))
    header = weights.header
    if header.kind != "detector":
        raise InputError(
            f"{source} holds a pretrained backbone, no detector; train one with --weights {source}."
        )
    for remark in header.notes:
        _log.info(f"{source}: {remark}")
    net = build(header.size, len(header.classes))
    state, _ = fit_to(weights, header.size, header.classes, net.state_dict(), source)
    net.load_state_dict(state)
    size = (input_size, input_size) if input_size else header.input_size
    if size[0] % 32 or size[1] % 32:
        raise InputError(
            f"{source} states an input of {size[0]} x {size[1]} px, expected multiples of 32; "
            "name another input size."
        )
    return net.eval(), weights, size


def _check_input_size(side: int | None) -> None:
    if side is not None and (side < 32 or side % 32):
        raise InputError(f"The input size must be a positive multiple of 32 pixels, found {side}.")


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def _require_cpu(device: str | torch.device, what: str) -> None:
    if str(device) not in ("auto", "cpu"):
        raise InputError(f"Expected the device cpu for {what}, found {device}.")


def weights_path(source: Path | str) -> Path:
    """Return the weights file that a run directory, a file, a zoo name or an https:// address stands for.

    Raises:
        InputError: if there is none.
    """
    if "://" in str(source):
        return _fetch(str(source))
    path = Path(source)
    if path.is_dir():
        for name in RUN_WEIGHTS:
            if (path / name).is_file():
                return path / name
        raise InputError(f"{path} is no run with weights: it has neither {' nor '.join(RUN_WEIGHTS)}.")
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"There is no weights file or run directory {path}.")
    return _fetch(str(source))


def _fetch(source: str) -> Path:
    from aerostat.weights import zoo

    return zoo.fetch(source)


def check_device(name: str | torch.device) -> None:
    """Refuse what is no device's name; whether there is one is seen when it is chosen.

    Raises:
        InputError: naming those that are.
    """
    if not re.fullmatch(r"auto|(cpu|mps)(:0)?|cuda(:\d{1,3})?", str(name)):
        raise InputError(f"Expected one of the devices {', '.join(DEVICES)}, found {str(name)!r}.")


def choose_device(name: str | torch.device) -> torch.device:
    """Return the device that a request names; ``auto`` is CUDA where there is one, else the CPU.

    In place of one that cannot be used here it is the CPU, and a note says why.

    Raises:
        InputError: if the name is none of a device.
    """
    import torch

    check_device(name)
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # fails also where there is only the name
    except (RuntimeError, AssertionError, ImportError) as error:
        why = " ".join(str(error).split()).partition(". ")[0].rstrip(".")[:120]
        _log.warning(f"the device {name} cannot be used here ({why}); the CPU is taken instead")
        return torch.device("cpu")
    return device
