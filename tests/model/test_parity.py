"""The network, its losses, assignment and decoding against MMDetection 3.3.0's figures, number by number.

The references hold outputs only: weights follow from each parameter's name, inputs from a seed.
"""

import json
import zlib
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
    normalise,
    quality_focal_loss,
)
from aerostat.model import overlap as tensor_overlap
from aerostat.model.loss import GIOU_WEIGHT

REFERENCES = sorted((Path(__file__).parent / "parity").glob("*_det_*.npz"))
IDS = [path.stem for path in REFERENCES]


def fill(name, shape):
    r = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    x = r.standard_normal(shape)
    if name.endswith("running_var"):
        v = np.exp(0.2 * x)
    elif name.endswith("running_mean"):
        v = 0.2 * x
    elif name.endswith("bn.weight") or (name.endswith("weight") and len(shape) == 1):
        v = 1 + 0.2 * x
    elif ".rtm_cls." in name and name.endswith("bias"):
        v = -2 + 0.3 * x
    elif ".rtm_reg." in name and name.endswith("bias"):
        v = 1.5 + 0.3 * x
    elif name.endswith("bias"):
        v = 0.2 * x
    else:
        v = 1.4 * x / np.sqrt(np.prod(shape[1:]))
    return v.astype(np.float32)


class Case:
    def __init__(self, path: Path) -> None:
        self.reference = np.load(path)
        size, _, classes = path.stem.split("_")
        self.classes = int(classes)
        self.net = build(size, self.classes).eval()
        state = {n: torch.from_numpy(fill(n, t.shape)) for n, t in self.net.state_dict().items()}
        self.net.load_state_dict(state)
        pixels = np.random.Generator(np.random.PCG64(7)).integers(0, 256, (2, 3, 128, 160), dtype=np.uint8)
        self.images = normalise(torch.from_numpy(pixels))
        self.boxes = [
            torch.tensor(
                [[10, 12, 70, 90], [60, 40, 150, 120], [64, 44, 140, 118], [2, 100, 14, 110]]
            ).float(),
            torch.tensor([[30, 20, 120, 100], [0, 0, 159, 127]]).float(),
        ]
        self.labels = [torch.tensor([0, 3, 3, 7]) % self.classes, torch.tensor([5, 1]) % self.classes]
        with torch.no_grad():
            self.cls, self.reg = self.net(self.images)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """The order of a sum follows the number of threads; the figures were made with one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=REFERENCES, ids=IDS)
def case(request, one_thread):
    return Case(request.param)


def assert_close(ours, theirs, tolerance):
    """Within `tolerance`, absolute up to 1 and relative above."""
    error = np.abs(np.asarray(ours) - theirs) / np.maximum(np.abs(theirs), 1)
    assert error.max() <= tolerance, error.max()


def test_every_reference_is_there():
    assert IDS == ["nano_det_1", "nano_det_10", "s_det_3", "tiny_det_1", "tiny_det_80"]


def test_names_and_shapes_of_the_state_dict_are_the_published_ones_in_order(case):
    names = [str(n) for n in case.reference["state_names"]]
    shapes = [json.loads(str(s)) for s in case.reference["state_shapes"]]
    state = case.net.state_dict()
    assert list(state) == names
    assert [list(t.shape) for t in state.values()] == shapes
    assert [n for n, _ in case.net.named_parameters()] == [str(n) for n in case.reference["param_names"]]


def test_features_of_backbone_and_neck_have_the_published_means(case):
    with torch.no_grad():
        backbone = case.net.backbone(case.images)
        neck = case.net.neck(backbone)
    for part, levels in (("backbone", backbone), ("neck", neck)):
        for i, level in enumerate(levels):
            assert_close(level.mean((2, 3)), case.reference[f"{part}{i}_mean"], 3e-4)


def test_raw_outputs_are_the_published_ones(case):
    for i in range(3):
        assert_close(case.cls[i], case.reference[f"cls{i}"], 3e-4)
        assert_close(case.reg[i], case.reference[f"reg{i}"], 3e-4)


@pytest.mark.parametrize("kind, threshold, nms_iou", [("coco", 0.001, 0.65), ("show", 0.3, 0.6)])
def test_predictions_match_one_to_one(case, kind, threshold, nms_iou):
    found = decode(
        case.cls, case.reg, [(160, 128)] * 2, score_threshold=threshold, nms_iou=nms_iou, max_detections=100
    )
    for image, candidates in enumerate(found):
        boxes, scores, labels = candidates.boxes_xyxy, candidates.scores, candidates.labels
        theirs = [case.reference[f"pred_{kind}{image}_{key}"] for key in ("boxes", "scores", "labels")]
        assert len(boxes) == len(theirs[0])
        free = np.ones(len(boxes), bool)
        for box, score, label in zip(*theirs, strict=True):
            same = free & (labels == label) & (np.abs(scores - score) <= 2e-5)
            same &= (np.abs(boxes - box) <= 1e-2).all(1)
            assert same.any(), (image, box, score, label)
            free[same.argmax()] = False


def losses_and_gradient_norms(case, boxes, labels):
    case.net.zero_grad(set_to_none=True)
    losses = detection_loss(*case.net(case.images), boxes, labels)
    sum(losses.values()).backward()
    norms = [-1 if p.grad is None else p.grad.norm().item() for p in case.net.parameters()]
    return {k: v.item() for k, v in losses.items()}, np.array(norms)


@pytest.mark.parametrize("mode", ["evalbn", "trainbn"])
def test_losses_and_gradient_norms_are_the_published_ones(case, mode):
    saved = {n: t.clone() for n, t in case.net.state_dict().items()}
    case.net.train(mode == "trainbn")
    losses, norms = losses_and_gradient_norms(case, case.boxes, case.labels)
    case.net.eval()
    case.net.load_state_dict(saved)
    for name, value in losses.items():
        assert value == pytest.approx(float(case.reference[f"{mode}_{name}"]), rel=1e-5)
    theirs = case.reference[f"{mode}_gradnorm"]
    assert np.all(np.abs(norms - theirs) <= 1e-3 * np.abs(theirs))


def test_losses_without_any_box_are_the_published_ones(case):
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    losses, norms = losses_and_gradient_norms(case, *none)
    assert losses["loss_cls"] == pytest.approx(float(case.reference["empty_loss_cls"]), rel=1e-5)
    assert losses["loss_bbox"] == float(case.reference["empty_loss_bbox"]) == 0
    assert np.isfinite(norms).all()


def test_assignments_are_identical(case):
    points = level_points([tuple(x.shape[2:]) for x in case.cls])
    match = assign(
        decode_boxes(points, flatten_levels(case.reg)),
        flatten_levels(case.cls),
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
