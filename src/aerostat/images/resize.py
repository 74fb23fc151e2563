"""Resizing of images as in the published pipelines."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def resample(
    image_bgr: NDArray[np.uint8], covered: tuple[float, float], size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Return an image resized bilinearly to `size`, in steps of at most two to one.

    Args:
        image_bgr: (H, W, 3) uint8.
        covered: width and height of the image in pixels of the array; less than a pixel may lie beyond it.
        size: (width, height) of the result.
    """
    if covered[0] > 2 * size[0] and covered[1] > 2 * size[1]:
        image_bgr = resample(image_bgr, covered, (2 * size[0], 2 * size[1]))
        return resize_image(image_bgr, size)
    if covered == (image_bgr.shape[1], image_bgr.shape[0]):
        return resize_image(image_bgr, size)
    # Only the covered part fills the result, so the image's edges keep their places.
    step_x, step_y = covered[0] / size[0], covered[1] / size[1]
    steps = np.asarray([[step_x, 0, step_x / 2 - 0.5], [0, step_y, step_y / 2 - 0.5]], np.float64)
    if max(step_x, step_y) < 1.01:  # `cv2.resize` copies an array whose size does not change
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        resized = cv2.warpAffine(image_bgr, steps, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    else:
        resized = cv2.resize(image_bgr, None, fx=1 / step_x, fy=1 / step_y, interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized[: size[1], : size[0]], np.uint8)


def scaled_size(size: tuple[int, int], scale: float) -> tuple[int, int]:
    """Return (width, height) times `scale`, rounded as MMCV's `rescale_size` does, at least 1 pixel each."""
    return max(1, int(size[0] * scale + 0.5)), max(1, int(size[1] * scale + 0.5))


def resize_image(image_bgr: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the image (H, W, 3) uint8 resized bilinearly to `size` = (width, height)."""
    if (image_bgr.shape[1], image_bgr.shape[0]) == size:
        return image_bgr
    return np.asarray(cv2.resize(image_bgr, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Return an image whose longer side has at most `side` pixels, averaged over areas.

    A smaller image is returned as it is.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        side: maximum of width and height, in pixels.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
