"""Does a map come from what the network has learnt? The same map with weights that have learnt nothing."""

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

Part = Literal["head", "network"]
PARTS: tuple[Part, ...] = get_args(Part)
SAME_CORRELATION = 0.9
"""Rank correlation from which on a map counts as the same."""


def with_random_weights(net: RTMDet, part: Part, *, seed: int = 0) -> RTMDet:
    """Return a copy of a network that has learnt nothing, or whose head has learnt nothing.

    The weights of each convolution are shuffled, which keeps their sizes; batch normalisation goes by what
    they make of the very images it is given: by what the trained weights made, signals would die away or
    explode.

    Args:
        net: left as it is.
        part: the head alone, or all of it.
        seed: of the shuffle.
    """
    copied = private_copy(net)
    generator = torch.Generator().manual_seed(seed)
    for module in (copied.bbox_head if part == "head" else copied).modules():
        if isinstance(module, nn.Conv2d):
            weights = module.weight.flatten()
            order = torch.randperm(len(weights), generator=generator).to(weights.device)
            shuffled = weights[order].reshape(module.weight.shape)
            module.weight = nn.Parameter(shuffled, requires_grad=False)  # the memory is the caller's
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
) -> dict[str, float]:
    """Return how alike an explanation's map and that of the same candidates with random weights are.

    Maps that stay the same show the photograph, such as its edges, and not what the network sees in it
    (Adebayo et al., "Sanity Checks for Saliency Maps", arXiv:1810.03292). What is explained is the score of
    the very candidates that make up the detection in the trained network.

    Args:
        detector: that made the detection.
        image: the photograph: a file, or an image (H, W, 3) uint8 BGR.
        explanation: of it.
        parts: what is randomised, the head alone or the whole network.
        seed: of the random weights.

    Returns:
        By part the rank correlation of both maps over the photograph, see `rank_correlation`. From
        `SAME_CORRELATION` on the explanation has failed.
    """
    image_bgr = image if isinstance(image, np.ndarray) else read_image(image)
    size = explanation.letterbox.resized_size
    heat = explanation.heat_at(size)
    found: dict[str, float] = {}
    for part in parts:
        net = with_random_weights(detector.net, part, seed=seed)
        again = explain_with(net, detector, image_bgr, explanation)
        found[str(part)] = rank_correlation(heat, again.heat_at(size))
    return found


def rank_correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Spearman's rank correlation of two maps of one shape, from -1 to 1.

    It is taken over the pixels where at least one of them has heat: most maps are 0 nearly everywhere, and
    would be alike for that alone. Equal values share the mean of their ranks.

    Returns:
        0 if there are no such pixels, or one of the maps is the same in all of them.
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
