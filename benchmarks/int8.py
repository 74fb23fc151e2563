"""AP and latency of INT8 beside float32, and of what onnxruntime's own quantiser makes: tables of int8.md.

python benchmarks/int8.py ap balloon/ --runs runs/free runs/frozen [--input-size 640] [--tried]
python benchmarks/int8.py latency --runs runs/free [--threads 2]

`ap` scores each form of each run on the validation split, with both runtimes, calibrated on training images.
`latency` times nano (the first run's weights) and tiny (random weights) at 640 px in turn, in one process.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray

import aerostat as ae
from aerostat.datasets.records import Split
from aerostat.deploy.quantise import quantise
from aerostat.evaluation.evaluate import evaluate
from aerostat.images.letterbox import Letterbox
from aerostat.images.read import read_image
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.onnxruntime import onnx_engine
from aerostat.inference.backends.openvino import openvino_engine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load_network
from aerostat.model import RTMDet, build
from aerostat.model.onnx_graph import onnx_model

RUNTIMES = {"ONNX Runtime": onnx_engine, "OpenVINO": openvino_engine}
Images = list[NDArray[np.uint8]]


def calibration(split: Split, side: int, number: int) -> Images:
    """Return letterboxed images (side, side, 3), spread evenly over a split."""
    places = np.linspace(0, len(split) - 1, min(number, len(split))).round().astype(int)
    pictures = [read_image(split.images[i].path) for i in places]
    return [Letterbox.fit((p.shape[1], p.shape[0]), (side, side)).apply(p) for p in pictures]


def by_onnxruntime(model: onnx.ModelProto, images: Images, **options: Any) -> onnx.ModelProto:
    """Return what onnxruntime's static quantiser makes, per channel and with uint8 maps."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rest = iter(images)

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            image = next(self.rest, None)
            return None if image is None else {"images": image[None]}

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(model, source)
        options = {"activation_type": QuantType.QUInt8, "per_channel": True, **options}
        quantize_static(source, target, Reader(), **options)
        return onnx.load(target)


def forms(model: onnx.ModelProto, images: Images, tried: bool) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield the forms that are compared; with `tried` also what was dropped and can be had of onnxruntime."""
    yield "float32", model
    yield "INT8", quantise(model, images)
    yield "INT8, 7-bit weights", quantise(model, images, reduced_range=True)
    if not tried:
        return
    from onnxruntime.quantization import CalibrationMethod, QuantType

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    tail = [node.name for node in convolutions if "rtm_" in node.name or "attention" in node.name]
    depthwise = [
        node.name for node in convolutions if any(a.name == "group" and a.i > 1 for a in node.attribute)
    ]
    only: dict[str, Any] = {"op_types_to_quantize": ["Conv"], "nodes_to_exclude": tail}
    inputs = {"extra_options": {"OpTypesToExcludeOutputQuantization": ["Conv"]}}
    yield "onnxruntime: Conv, in and out", by_onnxruntime(model, images, **only)
    yield "onnxruntime: Conv, in", by_onnxruntime(model, images, **only, **inputs)
    only["nodes_to_exclude"] = tail + depthwise
    yield "onnxruntime: dense Conv, in and out", by_onnxruntime(model, images, **only)
    yield "onnxruntime: dense Conv, in", by_onnxruntime(model, images, **only, **inputs)
    yield "the same, per tensor", by_onnxruntime(model, images, **only, **inputs, per_channel=False)
    few = images[:16]  # its histograms are slow
    for method in (CalibrationMethod.Percentile, CalibrationMethod.Entropy):
        name = f"the same, {method.name}"
        yield name, by_onnxruntime(model, few, **only, **inputs, calibrate_method=method)
    wide = {"extra_options": {**inputs["extra_options"], "UseQDQContribOps": True}}
    yield (
        "the same, 16-bit maps",
        by_onnxruntime(model, images, **only, **wide, activation_type=QuantType.QUInt16),
    )


def ap_table(data: Path, runs: Sequence[Path], side: int | None, number: int, tried: bool) -> None:
    """Print AP of each form: by run, and the mean."""
    found = ae.Dataset.read(data, classes=["balloon"])
    train, val = found.split("train"), found.split("val")
    rows: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        net, weights, size = load_network(run, input_size=side)
        exported = Exported(weights.header.size, weights.header.classes, size)
        images = calibration(train, size[0], number)
        for name, model in forms(onnx_model(net, input_size=size), images, tried):
            for runtime, kind in RUNTIMES.items():
                try:
                    detector = Detector(
                        kind(model.SerializeToString(), exported), exported.classes, exported.input_size
                    )
                    ap = evaluate(detector, val, threads=1, progress=False).ap
                except Exception:  # a runtime that does not know the form
                    ap = float("nan")
                rows.setdefault(name, {}).setdefault(runtime, []).append(ap)
    for name, by_runtime in rows.items():
        cells = [
            " ".join(f"{ap:.3f}" for ap in aps) + f" | {np.mean(aps):.4f}" for aps in by_runtime.values()
        ]
        print(f"| {name} | {' | '.join(cells)} |")


def random_tiny(classes: int = 80) -> RTMDet:
    """Return a tiny of random weights and statistics; its time is that of any tiny."""
    torch.manual_seed(0)
    net = build("tiny", classes).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return net


def latency(run: Path, threads: int, rounds: int) -> None:
    """Print the median time of a network's pass, everything in turn in one process."""
    import onnxruntime

    from aerostat.inference.backends.openvino import openvino_module

    core = openvino_module().Core()
    image = np.random.default_rng(0).integers(0, 256, (1, 640, 640, 3), np.uint8)
    calls: dict[tuple[str, str], Any] = {}
    for name, net in (("nano", load_network(run, input_size=640)[0]), ("tiny", random_tiny())):
        plain = onnx_model(net, input_size=(640, 640))
        for form, model in (("float32", plain), ("INT8", quantise(plain, [image[0]]))):
            content = model.SerializeToString()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
            calls[f"{name} {form}", "ONNX Runtime"] = lambda s=session: s.run(None, {"images": image})
            settings = {
                "INFERENCE_PRECISION_HINT": "f32",
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
            }
            request = core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()
            calls[f"{name} {form}", "OpenVINO"] = lambda r=request: r.infer([image])
    times: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(rounds + 1):
        for key, call in calls.items():
            call()  # the caches are its own again
            started = time.perf_counter()
            call()
            times[key] += [time.perf_counter() - started] if number else []
    for name in dict.fromkeys(name for name, _ in calls):
        cells = [f"{statistics.median(times[name, runtime]) * 1e3:.1f} ms" for runtime in RUNTIMES]
        print(f"| {name} | {threads} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["ap", "latency"])
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--runs", nargs="+", type=Path, required=True)
    parser.add_argument("--input-size", type=int)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--tried", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    if asked.what == "ap":
        ap_table(asked.data, asked.runs, asked.input_size, asked.images, asked.tried)
    else:
        latency(asked.runs[0], asked.threads, asked.rounds)


if __name__ == "__main__":
    main()
