"""Randomisation check: the similarity of a map to the map of a network with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from aerostat.explanation.boxam import explain_with
from aerostat.explanation.named_layers import private_copy
from aerostat.explanation.result import Explanation
from aerostat.images.read import read_image
from aerostat.inference.detector import Detector
from aerostat.model import RTMDet
from aerostat.progress import progress_shown

Part = Literal["head", "network"]
PARTS: tuple[Part, ...] = get_args(Part)
SAME_CORRELATION = 0.9
"""Minimum rank correlation at which two maps count as the same."""


def with_random_weights(net: RTMDet, part: Part, *, seed: int = 0) -> RTMDet:
    """Return a copy of a network with shuffled weights.

    The weights of each convolution are shuffled, which keeps their distribution. Batch normalisation uses the
    statistics of its input: with those of the trained weights, signals would vanish or explode.

    Args:
        net: a network; it stays as it is.
        part: the head, or the whole network.
        seed: seed of the shuffle.
    """
    copied = private_copy(net)
    generator = torch.Generator().manual_seed(seed)
    for module in (copied.bbox_head if part == "head" else copied).modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.flatten()
            order = torch.randperm(len(weights), generator=generator).to(weights.device)
            shuffled = weights[order].reshape(module.weight.shape)
            module.weight = nn.Parameter(
                shuffled, requires_grad=False
            )  # not in place: the memory is shared with the caller's network
        elif isinstance(module, nn.BatchNorm2d):
            module.running_mean, module.running_var = None, None
            module.track_running_stats = False
    return copied


def randomisation_check(
    detector: Detector,
    image: Path | str | NDArray[np.uint8],
    explanation: Explanation,
    *,
    parts: Sequence[Part] = PARTS,
    seed: int = 0,
    progress: bool = True,
) -> dict[str, float]:
    """Return the similarity of an explanation's map to its map with random weights.

    A map that stays the same shows the photograph, such as its edges, and not what the network has learned
    (Adebayo et al., "Sanity Checks for Saliency Maps", arXiv:1810.03292). Both maps explain the same
    candidates: those of the detection in the trained network.

    Args:
        detector: detector of the explained detection.
        image: path, or photograph (H, W, 3) uint8 BGR.
        explanation: an explanation of it.
        parts: parts with random weights: the head, or the whole network.
        seed: seed of the random weights.
        progress: whether progress is shown.

    Returns:
        By part the rank correlation of both maps over the photograph, see `rank_correlation`. From
        `SAME_CORRELATION` on the explanation has failed.
    """
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    size = explanation.letterbox.resized_size
    heat = explanation.heat_at(size)
    correlations: dict[str, float] = {}
    with progress_shown(progress):
        for part in parts:
            net = with_random_weights(detector.net, part, seed=seed)
            again = explain_with(net, detector, image_bgr, explanation)
            correlations[str(part)] = rank_correlation(heat, again.heat_at(size))
    return correlations


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two maps of one shape, from -1 to 1.

    Only pixels with heat in at least one map count, because most maps are 0 nearly everywhere. Equal values
    share the mean of their ranks.

    Returns:
        0 without such pixels, or if one of the maps is constant over them.
    """
    warm = (a > 0) | (b > 0)
    first, second = (_ranks(values[warm]) for values in (a, b))
    first, second = first - first.mean(), second - second.mean()
    spread = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum() / spread) if spread > 0 else 0.0


def _ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    if not values.size:
        return np.zeros(1)
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
