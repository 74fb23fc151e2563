"""Beside a busy neighbour: the same work alone, and twice at once on the same processors.

Threads of a runtime that wait for one another may spin, that is, keep a processor busy while they wait. Alone
that saves a system call. Beside another busy process it takes the processor from the very thread that is
waited for. Each round starts processes of their own, because a runtime reads its settings when it is loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.case import Case, Unavailable
from benchmarks.machine import ROOT

SPINCOUNT = {"GOMP_SPINCOUNT": "1000"}
"""As `aerostat` sets it."""
START_SECONDS = {"torch": 3.5, "onnx": 2.0, "openvino": 2.0}
"""Both processes begin to measure this long after they were started, when all is loaded."""
SECONDS = 1.5
"""How long each process measures."""
NETWORK = "RTMDet-nano at 320 px, one image, 2 threads"


def cases(quick: bool) -> Iterator[Case]:
    """Yield the comparisons beside a neighbour."""
    if len(os.sched_getaffinity(0)) > 2:
        raise Unavailable("two processes of two threads each are busy neighbours on two processors only")
    if quick:
        raise Unavailable("it takes a minute and a half: each round starts processes of its own")
    ways = {"spins as libgomp does by itself": {}, "GOMP_SPINCOUNT=1000": SPINCOUNT}
    yield _case(f"torch: {NETWORK}", "torch", ways, "", "10 times as long beside a neighbour that spins")
    ways = {
        "spins, its default": {"AEROSTAT_BENCHMARK_SPIN": "1"},
        "does not spin": {"AEROSTAT_BENCHMARK_SPIN": "0"},
    }
    with tempfile.TemporaryDirectory() as folder:
        model = _exported(Path(folder))
        yield _case(f"ONNX Runtime: {NETWORK}", "onnx", ways, model, "no spinning: 3 times beside, 0.9 alone")
        yield _case(f"OpenVINO: {NETWORK}", "openvino", {"as it is": {}}, model, "threads of TBB do not spin")


def _case(name: str, kind: str, ways: dict[str, dict[str, str]], model: str, predicted: str) -> Case:
    """Return the comparison of ways to wait, each alone and beside the same work in another process."""
    variants: dict[str, Callable[[], float]] = {}
    for way, environment in ways.items():
        for count, where in ((1, "alone"), (2, "two at once")):
            variants[f"{way}, {where}"] = _variant(kind, count, environment, model)
    return Case(name, "ms", variants, baseline=next(iter(variants)), predicted=predicted, rounds=1)


def _variant(kind: str, count: int, environment: dict[str, str], model: str) -> Callable[[], float]:
    """Return a variant: the milliseconds of one call, while `count` processes do the same."""

    def measure() -> float:
        start = time.time() + START_SECONDS[kind]
        command = [sys.executable, "-m", "benchmarks.neighbour", kind, str(start), model]
        inherited = {key: value for key, value in os.environ.items() if key != "GOMP_SPINCOUNT"}
        inherited["OMP_NUM_THREADS"] = "2"
        processes = [
            subprocess.Popen(command, cwd=ROOT, env={**inherited, **environment}, stdout=subprocess.PIPE)
            for _ in range(count)
        ]
        answers = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise Unavailable(f"a process for {kind} failed")
        return statistics.mean(json.loads(answer) for answer in answers)

    return measure


def _exported(folder: Path) -> str:
    try:
        from aerostat.deploy.export import export
    except ImportError as error:
        raise Unavailable(f"nothing can be exported: {error}") from None
    from aerostat.demo import CHECKPOINT

    export(CHECKPOINT, folder / "model.onnx", input_size=320)
    return str(folder / "model.onnx")


# ------------------------------------------------------------------------------------ in the processes


def _torch() -> Callable[[], object]:
    import numpy as np
    import torch

    from aerostat.inference.backends.pytorch import TorchEngine
    from aerostat.model import build

    torch.manual_seed(0)
    engine = TorchEngine(build("nano", 1).eval())
    image = np.zeros((1, 320, 320, 3), np.uint8)
    return lambda: engine.outputs(image)


def _network(kind: str, model: str) -> Callable[[], object]:
    import numpy as np

    image = np.zeros((1, 320, 320, 3), np.uint8)
    if kind == "openvino":
        from aerostat.inference.backends.openvino import openvino_module

        settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": 2}
        compiled = openvino_module().Core().compile_model(model, "CPU", settings)
        return lambda: compiled({"images": image})
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    options.add_session_config_entry("session.intra_op.allow_spinning", os.environ["AEROSTAT_BENCHMARK_SPIN"])
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"images": image})


def main() -> None:
    """Print the median milliseconds of a call, measured from a given time on."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("torch", "onnx", "openvino"))
    parser.add_argument("start", type=float)
    parser.add_argument("model", nargs="?", default="")
    asked = parser.parse_args()
    call = _torch() if asked.kind == "torch" else _network(asked.kind, asked.model)
    call()
    time.sleep(max(0.0, asked.start - time.time()))
    times = []
    while not times or sum(times) < SECONDS:
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    print(json.dumps(1e3 * statistics.median(times)))


if __name__ == "__main__":
    main()
