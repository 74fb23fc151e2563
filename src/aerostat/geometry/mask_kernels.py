"""The small network that draws the mask of one object, in numpy (RTMDet-Ins; CondInst, arXiv:2003.05664).

Its input at each cell are eight features that all objects share, and the place of the object's point relative
to the cell. Three 1x1 layers of 8, 8 and 1 channels, with ReLU between, give the cell's logit. The weights
are different for each object: the network predicts all 169 of them at each point.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

PROTOTYPES = 8
"""Channels of the shared features (published RTMDet-Ins configs, as is the next)."""
CHANNELS = 8
"""Channels of the first two layers."""
MASK_STRIDE = 8
"""Pixels between neighbouring cells."""
COORDINATE_SCALE = 8.0
"""Relative places count in this many strides of the point's level (MMDetection 3, `RTMDetInsHead`)."""
WEIGHTS = ((CHANNELS, PROTOTYPES + 2), (CHANNELS, CHANNELS), (1, CHANNELS))
"""Shape of each layer's weights. The first layer sees x and y before the features."""
KERNEL_PARTS = (*(rows * columns for rows, columns in WEIGHTS), *(rows for rows, _ in WEIGHTS))
"""Numbers of each part of a kernel: the weights of all layers, then their biases."""
KERNEL_PARAMETERS = sum(KERNEL_PARTS)
"""Numbers for each point."""


def split_points() -> list[int]:
    """Return where the weights and then the biases of the layers end, without the last end.

    >>> split_points(), KERNEL_PARAMETERS
    ([80, 144, 152, 160, 168], 169)
    """
    ends: list[int] = np.cumsum(KERNEL_PARTS).tolist()
    return ends[:-1]


def mask_logits(
    kernel: Floats,
    point_xy: tuple[float, float],
    stride: int,
    mask_features: Floats,
    window: tuple[int, int, int, int],
) -> Floats:
    """Return the mask logits (h, w) of one object on the cells of a window.

    Args:
        kernel: (169,) of the object's point.
        point_xy: place of that point in input pixels.
        stride: of that point's level.
        mask_features: (8, H, W).
        window: x1, y1, x2, y2 in cells; w is x2 - x1.
    """
    x1, y1, x2, y2 = window
    first, second, third, *biases = np.split(kernel, split_points())
    scale = COORDINATE_SCALE * stride
    weights = first.reshape(WEIGHTS[0])
    relative_x = (point_xy[0] - np.arange(x1, x2, dtype=np.float32) * MASK_STRIDE) / scale  # (w,)
    relative_y = (point_xy[1] - np.arange(y1, y2, dtype=np.float32) * MASK_STRIDE) / scale  # (h,)
    cells = mask_features[:, y1:y2, x1:x2].reshape(PROTOTYPES, -1)
    hidden = (weights[:, 2:] @ cells).reshape(CHANNELS, y2 - y1, x2 - x1)
    hidden += (weights[:, 0, None] * relative_x + biases[0][:, None])[:, None, :].astype(np.float32)
    hidden += (weights[:, 1, None] * relative_y).astype(np.float32)[:, :, None]
    np.maximum(hidden, 0, out=hidden)
    flat = second.reshape(WEIGHTS[1]) @ hidden.reshape(CHANNELS, -1) + biases[1][:, None]
    np.maximum(flat, 0, out=flat)
    logits: Floats = (third @ flat + biases[2]).reshape(y2 - y1, x2 - x1).astype(np.float32, copy=False)
    return logits
