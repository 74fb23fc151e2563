"""The network, its losses, assignment and decoding against MMDetection 3.3.0's figures, number by number.

The references hold outputs only: weights follow from each parameter's name, inputs from a seed.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from aerostat.geometry.boxes import pairwise_iou
from aerostat.geometry.nms import nms
from aerostat.model import (
    assign,
    build,
    decode,
    decode_boxes,
    detection_loss,
    flatten_levels,
    level_points,
    quality_focal_loss,
)
from aerostat.model import overlap as tensor_overlap
from aerostat.model.loss import GIOU_WEIGHT

from .reference import Case, assert_close

REFERENCES = sorted((Path(__file__).parent / "parity").glob("*_det_*.npz"))
IDS = [path.stem for path in REFERENCES]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of a sum follows the number of threads; the figures were made with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=REFERENCES, ids=IDS)
def case(request, one_thread):
    size, _, classes = request.param.stem.split("_")
    return Case(size, int(classes), np.load(request.param))


def test_every_reference_is_there():
    assert IDS == ["nano_det_1", "nano_det_10", "s_det_3", "tiny_det_1", "tiny_det_80"]


def test_names_and_shapes_of_the_state_dict_are_the_published_ones_in_order(case):
    case.assert_names_and_shapes()


def test_features_of_backbone_and_neck_have_the_published_means(case):
    with torch.no_grad():
        backbone = case.net.backbone(case.images)
        neck = case.net.neck(backbone)
    for part, levels in (("backbone", backbone), ("neck", neck)):
        for i, level in enumerate(levels):
            assert_close(level.mean((2, 3)), case.reference[f"{part}{i}_mean"], 3e-4)


def test_raw_outputs_are_the_published_ones(case):
    for i in range(3):
        assert_close(case.outputs.cls[i], case.reference[f"cls{i}"], 3e-4)
        assert_close(case.outputs.reg[i], case.reference[f"reg{i}"], 3e-4)


@pytest.mark.parametrize("kind, threshold, nms_iou", [("coco", 0.001, 0.65), ("show", 0.3, 0.6)])
def test_predictions_match_one_to_one(case, kind, threshold, nms_iou):
    found = decode(
        case.outputs.cls,
        case.outputs.reg,
        [(160, 128)] * 2,
        score_threshold=threshold,
        nms_iou=nms_iou,
        max_detections=100,
    )
    case.assert_found_one_to_one(found, kind)


def box_losses(outputs, boxes, labels):
    return detection_loss(*outputs, boxes, labels)


@pytest.mark.parametrize("mode", ["evalbn", "trainbn"])
def test_losses_and_gradient_norms_are_the_published_ones(case, mode):
    case.assert_losses_and_gradients(box_losses, mode)


def test_losses_without_any_box_are_the_published_ones(case):
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    losses, norms = case.losses_and_gradient_norms(box_losses, *none)
    assert losses["loss_cls"] == pytest.approx(float(case.reference["empty_loss_cls"]), rel=1e-5)
    assert losses["loss_bbox"] == float(case.reference["empty_loss_bbox"]) == 0
    assert np.isfinite(norms).all()


def test_assignments_are_identical(case):
    points = level_points([tuple(x.shape[2:]) for x in case.outputs.cls])
    match = assign(
        decode_boxes(points, flatten_levels(case.outputs.reg)),
        flatten_levels(case.outputs.cls),
        points,
        case.boxes,
        case.labels,
    )
    for image in range(2):
        theirs = case.reference[f"assign{image}_gt_inds"]
        assert np.array_equal(match.gt_index[image], theirs)
        positive = theirs > 0
        assert np.allclose(
            match.iou[image][positive], case.reference[f"assign{image}_iou"][positive], atol=1e-5
        )


@pytest.fixture(scope="module")
def units(shared):
    return torch.load(shared / "parity" / "units.pt", weights_only=True)


def test_points_are_the_published_ones(units):
    ours = level_points([(80, 80), (40, 40), (20, 20)])
    assert torch.equal(ours, units["priors"][:, :3])


@pytest.mark.parametrize("index", range(6))
def test_stand_alone_assignments_are_identical(units, index):
    unit = units["assign"][index]
    centres = None
    if "gt_masks" in unit:
        grid = torch.stack(torch.meshgrid(torch.arange(640.0), torch.arange(640.0), indexing="xy"), -1)
        masks = unit["gt_masks"].float()[..., None]
        centres = [(grid * masks).sum((1, 2)) / masks.sum((1, 2)).clamp(min=1e-7)]
    match = assign(
        unit["pred_bboxes"][None],
        unit["pred_scores"][None],
        units["priors"][:, :3],
        [unit["gt_bboxes"]],
        [unit["gt_labels"]],
        centres,
    )
    assert torch.equal(match.gt_index[0], unit["gt_inds"])
    positive = unit["gt_inds"] > 0
    assert torch.allclose(match.iou[0][positive], unit["max_overlaps"][positive], atol=1e-6)


def test_images_of_a_batch_are_assigned_as_if_alone(units):
    some = [u for u in units["assign"] if u["pred_scores"].shape[1] == 80 and "gt_masks" not in u]
    empty = {**some[0], "gt_bboxes": torch.zeros(0, 4), "gt_labels": torch.zeros(0, dtype=torch.long)}
    batch = [some[0], empty, some[0]]
    match = assign(
        torch.stack([u["pred_bboxes"] for u in batch]),
        torch.stack([u["pred_scores"] for u in batch]),
        units["priors"][:, :3],
        [u["gt_bboxes"] for u in batch],
        [u["gt_labels"] for u in batch],
    )
    assert torch.equal(match.gt_index[0], some[0]["gt_inds"])
    assert not match.gt_index[1].any() and not match.iou[1].any()
    assert torch.equal(match.gt_index[2], some[0]["gt_inds"])


def test_quality_focal_loss_equals_the_reference(units):
    unit = units["qfl"]
    logits, labels, quality = unit["logits"], unit["labels"], unit["quality"]
    positive = (labels >= 0) & (labels < logits.shape[1])
    ours = quality_focal_loss(logits, positive, labels.where(positive, 0), quality)
    assert ours.item() == pytest.approx(unit["out"].item(), rel=1e-6)


def test_iou_and_giou_equal_the_reference(units):
    unit = units["giou"]
    pred, target = unit["pred"], unit["target"]
    assert torch.allclose(tensor_overlap.generalized_iou(pred, target), unit["giou"], atol=1e-6)
    weighted = GIOU_WEIGHT * ((1 - tensor_overlap.generalized_iou(pred, target)) * unit["weight"]).sum()
    assert weighted.item() == pytest.approx(unit["out"].item(), rel=1e-6)
    assert torch.allclose(tensor_overlap.pairwise_iou(pred, target), unit["iou"], atol=1e-6)
    assert np.allclose(pairwise_iou(pred.numpy(), target.numpy()), unit["iou"], atol=1e-6)


@pytest.mark.parametrize("per_class", [False, True])
def test_suppression_of_3000_boxes_keeps_the_reference_indices(units, per_class):
    unit = units["nms"]
    labels = unit["idxs"].numpy() if per_class else None
    kept = nms(unit["boxes"].numpy(), unit["scores"].numpy(), labels, iou_threshold=0.65)
    assert np.array_equal(kept, unit["batched_keep" if per_class else "keep"])


def test_a_fresh_head_scores_the_focal_prior_everywhere():
    torch.manual_seed(0)
    net = build("nano", 3).eval()
    with torch.no_grad():
        cls, _ = net(torch.randn(1, 3, 64, 64))
    for level in cls:
        assert level.sigmoid().mean().item() == pytest.approx(0.01, rel=0.2)


def test_losses_stay_float32_and_finite_under_autocast():
    torch.manual_seed(0)
    net = build("nano", 2)
    nn.init.constant_(net.bbox_head.rtm_reg[2].bias, 20.0)  # boxes of 1280 px: 640 * 640 > 65504
    with torch.autocast("cpu", torch.bfloat16):
        losses = detection_loss(
            *net(torch.randn(1, 3, 640, 640)), [torch.tensor([[0.0, 0, 640, 640]])], [torch.tensor([1])]
        )
    for value in losses.values():
        assert value.dtype == torch.float32 and torch.isfinite(value)
