"""INT8 by whole-number arithmetic written out here, and by what the float32 network finds."""

import copy

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from aerostat.demo import CHECKPOINT
from aerostat.deploy.quantise import Scale, nearest_scale, quantise
from aerostat.errors import AerostatError, InputError
from aerostat.geometry.postprocess import keep
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.exported import KEY, Exported, read_onnx_entry
from aerostat.inference.backends.onnxruntime import onnx_engine
from aerostat.inference.backends.openvino import openvino_engine
from aerostat.inference.resolve import load_network
from aerostat.model.onnx_graph import onnx_model
from aerostat.model.onnx_nms import Suppression
from aerostat.scenes.balloons import draw_scene

SIZE = (160, 128)


@pytest.fixture(scope="module")
def net():
    return load_network(CHECKPOINT)[0]


@pytest.fixture(scope="module")
def scenes():
    pictures = [draw_scene(np.random.default_rng(seed), 320, 256)[0] for seed in range(12)]
    return [Letterbox.fit((320, 256), SIZE).apply(picture) for picture in pictures]


def entry(**changes) -> Exported:
    return Exported("nano", ("balloon",), SIZE, **changes)


@pytest.fixture(scope="module")
def plain(net):
    return onnx_model(
        net, input_size=SIZE, metadata={KEY: entry().to_json(), "classes": "balloon", "author": "ö"}
    )


@pytest.fixture(scope="module")
def int8(plain, scenes):
    return quantise(plain, scenes[:8])


def detections(model, images, kind=onnx_engine, **changes):
    engine = kind(model.SerializeToString(), entry(**changes))
    found = engine.candidates(np.stack(images), score_threshold=0.3, pre_nms=1000)
    return [keep(boxes, SIZE) for boxes in found]


def overlap(box, boxes):
    """Return the IoU of a box (4,) with boxes (n, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    common = sides.clip(0).prod(1)
    return common / ((box[2:] - box[:2]).prod() + (boxes[:, 2:] - boxes[:, :2]).prod(1) - common)


def arrays_of(model):
    return {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}


def quantised_convolutions(model):
    nodes = {node.output[0]: node for node in model.graph.node}
    return [
        node
        for node in model.graph.node
        if node.op_type == "Conv" and nodes[node.input[0]].op_type == "DequantizeLinear"
    ]


@pytest.mark.parametrize("kind", [onnx_engine, openvino_engine])
def test_int8_finds_what_float32_finds(plain, int8, scenes, kind):
    expected, found = detections(plain, scenes[8:]), detections(int8, scenes[8:], kind)
    overlaps, differences = [], []
    for ours, theirs in zip(found, expected, strict=True):
        for box, score in zip(theirs.boxes_xyxy, theirs.scores, strict=True):
            if score > 0.4:  # what stands at the threshold may fall
                near = overlap(box, ours.boxes_xyxy)
                overlaps.append(near.max())
                differences.append(abs(ours.scores[near.argmax()] - score))
    assert len(overlaps) >= 12
    assert min(overlaps) > 0.5
    assert np.median(overlaps) > 0.93
    assert np.median(differences) < 0.03


def test_weights_are_whole_numbers_of_steps_with_a_step_for_each_channel(plain, int8):
    before, after = arrays_of(plain), arrays_of(int8)
    layers = quantised_convolutions(int8)
    assert len(layers) > 30
    for node in layers:
        name = node.input[1].removesuffix(".dequantised")
        whole, steps, weight = after[f"{name}.quantised"], after[f"{name}.step"], before[name]
        assert whole.dtype == np.int8
        assert whole.shape == weight.shape
        assert np.abs(whole.astype(int)).max((1, 2, 3)).min() == 127
        error = np.abs(whole * steps[:, None, None, None] - weight)
        assert (error <= steps[:, None, None, None] * 0.501).all()
        assert name not in after  # the float32 form is gone


def test_what_costs_ap_stays_in_float32(int8):
    names = {node.name for node in quantised_convolutions(int8)}
    for kept in ("backbone.stem", "backbone.stage1", "rtm_", "attention", "depthwise"):
        assert not [name for name in names if kept in name], kept
    assert any("bbox_head.cls_convs" in name for name in names)


def test_the_mean_of_what_a_convolution_gives_stays(plain, int8, scenes):
    """A map's mean, layer by layer, moves less with the corrected biases than with the old ones."""
    uncorrected = copy.deepcopy(int8)
    biases = arrays_of(plain)
    for array in uncorrected.graph.initializer:
        if array.name in biases:
            array.CopyFrom(numpy_helper.from_array(biases[array.name], array.name))
    names = [node.output[0] for node in quantised_convolutions(int8) if "neck" in node.name]
    exact, corrected, old = (channel_means(model, names, scenes) for model in (plain, int8, uncorrected))
    assert np.abs(corrected - exact).mean() < 0.6 * np.abs(old - exact).mean()


def channel_means(model, names, images):
    import onnxruntime

    model = copy.deepcopy(model)
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_tensor_value_info(name, 1, None) for name in names)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    each = [
        np.concatenate([v.mean((0, 2, 3)) for v in session.run(None, {"images": i[None]})]) for i in images
    ]
    return np.mean(each, 0)


def test_the_file_says_that_it_is_int8_and_all_that_it_said_before(int8, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(int8.SerializeToString())
    assert read_onnx_entry(path) == entry(precision="int8")
    assert {p.key: p.value for p in int8.metadata_props if p.key != KEY} == {
        "classes": "balloon",
        "author": "ö",
    }
    onnx.checker.check_model(int8, full_check=True)


def test_the_file_is_smaller_and_the_model_that_was_given_is_left_alone(net, plain, int8, scenes):
    before = plain.SerializeToString()
    assert len(int8.SerializeToString()) < 0.5 * len(before)
    again = quantise(plain, iter(scenes[:8]))
    assert plain.SerializeToString() == before
    assert again == int8  # nothing is drawn at random


@pytest.mark.parametrize(
    "options",
    [
        {"batch": 3},
        {"batch": None},
        {"batch": None, "dynamic": True},
        {"batch": 2, "suppression": Suppression(0.3, 0.65, 300)},
    ],
)
def test_every_form_of_the_graph_can_be_quantised(net, int8, scenes, options):
    model = quantise(onnx_model(net, input_size=SIZE, **options), scenes[:8])
    told = {k: v for k, v in options.items() if k != "suppression"}
    if "suppression" in options:
        told |= {"score_threshold": 0.3, "nms_iou": 0.65}
    found, expected = detections(model, scenes[8:11], **told), detections(int8, scenes[8:11])
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_a_reduced_range_halves_the_weights_numbers(plain, scenes):
    after = arrays_of(quantise(plain, scenes[:2], reduced_range=True))
    weights = [value for name, value in after.items() if name.endswith(".weight.quantised")]
    assert {int(np.abs(value.astype(int)).max()) for value in weights} == {63}


def test_one_black_image_is_enough_to_calibrate(plain):
    model = quantise(plain, [np.zeros((SIZE[1], SIZE[0], 3), np.uint8)])
    onnx.checker.check_model(model)


# ------------------------------------------------------------------------------------------- refusals


def test_nothing_to_calibrate_with_is_refused(plain):
    with pytest.raises(InputError, match="photographs to calibrate with, found none"):
        quantise(plain, [])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((128, 96, 3), np.uint8),
        np.zeros((128, 160), np.uint8),
        np.zeros((128, 160, 4), np.uint8),
        np.zeros((128, 160, 3), np.float32),
        np.zeros((0, 0, 3), np.uint8),
    ],
)
def test_images_of_another_shape_are_refused_naming_which(plain, scenes, image):
    with pytest.raises(InputError, match=r"Expected images of 128 x 160 .*\(image 1\); letterbox them first"):
        quantise(plain, [scenes[0], image])


def test_a_dynamic_model_takes_multiples_of_32_to_calibrate_with(net):
    model = onnx_model(net, input_size=SIZE, batch=None, dynamic=True)
    with pytest.raises(InputError, match="any x any"):
        quantise(model, [np.zeros((100, 160, 3), np.uint8)])
    quantise(model, [np.zeros((96, 160, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)])


def test_a_model_that_is_int8_already_is_refused(int8, scenes):
    with pytest.raises(InputError, match="INT8 already"):
        quantise(int8, scenes[:1])


def test_a_model_of_somebody_else_is_refused(scenes):
    value = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, [1, 128, 160, 3])
    model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [value], [value]))
    with pytest.raises(InputError, match="aerostat export"):
        quantise(model, scenes[:1])


def test_weights_that_are_not_numbers_are_refused(net, scenes):
    broken = copy.deepcopy(net)
    broken.backbone.stem[0].bn.bias.data[0] = float("nan")
    with pytest.raises(AerostatError, match="image 0 of 1 image to calibrate with are not finite"):
        quantise(onnx_model(broken, input_size=SIZE), scenes[:1])


# ---------------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(
    ("low", "high", "step", "zero"),
    [
        (0, 255, 1, 0),
        (-128, 127, 1, 128),
        (-1, 254, 1, 1),
        (0, 0, 1, 0),
        (3, 51, 0.2, 0),
        (-51, -3, 0.2, 255),
    ],
)
def test_a_scale_covers_its_range_and_zero_is_exact(low, high, step, zero):
    scale = Scale.of(low, high)
    assert scale == (pytest.approx(step), zero)
    assert scale.rounded(np.zeros(1))[0] == 0


def test_the_nearest_scale_is_the_best_of_all_that_could_be():
    rng = np.random.default_rng(0)
    values = np.sort(np.concatenate([rng.exponential(1.0, 5000), [60.0]]))
    counts = np.where(values < 60, 1000, 1)

    def error(scale):
        back = (np.clip(np.round(values / scale.step) + scale.zero, 0, 255) - scale.zero) * scale.step
        return np.square(back - values) @ counts

    found = nearest_scale(values, counts)
    brute = min(error(Scale.of(0, top)) for top in np.linspace(0.5, 60, 600))
    assert error(found) <= 1.02 * brute
    assert error(found) < error(Scale.of(0, 60))


def test_an_outlier_that_matters_is_not_cut_off():
    values = np.array([0.0, 0.5, 1000.0])
    assert nearest_scale(values, np.array([10, 10, 10])).step == pytest.approx(1000 / 255)
