"""Exported graphs in older versions of ONNX's operators."""

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.model import build

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from aerostat.deploy.opset import IR_VERSIONS, in_opset  # noqa: E402
from aerostat.deploy.quantise import quantise  # noqa: E402
from aerostat.model.onnx_graph import onnx_model  # noqa: E402
from aerostat.model.onnx_nms import Suppression  # noqa: E402


def run(model, images):
    given = {"images": images, "content_sizes": np.asarray([[96, 64]], np.float32)}
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)


@pytest.mark.parametrize("masks", [False, True])
def test_every_version_gives_the_same(masks):
    net = build("nano", 2, masks).eval()
    for level in net.bbox_head.rtm_reg:
        torch.nn.init.constant_(level.bias, 1.5)
    model = onnx_model(
        net, input_size=(96, 64), batch=None, dynamic=True, suppression=Suppression(0.001, 0.5, 20)
    )
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    expected = run(model, images)
    assert len(expected[0]) > 5
    for version in (11, 12, 13, 16):
        older = in_opset(model, version)
        assert (older.opset_import[0].version, older.ir_version) == (version, IR_VERSIONS[version])
        for ours, theirs in zip(expected, run(older, images), strict=True):
            np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-4)


def test_int8_needs_a_version_with_a_scale_for_each_channel():
    images = [np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)]
    model = quantise(onnx_model(build("nano", 1).eval(), input_size=(64, 64)), images)
    with pytest.raises(InputError, match="`opset` of at least 13"):
        in_opset(model, 12)
    in_opset(model, 13)
