"""The verb `export`."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from aerostat.__main__ import main
from aerostat.model import build
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import Header, read_header, save_weights


def test_export_replaces_only_with_force_and_never_its_source(aerostat, weights, assert_refused):
    assert aerostat("export", weights, "--out", "a.pth").code == 0
    first = Path("a.pth").read_bytes()
    assert_refused(aerostat("export", weights, "--out", "a.pth"), "a.pth exists", "--force")
    assert_refused(
        aerostat("export", "a.pth", "--to", "openmmlab", "--force"), "a.pth is the file to export", "--out"
    )
    assert_refused(aerostat("export", weights, "--out", "a.pth/b.pth"), "a.pth is a file")
    assert Path("a.pth").read_bytes() == first
    assert aerostat("export", weights, "--out", "a.pth", "--force").code == 0


def test_data_without_class_names_take_those_of_the_weights(aerostat, via):
    save_weights("one.safetensors", build("nano", 1).state_dict(), Header("nano", ("disc",), (64, 64)))
    ended = aerostat("export", "one.safetensors", "--data", via, "--out", "one.onnx")
    assert ended.code == 0, ended.err
    assert Path("one.onnx").exists()


def test_an_exported_file_keeps_the_input_size(aerostat, working_folder):
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (96, 96)))
    assert aerostat("export", "n.safetensors", "--to", "openmmlab").code == 0
    header = read_header(working_folder / "n.pth")
    assert (header.size, header.classes, header.input_size) == ("nano", ("a", "b"), (96, 96))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "openmmlab", "--nms"], ["--nms", "OpenMMLab"]),
        (["--nms-iou", "0.5"], ["--nms-iou", "--nms"]),
        (["--nms", "--nms-iou", "1.5"], ["NMS IoU", "1.5"]),
        (["--dynamic", "--batch", "4"], ["--batch", "--dynamic"]),
        (["--batch", "-1"], ["batch", "-1"]),
        (["--out", "m.txt"], [".onnx", "m.txt"]),
        (["--int8"], ["INT8", "--images"]),
        (["--images", "nowhere"], ["nowhere"]),
        (["--classes", "a", "b"], ["--classes", "--data"]),
        (["--input-size", "100"], ["multiple of 32", "100"]),
    ],
    ids=" ".join,
)
def test_an_export_that_cannot_be_is_refused_before_anything_is_written(
    aerostat, working_folder, options, words, assert_refused
):
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    assert_refused(aerostat("export", "n.safetensors", *options), *words)
    assert sorted(p.name for p in working_folder.iterdir()) == ["n.safetensors"]


def test_an_onnx_export_says_what_it_was_compared_on_and_is_taken_by_predict(
    aerostat, working_folder, assert_refused
):
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    done = aerostat("export", "n.safetensors")
    assert done.code == 0
    first, second = done.out.splitlines()
    assert first.startswith("wrote n.onnx: rtmdet-nano, float32, classes a, b, ")
    assert second.startswith("the same as the weights, on drawn scenes")
    assert_refused(aerostat("export", "n.safetensors"), "n.onnx exists", "--force")
    assert_refused(aerostat("export", "n.onnx"), "exported model already")
    Image.new("RGB", (70, 50)).save("p.png")
    found = aerostat("predict", "n.safetensors", "p.png", "--json")
    assert found.code == 0
    assert "running n.onnx, the export of these weights" in found.err
    figures = aerostat("export", "n.safetensors", "--images", "p.png", "--nms", "--force", "--json").document
    assert figures["agreement"]["same"] and figures["agreement"]["images"] == 1
    assert "running" not in aerostat("predict", "n.safetensors", "p.png").err


def test_an_exported_file_has_the_published_names_and_shapes_in_their_order(aerostat, working_folder):
    reference = np.load(Path(__file__).parents[1] / "model" / "parity" / "tiny_det_1.npz")
    state = build("tiny", 1).state_dict()
    save_weights("t.safetensors", state, Header("tiny", ("balloon",)))
    assert aerostat("export", "t.safetensors", "--to", "openmmlab").code == 0
    theirs = torch.load(working_folder / "t.pth", weights_only=True)
    assert list(theirs["state_dict"]) == [str(name) for name in reference["state_names"]]
    shapes = [json.loads(str(shape)) for shape in reference["state_shapes"]]
    assert [list(tensor.shape) for tensor in theirs["state_dict"].values()] == shapes
    assert all(torch.equal(theirs["state_dict"][name], tensor) for name, tensor in state.items())
    assert theirs["meta"]["dataset_meta"]["classes"] == ("balloon",)


def test_export_refuses_weights_with_a_part_missing(aerostat, working_folder, assert_refused):
    state = {name: t for name, t in build("nano", 1).state_dict().items() if "neck.out_convs.1" not in name}
    save_weights("n.safetensors", state, Header("nano", ("a",)))
    assert_refused(aerostat("export", "n.safetensors"), "neck.out_convs.1", "missing")
    assert_refused(aerostat("export", "n.safetensors", "--to", "openmmlab"), "neck.out_convs.1", "missing")
    assert sorted(p.name for p in working_folder.iterdir()) == ["n.safetensors"]


def test_export_refuses_a_backbone(aerostat, working_folder, assert_refused):
    net = build("nano", 1)
    backbone = {name: t for name, t in net.state_dict().items() if name.startswith("backbone.")}
    save_weights("b.safetensors", backbone, Header("nano", (), (224, 224), kind="backbone"))
    assert_refused(aerostat("export", "b.safetensors"), "backbone")
    assert_refused(aerostat("predict", "b.safetensors", working_folder.parent), "image")
    assert sorted(p.name for p in working_folder.iterdir()) == ["b.safetensors"]


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
    assert "split val" in done["compared_on"] and "mask_ap" not in done
    assert Path("w.int8.onnx").stat().st_size == done["bytes"]


@pytest.mark.slow
def test_int8_of_a_network_with_masks_has_mask_ap_beside_that_of_float32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    net = build("nano", 1, masks=True)
    save_weights(Path("w.safetensors"), net.state_dict(), Header("nano", ("balloon",), (64, 64), masks=True))
    write_balloons("data", train=3, val=2, size=(96, 64))
    words = ["export", "w.safetensors", "--int8", "--data", "data", "--classes", "balloon"]
    assert main([*words, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["mask_ap"]) == {"float32", "int8"}
    assert main([*words, "--force"]) == 0
    assert "\nmask AP on val (2 images): float32 " in capsys.readouterr().out


def test_a_layout_has_its_name_in_the_file_and_a_card_beside_it(aerostat, working_folder, assert_refused):
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    done = aerostat("export", "n.safetensors", "--layout", "yolo", "--licence", "MIT")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "layout yolo; model card n.yolo.onnx.md"
    assert "| licence of the weights | MIT |" in (working_folder / "n.yolo.onnx.md").read_text("utf-8")
    Image.new("RGB", (70, 50)).save("p.png")
    assert_refused(aerostat("predict", "n.yolo.onnx", "p.png"), "n.yolo.onnx", "layout yolo")
    figures = aerostat(
        "export", "n.safetensors", "--layout", "yolo", "--force", "--no-card", "--json"
    ).document
    assert figures["layout"] == "yolo" and figures["card"] is None and figures["agreement"]["same"]


def test_a_card_that_exists_is_replaced_only_with_force(aerostat, working_folder, assert_refused):
    save_weights("n.safetensors", build("nano", 1).state_dict(), Header("nano", ("a",), (64, 64)))
    Path("n.onnx.md").write_text("my notes")
    assert_refused(aerostat("export", "n.safetensors"), "n.onnx.md exists already", "--force")
    assert aerostat("export", "n.safetensors", "--no-card").code == 0
    assert Path("n.onnx.md").read_text() == "my notes"


def test_half_precision_and_older_operators_are_options_of_the_default_layout(aerostat, working_folder):
    save_weights("n.safetensors", build("nano", 1).state_dict(), Header("nano", ("a",), (64, 64)))
    figures = aerostat("export", "n.safetensors", "--half", "--opset", "12", "--json").document
    assert figures["file"] == "n.half.onnx" and figures["precision"] == "float16"
    assert "layout" not in figures
    assert aerostat("predict", "n.half.onnx", working_folder / "none.png").code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layout", "yolo", "--to", "openmmlab"], ["--layout", "OpenMMLab"]),
        (["--half", "--to", "openmmlab"], ["--half", "OpenMMLab"]),
        (["--layout", "yolo", "--nms"], ["layout yolo", "--nms"]),
        (["--layout", "deepstream", "--dynamic"], ["layout deepstream", "--batch 0"]),
        (["--layout", "tensorrt", "--to", "openvino"], ["layout tensorrt", "openvino", "--to"]),
        (["--opset", "9"], ["--opset", "11", "9"]),
        (["--layout", "yolo", "--score", "0.5"], ["--score", "--nms"]),
    ],
    ids=" ".join,
)
def test_what_a_layout_cannot_be_is_refused_in_a_sentence(
    aerostat, working_folder, options, words, assert_refused
):
    save_weights("n.safetensors", build("nano", 2).state_dict(), Header("nano", ("a", "b"), (64, 64)))
    assert_refused(aerostat("export", "n.safetensors", *options), *words)
    assert sorted(p.name for p in working_folder.iterdir()) == ["n.safetensors"]


def test_suppression_in_the_graph_may_have_other_thresholds_than_the_comparison(aerostat, working_folder):
    save_weights("n.safetensors", build("nano", 1).state_dict(), Header("nano", ("a",), (64, 64)))
    options = ("--nms", "--nms-iou", "0.5", "--score", "0.3", "--json")
    assert aerostat("export", "n.safetensors", *options).document["agreement"]["same"]
