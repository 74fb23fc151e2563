"""D-RISE: what a detector looks at, found out by covering parts of the photograph (arXiv:2006.03204)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from aerostat.errors import InputError
from aerostat.explanation.black_box import BATCH, Scorer
from aerostat.images.letterbox import PAD_VALUE
from aerostat.progress import track

MASKS = 1000
"""Masked photographs that the detector is asked about. On the balloon photographs insertion still gains from
600 to 1000 (0.92 to 0.935), after 0.87 with 300."""
GRID = 16
"""Cells of a mask along the photograph's longer side, as in the paper; with 24 insertion gets worse."""
KEEP = 0.5
"""Chance of a cell to show the photograph (as in the paper)."""
MAP_SIDE = 160
"""Longer side of the maps while they are summed up: ten samples per cell of the masks hold all there is."""


def drise(
    scorer: Scorer,
    image_bgr: NDArray[np.uint8],
    content_size: tuple[int, int] | None = None,
    *,
    masks: int = MASKS,
    grid: int = GRID,
    keep: float = KEEP,
    fill: int = PAD_VALUE,
    seed: int = 0,
    batch: int = BATCH,
) -> NDArray[np.float32]:
    """Return for each explained detection where the photograph must be seen for it to be found.

    The photograph is shown through random masks. Where masks let more of it through than others and the
    detection is found better with these, there is heat. In the paper a pixel's heat is the sum of the masks
    weighted by the similarity of the best candidate to the explained detection; under that lies the sum that
    masks without any influence would have, higher than what they tell. Here it is the square of the
    correlation of what the masks show of the pixel with the similarity, where that is positive: the share of
    the ups and downs of the score that seeing this pixel explains. The order of the pixels is nearly the
    same, chance has little heat, and the level of the scores has no influence.

    Args:
        scorer: answers (N, D) for N images and D detections; `black_box` has two.
        image_bgr: (H, W, 3) uint8, best at the size of the network's input: each mask costs one prediction.
        content_size: (width, height) of the photograph at the left and top of the image; None for all of it.
            The rest is never masked and has no heat.
        masks: at least 2; the more, the finer and steadier the map.
        grid: cells of a mask along the longer side.
        keep: chance of a cell to be shown.
        fill: grey of what is covered; the letterbox's own is what the network has learnt to see nothing in.
        seed: of the masks; the same seed gives the same map.
        batch: masked images handed over at a time.

    Returns:
        (D, H, W), from 0 to 1, not stretched; all 0 where the masks have no influence.

    Raises:
        InputError: a number is out of its range, or the scorer gives something that is not a number.
    """
    check_masks(masks, grid, keep, batch)
    height, width = image_bgr.shape[:2]
    content = content_size or (width, height)
    sums: _Sums | None = None
    masked = masked_images(
        image_bgr, content, masks=masks, grid=grid, keep=keep, fill=fill, seed=seed, batch=batch
    )
    for shown, images in track(
        masked, f"asking about masked photographs, {batch} at a time", -(-masks // batch)
    ):
        scores = scorer(images)
        if not np.isfinite(scores).all():
            raise InputError(
                "Expected scores from the detector, found one that is not a number; mend it first."
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
    image_bgr: NDArray[np.uint8],
    content_size: tuple[int, int],
    *,
    masks: int = MASKS,
    grid: int = GRID,
    keep: float = KEEP,
    fill: int = PAD_VALUE,
    seed: int = 0,
    batch: int = BATCH,
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.uint8]]]:
    """Yield masks (n, h, w) from 0 (covered) to 1 (shown), and the image (n, H, W, 3) seen through them."""
    width, height = content_size
    generator = np.random.default_rng(seed)
    above_fill = image_bgr[:height, :width].astype(np.float32) - fill
    for start in range(0, masks, batch):
        count = min(batch, masks - start)
        shown = np.stack([random_mask(content_size, generator, grid=grid, keep=keep) for _ in range(count)])
        images = np.repeat(image_bgr[None], count, axis=0)
        images[:, :height, :width] = np.rint(above_fill * shown[..., None] + fill)
        yield shown, images


def random_mask(
    size: tuple[int, int], generator: np.random.Generator, *, grid: int = GRID, keep: float = KEEP
) -> NDArray[np.float32]:
    """Return a mask (h, w) from 0 (covered) to 1 (shown) for an image of `size` = (width, height).

    Square cells are drawn, each shown with the chance `keep`, interpolated linearly between their centres and
    moved by a random part of a cell, so that cell borders lie everywhere (RISE, Petsiuk et al.,
    arXiv:1806.07421, section 3.2).
    """
    width, height = size
    cell = max(size) / grid
    columns, rows = int(np.ceil(width / cell)) + 2, int(np.ceil(height / cell)) + 2
    cells = (generator.random((rows, columns)) < keep).astype(np.float32)
    # From half a cell inwards, where every pixel lies between four centres.
    right, down = generator.random(2) + 0.5
    x = ((np.arange(width) + 0.5) / cell + right - 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5) / cell + down - 0.5).astype(np.float32)
    across, along = np.meshgrid(x, y)
    return np.asarray(cv2.remap(cells, across, along, cv2.INTER_LINEAR), np.float32)


@dataclass
class _Sums:
    """What correlations of D scores with every pixel of the masks are made of, summed up mask by mask."""

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
            # Equal scores have a spread of rounding errors.
            varies = both > 1e-7 * max(1.0, abs(score / n))
            found = np.divide(together, both, out=np.zeros_like(together), where=varies)
            yield found.reshape(self.size[1], self.size[0])


def _map_size(content_size: tuple[int, int]) -> tuple[int, int]:
    shrink = min(1.0, MAP_SIDE / max(content_size))
    return max(1, round(content_size[0] * shrink)), max(1, round(content_size[1] * shrink))


def check_masks(masks: int, grid: int = GRID, keep: float = KEEP, batch: int = BATCH) -> None:
    """Refuse numbers that `drise` cannot work with.

    Raises:
        InputError: naming them.
    """
    if masks < 2:
        raise InputError(
            f"Expected at least 2 masks for D-RISE, found {masks}; a thousand give a steady map."
        )
    if grid < 1 or batch < 1 or not 0 < keep < 1:
        raise InputError(
            "Expected masks of at least 1 cell, shown with a chance between 0 and 1, in batches of at least "
            f"1; found grid {grid}, keep {keep}, batch {batch}."
        )
