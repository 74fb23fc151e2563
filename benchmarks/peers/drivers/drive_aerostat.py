"""aerostat: RTMDet-tiny with random weights at 640 px."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from answers import Round, answer


def start(engine: str, photograph: str, folder: str) -> tuple[float, Round]:
    """Return multiply-adds and one round: a photograph to detections."""
    import torch

    import aerostat as ae
    from aerostat.benchmarking.macs import count_work
    from aerostat.model import build
    from aerostat.weights.checkpoint import Header, save_weights

    weights = Path(folder) / "tiny.safetensors"
    torch.manual_seed(0)
    net = build("tiny", 80).eval()
    header = Header(size="tiny", classes=tuple(f"class {i}" for i in range(80)), input_size=(640, 640))
    save_weights(weights, net.state_dict(), header)
    source = weights
    if engine != "torch":
        source = Path(folder) / ("tiny.xml" if engine == "openvino" else f"tiny-{engine}.onnx")
        command = [sys.executable, "-m", "aerostat", "export", str(weights), "--out", str(source), "--force"]
        command += ["--no-card", "--images", str(Path(photograph).parent)]
        subprocess.run([*command, *["--int8"] * engine.endswith("int8")], check=True)
    runtime = {"openvino int8": "openvino"}.get(engine, engine)
    detector = ae.load(source, engine=runtime)
    return count_work(net, (640, 640)).macs, lambda: detector.predict(photograph, score=0.25)


def train(data: str, folder: str, epochs: int) -> None:
    """Train on the balloon photographs, the whole command."""
    command = [sys.executable, "-m", "aerostat", "train", data, "--model", "rtmdet-tiny", "--weights", ""]
    command += ["--input-size", "640", "--batch-size", "8", "--epochs", str(epochs), "--out", folder + "/run"]
    subprocess.run(command, check=True)


if __name__ == "__main__":
    answer(start, train)
