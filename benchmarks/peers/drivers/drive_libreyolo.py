"""LibreYOLO: RTMDet-t, the same network as aerostat's tiny, with random weights at 640 px.

Its port has no ONNX or OpenVINO run from random weights unless `export` takes them; a failure is a row.
"""

from __future__ import annotations

import os
from pathlib import Path

from answers import Round, answer, multiply_adds


def start(engine: str, photograph: str, folder: str) -> tuple[float, Round]:
    """Return multiply-adds and one round: a photograph to detections."""
    import torch
    from libreyolo import LibreYOLO
    from libreyolo.models.rtmdet.model import LibreRTMDet

    os.chdir(folder)
    model = LibreRTMDet(None, size="t", device="cpu")
    net = model.model.eval()
    macs = multiply_adds(net, lambda: net(torch.zeros(1, 3, 640, 640)))
    runs = model if engine == "torch" else LibreYOLO(model.export(format=engine))
    return macs, lambda: runs(photograph, conf=0.25)


def train(data: str, folder: str, epochs: int) -> None:
    """Train on the balloon photographs, in the copy of the data that is there already."""
    from libreyolo.models.rtmdet.model import LibreRTMDet

    config = Path(folder) / "data.yaml"
    config.write_text(f"path: {data}\ntrain: images/train\nval: images/val\nnc: 1\nnames: [balloon]\n")
    model = LibreRTMDet(None, size="t", nb_classes=1, device="cpu")
    model.train(
        data=str(config), epochs=epochs, batch=8, imgsz=640, device="cpu", workers=2,
        project=folder, amp=False, pretrained=False,
    )  # fmt: skip


if __name__ == "__main__":
    answer(start, train)
