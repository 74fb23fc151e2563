"""Objects cut out and pasted: where, how large, with which pixels and boxes."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.geometry.masks import Masks
from aerostat.geometry.outlines import rasterise
from aerostat.pipeline.copy_paste import CutOut, outlined, paste, pasted_outlines, place_for
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation, draw_plan

SQUARE = np.asarray([[20.0, 30.0], [60.0, 30.0], [60.0, 50.0], [20.0, 50.0]])
TRIANGLE = np.asarray([[20.0, 30.0], [60.0, 30.0], [20.0, 50.0]])
NONE = np.zeros((0, 4), np.float32)


def instance(polygon, label=1, **changes):
    (x1, y1), (x2, y2) = polygon.min(0), polygon.max(0)
    return Instance((x1, y1, x2, y2), label, (polygon,), **changes)


def test_an_object_arrives_with_its_own_pixels_inside_its_outline_and_nowhere_else():
    source = np.full((80, 100, 3), (200, 100, 50), np.uint8)
    canvas = np.full((64, 64, 3), 90, np.uint8)
    box = paste(CutOut(instance(TRIANGLE), (100, 80), 1.0, False), source, (5, 7), (0, 0, 0), canvas)
    assert box.tolist() == [5, 7, 45, 27]
    changed = (canvas != 90).any(2)
    assert (
        not changed[:6].any()
        and not changed[28:].any()
        and not changed[:, :4].any()
        and not changed[:, 46:].any()
    )
    assert canvas[10, 10].tolist() == [200, 100, 50]  # well inside
    assert canvas[25, 42].tolist() == [90, 90, 90]  # in the box, outside of the triangle
    covered = canvas[..., 0] > 145  # more than half of the object's blue: the edge is soft
    assert covered.sum() == pytest.approx(400, rel=0.1)  # half of 40 x 20


def test_scale_and_mirror_and_another_reading_size():
    source = np.full((80, 100, 3), 10, np.uint8)
    cv2.fillPoly(source, [TRIANGLE.astype(np.int32)], (200, 100, 50))
    half = cv2.resize(source, (50, 40), interpolation=cv2.INTER_AREA)
    canvas = np.full((64, 64, 3), 90, np.uint8)
    cut_out = CutOut(instance(TRIANGLE), (100, 80), 0.5, True)
    assert cut_out.pasted_size == (20, 10)
    box = paste(cut_out, half, (30, 30), (0, 0, 0), canvas)
    assert box.tolist() == [30, 30, 50, 40]
    assert canvas[32, 46].tolist() == pytest.approx(
        [200, 100, 50], abs=12
    )  # the right angle is at the right now
    assert canvas[38, 32].tolist() == [90, 90, 90]


def masked(mask, box, label=1, **changes):
    return Instance(box, label, rle=Masks.from_dense(mask[None]).to_coco()[0], **changes)


def test_a_run_length_mask_arrives_with_its_holes():
    source = np.full((80, 100, 3), (200, 100, 50), np.uint8)
    ring = np.zeros((80, 100), bool)
    ring[30:50, 20:60] = True
    ring[35:45, 30:50] = False
    canvas = np.full((64, 64, 3), 90, np.uint8)
    cut_out = CutOut(masked(ring, (20, 30, 60, 50)), (100, 80), 1.0, False)
    box = paste(cut_out, source, (5, 7), (0, 0, 0), canvas)
    assert box.tolist() == [5, 7, 45, 27]
    covered = canvas[..., 0] > 145
    assert covered[7:27, 5:45].sum() == covered.sum() == pytest.approx(ring.sum(), abs=30)
    assert not covered[13:21, 16:34].any()
    mask = rasterise(pasted_outlines(cut_out, (5, 7)), box[None], (64, 64), 1).dense((64, 64))[0]
    assert np.array_equal(mask[7:27, 5:45], ring[30:50, 20:60]) and mask.sum() == ring.sum()


def test_overlapping_outlines_of_an_object_are_united():
    source = np.full((80, 100, 3), (200, 100, 50), np.uint8)
    canvas = np.full((64, 64, 3), 90, np.uint8)
    both = Instance((20, 30, 60, 50), 1, (SQUARE, TRIANGLE))
    paste(CutOut(both, (100, 80), 1.0, False), source, (5, 7), (0, 0, 0), canvas)
    assert (canvas[7:27, 5:45, 0] == 200).all()


@pytest.mark.parametrize(("size", "counts"), [((80, 100), "]"), ((80, 100), [8000]), ((8, 10), [0, 80])])
def test_a_broken_mask_is_not_pasted(size, counts):
    canvas = np.full((64, 64, 3), 90, np.uint8)
    rle = {"size": list(size), "counts": counts}
    cut_out = CutOut(Instance((20, 30, 60, 50), 1, rle=rle), (100, 80), 1.0, False)
    assert paste(cut_out, np.zeros((80, 100, 3), np.uint8), (5, 7), (0, 0, 0), canvas) is None
    assert (canvas == 90).all()


def test_a_place_hides_little_of_others():
    taken = np.asarray([[0, 0, 50, 100]], np.float32)
    # of the large object 800 of 5,000 px would be hidden, which is little; of the small one all
    assert place_for((40, 20), (100, 100), taken, [(0.0, 0.0)], 100) == (0, 0)
    small = np.asarray([[5, 5, 15, 15]], np.float32)
    assert place_for((40, 20), (100, 100), small, [(0.0, 0.0), (0.99, 0.99)], 100) == (60, 80)
    assert place_for((40, 20), (100, 100), small, [(0.0, 0.0)], 100) is None


@pytest.mark.parametrize(
    ("size", "window"),
    [((7, 20), (100, 100)), ((90, 20), (100, 100)), ((40, 20), (30, 100)), ((40, 20), (100, 10))],
)
def test_what_is_too_small_or_too_large_is_left_out(size, window):
    assert place_for(size, window, NONE, [(0.0, 0.0)], 100) is None


def test_only_outlined_objects_that_are_no_crowd_can_be_cut_out():
    boxed = Instance((0, 0, 10, 10), 0)
    mask = masked(np.ones((80, 100), bool), (20, 30, 60, 50))
    objects = (boxed, instance(SQUARE), instance(SQUARE, crowd=True), mask, replace(mask, crowd=True))
    record = ImageRecord(Path("a"), "a", 100, 80, objects)
    assert outlined(record) == [record.instances[1], record.instances[3]]


def test_pasting_moves_no_other_draw_and_stays_out_of_stage_2():
    plain, pasting = Augmentation(), Augmentation(copy_paste=5)
    counts = []
    for position in range(50):
        with_paste = draw_plan(pasting, 3, 1, position)
        without = draw_plan(plain, 3, 1, position)
        for name in ("mosaic_partners", "mosaic_centre", "resize_ratio", "crop_offsets", "hsv_gains", "flip",
                     "mixup_partner", "mixup_flip"):  # fmt: skip
            assert getattr(with_paste, name) == getattr(without, name)
        assert without.pastings == () == draw_plan(pasting, 3, 2, position).pastings
        counts.append(len(with_paste.pastings))
        assert all(
            1 <= p.back <= 20 and 0.5 <= p.ratio < 2 and 0 <= p.choice < 1 for p in with_paste.pastings
        )
    assert set(counts) == set(range(6))


@pytest.fixture
def images(tmp_path) -> list[ImageRecord]:
    records = []
    for i in range(4):
        image = np.full((160, 200, 3), 60, np.uint8)
        polygon = np.asarray([[40.0, 40.0], [120.0, 40.0], [120.0, 120.0], [40.0, 120.0]])
        cv2.fillPoly(image, [polygon.astype(np.int32)], (40 * i, 200, 255 - 40 * i))
        cv2.imwrite(str(tmp_path / f"{i}.png"), image)
        records.append(ImageRecord(tmp_path / f"{i}.png", f"{i}.png", 200, 160, (instance(polygon, i),), i))
    return records


def batches(images, threads, copy_paste=4):
    augmentation = Augmentation(input_size=128, copy_paste=copy_paste)
    return list(TrainLoader(images, augmentation=augmentation, batch_size=4, threads=threads).epoch(0, 1))


def test_samples_hold_the_pasted_objects_whatever_the_threads(images):
    (alone,), (threaded,), (plain,) = batches(images, 0), batches(images, 3), batches(images, 0, 0)
    assert (alone.images == threaded.images).all()
    assert all((a == b).all() for a, b in zip(alone.boxes, threaded.boxes, strict=True))
    more = [len(a) - len(b) for a, b in zip(alone.boxes, plain.boxes, strict=True)]
    assert min(more) >= 0 and max(more) > 0
    for boxes, labels in zip(alone.boxes, alone.labels, strict=True):
        assert len(boxes) == len(labels)
        assert (boxes >= 0).all() and (boxes <= 128).all() and (boxes[:, 2:] > boxes[:, :2]).all()


def test_samples_hold_objects_with_run_length_masks_and_none_with_broken_ones(images):
    mask = np.zeros((160, 200), bool)
    mask[40:120, 40:120] = True
    whole = [replace(image, instances=(masked(mask, (40, 40, 120, 120)),)) for image in images]
    broken = {"size": [160, 200], "counts": [3, 4]}
    bad = [replace(image, instances=(replace(image.instances[0], rle=broken),)) for image in whole]
    (pasted,), (none,), (plain,) = batches(whole, 0), batches(bad, 0), batches(whole, 0, 0)
    more = [len(a) - len(b) for a, b in zip(pasted.boxes, plain.boxes, strict=True)]
    assert min(more) >= 0 and max(more) > 0
    assert [len(a) for a in none.boxes] == [len(b) for b in plain.boxes]
    assert (none.images == plain.images).all()


def test_images_without_outlines_and_broken_ones_are_passed_over(images, tmp_path):
    boxed = [
        ImageRecord(i.path, i.file_name, 200, 160, (Instance(i.instances[0].box_xyxy, 0),)) for i in images
    ]
    (plain,), (pasting,) = batches(boxed, 0, 0), batches(boxed, 0, 4)
    assert (plain.images == pasting.images).all()
    (tmp_path / "1.png").write_bytes((tmp_path / "1.png").read_bytes()[:200])
    (batch,) = batches(images, 0)
    assert len(batch.boxes) == 4
