import numpy as np
import pytest
import torch

from aerostat.geometry.mask_kernels import KERNEL_PARAMETERS, mask_logits
from aerostat.geometry.mask_targets import MaskTargets
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.model import build, instance_loss, level_points, normalise
from aerostat.model.mask_loss import DICE_EPS, MASK_WEIGHT, mask_loss


def passing_kernel():
    """A kernel whose logits are the first mask feature: relu(x) - relu(-x)."""
    first, second, third = np.zeros((8, 10)), np.eye(8), np.zeros(8)
    first[0, 2], first[1, 2] = 1, -1
    third[:2] = 1, -1
    return torch.tensor(np.concatenate([first.ravel(), second.ravel(), third, np.zeros(17)])).float()


def targets_of(masks, stride=8, known=True):
    count, height, width = masks.shape
    return MaskTargets(
        stride,
        np.tile([0, 0, width, height], (count, 1)),
        masks.numpy().astype(np.uint8).ravel(),
        np.full(count, known),
        np.zeros((count, 2), np.float32),
    )


def batch_of(logits):
    """Levels, features, matches and points of images whose only object has the logits of its image."""
    count, height, width = logits.shape
    sizes = [(height, width), (height // 2, width // 2), (height // 4, width // 4)]
    kernels = [torch.zeros(count, KERNEL_PARAMETERS, *size) for size in sizes]
    kernels[0][:, :, 0, 0] = passing_kernel()
    features = torch.zeros(count, 8, height, width)
    features[:, 0] = logits
    points = level_points(sizes)
    gt_index = torch.zeros(count, len(points), dtype=torch.long)
    gt_index[:, 0] = 1
    return kernels, features, gt_index, points


def test_the_dice_loss_is_the_published_one(shared):
    unit = torch.load(shared / "parity" / "units.pt", weights_only=True)["dice"]
    ours = mask_loss(*batch_of(unit["logits"]), [targets_of(mask[None]) for mask in unit["target"]])
    assert ours.item() == pytest.approx(unit["out"].item(), rel=1e-5)


def test_a_perfect_mask_costs_nothing_and_an_opposite_one_everything():
    mask = torch.zeros(1, 8, 8)
    mask[0, 2:5, 3:7] = 1
    perfect = mask_loss(*batch_of(40 * (2 * mask - 1)), [targets_of(mask)])
    assert perfect.item() == pytest.approx(0, abs=1e-5)
    opposite = mask_loss(*batch_of(40 * (1 - 2 * mask)), [targets_of(mask)])
    assert opposite.item() == pytest.approx(MASK_WEIGHT, abs=1e-5)


def plain_dice(kernels, features, rows, targets, stride):
    """The definition, point by point, with autograd through all of it."""
    total = 0
    for kernel, image, (x, y, s), target in rows:
        w1, w2, w3, b1, b2, b3 = torch.tensor_split(kernels[image, :, kernel], [80, 144, 152, 160, 168])
        height, width = features.shape[2:]
        relative = torch.stack(
            [
                ((x - torch.arange(width) * 8) / (8 * s)).expand(height, width),
                ((y - torch.arange(height) * 8) / (8 * s))[:, None].expand(height, width),
            ]
        )
        values = torch.cat([relative, features[image]]).flatten(1)
        values = torch.relu(w1.view(8, 10) @ values + b1[:, None])
        values = torch.relu(w2.view(8, 8) @ values + b2[:, None])
        logits = (w3.view(1, 8) @ values + b3).view(1, 1, height, width)
        mask = torch.nn.functional.interpolate(logits, scale_factor=8 // stride, mode="bilinear").sigmoid()
        truth = torch.from_numpy(target).float()
        common = (mask[0, 0] * truth).sum()
        squares = (mask**2).sum() + (truth**2).sum() + 2 * DICE_EPS
        total = total + 1 - 2 * common / squares
    return MASK_WEIGHT * total / len(rows)


@pytest.mark.parametrize("stride", [8, 4, 2, 1])
def test_gradients_are_those_of_the_definition(stride):
    torch.manual_seed(0)
    sizes = [(6, 8), (3, 4), (2, 2)]
    kernels = [torch.randn(2, KERNEL_PARAMETERS, *size, requires_grad=True) for size in sizes]
    features = torch.randn(2, 8, 6, 8, requires_grad=True)
    points = level_points(sizes)
    gt_index = torch.zeros(2, len(points), dtype=torch.long)
    gt_index[0, [3, 50, 60]] = torch.tensor([2, 1, 2])
    gt_index[1, [10, 11]] = 1
    boxes = np.asarray([[4, 4, 40, 30], [10, 8, 60, 44]], np.float32)
    polygons = [[np.asarray([(x1, y1), (x2, y1), (x2, y2)], float)] for x1, y1, x2, y2 in boxes]
    targets = [rasterise(Outlines.of(polygons, {}, (64, 48)), boxes, (64, 48), stride)] * 2
    ours = mask_loss(kernels, features, gt_index, points, targets)
    mine = torch.autograd.grad(ours, [*kernels, features])
    flat = torch.cat([level.flatten(2) for level in kernels], 2)
    dense = targets[0].dense((64 // stride, 48 // stride))
    rows = [
        (int(point), int(image), points[point].tolist(), dense[gt_index[image, point] - 1])
        for image, point in gt_index.nonzero().tolist()
    ]
    theirs_loss = plain_dice(flat, features, rows, targets, stride)
    theirs = torch.autograd.grad(theirs_loss, [*kernels, features])
    assert ours.item() == pytest.approx(theirs_loss.item(), rel=1e-5)
    for one, other in zip(mine, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-5 + 1e-4 * other.abs().max())


def test_numpy_draws_the_logits_that_training_learns():
    torch.manual_seed(1)
    kernel, features = torch.randn(KERNEL_PARAMETERS), torch.randn(1, 8, 6, 8)
    whole = mask_logits(kernel.numpy(), (16.0, 24.0), 16, features[0].numpy(), (0, 0, 8, 6))
    part = mask_logits(kernel.numpy(), (16.0, 24.0), 16, features[0].numpy(), (2, 1, 5, 4))
    assert np.allclose(part, whole[1:4, 2:5], atol=1e-5)
    rows = [(0, 0, (16.0, 24.0, 16.0), np.zeros((6, 8)))]
    loss = plain_dice(kernel[None, :, None], features, rows, None, 8)
    squares = (1 / (1 + np.exp(-whole.astype(np.float64))) ** 2).sum()
    assert loss.item() == pytest.approx(MASK_WEIGHT * (1 - 0 / (squares + 1)), rel=1e-4)


def test_an_object_without_an_outline_trains_its_box_alone():
    torch.manual_seed(2)
    net = build("nano", 1, masks=True).train()
    outputs = net(normalise(torch.randint(0, 255, (1, 3, 64, 64))))
    boxes, labels = [torch.tensor([[8.0, 8, 40, 40]])], [torch.zeros(1)]
    mask = torch.ones(1, 16, 16)
    known = instance_loss(outputs, boxes, labels, [targets_of(mask, 4)])
    unknown = instance_loss(outputs, boxes, labels, [targets_of(mask, 4, known=False)])
    assert known["loss_mask"] > 0
    assert unknown["loss_mask"] == 0
    assert unknown["loss_bbox"] == known["loss_bbox"]
    assert unknown["loss_mask"].requires_grad


def test_masks_of_other_objects_than_the_boxes_are_refused():
    net = build("nano", 1, masks=True)
    outputs = net(normalise(torch.zeros(1, 3, 64, 64)))
    with pytest.raises(ValueError, match="masks of the same objects"):
        instance_loss(outputs, [torch.zeros(2, 4)], [torch.zeros(2)], [targets_of(torch.ones(1, 16, 16), 4)])


def test_a_box_without_a_label_is_refused_beside_masks_too():
    outputs = build("nano", 1, masks=True)(normalise(torch.zeros(1, 3, 64, 64)))
    with pytest.raises(ValueError, match="expected a label for each box"):
        instance_loss(outputs, [torch.zeros(1, 4)], [torch.zeros(2)], [targets_of(torch.ones(1, 16, 16), 4)])


def test_half_precision_in_gives_float32_losses_of_masks_too():
    torch.manual_seed(3)
    outputs = build("nano", 1, masks=True)(normalise(torch.randint(0, 255, (1, 3, 64, 64))))
    boxes, labels = [torch.tensor([[8.0, 8, 40, 40]])], [torch.zeros(1)]
    masks = [targets_of(torch.ones(1, 16, 16), 4)]
    expected = instance_loss(outputs, boxes, labels, masks)
    cls, reg, kernels, features = outputs
    half = tuple([x.bfloat16() for x in levels] for levels in (cls, reg, kernels))
    found = instance_loss((*half, features.bfloat16()), [boxes[0].bfloat16()], labels, masks)
    for name, value in found.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(expected[name].item(), rel=2e-2)


@pytest.mark.parametrize("box_type", [torch.int64, torch.float64])
def test_the_type_of_boxes_changes_no_loss(box_type):
    outputs = build("nano", 1, masks=True)(normalise(torch.zeros(1, 3, 64, 64)))
    boxes = torch.tensor([[8.0, 8, 40, 40]])
    labels, masks = [torch.zeros(1)], [targets_of(torch.ones(1, 16, 16), 4)]
    found = instance_loss(outputs, [boxes.to(box_type)], labels, masks)
    assert found == instance_loss(outputs, [boxes], labels, masks)
    assert {value.dtype for value in found.values()} == {torch.float32}
