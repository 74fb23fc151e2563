"""D-RISE: heat from the scores of masked copies of the photograph (Petsiuk et al., arXiv:2006.03204)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.black_box import BATCH, Scorer
from aerostat.images.letterbox import PAD_VALUE
from aerostat.progress import progress_shown, track

DEFAULT_MASKS = 1000
"""Number of masked photographs. On the balloon photographs insertion is 0.87 with 300 masks, 0.92 with 600
and 0.935 with 1000."""
GRID = 16
"""Cells of a mask along the photograph's longer side, as in the paper; insertion is worse with 24."""
KEEP = 0.5
"""Probability of a cell to show the photograph, as in the paper."""
MAP_SIDE = 160
"""Longer side of the maps while they are summed up: ten samples for each cell of the masks."""


@dataclass(frozen=True, slots=True)
class Masks:
    """Random masks of a photograph.

    Args:
        count: number of masks, at least 2. More masks give a finer and steadier map.
        grid: cells of a mask along the longer side.
        keep: probability of a cell to be shown.
        fill: grey level of covered pixels. The default is that of the letterbox's padding, in which the
            network has learned to see nothing.
        seed: seed of the masks; the same seed gives the same masks.
        batch: number of masked images in one call of the scorer.

    Raises:
        InputError: a number is out of its range.
    """

    count: int = DEFAULT_MASKS
    grid: int = GRID
    keep: float = KEEP
    fill: int = PAD_VALUE
    seed: int = 0
    batch: int = BATCH

    def __post_init__(self) -> None:
        if self.count < 2:
            raise InputError(
                f"Expected at least 2 masks for D-RISE, found {self.count}; a thousand give a steady map."
            )
        if self.grid < 1 or self.batch < 1 or not 0 < self.keep < 1:
            raise InputError(
                "Expected masks of at least 1 cell, shown with a chance between 0 and 1, in batches of at "
                f"least 1; found grid {self.grid}, keep {self.keep}, batch {self.batch}."
            )


def drise(
    scorer: Scorer,
    image_bgr: NDArray[np.uint8],
    content_size: tuple[int, int] | None = None,
    *,
    masks: Masks | None = None,
    progress: bool = True,
) -> NDArray[np.float32]:
    """Return the heat of each explained detection from the scores of masked photographs.

    There is heat where masks that show more of the photograph give better scores. In the paper the heat is
    the sum of the masks, weighted by the score. That sum has a background, which masks without any influence
    would give as well. Here the heat is the square of the correlation between mask and score where it is
    positive: the share of the score's variance that this pixel explains. It orders the pixels nearly as the
    paper's sum does. It gives little heat to chance and does not depend on the level of the scores.

    Args:
        scorer: gives scores (N, D) for N images and D detections; `black_box` has two.
        image_bgr: (H, W, 3) uint8, best at the size of the network's input.
        content_size: (width, height) of the photograph at the left and top of the image; None for all of it.
            The rest is never masked and has no heat.
        masks: number and kind of the masks; each costs one prediction. None takes the defaults.
        progress: whether progress is shown.

    Returns:
        (D, H, W), from 0 to 1, not stretched; 0 everywhere if the masks have no influence.

    Raises:
        InputError: the scorer gives a number that is not finite.

    >>> image = np.full((8, 8, 3), 255, np.uint8)
    >>> brightness_of_left_half = lambda images: images[:, :, :4].mean((1, 2, 3))[:, None]
    >>> heat = drise(brightness_of_left_half, image, masks=Masks(200, grid=2), progress=False)
    >>> bool(heat[0, :, :4].mean() > heat[0, :, 4:].mean())
    True
    """
    masks = masks or Masks()
    height, width = image_bgr.shape[:2]
    content = content_size or (width, height)
    sums: _Sums | None = None
    masked = masked_images(image_bgr, content, masks)
    title = f"scoring masked photographs, {masks.batch} at a time"
    with progress_shown(progress):
        for shown, images in track(masked, title, -(-masks.count // masks.batch)):
            scores = scorer(images)
            if not np.isfinite(scores).all():
                raise InputError(
                    "Expected scores from the detector, found one that is not a number; correct it first."
                )
            sums = sums or _Sums.empty(scores.shape[1], _map_size(content))
            sums.add(shown, scores)
    assert sums is not None
    heat = np.zeros((sums.products.shape[0], height, width), np.float32)
    for detection, correlation in enumerate(sums.correlations()):
        explained = (np.maximum(correlation, 0) ** 2).astype(np.float32)
        heat[detection, : content[1], : content[0]] = cv2.resize(
            explained, content, interpolation=cv2.INTER_LINEAR
        )
    return heat


def masked_images(
    image_bgr: NDArray[np.uint8], content_size: tuple[int, int], masks: Masks
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield masks (n, h, w) from 0 (covered) to 1 (shown), and the image (n, H, W, 3) seen through them."""
    width, height = content_size
    generator = np.random.default_rng(masks.seed)
    above_fill = image_bgr[:height, :width].astype(np.float32) - masks.fill
    for start in range(0, masks.count, masks.batch):
        count = min(masks.batch, masks.count - start)
        shown = np.stack([random_mask(content_size, generator, masks) for _ in range(count)])
        images = np.repeat(image_bgr[None], count, axis=0)
        images[:, :height, :width] = np.rint(above_fill * shown[..., None] + masks.fill)
        yield shown, images


def random_mask(size: tuple[int, int], generator: np.random.Generator, masks: Masks) -> NDArray[np.float32]:
    """Return a mask (h, w) from 0 (covered) to 1 (shown) for an image of `size` = (width, height).

    Each of the square cells is shown with the probability `keep`. The cells are interpolated linearly between
    their centres and moved by a random part of a cell, so that their borders lie everywhere (RISE, Petsiuk et
    al., arXiv:1806.07421, section 3.2).
    """
    width, height = size
    cell = max(size) / masks.grid
    columns, rows = int(np.ceil(width / cell)) + 2, int(np.ceil(height / cell)) + 2
    cells = (generator.random((rows, columns)) < masks.keep).astype(np.float32)
    # From half a cell inwards, where every pixel lies between four centres.
    right, down = generator.random(2) + 0.5
    x = ((np.arange(width) + 0.5) / cell + right - 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5) / cell + down - 0.5).astype(np.float32)
    across, along = np.meshgrid(x, y)
    return np.asarray(cv2.remap(cells, across, along, cv2.INTER_LINEAR), np.float32)


@dataclass
class _Sums:
    """Sums over masks from which the correlations of D scores with each pixel of the masks follow."""

    size: tuple[int, int]
    count: int
    shown: NDArray[np.float64]  # (h * w,)
    shown_squared: NDArray[np.float64]
    scores: NDArray[np.float64]  # (D,)
    scores_squared: NDArray[np.float64]
    products: NDArray[np.float64]  # (D, h * w)

    @classmethod
    def empty(cls, detections: int, size: tuple[int, int]) -> _Sums:
        pixels = np.zeros(size[0] * size[1])
        scores = np.zeros(detections)
        return cls(size, 0, pixels, pixels.copy(), scores, scores.copy(), np.zeros((detections, pixels.size)))

    def add(self, shown: Iterable[NDArray[np.float32]], scores: NDArray[np.float64]) -> None:
        """Add masks (n, h, w) and the scores (n, D) of the images seen through them."""
        rows = [cv2.resize(mask, self.size, interpolation=cv2.INTER_AREA).ravel() for mask in shown]
        masks = np.asarray(rows, np.float64)
        self.count += len(masks)
        self.shown += masks.sum(0)
        self.shown_squared += (masks**2).sum(0)
        self.scores += scores.sum(0)
        self.scores_squared += (scores**2).sum(0)
        self.products += scores.T @ masks

    def correlations(self) -> Iterator[NDArray[np.float64]]:
        """Yield for each detection the correlation (h, w), 0 where scores or masks do not vary."""
        n = self.count
        mask_spread = np.sqrt(np.maximum(self.shown_squared / n - (self.shown / n) ** 2, 0))
        score_spread = np.sqrt(np.maximum(self.scores_squared / n - (self.scores / n) ** 2, 0))
        for products, score, spread in zip(self.products, self.scores, score_spread, strict=True):
            together = products / n - self.shown / n * (score / n)
            both = mask_spread * spread
            # The spread of equal scores is a rounding error, not 0.
            varies = both > 1e-7 * max(1.0, abs(score / n))
            correlation = np.divide(together, both, out=np.zeros_like(together), where=varies)
            yield correlation.reshape(self.size[1], self.size[0])


def _map_size(content_size: tuple[int, int]) -> tuple[int, int]:
    shrink = min(1.0, MAP_SIDE / max(content_size))
    return max(1, round(content_size[0] * shrink)), max(1, round(content_size[1] * shrink))
