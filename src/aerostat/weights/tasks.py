"""Weights of a detector as a start for a network with masks, and the reverse."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from aerostat.model.rtmdet import ARCHITECTURES, Size
from aerostat.weights.openmmlab import has_masks


def for_task(
    state: Mapping[str, Tensor], fresh: Mapping[str, Tensor], size: Size
) -> tuple[dict[str, Tensor], str]:
    """Return a state dict for a network with masks from one without, or the reverse, and what was taken.

    With masks, classes and box distances share one tower. It becomes the tower of distances of a detector
    without masks, which takes the longer to learn: on three folds of the balloon photographs (320 px, 30
    epochs) AP of masks was 0.30 with the tower of classes in its place, and 0.45 with this one
    (benchmarks/balloon.md). What follows another tower than before is learned again.

    Args:
        state: under MMDetection's names; its classes are those of `fresh`.
        fresh: of the newly built network.
        size: of both networks.

    Returns:
        The state dict, and a clause on what was taken; the clause is empty if both have the same task.
    """
    if has_masks(state) == has_masks(fresh):
        return dict(state), ""
    taken = {name: state[name] for name in fresh if name.startswith(("backbone.", "neck.")) and name in state}
    same_distances = not ARCHITECTURES[size].exp_on_reg  # else the same number means another distance
    if has_masks(fresh):
        for tower in ("cls_convs", "reg_convs", "kernel_convs"):
            taken |= _renamed(state, "reg_convs", tower)
        clause = "weights without masks: backbone, neck and towers{} are taken over, {}classes, kernels and "
        clause += "the mask branch are fresh"
    else:
        for part in ("cls_convs", "reg_convs", "rtm_cls"):
            taken |= _renamed(state, part, part)
        clause = "weights with masks: backbone, neck, towers, classes{} are taken over{}"
    if same_distances:
        taken |= _renamed(state, "rtm_reg", "rtm_reg")
        clause = clause.format(" and box distances", "")
    else:
        clause = clause.format("", "box distances, " if has_masks(fresh) else ", box distances are fresh")
    return {**fresh, **{name: taken[name] for name in fresh if name in taken}}, clause


def _renamed(state: Mapping[str, Tensor], part: str, to: str) -> dict[str, Tensor]:
    start = f"bbox_head.{part}."
    return {
        f"bbox_head.{to}.{name.removeprefix(start)}": tensor
        for name, tensor in state.items()
        if name.startswith(start)
    }
