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

    With masks, classes and box distances share one tower, which is the class tower of a detector without
    masks. Its tower of distances becomes that of the kernels, which are about shapes, too. Distances that
    come from another tower are learned again, and so is what only one of the networks has.

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
    taken |= _renamed(state, "cls_convs", "cls_convs") | _renamed(state, "rtm_cls", "rtm_cls")
    if has_masks(fresh):
        taken |= _renamed(state, "cls_convs", "reg_convs") | _renamed(state, "reg_convs", "kernel_convs")
        clause = (
            "weights without masks: backbone, neck, towers and classes are taken over, box distances, "
            "kernels and the mask branch are fresh"
        )
    else:
        taken |= _renamed(state, "reg_convs", "reg_convs")
        clause = "weights with masks: backbone, neck, towers and classes are taken over"
        if ARCHITECTURES[size].exp_on_reg:  # the same number means another distance
            clause += ", box distances are fresh"
        else:
            taken |= _renamed(state, "rtm_reg", "rtm_reg")
            clause += ", and so are box distances"
    return {**fresh, **{name: taken[name] for name in fresh if name in taken}}, clause


def _renamed(state: Mapping[str, Tensor], part: str, to: str) -> dict[str, Tensor]:
    start = f"bbox_head.{part}."
    return {
        f"bbox_head.{to}.{name.removeprefix(start)}": tensor
        for name, tensor in state.items()
        if name.startswith(start)
    }
