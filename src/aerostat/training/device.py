"""Batches on the device of a run; on a GPU they are copied before they are used."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from aerostat.geometry.mask_targets import MaskTargets
from aerostat.pipeline.loader import Batch


@dataclass(frozen=True, slots=True, eq=False)
class DeviceBatch:
    """A batch and its tensors on the device of the run.

    Args:
        batch: as the loader made it, in the host's memory.
        images: (N, 3, S, S) uint8.
        boxes: for each image (n, 4) float32.
        labels: for each image (n,) int64.
        masks: for each image the masks of its objects, in the host's memory; None without masks.
    """

    batch: Batch
    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    masks: list[MaskTargets] | None = None


def to_device(batches: Iterable[Batch], device: torch.device) -> Generator[DeviceBatch]:
    """Yield batches on a device.

    The next batch is copied to a GPU from page-locked memory, on its own stream, while the present one is
    learned from. The host waits for neither.
    """
    if device.type != "cuda":
        for batch in batches:
            yield place(batch, device)
        return
    aside = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    coming: DeviceBatch | None = None
    for batch in batches:
        with torch.cuda.stream(aside):
            following = place(batch, device)
        if coming is not None:
            yield _awaited(coming, aside, device)
        coming = following
    if coming is not None:
        yield _awaited(coming, aside, device)


def place(batch: Batch, device: torch.device) -> DeviceBatch:
    """Return a batch with its tensors on the device, without waiting for a copy to a GPU."""
    if device.type == "cpu":
        return DeviceBatch(batch, batch.images, batch.boxes, batch.labels, batch.masks)
    counts = [len(boxes) for boxes in batch.boxes]
    # All boxes in one copy: a copy for each image would be two launches per image.
    images, boxes, labels = (
        _sent(x, device) for x in (batch.images, torch.cat(batch.boxes), torch.cat(batch.labels))
    )
    split = list(torch.split(boxes, counts)), list(torch.split(labels, counts))
    return DeviceBatch(batch, images, *split, batch.masks)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":
        return tensor.pin_memory(device).to(device, non_blocking=True)
    return tensor.to(device)


def _awaited(
    coming: DeviceBatch, aside: torch.cuda.Stream, device: torch.device
) -> DeviceBatch:  # only on a GPU
    """Let the present stream wait for the copies, and keep their memory while it uses them."""
    present = torch.cuda.current_stream(device)
    present.wait_stream(aside)
    for tensor in (coming.images, *coming.boxes, *coming.labels):
        tensor.record_stream(present)
    return coming
