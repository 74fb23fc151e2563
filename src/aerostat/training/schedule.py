"""The learning rate over the iterations: linear warm-up, flat, cosine (published RTMDet schedule)."""

from __future__ import annotations

import math


def lr_factor(
    iteration: int,
    total: int,
    *,
    warmup_iterations: int,
    warmup_factor: float,
    cosine_start: float,
    final_lr_factor: float,
) -> float:
    """Return the factor of the learning rate at an iteration.

    Args:
        iteration: counted from 0.
        total: iterations of the whole run.
        warmup_iterations: the factor rises linearly from `warmup_factor` to 1 over these.
        warmup_factor: the factor of iteration 0.
        cosine_start: share of the run after which a cosine leads down to `final_lr_factor`.
        final_lr_factor: the factor of the last iteration.
    """
    start = int(total * cosine_start)
    progress = min(max(iteration - start, 0) / max(total - 1 - start, 1), 1.0)
    factor = final_lr_factor + (1 - final_lr_factor) * 0.5 * (1 + math.cos(math.pi * progress))
    if iteration < warmup_iterations:
        factor *= warmup_factor + (1 - warmup_factor) * iteration / warmup_iterations
    return factor
