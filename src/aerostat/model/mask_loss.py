"""The mask loss of RTMDet-Ins: the dice loss of the mask of every positive point (arXiv:1606.04797).

A batch has a thousand positive points, and each has a mask over the whole input. Kept for a backward pass,
these masks and the layers below them would take gigabytes. Here a few points at a time are worked off. The
loss is a sum over points, so the gradients of a group are known as soon as its masks are: they are summed up
in the forward pass, and the backward pass only scales them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from aerostat.geometry.mask_kernels import (
    CHANNELS,
    COORDINATE_SCALE,
    KERNEL_PARAMETERS,
    MASK_STRIDE,
    PROTOTYPES,
    split_points,
)
from aerostat.geometry.mask_targets import MaskTargets

MASK_WEIGHT = 2.0
"""Weight of the mask loss (published RTMDet-Ins configs)."""
DICE_EPS = 5e-6
"""Added to both sums of squares of the dice loss (published RTMDet-Ins configs)."""
MASK_LOSS_STRIDE = 4
"""Pixels between neighbouring cells at which masks are compared (published RTMDet-Ins configs)."""
CELLS_AT_ONCE = 1 << 18
"""Cells of the loss's stride that are worked off together: few enough to stay in a processor's cache."""


@dataclass(frozen=True, eq=False)
class MaskPoints:
    """The n positive points of a batch whose objects have masks, image by image.

    Args:
        kernels: (n, 169) float32.
        images: for each point the index of its image, ascending.
        objects: for each point the index of its object among those of its image.
        places: (n, 3) float32 x, y and stride.
    """

    kernels: Tensor
    images: list[int]
    objects: list[int]
    places: Tensor


def mask_loss(
    kernels: Sequence[Tensor],
    mask_features: Tensor,
    gt_index: Tensor,
    points: Tensor,
    targets: Sequence[MaskTargets],
    *,
    total: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return the weighted dice loss, the mean over all positive points whose objects have masks.

    Args:
        kernels: per level (N, 169, h, w).
        mask_features: (N, 8, H, W) of stride 8.
        gt_index: (N, P), 0 for background, else the number of the point's object from 1.
        points: (P, 3) x, y, stride.
        targets: of each image.
        total: adds the number of points up over the processes of a run that has several.

    Returns:
        A scalar; 0 with a gradient of 0 if no object has a mask.
    """
    chosen = _positive_points(kernels, gt_index, points, targets)
    count = torch.tensor(float(len(chosen.images)), device=mask_features.device)
    if total is not None:
        count = total(count)
    summed = dice_of_points(chosen.kernels, mask_features, chosen, targets)
    return MASK_WEIGHT * summed / count.clamp(min=1)


def _positive_points(
    kernels: Sequence[Tensor], gt_index: Tensor, points: Tensor, targets: Sequence[MaskTargets]
) -> MaskPoints:
    """Return the positive points whose objects have masks. The host waits for the device here."""
    images, objects = gt_index.shape[0], max((len(target) for target in targets), default=0)
    known = torch.zeros(images, objects + 1, dtype=torch.bool)
    for number, target in enumerate(targets):
        known[number, 1 : len(target) + 1] = torch.from_numpy(target.known)
    with_mask = known.to(gt_index.device).gather(1, gt_index)
    image, point = with_mask.nonzero(as_tuple=True)
    # Points of one object follow one another, so that its mask is laid out once.
    order = (image * (objects + 1) + gt_index[image, point]).argsort(stable=True)
    image, point = image[order], point[order]
    rows = []
    start, places = 0, torch.zeros_like(point)
    for level in kernels:
        cells = level.shape[2] * level.shape[3]
        mine = ((point >= start) & (point < start + cells)).nonzero().squeeze(1)
        flat = level.permute(0, 2, 3, 1).reshape(images, cells, KERNEL_PARAMETERS)
        rows.append(flat[image[mine], point[mine] - start].float())
        places[mine] = torch.arange(len(mine), device=mine.device) + sum(len(row) for row in rows[:-1])
        start += cells
    return MaskPoints(
        torch.cat(rows)[places], image.tolist(), (gt_index[image, point] - 1).tolist(), points[point]
    )


def dice_of_points(
    kernels: Tensor, mask_features: Tensor, points: MaskPoints, targets: Sequence[MaskTargets]
) -> Tensor:
    """Return the sum of the dice losses of points; its gradient reaches kernels and features.

    Args:
        kernels: (n, 169) of the points.
        mask_features: (N, 8, H, W).
        points: where the points stand and which objects they learn.
        targets: of each image.
    """
    return cast(
        Tensor,
        _DiceOfPoints.apply(kernels, mask_features, points, targets),  # type: ignore[no-untyped-call]
    )


class _DiceOfPoints(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, kernels: Tensor, features: Tensor, points: MaskPoints, targets: Sequence[MaskTargets]
    ) -> Tensor:
        wanted = any(ctx.needs_input_grad[:2])
        by_kernels = torch.zeros_like(kernels) if wanted else None
        by_features = torch.zeros_like(features, memory_format=torch.contiguous_format) if wanted else None
        total = features.new_zeros(())
        stops = [0, *(i for i in range(1, len(points.images)) if points.images[i] != points.images[i - 1])]
        stops.append(len(points.images))
        for start, stop in pairwise(stops):
            if start == stop:
                continue
            image = points.images[start]
            group = _ImageMasks(features[image], targets[image])
            step = max(1, CELLS_AT_ONCE // group.cells)
            for first in range(start, stop, step):
                part = slice(first, min(first + step, stop))
                loss = group.add(
                    kernels[part],
                    points.places[part],
                    points.objects[part],
                    None if by_kernels is None else by_kernels[part],
                )
                total += loss
            if by_features is not None:
                by_features[image] = group.gradient[:PROTOTYPES].view_as(by_features[image])
        if by_kernels is not None and by_features is not None:
            ctx.save_for_backward(by_kernels, by_features)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        by_kernels, by_features = ctx.saved_tensors
        return by_kernels * gradient, by_features * gradient, None, None


class _ImageMasks:
    """Masks of the points of one image: losses, and gradients by kernels and features.

    Relative coordinates are linear in the cell's place. They become three more rows of the features (x, y
    and 1), so that the first layer of all points is one product of matrices.
    """

    def __init__(self, features: Tensor, target: MaskTargets) -> None:
        """Lay out the rows of the features (8, H, W) of one image."""
        _, height, width = features.shape
        x = torch.arange(width, device=features.device, dtype=features.dtype) * MASK_STRIDE
        y = torch.arange(height, device=features.device, dtype=features.dtype) * MASK_STRIDE
        self.rows = torch.cat(
            [
                features.reshape(PROTOTYPES, -1),
                x.repeat(height)[None],
                y.repeat_interleave(width)[None],
                features.new_ones(1, height * width),
            ]
        )  # (11, H * W)
        self.gradient = torch.zeros_like(self.rows)
        self.size = height, width
        self.scale = MASK_STRIDE // target.stride
        self.cells = height * width * self.scale**2
        self.target = target
        self._starts = (target.windows[:, 2] * target.windows[:, 3]).cumsum() - (
            target.windows[:, 2] * target.windows[:, 3]
        )
        self._bits = torch.from_numpy(target.bits).to(features.device)

    def add(
        self, kernels: Tensor, places: Tensor, objects: Sequence[int], by_kernels: Tensor | None
    ) -> Tensor:
        """Return the sum of losses of k points, and add up the gradients if they are wanted.

        Args:
            kernels: (k, 169).
            places: (k, 3).
            objects: (k) of the image.
            by_kernels: (k, 169), written to; None if no gradient is wanted.
        """
        k = len(kernels)
        w1, w2, w3, b1, b2, b3 = torch.tensor_split(kernels, split_points(), dim=1)
        w1, w2, w3 = w1.view(k, CHANNELS, -1), w2.view(k, CHANNELS, CHANNELS), w3.view(k, 1, CHANNELS)
        scale = 1 / (COORDINATE_SCALE * places[:, 2, None])  # (k, 1)
        at_x, at_y = places[:, 0, None] * scale, places[:, 1, None] * scale
        first = torch.cat(
            [
                w1[:, :, 2:],
                (w1[:, :, :2] * -scale[:, None]),
                (b1 + w1[:, :, 0] * at_x + w1[:, :, 1] * at_y)[:, :, None],
            ],
            2,
        ).view(k * CHANNELS, -1)  # (k * 8, 11)
        hidden1 = (first @ self.rows).relu_().view(k, CHANNELS, -1)
        hidden2 = torch.baddbmm(b2[:, :, None], w2, hidden1).relu_()
        logits = torch.baddbmm(b3[:, :, None], w3, hidden2).view(1, k, *self.size)
        upsampled = logits
        if self.scale > 1:
            upsampled = functional.interpolate(logits, scale_factor=self.scale, mode="bilinear")
        masks = upsampled.sigmoid().view(k, -1)
        target = self._dense(objects, masks.dtype)  # (k, cells)
        common = torch.linalg.vecdot(masks, target)
        squares = torch.linalg.vecdot(masks, masks) + (target.sum(1) + 2 * DICE_EPS)
        loss: Tensor = (1 - 2 * common / squares).sum()
        if by_kernels is None:
            return loss
        # By the masks, the loss has the gradient (4 common masks / squares - 2 target) / squares.
        gradient = target.mul_((-2 / squares)[:, None]).addcmul_(masks, (4 * common / squares**2)[:, None])
        torch.ops.aten.sigmoid_backward.grad_input(gradient, masks, grad_input=gradient)
        gradient = gradient.view_as(upsampled)
        if self.scale > 1:
            gradient = torch.ops.aten.upsample_bilinear2d_backward(
                gradient, upsampled.shape[2:], logits.shape, False, float(self.scale), float(self.scale)
            )
        gradient = gradient.view(k, 1, -1)
        by_third = gradient @ hidden2.transpose(1, 2)
        by_hidden = (w3.transpose(1, 2) * gradient).mul_(hidden2 > 0)
        by_second, by_b2 = by_hidden @ hidden1.transpose(1, 2), by_hidden.sum(2)
        by_hidden = (w2.transpose(1, 2) @ by_hidden).mul_(hidden1 > 0).view(k * CHANNELS, -1)
        self.gradient.addmm_(first.t(), by_hidden)
        by_first = (by_hidden @ self.rows.t()).view(k, CHANNELS, -1)
        by_b1 = by_first[:, :, PROTOTYPES + 2]
        by_x = by_b1 * at_x - by_first[:, :, PROTOTYPES] * scale
        by_y = by_b1 * at_y - by_first[:, :, PROTOTYPES + 1] * scale
        by_w1 = torch.cat([by_x[:, :, None], by_y[:, :, None], by_first[:, :, :PROTOTYPES]], 2)
        torch.cat(
            [x.reshape(k, -1) for x in (by_w1, by_second, by_third, by_b1, by_b2, gradient.sum(2))],
            1,
            out=by_kernels,
        )
        return loss

    def _dense(self, objects: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return the targets (k, cells) of objects, equal ones one after the other."""
        height, width = (side * self.scale for side in self.size)
        out = torch.zeros(len(objects), height, width, dtype=dtype, device=self._bits.device)
        first = 0
        for row in range(1, len(objects) + 1):
            if row < len(objects) and objects[row] == objects[first]:
                continue
            number = objects[first]
            x, y, w, h = self.target.windows[number].tolist()
            start = int(self._starts[number])
            out[first:row, y : y + h, x : x + w] = self._bits[start : start + w * h].view(h, w)
            first = row
        return out.flatten(1)
