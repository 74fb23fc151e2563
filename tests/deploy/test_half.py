"""A network in half precision, whose inputs, outputs and boxes stay in float32."""

import numpy as np
import pytest

from aerostat.errors import AerostatError
from aerostat.model import build

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from aerostat.deploy.half import in_half_precision  # noqa: E402
from aerostat.model.onnx_graph import onnx_model  # noqa: E402


def run(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, images), strict=True))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("dynamic", [False, True])
def test_outputs_differ_by_rounding_and_keep_their_types(masks, dynamic):
    model = onnx_model(
        build("nano", 2, masks).eval(), input_size=(96, 64), batch=None if dynamic else 1, dynamic=dynamic
    )
    half = in_half_precision(model)
    assert half.graph.output == model.graph.output and half.graph.input == model.graph.input
    assert half.ByteSize() < 0.6 * model.ByteSize()
    images = {"images": np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)}
    exact, rounded = run(model, images), run(half, images)
    for name, values in exact.items():
        assert rounded[name].dtype == values.dtype
        np.testing.assert_allclose(rounded[name], values, atol=0.01 * np.abs(values).max())
    assert any((rounded[name] != exact[name]).any() for name in exact)


def test_a_weight_that_half_precision_cannot_hold_is_refused():
    net = build("nano", 1).eval()
    net.backbone.stem[0].conv.weight.data[0, 0, 0, 0] = 1e9
    with pytest.raises(AerostatError, match=r"backbone\.stem\.0\.conv\.weight reach .* 65504"):
        in_half_precision(onnx_model(net, input_size=(64, 64)))
