"""Batches reach the device as they were made; on the CPU they are the loader's own tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.pipeline.loader import Batch
from aerostat.training.device import place, to_device


def batch(counts=(2, 0, 1), seed=0):
    g = torch.Generator().manual_seed(seed)
    return Batch(
        images=torch.randint(0, 256, (len(counts), 3, 8, 8), generator=g, dtype=torch.uint8),
        boxes=[torch.rand(n, 4, generator=g) for n in counts],
        labels=[torch.zeros(n, dtype=torch.int64) for n in counts],
        file_names=[f"{i}.jpg" for i in range(len(counts))],
    )


def test_on_the_cpu_nothing_is_copied():
    one = batch()
    there = place(one, torch.device("cpu"))
    assert there.batch is one and there.images is one.images
    assert all(a is b for a, b in zip(there.boxes, one.boxes, strict=True))


def test_all_batches_come_in_order_and_none_is_made_before_it_is_asked_for():
    made = []

    def making():
        for seed in range(3):
            made.append(seed)
            yield batch(seed=seed)

    stream = to_device(making(), torch.device("cpu"))
    next(stream)
    assert made == [0]
    assert [x.images[0, 0, 0, 0].item() for x in stream] == [
        batch(seed=s).images[0, 0, 0, 0].item() for s in (1, 2)
    ]
    assert not list(to_device([], torch.device("cpu")))


@pytest.mark.parametrize("counts", [(2, 0, 1), (0, 0), (3,)])
def test_on_another_device_each_image_gets_its_own_boxes_again(counts):
    """`meta` stands for a device: boxes of all images go there in one tensor, and are split there."""
    there = place(batch(counts), torch.device("meta"))
    assert [len(b) for b in there.boxes] == [len(x) for x in there.labels] == list(counts)
    assert there.images.device.type == "meta" and all(b.shape[1:] == (4,) for b in there.boxes)
    assert [len(b) for b in there.batch.boxes] == list(counts)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_masks_stay_in_the_memory_of_the_host(device):
    masks = [rasterise(Outlines.of([], {}, (8, 8)), np.zeros((0, 4)), (8, 8), 4) for _ in range(2)]
    there = place(replace(batch((0, 0)), masks=masks), torch.device(device))
    assert there.masks is masks
    assert place(batch((0, 0)), torch.device(device)).masks is None
