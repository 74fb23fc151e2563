"""`aerostat export --int8` on annotated photographs, from the command to the figures that it prints."""

import json
from pathlib import Path

import pytest
import torch

from aerostat.__main__ import main
from aerostat.model import build
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import Header, save_weights


@pytest.mark.slow
def test_int8_chooses_its_ranges_on_annotated_data_and_tells_ap_of_both(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = build("nano", 1)
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    save_weights(Path("w.safetensors"), net.state_dict(), Header("nano", ("balloon",), (64, 64)))
    write_balloons("data", train=3, val=2, size=(96, 64))
    assert (
        main(["export", "w.safetensors", "--int8", "--data", "data", "--classes", "balloon", "--json"]) == 0
    )
    done = json.loads(capsys.readouterr().out)
    assert done["precision"] == "int8" and done["file"] == "w.int8.onnx"
    assert set(done["ap"]) == {"float32", "int8"} and all(-1 <= ap <= 1 for ap in done["ap"].values())
    assert "split val" in done["compared_on"]
    assert Path("w.int8.onnx").stat().st_size == done["bytes"]
