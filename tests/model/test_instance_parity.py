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
    build,
    decode,
    decode_boxes,
    flatten_levels,
    instance_loss,
    level_points,
    normalise,
)
from aerostat.model.assigner import Assignment

from .test_parity import assert_close, fill

SIZE = (160, 128)
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


def network(classes):
    net = build("tiny", classes, masks=True).eval()
    net.load_state_dict({n: torch.from_numpy(fill(n, t.shape)) for n, t in net.state_dict().items()})
    return net


def pixels():
    return np.random.Generator(np.random.PCG64(7)).integers(0, 256, (2, 3, SIZE[1], SIZE[0]), dtype=np.uint8)


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


class Case:
    def __init__(self, classes, figures):
        self.reference, self.classes, self.net = figures, classes, network(classes)
        self.images = normalise(torch.from_numpy(pixels()))
        self.boxes = [
            torch.tensor(
                [[10, 12, 70, 90], [60, 40, 150, 120], [64, 44, 140, 118], [2, 100, 14, 110]]
            ).float(),
            torch.tensor([[30, 20, 120, 100], [0, 0, 159, 127]]).float(),
        ]
        self.labels = [torch.tensor([0, 3, 3, 7]) % classes, torch.tensor([5, 1]) % classes]
        with torch.no_grad():
            self.outputs = self.net(self.images)


@pytest.fixture(scope="module", params=[1, 80])
def case(request, one_thread):
    shared = None if request.param == 1 else request.getfixturevalue("shared")
    return Case(request.param, reference(f"tiny_ins_{request.param}", shared))


def test_names_shapes_and_parameters_are_the_published_ones_in_order(case):
    names = [str(n) for n in case.reference["state_names"]]
    shapes = [json.loads(str(s)) for s in case.reference["state_shapes"]]
    state = case.net.state_dict()
    assert list(state) == names
    assert [list(t.shape) for t in state.values()] == shapes
    assert [n for n, _ in case.net.named_parameters()] == [str(n) for n in case.reference["param_names"]]


def test_raw_outputs_kernels_and_mask_features_are_the_published_ones(case):
    cls, reg, kernels, mask_features = case.outputs
    for i in range(3):
        assert_close(cls[i], case.reference[f"cls{i}"], 3e-4)
        assert_close(reg[i], case.reference[f"reg{i}"], 3e-4)
        assert_close(kernels[i].mean((2, 3)), case.reference[f"kernel{i}_mean"], 3e-4)
        assert_close(kernels[i][:, :, 0, 0], case.reference[f"kernel{i}_00"], 3e-4)
    assert_close(mask_features, case.reference["mask_feat"], 3e-4)


def losses_and_gradient_norms(case, boxes, labels):
    case.net.zero_grad(set_to_none=True)
    losses = instance_loss(case.net(case.images), boxes, labels, [ellipses(b) for b in boxes])
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
    assert sorted(losses) == ["loss_bbox", "loss_cls", "loss_mask"]
    for name, value in losses.items():
        assert value == pytest.approx(float(case.reference[f"{mode}_{name}"]), rel=1e-5)
    theirs = case.reference[f"{mode}_gradnorm"]
    assert np.all(np.abs(norms - theirs) <= 1e-3 * np.abs(theirs))


def test_losses_without_any_object_are_the_published_ones(case):
    none = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    losses, norms = losses_and_gradient_norms(case, *none)
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
    for image, candidates in enumerate(found):
        theirs = [case.reference[f"pred_{kind}{image}_{key}"] for key in ("boxes", "scores", "labels")]
        assert len(candidates) == len(theirs[0])
        free = np.ones(len(candidates), bool)
        for box, score, label in zip(*theirs, strict=True):
            same = free & (candidates.labels == label) & (np.abs(candidates.scores - score) <= 2e-5)
            same &= (np.abs(candidates.boxes_xyxy - box) <= 1e-2).all(1)
            assert same.any(), (image, box, score, label)
            free[same.argmax()] = False


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
