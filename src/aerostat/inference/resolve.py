"""From a name, a run, a work directory or a path to a detector: weights, exported models and engines."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aerostat.errors import InputError
from aerostat.inference.backends.engine import ENGINES, Engine
from aerostat.inference.backends.exported import LAYOUT, SUFFIXES, Exported, read_onnx_entry
from aerostat.inference.detector import Detector
from aerostat.inference.devices import check_device, choose_device
from aerostat.inference.slices import MAX_SIDE, MIN_SIDE, TrainedOn
from aerostat.openmmlab.work_dir import find_work_dir

if TYPE_CHECKING:  # torch is loaded with weights only: an exported model does without
    import torch

    from aerostat.model import RTMDet
    from aerostat.weights.checkpoint import Header, Weights

_log = logging.getLogger(__name__)

RUN_WEIGHTS = ("best.safetensors", "last.safetensors")
"""Weights of a run directory that are looked for, in this order."""
RUNTIMES = {"onnx": "onnxruntime", "openvino": "openvino"}
"""The package of each engine for exported models."""
GPU_MARKS = ("/dev/nvidiactl", "/dev/kfd")
"""If one of these exists, torch may find a GPU, which no exported model uses."""
MAX_OBJECT = 1e6
"""Largest side of a training object in pixels that a file may state."""
INPUT_STEP = 32
"""Sides of the network's input are multiples of this, the stride of its last level."""


def load(
    source: Path | str,
    *,
    device: str | torch.device = "auto",
    input_size: int | None = None,
    engine: str = "auto",
) -> Detector:
    """Return a detector from a run directory, a weights file, an exported model or a name of the zoo.

    Args:
        source: a run directory (its best weights, else its last), a work directory of MMEngine (the same,
            with the classes and the test size of its config), a native ``.safetensors``, an OpenMMLab
            ``.pth``, an exported ``.onnx`` or ``.xml``, or a zoo name such as ``rtmdet-tiny``.
        device: auto (CUDA if there is one, else the CPU), cpu, cuda, cuda:0 (or another number) or mps. If
            it cannot be used here, the CPU is taken and a warning is logged. Exported models run on the CPU.
        input_size: side of the square input in pixels; None takes the one that the weights state.
        engine: torch, onnx or openvino; auto takes torch for weights, and for an exported model the first
            runtime that is installed: ONNX Runtime before OpenVINO, for INT8 the other way round.

    Raises:
        InputError: there is no such source, it holds no weights of a detector, the engine is not installed,
            or the device is not one.
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
    """Return the ONNX file beside weights, if it was made from them and can be run here; else None.

    It gives the same detections as the weights and starts sooner, since torch is not loaded. A file in INT8,
    with suppression inside, or for another size of input is left alone, since it may give others.

    Args:
        source: a run directory or a weights file; anything else has nothing beside it.
        input_size: side of the input that is wanted, if it matters.
        device: auto or cpu; there is nothing for any other.
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
    plain = exported.precision == "float32" and not exported.suppressed and exported.layout == LAYOUT
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
    exported, runtime = _read_exported(path, engine)
    if exported.layout != LAYOUT:
        raise InputError(
            f"{path} has the layout {exported.layout}, which is for other runtimes; name its weights, or "
            f"export them with the layout {LAYOUT}."
        )
    size = _exported_size(path, exported, input_size)
    trained_on = TrainedOn(float(exported.object_side), exported.slices)
    return Detector(_exported_engine(path, exported, runtime), exported.classes, size, trained_on=trained_on)


def _read_exported(path: Path, engine: str) -> tuple[Exported, str]:
    """Return what an exported file says about itself, and the engine that runs it."""
    if path.suffix.lower() == ".onnx":
        exported = read_onnx_entry(path)
        if engine != "auto":
            return exported, engine
        # ONNX Runtime runs INT8 slower than float32, OpenVINO twice as fast (benchmarks/int8.md).
        prefers = ("openvino", "onnx") if exported.precision == "int8" else ("onnx", "openvino")
        return exported, next((name for name in prefers if installed(RUNTIMES[name])), "onnx")
    from aerostat.inference.backends.openvino import read_openvino_entry

    if engine == "onnx":
        raise InputError(f"{path} is an OpenVINO model, which the engine onnx cannot run.")
    return read_openvino_entry(path), "openvino"


def _exported_size(path: Path, exported: Exported, input_size: int | None) -> tuple[int, int]:
    """Return (width, height) of the input of an exported model."""
    if input_size is None or (input_size, input_size) == exported.input_size:
        return exported.input_size
    if not exported.dynamic:
        width, height = exported.input_size
        raise InputError(
            f"{path} takes images of {width} x {height} px only, found {input_size}; "
            "export it with `export(dynamic=True)`."
        )
    return input_size, input_size


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
        engine_of_net = TorchEngine(net.to(choose_device(device)))
        return Detector(engine_of_net, header.classes, size, header, trained_on(header))
    if not installed("onnx"):
        raise InputError(
            f"The engine {engine} runs weights as ONNX, which needs a package; install it with: "
            "pip install onnx"
        )
    from aerostat.model.onnx_graph import onnx_model

    exported = Exported(header.size, header.classes, size, dynamic=True, batch=None, masks=header.masks)
    model = onnx_model(net, input_size=size, batch=None, dynamic=True)
    runner = _exported_engine(model.SerializeToString(), exported, engine)
    return Detector(runner, header.classes, size, header, trained_on(header))


def trained_on(header: Header) -> TrainedOn:
    """Return what a weights file says about the training objects; old files say nothing."""
    side, recipe = header.objects.get("side_px"), header.recipe or {}
    data = recipe.get("data")
    slices = data.get("slices") if isinstance(data, Mapping) else None
    is_side = isinstance(side, int | float) and 0 < side < MAX_OBJECT
    is_slices = isinstance(slices, int) and MIN_SIDE <= slices <= MAX_SIDE
    return TrainedOn(float(side or 0) if is_side else 0.0, int(slices or 0) if is_slices else 0)


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

    weights = _with_config(load_weights(weights_path(source)), source)
    header = weights.header
    if header.kind != "detector":
        raise InputError(
            f"{source} holds a pretrained backbone, no detector; train one that starts from it, with "
            f"`train(DATA, weights={str(source)!r})`."
        )
    for remark in header.notes:
        _log.info(f"{source}: {remark}")
    net = build(header.size, len(header.classes), header.masks)
    state, _ = fit_to(weights, header.size, header.classes, net.state_dict(), source)
    net.load_state_dict(state)
    size = (input_size, input_size) if input_size else header.input_size
    if size[0] % INPUT_STEP or size[1] % INPUT_STEP:
        raise InputError(
            f"{source} states an input of {size[0]} x {size[1]} px, expected multiples of {INPUT_STEP}; "
            "name another input size."
        )
    return net.eval(), weights, size


def _with_config(weights: Weights, source: Path | str) -> Weights:
    """Return the weights of a work directory with the classes and the test size that its config states.

    A config that cannot be parsed costs these two only: the weights say the rest.
    """
    if "://" in str(source) or any((Path(source) / name).is_file() for name in RUN_WEIGHTS):
        return weights
    found = find_work_dir(source)
    if found is None or weights.header.source != "openmmlab":
        return weights
    header = weights.header
    try:
        classes, size = found.classes, found.input_size
    except InputError as error:
        _log.warning(f"the classes and the test size of {source} are those of its weights alone: {error}")
        return weights
    if classes and len(classes) == len(header.classes):
        header = dataclasses.replace(header, classes=classes, notes=())
    elif classes:
        _log.warning(
            f"{source}: its config names {len(classes)} classes, its weights have {len(header.classes)}; "
            "those of the weights are taken"
        )
    if size is not None:
        header = dataclasses.replace(header, input_size=size)
    width, height = header.input_size
    _log.info(f"{source}: {found.weights.relative_to(found.path)} at {width} x {height} px")
    return dataclasses.replace(weights, header=header)


def _check_input_size(side: int | None) -> None:
    if side is not None and (side < INPUT_STEP or side % INPUT_STEP):
        raise InputError(
            f"Expected `input_size` as a positive multiple of {INPUT_STEP} pixels, found {side}."
        )


def installed(package: str) -> bool:
    """Return whether a package can be imported, without importing it."""
    return importlib.util.find_spec(package) is not None


def _require_cpu(device: str | torch.device, what: str) -> None:
    if str(device) not in ("auto", "cpu"):
        raise InputError(f"Expected the device cpu for {what}, found {device}.")


def weights_path(source: Path | str) -> Path:
    """Return the weights file that a run or work directory, a file, a zoo name or an address stands for.

    Raises:
        InputError: there is no such file.
    """
    if "://" in str(source):
        return _fetch(str(source))
    path = Path(source)
    if path.is_dir():
        for name in RUN_WEIGHTS:
            if (path / name).is_file():
                return path / name
        if (found := find_work_dir(path)) is not None:
            return found.weights
        raise InputError(
            f"{path} is no run with weights: it has neither {' nor '.join(RUN_WEIGHTS)}, and no .pth file of "
            "MMEngine."
        )
    if path.is_file():
        return path
    if path.suffix or len(path.parts) > 1:
        raise InputError(f"There is no weights file or run directory {path}.")
    return _fetch(str(source))


def _fetch(source: str) -> Path:
    from aerostat.weights import zoo

    return zoo.fetch(source)
