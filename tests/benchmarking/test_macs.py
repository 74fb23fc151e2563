from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aerostat.benchmarking.macs import count_onnx_work, count_work
from aerostat.model import build

# RTMDet's table of sizes (MMDetection 3.x): multiply-adds in G at 640 x 640, and parameters, with 80 classes.
# Theirs count normalisation besides the convolutions, up to 1 per cent.
PUBLISHED = {
    "tiny": (8.04, 4_896_168),
    "s": (14.8, 8_886_924),
    "m": (39.3, 24_709_188),
    "l": (80.2, 52.3e6),
    "x": (141.7, 94.9e6),
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_every_size_has_the_published_work(size: str) -> None:
    macs, parameters = PUBLISHED[size]
    work = count_work(build(size, 80), (640, 640))
    assert work.macs / 1e9 == pytest.approx(macs, rel=0.01)
    assert work.parameters == pytest.approx(parameters, rel=1e-3)
    assert work.weight_bytes == 4 * work.parameters


def test_one_convolution_is_what_pencil_and_paper_give() -> None:
    net = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=True)
    work = count_work(net, (10, 6))  # 5 x 3 places, 8 channels, 27 products each
    assert work.macs == 5 * 3 * 8 * 27
    assert work.parameters == 8 * 27 + 8
    assert work.map_bytes == 4 * (3 * 10 * 6 + 8 * 5 * 3)
    assert work.moved_bytes(2) == 4 * (8 * 27 + 8) + 2 * work.map_bytes


def test_a_depthwise_convolution_multiplies_each_channel_alone() -> None:
    assert count_work(nn.Conv2d(3, 3, 5, padding=2, groups=3), (4, 4)).macs == 4 * 4 * 3 * 25


def test_a_layer_used_three_times_works_three_times_and_is_stored_once() -> None:
    shared = nn.Conv2d(3, 3, 1, bias=False)
    work = count_work(nn.Sequential(shared, shared, shared), (2, 2))
    assert (work.macs, work.parameters) == (3 * 4 * 9, 9)


def test_counting_leaves_the_network_alone() -> None:
    net = build("nano", 1).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    count_work(net, (64, 64))
    assert net.training
    assert not any(module._forward_hooks for module in net.modules())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("dynamic", [False, True])
def test_an_exported_file_has_the_multiply_adds_of_its_weights(tmp_path: Path, dynamic: bool) -> None:
    pytest.importorskip("onnx")
    from aerostat.model.onnx_graph import onnx_model

    net = build("tiny", 3).eval()
    model = onnx_model(net, input_size=(96, 64), dynamic=dynamic, batch=None if dynamic else 1)
    path = tmp_path / "tiny.onnx"
    path.write_bytes(model.SerializeToString())
    exported, weights = count_onnx_work(path, (96, 64)), count_work(net, (96, 64))
    assert exported is not None
    assert (exported.macs, exported.map_bytes) == (weights.macs, weights.map_bytes)
    assert exported.weight_bytes == 4 * exported.parameters


def test_quantised_weights_are_counted_by_their_bytes(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    stored = [
        onnx.numpy_helper.from_array(np.ones((4, 3, 1, 1), np.int8), "w8"),
        onnx.numpy_helper.from_array(np.float32(0.5), "scale"),
    ]
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w8", "scale"], ["w"]),
            helper.make_node("Transpose", ["images"], ["planes"], perm=[0, 3, 1, 2]),
            helper.make_node("Conv", ["planes", "w"], ["y"]),
        ],
        "one",
        [helper.make_tensor_value_info("images", kinds.FLOAT, ["N", "H", "W", 3])],
        [helper.make_tensor_value_info("y", kinds.FLOAT, None)],
        stored,
    )
    path = tmp_path / "one.onnx"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    work = count_onnx_work(path, (5, 2))
    assert work is not None
    assert (work.macs, work.parameters, work.weight_bytes) == (5 * 2 * 4 * 3, 12, 12)
