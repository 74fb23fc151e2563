"""Ultralytics: YOLO26n with random weights at 640 px."""

from __future__ import annotations

import copy
import os
import shutil
from pathlib import Path

from answers import Round, answer, multiply_adds

os.environ.setdefault("YOLO_AUTOINSTALL", "false")
os.environ.setdefault("YOLO_OFFLINE", "true")
MODEL = "yolo26n.yaml"


def start(engine: str, photograph: str, folder: str) -> tuple[float, Round]:
    """Return multiply-adds and one round: a photograph to detections."""
    import torch
    from ultralytics import YOLO

    os.chdir(folder)
    model = YOLO(MODEL)
    # Prediction fuses the network and leaves out the branch that only training needs.
    net = copy.deepcopy(model.model).eval().fuse(verbose=False)
    macs = multiply_adds(net, lambda: net(torch.zeros(1, 3, 640, 640)))
    if engine != "torch":
        model.save("yolo.pt")
        made = YOLO("yolo.pt").export(format=engine, imgsz=640)
        model = YOLO(made, task="detect")
    return macs, lambda: model.predict(photograph, imgsz=640, conf=0.25, verbose=False, device="cpu")


def train(data: str, folder: str, epochs: int) -> None:
    """Train on the balloon photographs."""
    from ultralytics import YOLO

    yaml = next(Path(data).glob("*.yaml"))
    kept = Path(folder) / "data"
    shutil.copytree(data, kept, dirs_exist_ok=True)
    text = f"path: {kept.resolve()}\ntrain: images/train\nval: images/val\nnames: [balloon]\n"
    (kept / yaml.name).write_text(text)
    YOLO(MODEL).train(
        data=str(kept / yaml.name), epochs=epochs, imgsz=640, batch=8, device="cpu", project=folder,
        plots=False, workers=2, pretrained=False, amp=False,
    )  # fmt: skip


if __name__ == "__main__":
    answer(start, train)
