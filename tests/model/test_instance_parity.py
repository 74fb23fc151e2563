"""RTMDet-Ins against MMDetection 3.3.0's figures: outputs, losses, gradients, assignment, masks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.masks import Masks
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import (
    assign,
    decode,
    decode_boxes,
    flatten_levels,
    instance_loss,
    level_points,
)
from aerostat.model.assigner import Assignment

from .reference import SIZE, Case, assert_close, pixels

OWN = Path(__file__).parent / "parity"


def reference(name, shared=None):
    path = OWN / f"{name}.npz"
    if path.is_file():
        return np.load(path)
    if shared is None or not (shared / "parity" / path.name).is_file():
        pytest.skip("needs the reference figures of the folder `shared` beside the project")
    return np.load(shared / "parity" / path.name)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def ellipses(boxes_xyxy, stride=4):
    """The masks of the references: the ellipse in each box, sampled at the centres of pixels."""
    x, y = np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5)
    x1, y1, x2, y2 = (c[:, None, None] for c in boxes_xyxy.numpy().T)
    full = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 <= 1
    area = full.sum((1, 2))
    centres = [(full * axis).sum((1, 2)) / area - 0.5 for axis in (x, y)]
    coarse = full[:, stride // 2 :: stride, stride // 2 :: stride]
    windows = np.tile([0, 0, SIZE[0] // stride, SIZE[1] // stride], (len(full), 1))
    known = np.ones(len(full), bool)
    return MaskTargets(
        stride, windows, coarse.ravel().astype(np.uint8), known, np.stack(centres, 1).astype(np.float32)
    )


@pytest.fixture(scope="module", params=[1, 80])
def case(request, one_thread):
    shared = None if request.param == 1 else request.getfixturevalue("shared")
    return Case("tiny", request.param, reference(f"tiny_ins_{request.param}", shared), masks=True)


def test_names_shapes_and_parameters_are_the_published_ones_in_order(case):
    case.assert_names_and_shapes()


def test_raw_outputs_kernels_and_mask_features_are_the_published_ones(case):
    cls, reg, kernels, mask_features = case.outputs
    for i in range(3):
        assert_close(cls[i], case.reference[f"cls{i}"], 3e-4)
        assert_close(reg[i], case.reference[f"reg{i}"], 3e-4)
        assert_close(kernels[i].mean((2, 3)), case.reference[f"kernel{i}_mean"], 3e-4)
        assert_close(kernels[i][:, :, 0, 0], case.reference[f"kernel{i}_00"], 3e-4)
    assert_close(mask_features, case.reference["mask_feat"], 3e-4)


def mask_losses(outputs, boxes, labels):
    return instance_loss(outputs, boxes, labels, [ellipses(b) for b in boxes])


@pytest.mark.parametrize("mode", ["evalbn", "trainbn"])
def test_losses_and_gradient_norms_are_the_published_ones(case, mode):
    losses = case.assert_losses_and_gradients(mask_losses, mode)
    assert sorted(losses) == ["loss_bbox", "loss_cls", "loss_mask"]


def test_losses_without_any_object_are_the_published_ones(case):
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    losses, norms = case.losses_and_gradient_norms(mask_losses, *none)
    assert losses["loss_cls"] == pytest.approx(float(case.reference["empty_loss_cls"]), rel=1e-5)
    assert losses["loss_bbox"] == losses["loss_mask"] == 0
    assert np.isfinite(norms).all()


def test_assignments_with_centres_of_mass_are_identical(case):
    points = level_points([tuple(x.shape[2:]) for x in case.outputs.cls])
    match = assign(
        decode_boxes(points, flatten_levels(case.outputs.reg)),
        flatten_levels(case.outputs.cls),
        points,
        case.boxes,
        case.labels,
        [torch.from_numpy(ellipses(b).centres) for b in case.boxes],
    )
    assert isinstance(match, Assignment)
    for image in range(2):
        assert np.array_equal(match.gt_index[image], case.reference[f"assign{image}_gt_inds"])


@pytest.mark.parametrize("kind, threshold", [("coco", 0.001), ("show", 0.3)])
def test_predicted_boxes_match_one_to_one(case, kind, threshold):
    found = decode(
        case.outputs.cls,
        case.outputs.reg,
        [SIZE] * 2,
        score_threshold=threshold,
        nms_iou=0.6,
        pre_nms=1000,
        max_detections=100,
    )
    case.assert_found_one_to_one(found, kind)


def detect(case, image_bgr, input_size, score):
    detector = Detector(TorchEngine(case.net), tuple(map(str, range(case.classes))), input_size)
    return detector.predict(image_bgr, score=score, mask_margin=None)


def network_input(image):
    return np.ascontiguousarray(pixels()[image].transpose(1, 2, 0))


def test_areas_of_masks_are_the_published_ones_within_half_a_per_cent(case):
    for image in range(2):
        theirs = np.sort(case.reference[f"pred_show{image}_mask_area"])
        ours = np.sort(detect(case, network_input(image), SIZE, 0.3).masks.area())
        assert np.all(np.abs(ours - theirs) <= np.maximum(0.005 * theirs, 1))


def ious_with(detections, theirs):
    size = detections.image_size
    masks = Masks.from_coco(theirs["masks"], size)
    free, ious = np.ones(len(detections), bool), []
    for row, (box, score, label) in enumerate(
        zip(theirs["boxes"], theirs["scores"], theirs["labels"], strict=True)
    ):
        same = free & (detections.labels == label) & (np.abs(detections.scores - score) < 3e-5)
        same &= (np.abs(detections.boxes_xyxy - box) < 0.02 * max(1, max(size) / 640)).all(1)
        assert same.any(), (box, score, label)
        place = int(same.argmax())
        free[place] = False
        ious.append(detections.masks[[place]].iou(masks[[row]])[0, 0])
    return np.asarray(ious)


def test_masks_are_the_published_ones_pixel_by_pixel(case, shared):
    figures = json.loads((shared / "parity" / "ins_masks.json").read_text())[f"tiny_ins_{case.classes}"]
    ious = [
        ious_with(detect(case, network_input(i), SIZE, 0.001), theirs)
        for i, theirs in enumerate(figures["input"])
    ]
    for name in figures.keys() - {"input"}:
        photograph = cv2.imread(str(shared / "data" / "balloon" / "val" / name))
        ious.append(ious_with(detect(case, photograph, (640, 640), 0.001), figures[name]))
    for of_image in ious:
        assert of_image.mean() >= 0.99
        assert of_image.min() >= 0.97
