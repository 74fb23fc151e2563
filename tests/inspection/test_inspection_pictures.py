"""Which images are shown, and how: chosen fairly, drawn in place, batches to the pixel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.draw.palette import class_colour
from aerostat.errors import InputError
from aerostat.geometry.outlines import Outlines, rasterise
from aerostat.inspection.pictures import (
    MAX_CELL,
    PICTURE_PIXELS,
    choose_images,
    draw_labels,
    read_shown,
    sheet_layout,
    split_pictures,
    stage_pictures,
)
from aerostat.pipeline.loader import Batch

Make = Callable[..., ImageRecord]
MakeSplit = Callable[..., Split]


def numbered(make_record: Make, make_split: MakeSplit, total: int, with_objects: set[int]) -> Split:
    return make_split(
        *[make_record([(1, 1, 9, 9)] if k in with_objects else [], name=str(k)) for k in range(total)]
    )


def chosen(split: Split, limit: int, seed: int = 0) -> list[int]:
    return [int(image.file_name) for image in choose_images(split, limit, seed)]


@pytest.mark.parametrize("total", [0, 1, 5, 16])
def test_a_small_split_is_shown_whole_and_in_order(
    make_record: Make, make_split: MakeSplit, total: int
) -> None:
    assert chosen(numbered(make_record, make_split, total, {0, 3}), 16) == list(range(total))


def test_the_choice_is_spread_over_the_split_and_follows_the_seed(
    make_record: Make, make_split: MakeSplit
) -> None:
    split = numbered(make_record, make_split, 1000, set(range(1000)))
    first = chosen(split, 10)
    assert first == chosen(split, 10) == sorted(set(first))
    assert [k // 100 for k in first] == list(range(10))  # one from each tenth
    assert first != chosen(split, 10, seed=1)


@pytest.mark.parametrize(
    ("with_objects", "at_least", "at_most"),
    [
        (set(), 0, 0),
        ({7}, 1, 1),
        (set(range(0, 100, 10)), 5, 5),
        (set(range(90)), 9, 9),
        (set(range(100)), 10, 10),
    ],
)
def test_images_with_objects_are_always_among_them_at_least_half_if_there_are_as_many(
    make_record: Make, make_split: MakeSplit, with_objects: set[int], at_least: int, at_most: int
) -> None:
    split = numbered(make_record, make_split, 100, with_objects)
    for seed in range(5):
        found = chosen(split, 10, seed)
        assert len(set(found)) == 10
        assert at_least <= len(with_objects & set(found)) <= at_most


def test_a_limit_below_one_is_refused(make_split: MakeSplit) -> None:
    with pytest.raises(InputError, match="at least 1 image to show, found 0"):
        choose_images(make_split(), 0)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 16, 1000])
def test_a_sheet_has_room_for_all_and_stays_a_size_that_can_be_saved(count: int, make_record: Make) -> None:
    for size in ((100, 50), (10, 8000), (0, 0)):
        columns, (width, height) = sheet_layout(count, [make_record(size=size)] * min(count, 3))
        rows = -(-count // columns)
        assert 160 <= width <= MAX_CELL and 0.6 * width / 2 <= height <= width / 0.6 + 1
        assert rows * height < 30_000 and columns * width < 30_000  # JPEG ends at 65535


def test_pictures_are_grids_with_captions_that_say_how_many_of_how_many(
    on_disk: Callable[..., Split],
) -> None:
    pictures = split_pictures(on_disk(6), limit=4, seed=0)
    assert pictures.title == "train: 4 of 6 images"
    assert pictures.shown[0].caption.endswith("64 × 48, 1 object")
    assert any(image.caption.endswith("0 objects") for image in pictures.shown)
    assert pictures.plain_grid().shape == pictures.labelled_grid().shape
    for image in pictures.shown:
        value = 40 + image.record.id
        assert (image.image_bgr == value).all()
        assert image.image_bgr.shape[1] / image.image_bgr.shape[0] == pytest.approx(64 / 48, rel=0.01)
        assert (image.labelled_bgr != value).any() == bool(image.record.instances)


def test_crowd_regions_are_no_objects_in_captions_and_titles(on_disk: Callable[..., Split]) -> None:
    split = on_disk(1)
    box = (1, 1, 9, 9)
    crowd = (Instance(box, 0), *[Instance(box, 1, crowd=True)] * 2)
    pictures = split_pictures(replace(split, images=(replace(split.images[0], instances=crowd),)))
    assert pictures.shown[0].caption.endswith("64 × 48, 1 object, 2 crowd regions")
    titles: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aerostat.inspection.pictures.image_grid", lambda *_, title, **__: titles.append(title))
        pictures.labelled_grid()
    assert titles == ["train: 1 of 1 image, 1 object, 2 crowd regions"]


def test_labels_stand_where_they_were_annotated_however_large_the_picture_is(
    on_disk: Callable[..., Split],
) -> None:
    for size in ((16, 12), (64, 48), (4000, 3000)):
        split = on_disk(1, size, name=f"s{size[0]}")
        box = (0.25 * size[0], 0.25 * size[1], 0.75 * size[0], 0.75 * size[1])
        image = replace(split.images[0], instances=(Instance(box, 1),))
        [shown] = split_pictures(replace(split, images=(image,))).shown
        high, wide = shown.labelled_bgr.shape[:2]
        for x, y in ((0.25, 0.6), (0.75, 0.6), (0.4, 0.75)):
            place = shown.labelled_bgr[
                round(y * high) - 2 : round(y * high) + 3, round(x * wide) - 2 : round(x * wide) + 3
            ]
            assert (place == class_colour(1)).all(axis=2).any(), (size, x, y)
        assert (shown.labelled_bgr[round(0.6 * high), round(0.5 * wide)] == 40).all()


def test_an_unreadable_image_is_left_out_and_named(on_disk: Callable[..., Split]) -> None:
    split = on_disk(4)
    split.images[1].path.write_bytes(b"no image")
    split.images[2].path.unlink()
    pictures = split_pictures(split)
    assert [image.record.id for image in pictures.shown] == [0, 3]
    assert [name for name, _ in pictures.unreadable] == ["1.png", "2.png"]
    assert "found a text" in pictures.unreadable[0][1]
    assert pictures.title == "train: 2 of 4 images"


def test_a_huge_image_is_let_go_as_soon_as_it_is_read(on_disk: Callable[..., Split]) -> None:
    split = on_disk(1, (4000, 3000))
    [(_, image, scale)] = read_shown(split.images, lambda *_: None)
    assert image.shape[0] * image.shape[1] <= PICTURE_PIXELS * 1.01
    assert scale == (image.shape[1] / 4000, image.shape[0] / 3000)


def test_a_panorama_keeps_pixels_to_see_its_objects_in(on_disk: Callable[..., Split]) -> None:
    [(_, image, _)] = read_shown(on_disk(1, (6000, 400)).images, lambda *_: None)
    assert image.shape[0] >= 300


def test_a_crowd_region_is_called_one(on_disk: Callable[..., Split], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[list[str]] = []

    def note(image: np.ndarray, *_: object, names: list[str], **__: object) -> np.ndarray:
        told.append(names)
        return image

    monkeypatch.setattr("aerostat.inspection.pictures.draw_boxes", note)
    image = on_disk(1).images[0]
    image = replace(image, instances=(Instance((0, 0, 9, 9), 0), Instance((0, 0, 9, 9), 1, crowd=True)))
    draw_labels(np.zeros((48, 64, 3), np.uint8), image, ("car", "person"))
    assert told == [["car", "person (crowd)"]]


def test_batches_become_pictures_whose_pixels_are_the_tensors(make_batch: Callable[..., Batch]) -> None:
    batches = [make_batch(3), make_batch(2)]
    found = stage_pictures(batches, ("a", "b"), stage=1, epoch=1, limit=4)
    assert len(found.images_bgr) == 4
    tensors = [image for one in batches for image in one.images]
    for picture, labelled, tensor in zip(found.images_bgr, found.labelled_bgr, tensors[:4], strict=True):
        assert np.array_equal(picture, tensor.permute(1, 2, 0).numpy())
        assert tuple(labelled[40, 10].tolist()) == class_colour(1)
        assert np.array_equal(labelled[14:48, 14:38], picture[14:48, 14:38])  # the object is not covered
    assert found.captions[3] == "batch 2, 1/2: 0.jpg, 1 box"


def test_the_masks_of_batches_are_drawn_in_their_cells(make_batch: Callable[..., Batch]) -> None:
    square = np.asarray([(16.0, 16.0), (32.0, 16.0), (32.0, 40.0), (16.0, 40.0)])
    boxes = np.asarray([[16, 16, 32, 40], [40, 40, 60, 60]], np.float64)
    masks = rasterise(Outlines.of([[square], []], {}, (64, 64)), boxes, (64, 64), 4)
    batch = make_batch(1)
    batch.images[:] = 128
    plain = replace(batch, boxes=[torch.tensor(boxes)], labels=[torch.tensor([1, 1])])
    both = [
        stage_pictures([b], ("a", "b"), stage=2, epoch=1, limit=1)
        for b in (plain, replace(plain, masks=[masks]))
    ]
    without, found = (pictures.labelled_bgr[0].astype(int) for pictures in both)
    changed = np.abs(found - without).sum(2) > 0
    assert changed[19:38, 19:30].all()  # within the edge
    assert not changed[44:].any() and not changed[:, 44:].any()  # the other object has no outline
    assert both[1].captions == ("batch 1, 1/1: 0.jpg, 2 boxes, 1 mask",)
    assert np.array_equal(both[1].images_bgr[0], both[0].images_bgr[0])


@pytest.mark.parametrize(("side", "cell"), [(32, 32), (320, 320), (1280, MAX_CELL)])
def test_a_sheet_of_a_batch_shows_its_pixels_unless_they_are_very_many(
    make_batch: Callable[..., Batch], side: int, cell: int
) -> None:
    one = make_batch(2, side)
    found = stage_pictures([one], ("a", "b"), stage=2, epoch=31, limit=16)
    sheet = found.grid(labelled=False)
    top = sheet.shape[0] - 1
    pixels = one.images[0].permute(1, 2, 0).numpy()
    if side == cell:
        places = [y for y in range(top - side) if np.array_equal(sheet[y : y + side, 8 : 8 + side], pixels)]
        assert len(places) == 1
    else:
        assert sheet.shape[1] == 2 * (cell + 8) + 8


def test_titles_say_which_stage_and_epoch(make_batch: Callable[..., Batch]) -> None:
    first = stage_pictures([make_batch(1)], ("a", "b"), stage=1, epoch=1, limit=1).title
    second = stage_pictures([make_batch(1)], ("a", "b"), stage=2, epoch=31, limit=1).title
    assert "stage 1" in first and "with Mosaic" in first and "64 × 64" in first
    assert "stage 2" in second and "without Mosaic" in second and "epoch 31" in second
