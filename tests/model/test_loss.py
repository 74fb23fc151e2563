"""What the losses make of batches as they come: other dtypes, other layouts, images without boxes.

That the numbers are the published ones is the parity tests' matter.
"""

import pytest
import torch

from aerostat.model import detection_loss

BOXES = [[[10.0, 12, 70, 90], [60, 40, 120, 120]], [], [[0.0, 0, 127, 127]]]
LABELS = [[0, 3], [], [1]]


def batch(images=3, classes=4):
    g = torch.Generator().manual_seed(1)
    cls = [torch.randn(images, classes, 128 // s, 128 // s, generator=g) - 2 for s in (8, 16, 32)]
    reg = [torch.rand(images, 4, 128 // s, 128 // s, generator=g) * s * 4 for s in (8, 16, 32)]
    return [x.requires_grad_() for x in cls], [x.requires_grad_() for x in reg]


def boxes_and_labels(box_type=torch.float32, label_type=torch.int64):
    boxes = [torch.tensor(b, dtype=box_type).reshape(-1, 4) for b in BOXES]
    return boxes, [torch.tensor(n, dtype=label_type) for n in LABELS]


def losses(cls, reg, boxes, labels):
    return {name: value.item() for name, value in detection_loss(cls, reg, boxes, labels).items()}


@pytest.mark.parametrize("box_type", [torch.int64, torch.float16, torch.float64])
@pytest.mark.parametrize("label_type", [torch.uint8, torch.int32, torch.int64])
def test_the_types_of_boxes_and_labels_change_nothing(box_type, label_type):
    expected = losses(*batch(), *boxes_and_labels())
    assert losses(*batch(), *boxes_and_labels(box_type, label_type)) == expected


def test_an_image_without_boxes_may_be_any_empty_tensor():
    expected = losses(*batch(), *boxes_and_labels())
    boxes, labels = boxes_and_labels()
    boxes[1], labels[1] = torch.tensor([]), torch.tensor([])
    assert losses(*batch(), boxes, labels) == expected


def test_memory_layout_changes_nothing():
    expected = losses(*batch(), *boxes_and_labels())
    cls, reg = batch()
    boxes, labels = boxes_and_labels()
    strided = (
        [x.detach().to(memory_format=torch.channels_last) for x in cls],
        [x.mT.contiguous().mT for x in reg],
    )
    assert losses(*strided, [torch.cat([b, b], 1)[:, 4:] for b in boxes], labels) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_outputs_give_float32_losses(dtype):
    cls, reg = batch()
    expected = losses(cls, reg, *boxes_and_labels())
    found = detection_loss([x.to(dtype) for x in cls], [x.to(dtype) for x in reg], *boxes_and_labels())
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name], rel=1e-2)


def test_the_empty_image_of_a_batch_learns_background_alone():
    cls, reg = batch()
    sum(detection_loss(cls, reg, *boxes_and_labels()).values()).backward()
    for level in cls:
        assert (level.grad[1] > 0).all()  # every class score of the empty image is pushed down
    assert all(not level.grad[1].any() for level in reg)
    assert any(level.grad[0].any() for level in reg)


@pytest.mark.parametrize(
    "box",
    [[-50.0, -50, -10, -10], [500, 500, 600, 600], [40, 40, 40, 40], [60, 60, 20, 20], [41, 41, 42, 42]],
)
def test_a_box_around_no_point_matches_nothing(box):
    none = losses(*batch(1), [torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.long)])
    assert losses(*batch(1), [torch.tensor([box])], [torch.tensor([2])]) == none


def test_a_crowd_of_boxes_is_finite():
    g = torch.Generator().manual_seed(0)
    corners = torch.rand(400, 2, generator=g) * 100
    boxes = torch.cat([corners, corners + torch.rand(400, 2, generator=g) * 30 + 1], 1)
    cls, reg = batch(2)
    found = detection_loss(cls, reg, [boxes, boxes[:1]], [torch.zeros(400).long(), torch.zeros(1).long()])
    sum(found.values()).backward()
    assert all(torch.isfinite(x.grad).all() for x in (*cls, *reg))


def test_boxes_and_labels_that_do_not_belong_together_are_refused_with_both_numbers():
    boxes, labels = boxes_and_labels()
    with pytest.raises(ValueError, match=r"per image \(3\), got 2 box and 3 label"):
        detection_loss(*batch(), boxes[:2], labels)
    with pytest.raises(ValueError, match="1 for 2 boxes of image 0"):
        detection_loss(*batch(), boxes, [labels[0][:1], *labels[1:]])
