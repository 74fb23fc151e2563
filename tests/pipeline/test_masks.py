"""Outlines through the augmentation: against the steps one by one, and beside boxes and pixels."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

import aerostat as ae
from aerostat.datasets.records import ImageRecord, Instance
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.geometry.polygons import ellipse
from aerostat.pipeline.layout import Source, arrange, placed_outlines
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation, draw_plan

from . import stepwise

SIDE = 256
SIZES = [(400, 300), (300, 400), (256, 256), (640, 200), (900, 700)]


def disc_source(rng, size):
    """An image that is white inside of one ellipse and black elsewhere, with the ellipse as its object."""
    radius = rng.uniform(0.2, 0.45, 2) * size
    centre = rng.uniform(0.4, 0.6, 2) * size
    outline = ellipse(*centre, *radius, theta=float(rng.uniform(0, 3)))
    outline = np.clip(outline, 0, size)
    mask = rasterise(Outlines.of([[outline]], {}, size), np.zeros((1, 4)), size, 1).dense(size)[0]
    box = np.concatenate([outline.min(0), outline.max(0)]).astype(np.float32)[None]
    image = np.repeat(mask[..., None] * np.uint8(255), 3, 2)
    return Source(size, box, np.zeros(1, np.int64)), Outlines.of([[outline]], {}, size), image


def read(source, image):
    sample = stepwise.drop_small(
        stepwise.clipped(stepwise.Sample(image, source.boxes_xyxy, source.labels)), 0.0
    )
    return stepwise.resize_to_fit(sample, 2 * SIDE) if max(sample.size) > 2 * SIDE else sample


@pytest.mark.parametrize("stage", [1, 2])
@pytest.mark.parametrize("mosaic", [0.0, 1.0])
def test_masks_differ_from_the_steps_on_less_than_a_hundredth_of_their_pixels(stage, mosaic):
    """The steps resize a picture of the masks bilinearly; a pixel is inside above half of white.

    Where two images of a Mosaic meet, the steps blend their pictures, which moves single pixels.
    """
    augmentation = Augmentation(
        input_size=SIDE, mosaic=mosaic, mixup=0.0, hsv_delta=(0.0, 0.0, 0.0), mask_stride=1
    )
    rng = np.random.default_rng(0)
    shares = []
    for position in range(25):
        drawn = [disc_source(rng, SIZES[i]) for i in rng.integers(0, len(SIZES), 4)]
        plan = draw_plan(augmentation, 0, stage, position)
        drawn = drawn if plan.mosaic_partners else drawn[:1]
        sources, outlines, images = zip(*drawn, strict=True)
        ready = iter([read(source, image) for source, image in zip(sources, images, strict=True)])
        expected = stepwise.sample_before_mixup(
            augmentation, 0, stage, position, lambda _, ready=ready: next(ready)
        )
        theirs = expected.image_bgr[..., 0] > 127
        layout = arrange(plan, augmentation, stage, sources)
        placed = placed_outlines(layout, sources, outlines, plan.flip)
        ours = rasterise(placed, layout.boxes_xyxy, (SIDE, SIDE), 1).dense((SIDE, SIDE)).any(0)
        if theirs.sum() > 48 * 48:
            shares.append((ours != theirs).sum() / theirs.sum())
    assert len(shares) > 15
    assert np.mean(shares) < 0.005
    assert max(shares) < (0.015 if mosaic else 0.01)


def some_images(balloon):
    return ae.Dataset.read(balloon, classes=["balloon"]).split("train").images[:12]


def batches(images, stride, **changes):
    augmentation = Augmentation(input_size=160, mask_stride=stride, **changes)
    loader = TrainLoader(images, augmentation=augmentation, batch_size=6, threads=0, seed=3)
    return [batch for stage in (1, 2) for batch in loader.epoch(0, stage)]


@pytest.mark.parametrize("changes", [{}, {"mixup": 1.0}, {"copy_paste": 2}])
def test_masks_change_neither_pixels_nor_boxes(balloon, changes):
    images = some_images(balloon)
    for plain, masked in zip(batches(images, None, **changes), batches(images, 4, **changes), strict=True):
        assert (plain.images == masked.images).all()
        assert plain.masks is None and len(masked.masks) == 6
        for boxes, other, labels, masks in zip(
            plain.boxes, masked.boxes, plain.labels, masked.masks, strict=True
        ):
            assert (boxes == other).all() and len(labels) == len(masks)


@pytest.mark.parametrize("changes", [{}, {"mixup": 1.0}, {"copy_paste": 3}])
def test_masks_lie_in_their_boxes_and_fill_them(balloon, changes):
    filled = []
    for batch in batches(some_images(balloon), 1, **changes):
        for boxes, masks in zip(batch.boxes, batch.masks, strict=True):
            dense = masks.dense((160, 160))
            assert masks.known.all()
            for (x1, y1, x2, y2), mask, centre in zip(boxes.tolist(), dense, masks.centres, strict=True):
                rows, columns = np.nonzero(mask)
                if len(rows) < 100:
                    continue
                assert x1 - 2 <= columns.min() and columns.max() <= x2 + 2
                assert y1 - 2 <= rows.min() and rows.max() <= y2 + 2
                assert np.allclose(centre, (columns.mean(), rows.mean()), atol=1e-3)
                filled.append(mask.sum() / ((x2 - x1) * (y2 - y1)))
    assert len(filled) > 20
    assert np.median(filled) > 0.6


def test_run_length_masks_and_outlines_give_the_same_targets(balloon):
    images = some_images(balloon)
    records = []
    for record in images:
        size = (record.width, record.height)
        rows = []
        for each in record.instances:
            mask = rasterise(Outlines.of([each.polygons], {}, size), np.zeros((1, 4)), size, 1).dense(size)
            rle = ae.Masks.from_dense(mask).to_coco()[0]
            rows.append(replace(each, polygons=(), rle=rle))
        records.append(replace(record, instances=rows))
    for one, other in zip(batches(images, 4), batches(records, 4), strict=True):
        for mine, theirs in zip(one.masks, other.masks, strict=True):
            assert theirs.known.all()
            dense, rasterised = mine.dense((40, 40)), theirs.dense((40, 40))
            assert (dense != rasterised).sum() <= 0.03 * max(dense.sum(), 1) + 8


def test_crowd_regions_and_boxes_alone_have_no_masks(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((100, 100, 3), np.uint8))
    square = np.asarray([(10.0, 10.0), (60.0, 10.0), (60.0, 60.0), (10.0, 60.0)])
    objects = (
        Instance((10, 10, 60, 60), 0, (square,), crowd=True),
        Instance((20, 20, 70, 70), 0),
        Instance((10, 10, 60, 60), 0, (square,)),
    )
    record = ImageRecord(path, "a.png", 100, 100, objects)
    augmentation = Augmentation(input_size=96, mosaic=0.0, mixup=0.0, mask_stride=4)
    loader = TrainLoader([record], augmentation=augmentation, batch_size=1, threads=0)
    (batch,) = loader.epoch(0, 2)
    assert batch.masks[0].known.tolist() == [False, True]
    assert len(batch.boxes[0]) == 2
