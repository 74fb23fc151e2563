"""Explanations of detections: where their heat lies, what they say, and what they leave untouched."""

import json
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import aerostat as ae
from aerostat.draw.saving import save_image
from aerostat.errors import AerostatError, InputError
from aerostat.explanation import maps, methods
from aerostat.explanation.boxam import explain, explain_detections
from aerostat.explanation.features import content_cells
from aerostat.explanation.options import METHODS
from aerostat.explanation.result import Explanation
from aerostat.images.letterbox import Letterbox
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import SIZES, build
from aerostat.results.detections import Detection, Detections

Lively = Callable[..., Detector]

INSIDE = tuple(name for name in METHODS if name != "drise")
LANDSCAPE, PORTRAIT = (1024, 768), (768, 1024)  # width, height
SCORE = 0.05


def assert_same(ours: Detection, theirs: Detection) -> None:
    """Predictions run the folded network, explanations the network itself: they differ by rounding."""
    assert (ours.label, ours.name) == (theirs.label, theirs.name)
    assert ours.score == pytest.approx(theirs.score, abs=1e-4)
    assert ours.box_xyxy == pytest.approx(theirs.box_xyxy, abs=0.02)


def noise(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(lively: Lively) -> Detector:
    return lively()


# --- where the heat lies


class Gives(nn.Module):
    """Gives a fixed map (1, 64, h, w) in place of what a layer would."""

    def __init__(self, values: np.ndarray) -> None:
        super().__init__()
        self.values = torch.from_numpy(values.astype(np.float32)).expand(1, 64, -1, -1)

    def forward(self, _: Tensor) -> Tensor:
        return self.values * torch.linspace(0.5, 1.5, 64)[:, None, None]


def centre_of(heat: np.ndarray) -> tuple[float, float]:
    weight = heat / heat.sum()
    x, y = weight.sum(0) @ np.arange(heat.shape[1]), weight.sum(1) @ np.arange(heat.shape[0])
    return float(x), float(y)


DISCS = [(LANDSCAPE, (400, 700)), (PORTRAIT, (700, 400)), (PORTRAIT, (60, 980)), (LANDSCAPE, (980, 60))]


@pytest.mark.parametrize(("size", "disc"), DISCS)
def test_a_disc_in_the_activation_lights_up_where_it_is_on_the_photograph(
    lively: Lively, size: tuple[int, int], disc: tuple[int, int]
) -> None:
    detector, (x, y) = lively(side=640), disc
    scale, stride = 640 / max(size), 8
    rows, columns = np.mgrid[:80, :80] * stride / scale  # where a strided convolution of 3 x 3 looks
    detector.net.neck.out_convs[0] = Gives(np.hypot(columns - x, rows - y) < 40)
    # The best candidate at the disc is to be one of the level that reads this layer.
    nn.init.constant_(detector.net.bbox_head.rtm_cls[0].bias, 5.0)
    made = explain(
        detector,
        noise(*size),
        method=["eigencam", "hirescam", "gradcam", "layercam"],
        box_xyxy=(x - 50, y - 50, x + 50, y + 50),
    )
    assert {item.level for item in made} == {0}
    hot = [item for item in made if item.heat.any()]
    assert len(hot) >= 2  # some methods may find that it speaks against the candidate
    for item in hot:
        assert item.heat.shape == (size[1], size[0])
        whole_disc = item.method in ("eigencam", "gradcam")  # others weight its cells one by one
        assert centre_of(item.heat) == pytest.approx(disc, abs=6 if whole_disc else 40)


@pytest.mark.parametrize(("size", "disc"), DISCS)
def test_a_disc_on_the_photograph_lights_up_where_it_is(
    lively: Lively, size: tuple[int, int], disc: tuple[int, int]
) -> None:
    image = np.full((size[1], size[0], 3), 114, np.uint8)
    cv2.circle(image, disc, 30, (255, 255, 255), -1)
    (item,) = explain(lively(side=640), image, layer="backbone.stem", method="eigencam", score=0.001, top=1)
    heat = np.where(item.heat > 0.5, item.heat, 0)
    assert centre_of(heat) == pytest.approx(disc, abs=6)  # two cells; random kernels look aside by one


@pytest.mark.parametrize("size", [LANDSCAPE, PORTRAIT, (900, 200)])
def test_padding_carries_no_heat_whatever_the_method(detector: Detector, size: tuple[int, int]) -> None:
    layers = ["neck", "backbone.stage3", "backbone.stem"]
    made = explain(detector, noise(*size), method=INSIDE, layer=layers, score=SCORE, top=2)
    for item in made:
        rows, columns = content_cells(item.letterbox, item.maps[0].shape)
        padding = item.maps[0].copy()
        padding[rows, columns] = 0
        assert not padding.any()
        assert item.heat.shape == (size[1], size[0])
        assert item.heat.max() in (0, 1)
    assert sum(item.heat.any() for item in made) > len(made) / 3


def test_eigencam_does_not_look_at_the_padding(detector: Detector, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        methods,
        "eigencam",
        lambda a: seen.append(tuple(a.shape[1:])) or a.sum(0),  # type: ignore[func-returns-value]
    )
    explain(detector, noise(800, 300), method="eigencam", layer="backbone.stage2", score=SCORE, top=3)
    assert seen == [(6, 16)]  # 128 x 48 px of photograph at stride 8, once for all detections


# --- what is explained


def test_detections_are_those_of_a_prediction_best_first(detector: Detector) -> None:
    image = noise(200, 150)
    found, made = detector.predict(image, score=SCORE), explain(detector, image, score=SCORE, top=5)
    assert len(found) > 5
    for item, detection in zip(made, found, strict=False):
        assert_same(item.detection, detection)
    assert len(made) == 5 and len(made.detections) == len(found)
    assert len(explain(detector, image, score=SCORE, top=None)) == len(found)


def test_the_default_layer_is_the_last_one_at_the_level_of_birth(detector: Detector) -> None:
    made = explain(detector, noise(200, 150), score=0.001, top=None)
    assert {item.level for item in made} == {0, 1, 2}
    for item in made:
        assert item.layers == (f"neck.out_convs[{item.level}]",)
        assert item.influence


def test_layers_of_other_levels_are_said_to_have_no_influence(detector: Detector) -> None:
    made = explain(detector, noise(200, 150), layer="neck", method=INSIDE, score=SCORE, top=3)
    for item in made:
        own = item.layers == (f"neck.out_convs[{item.level}]",)
        assert item.influence is own
        assert bool(item.remark) >= (not own)
        if not own:
            assert f"{item.layers[0]} has no influence on this detection" in item.remark
            assert not item.heat.any()
    assert "no influence" in made.lines()[0]


def test_explanations_come_by_detection_then_method_then_layer(detector: Detector) -> None:
    methods, layers = ["layercam", "Grad-CAM++"], ["backbone.stage2", "neck.out_convs.1"]
    made = explain(detector, noise(200, 150), method=methods, layer=layers, score=SCORE, top=2)
    kinds = [(item.method, item.layers[0]) for item in made]
    once = [(m, n) for m in ("layercam", "gradcampp") for n in ("backbone.stage2", "neck.out_convs[1]")]
    assert kinds == once * 2
    assert [len(one) for one in made.by_subject()] == [4, 4]


def test_fused_layers_are_the_mean_of_their_maps_by_their_maxima(detector: Detector) -> None:
    names = ["backbone.stage2", "backbone.stage4"]
    image = noise(160, 160)
    asked: dict[str, Any] = {"method": "layercam", "layer": names, "score": SCORE, "top": 1}
    one, other = explain(detector, image, **asked)
    (fused,) = explain(detector, image, fuse=True, **asked)
    assert fused.layers == tuple(names)
    mean = (one.heat + other.heat) / 2
    np.testing.assert_allclose(fused.heat, mean / mean.max(), atol=1e-5)


def test_a_layer_without_influence_takes_no_part_in_the_fused_map(detector: Detector) -> None:
    image = noise(160, 160)
    (alone,) = explain(detector, image, method="layercam", score=SCORE, top=1)
    (fused,) = explain(detector, image, method="layercam", score=SCORE, top=1, layer="neck", fuse=True)
    np.testing.assert_allclose(fused.heat, alone.heat, atol=1e-6)
    assert sum(fused.influences) == 1 and fused.influence


def test_one_map_for_each_class_and_one_for_all(detector: Detector) -> None:
    image = noise(200, 150)
    by_class = explain(detector, image, per="class", score=SCORE)
    found = by_class.detections
    assert sorted(len(item.detections) for item in by_class) == sorted(np.bincount(found.labels).tolist())
    assert all(len({d.label for d in item.detections}) == 1 for item in by_class)
    (together,) = explain(detector, image, per="all", score=SCORE)
    assert together.detections == tuple(found)
    assert set(together.layers) == {f"neck.out_convs[{level}]" for level in together.levels}
    assert together.heat.max() == 1


def test_a_map_for_several_detections_is_that_of_the_weighted_sum_of_their_targets(
    detector: Detector,
) -> None:
    image = noise(200, 150)
    asked: dict[str, Any] = {"layer": "backbone.stage4", "method": "hirescam", "score": SCORE, "top": None}
    singles = explain(detector, image, **asked)
    (together,) = explain(detector, image, per="all", **asked)
    assert len(singles) > 1
    # HiResCAM is linear in the gradients but for the negative values it cuts off.
    weights = np.asarray([1 / (1 - item.detection.score) for item in singles])
    summed = sum(w * item.maps[0] for w, item in zip(weights / weights.mean(), singles, strict=True))
    assert (together.maps[0] <= summed * 1.001 + 1e-7).all()
    assert together.maps[0].any()


def test_the_best_candidate_at_a_place_is_explained_and_told_why_it_is_none(detector: Detector) -> None:
    image = noise(200, 150)
    best = detector.predict(image, score=0.001)[0]
    x1, y1, x2, y2 = best.box_xyxy
    asked: dict[str, Any] = {"box_xyxy": (x1, y1, x2, y2)}
    (low,) = explain(detector, image, score=0.99, **asked)
    assert low.candidate
    assert_same(low.detection, best)
    assert f"its score {best.score:.3g} is not above 0.99" in low.note
    (found,) = explain(detector, image, score=0.001, **asked)
    assert not found.candidate and "it is a detection" in found.note
    assert found.heat.max() == 1


def test_a_candidate_that_another_detection_suppresses_names_it(detector: Detector) -> None:
    image = noise(200, 150)
    kept = detector.predict(image, score=0.001, nms_iou=0.3)
    every = detector.predict(image, score=0.001, nms_iou=1.0)
    for lost in (one for one in every if one not in list(kept)):
        (item,) = explain(detector, image, score=0.001, nms_iou=0.3, box_xyxy=lost.box_xyxy)
        if item.detection == lost:  # and not a better one that overlaps the place
            assert item.candidate
            assert "takes its place (IoU" in item.note
            return
    pytest.fail("no candidate is the best one at its own place")


def test_every_size_of_the_model_is_explained(lively: Lively) -> None:
    for size in SIZES[:3]:
        _explain_size(lively, size)


@pytest.mark.parametrize("size", SIZES[3:])
def test_every_large_size_of_the_model_is_explained(lively: Lively, size: str) -> None:
    _explain_size(lively, size)


def _explain_size(lively: Lively, size: str) -> None:
    made = explain(lively(size, side=64), noise(100, 80), method=INSIDE[:4], score=0.0, top=2)
    assert len(made) == 8
    assert all(item.influence for item in made)


def test_the_black_box_method_needs_no_layer(detector: Detector) -> None:
    made = explain(detector, noise(200, 150), method=["drise", "gradcam"], score=SCORE, top=2, masks=32)
    assert [item.layers for item in made.by_subject()[0]] == [(), (f"neck.out_convs[{made[0].level}]",)]
    assert made[0].maps[0].shape == (128, 128)
    assert made[0].heat.shape == (150, 200)


# --- published pictures


@pytest.mark.parametrize("layer", ["neck.out_convs[0]", "neck.out_convs[1]"])
@pytest.mark.parametrize("method", ["gradcam", "gradcampp", "eigencam"])
def test_where_the_published_tool_is_silent_the_layer_is_said_to_have_no_influence(
    shared: Path, person_weights: Path, layer: str, method: str
) -> None:
    item, reference = _as_published(shared, person_weights, layer, method)
    assert not item.influence and not item.heat.any()
    expected = reference[f"{layer}|{method}"]
    assert expected.any() == (method == "eigencam")  # which looks at no detection


@pytest.mark.parametrize("layer", ["neck.out_convs[2]", "backbone.stage4"])
@pytest.mark.parametrize("method", ["gradcam", "gradcampp", "eigencam"])
def test_the_loss_target_gives_the_maps_of_the_published_tool(
    shared: Path, person_weights: Path, layer: str, method: str
) -> None:
    item, reference = _as_published(shared, person_weights, layer, method)
    assert item.level == 2 and item.influence
    np.testing.assert_allclose(item.detection.box_xyxy, reference["boxes"][0], atol=0.05)
    assert _correlation(item.maps[0], reference[f"{layer}|{method}"]) > 0.98


@pytest.mark.parametrize("level", [0, 1, 2])
def test_eigencam_gives_the_maps_of_the_published_tool_on_every_level(
    shared: Path, person_weights: Path, level: int
) -> None:
    reference = np.load(shared / "parity" / "boxam_nano_person.npz")
    detector, layer = ae.load(person_weights, device="cpu", input_size=640), f"neck.out_convs[{level}]"
    maps = ae.feature_maps(detector, shared / "parity" / "boxam_nano_person.png", layer)
    values = methods.eigencam(torch.from_numpy(maps.maps[0].activation)).numpy()
    assert _correlation(values, reference[f"{layer}|eigencam"]) > 0.98


def _as_published(shared: Path, weights: Path, layer: str, method: str) -> tuple[Explanation, Any]:
    """Explain the picture of the reference; it is letterboxed already and fed whole, so has no padding."""
    folder = shared / "parity"
    detector = ae.load(weights, device="cpu", input_size=640)
    (item,) = explain(
        detector, folder / "boxam_nano_person.png", layer=layer, method=method, target="loss", score=0.4
    )
    return item, np.load(folder / "boxam_nano_person.npz")


def _correlation(values: np.ndarray, expected: np.ndarray) -> float:
    """Correlate a map (h, w), stretched over the picture as that tool does, with the reduced reference."""
    stretched = cv2.resize(values, (640, 640), interpolation=cv2.INTER_LINEAR)
    reduced = stretched.reshape(80, 8, 80, 8).mean((1, 3))
    return float(np.corrcoef(reduced.ravel(), expected.ravel())[0, 1])


# --- what is left untouched


def state_of(net: nn.Module) -> dict[str, Any]:
    return {
        "training": [m.training for m in net.modules()],
        "hooks": [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks)) for m in net.modules()
        ],
        "asks": [p.requires_grad for p in net.parameters()],
        "grads": [p.grad is None for p in net.parameters()],
        "values": {name: value.clone() for name, value in net.state_dict().items()},
        "attributes": [sorted(m.__dict__) for m in net.modules()],
    }


def assert_untouched(net: nn.Module, before: dict[str, Any]) -> None:
    after = state_of(net)
    for name, value in before.pop("values").items():
        assert torch.equal(after["values"][name], value), name
    after.pop("values")
    assert after == before


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("frozen", ["nothing", "backbone", "everything"])
def test_frozen_or_not_in_any_mode_the_maps_are_the_same_and_nothing_is_left_behind(
    lively: Lively, training: bool, frozen: str
) -> None:
    asked: dict[str, Any] = {
        "method": INSIDE,
        "layer": ["neck.out_convs[0]", "backbone.stage3"],
        "score": SCORE,
        "top": 2,
    }
    image = noise(100, 120)
    expected = explain(lively(), image, **asked)
    detector = lively()
    parts = {"nothing": [], "backbone": [detector.net.backbone], "everything": [detector.net]}
    for part in parts[frozen]:
        part.requires_grad_(False)
    detector.net.train(training)
    detector.net.neck.register_forward_hook(lambda *_: None)
    before = state_of(detector.net)
    made = explain(detector, image, **asked)
    assert_untouched(detector.net, before)
    assert [item.detections for item in made] == [item.detections for item in expected]
    for item, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(item.maps[0], other.maps[0], rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_a_caller_in_any_gradient_mode_gets_the_same(
    detector: Detector, context: Callable[[], AbstractContextManager[None]]
) -> None:
    image = noise(100, 120)
    expected = explain(detector, image, score=SCORE, top=2)
    with context():
        made = explain(detector, image, score=SCORE, top=2)
        assert torch.is_grad_enabled() == (context is torch.enable_grad)
    for item, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(item.maps[0], other.maps[0])


def test_a_failure_leaves_nothing_behind(lively: Lively, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = lively()
    before = state_of(detector.net)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("stop")

    monkeypatch.setattr(maps, "ablated_values", fail)
    with pytest.raises(RuntimeError, match="stop"):
        explain(detector, noise(90, 90), method="ablationcam", score=SCORE)
    monkeypatch.setattr(methods, "eigencam", fail)
    with pytest.raises(RuntimeError, match="stop"):
        explain(detector, noise(90, 90), method="eigencam", score=SCORE)
    assert_untouched(detector.net, before)


@pytest.mark.gpu
def test_a_gpu_gives_what_the_cpu_gives(lively: Lively) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    image, detector = noise(100, 120), lively()
    expected = explain(detector, image, method=INSIDE[:4], score=SCORE, top=2)
    detector.net.cuda()
    made = explain(detector, image, method=INSIDE[:4], score=SCORE, top=2)
    for item, other in zip(made, expected, strict=True):
        np.testing.assert_allclose(item.heat, other.heat, atol=1e-2)


# --- the result


def test_the_public_name_draws_and_saves(detector: Detector, tmp_path: Path) -> None:
    made = ae.explain(
        detector, save_image(tmp_path / "party.jpg", noise(200, 150)), layer="neck", score=SCORE
    )
    assert made.save(tmp_path / "why.jpg").stat().st_size > 1000
    assert len(made) == 3 * len(made.by_subject())


def test_a_picture_keeps_the_photograph_where_it_was_and_grows_by_its_caption(detector: Detector) -> None:
    image = noise(600, 480)
    (item, *_), made = (one := explain(detector, image, score=SCORE, top=1)), one
    drawn = made.draw().image_bgr
    assert drawn.shape[1] == 600 and drawn.shape[0] > 480
    far = item.heat == 0
    x1, y1, x2, y2 = (int(v) for v in item.detection.box_xyxy)
    far[max(0, y1 - 60) : y2 + 60, max(0, x1 - 60) : x2 + 200] = False
    assert far.any()
    assert np.array_equal(drawn[:480][far], image[far])


def test_a_sheet_has_a_cell_for_each_detection_method_and_layer(detector: Detector) -> None:
    image = noise(420, 300)
    grid = explain(detector, image, score=SCORE, top=6).draw().image_bgr
    assert grid.shape[1] > 2 * 420 and grid.shape[0] > 2 * 300
    table = explain(
        detector, image, score=SCORE, top=1, method=["gradcam", "hirescam", "drise"], layer="neck", masks=16
    )
    sheet = table.draw(norm_in_box=True).image_bgr
    assert sheet.shape[1] > 3 * 420 and sheet.shape[0] > 3 * 300
    several = explain(detector, image, score=SCORE, top=2, method=["gradcam", "hirescam"], layer="neck")
    assert several.draw().image_bgr.shape[1] > 6 * 420


def test_a_huge_photograph_is_drawn_smaller(detector: Detector) -> None:
    made = explain(detector, np.full((6000, 9000, 3), 90, np.uint8), score=0.0, top=1)
    assert made.photograph_bgr.shape == (1333, 2000, 3)
    assert made.draw().image_bgr.shape[1] == 2000
    assert made[0].letterbox.source_size == (9000, 6000)
    assert made[0].heat_at((90, 60)).shape == (60, 90)


def hand_made(box: Detection, values: np.ndarray) -> Explanation:
    letterbox = Letterbox.fit((80, 80), (64, 64))
    return Explanation((box,), (0,), "gradcam", ("x",), "score", (values,), letterbox, (True,))


def test_heat_in_the_box_alone_is_as_strong_as_it_gets_there() -> None:
    values = np.zeros((8, 8), np.float32)
    values[1, 1], values[6, 6] = 0.2, 0.8
    item = hand_made(Detection((0, 0, 40, 40), 0.9, 0, "thing"), values)
    assert item.heat[10, 10] == pytest.approx(0.25, abs=0.03) and item.heat[60, 60] > 0.9
    inside = item.heat_in_box_at((80, 80))
    assert inside[:40, :40].max() == 1
    assert not inside[41:].any() and not inside[:, 41:].any()
    assert item.share_in_boxes((80, 80)) == pytest.approx(0.2, abs=0.02)


def test_a_map_that_only_speaks_against_is_not_shown_in_silence() -> None:
    item = hand_made(Detection((0, 0, 40, 40), 0.9, 0, "thing"), np.zeros((8, 8), np.float32))
    assert "only against it" in item.remark
    assert np.isfinite(item.heat).all() and not item.heat.any()


def test_arrays_come_back_with_their_letterbox(detector: Detector, tmp_path: Path) -> None:
    photograph = save_image(tmp_path / "a photo.png", noise(200, 150))
    made = explain(detector, photograph, method=["gradcam", "layercam"], layer="neck", score=SCORE, top=2)
    pictures, data = made.save_all(tmp_path / "out", arrays=True)
    assert data is not None
    names = [one[0].detection.name for one in made.by_subject()]
    assert [p.name for p in pictures] == [f"a photo-explained-0{i + 1}-{names[i]}.jpg" for i in range(2)]
    content = np.load(data)
    np.testing.assert_array_equal(content["2/layercam/neck.out_convs[1]"], made[10].maps[0])
    assert Letterbox.from_dict(json.loads(str(content["letterbox"]))) == made[0].letterbox
    assert json.dumps(made.to_dict())


# --- bad input


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"layer": "neck.out_conv[2]"}, ["no layer 'neck.out_conv[2]'", "neck.out_convs[2]"]),
        ({"layer": "neck.out_convs"}, ["not run itself"]),
        ({"layer": "backbone.stage4[2].attention.fc"}, ["no place in the image"]),
        ({"layer": "bbox_head"}, ["classes and boxes"]),
        ({"layer": []}, ["at least one layer"]),
        ({"method": "gradcm"}, ["Did you mean 'gradcam'?"]),
        ({"method": []}, ["at least one method"]),
        ({"target": "cls"}, ["target (score, loss)"]),
        ({"per": "image"}, ["grouping (detection, class, all)"]),
        ({"top": 0}, ["top 0"]),
        ({"score": 1.5}, ["score in [0, 1)"]),
        ({"box_xyxy": (10, 10, 5, 20)}, ["x1 < x2", "10,10,5,20"]),
        ({"box_xyxy": (1, 2, 3)}, ["x1,y1,x2,y2"]),
        ({"box_xyxy": (0, 0, math.nan, 4)}, ["x1,y1,x2,y2"]),
        ({"box_xyxy": (300, 10, 400, 20)}, ["200 x 150 px", "outside"]),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_one_sentence(
    detector: Detector, asked: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        explain(detector, noise(200, 150), **asked)
    assert all(word in str(refused.value) for word in words), str(refused.value)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3), np.float32), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_image_is_refused(detector: Detector, image: Any) -> None:
    with pytest.raises(InputError, match="Expected an image"):
        explain(detector, image)


def test_without_detections_the_best_candidate_is_named(detector: Detector) -> None:
    image = noise(200, 150)
    best = detector.predict(image, score=0.001)[0]
    with pytest.raises(InputError) as refused:
        explain(detector, image, score=0.9999)
    place = ", ".join(f"{value:.0f}" for value in best.box_xyxy)
    assert f"the best candidate is {best.name} with a score of {best.score:.3g} at {place}" in str(
        refused.value
    )


def test_weights_that_are_no_numbers_are_said_to_be_damaged() -> None:
    net = build("nano", 1).eval()
    nn.init.constant_(net.bbox_head.rtm_cls[0].bias, math.nan)
    with pytest.raises(AerostatError, match="not numbers"):
        explain(Detector(TorchEngine(net), ("thing",), (64, 64)), noise(64, 64))


@pytest.mark.parametrize(
    ("box", "sentence"),
    [
        (None, "Nothing is seen on the image"),
        ((5, 5, 30, 30), "No candidate of the network overlaps the box"),
    ],
)
def test_a_network_whose_candidates_have_no_area_is_one_sentence(box: Any, sentence: str) -> None:
    torch.manual_seed(0)
    net = build("nano", 1).eval()
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, -1.0)  # every edge on the wrong side
    with pytest.raises(InputError, match=sentence):
        explain(Detector(TorchEngine(net), ("disc",), (64, 64)), noise(64, 48), box_xyxy=box)


# --- detections that are named


def test_named_detections_are_explained_in_their_order_as_all_are(detector: Detector) -> None:
    image = noise(*LANDSCAPE)
    found = detector.predict(image, score=SCORE)
    wanted = found[[2, 0]]
    made = explain_detections(detector, image, wanted)
    every = explain(detector, image, score=SCORE, top=None)
    assert len(made) == 2
    for item, index in zip(made, (2, 0), strict=True):
        assert_same(item.detection, found[index])
        assert np.allclose(item.maps[0], every[index].maps[0], rtol=1e-3, atol=1e-6)
    assert explain_detections(detector, image, found[:0]) == []


def test_a_named_detection_that_the_network_does_not_keep_is_its_best_candidate_there(
    detector: Detector,
) -> None:
    image = noise(*LANDSCAPE)
    found = detector.predict(image, score=SCORE)[:1]
    x1, y1, x2, y2 = found.boxes_xyxy[0].tolist()
    half = Detections([[x1, y1, x1 + (x2 - x1) / 4, y2]], [0.9], [0], found.classes)
    (item,) = explain_detections(detector, image, half, layer=["neck.out_convs[0]", "backbone.stage2"])
    assert "the best candidate there" in item.note
    assert item.layers == ("neck.out_convs[0]", "backbone.stage2")
