"""What lint finds where annotations contradict themselves, or are in other units."""

from collections.abc import Callable
from typing import Any

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.lint.annotations import check_classes, check_shared_images
from aerostat.lint.contradictions import check_contradictions
from aerostat.lint.listing import Finding

Objects = list[dict[str, Any]]


@pytest.fixture
def read(images, write_json) -> Callable[..., Dataset]:
    """Read objects on images of 640 x 480, one image each."""

    def read(objects: Objects, **options: Any) -> Dataset:
        names = [f"{n}.png" for n in range(len(objects))]
        folder = images("data", *names, size=(640, 480))
        listed = [{"id": n, "file_name": name} for n, name in enumerate(names)]
        rows = [{"id": n, "image_id": n, "category_id": 1, **o} for n, o in enumerate(objects)]
        document = {"images": listed, "annotations": rows, "categories": [{"id": 1, "name": "cell"}]}
        write_json(folder / "coco.json", document)
        return Dataset.read(folder, options=ReadOptions(**options))

    return read


def outline(x1: float, y1: float, x2: float, y2: float) -> list[list[float]]:
    return [[x1, y1, x2, y1, x2, y2, x1, y2]]


def codes(found: list[Finding]) -> list[tuple[str, str]]:
    return [(f.severity, f.code) for f in found]


SOUND = [
    {"bbox": [100 + n, 150, 60, 50], "segmentation": outline(100 + n, 150, 160 + n, 200)} for n in range(8)
]


def test_sound_boxes_are_left_alone(read) -> None:
    rounded = [{**row, "bbox": [x - 1, y + 1, w + 2, h]} for row in SOUND for x, y, w, h in [row["bbox"]]]
    assert check_contradictions(read([*SOUND, *rounded])) == []


@pytest.mark.parametrize(("wrong", "named"), [(1, 1), (3, 3), (8, 3)])
def test_boxes_elsewhere_than_outlines_are_counted_and_three_are_named(read, wrong: int, named: int) -> None:
    objects = [*SOUND, *({**row, "bbox": [300, 300, 60, 50]} for row in SOUND[:wrong])]
    found = check_contradictions(read(objects))
    assert codes(found) == [("warning", "box-other-than-outline")] * named
    assert "(300, 300, 360, 350)" in found[0].wrong and found[0].file == "8.png"
    assert ("8 of 16 boxes" in found[0].wrong) == (wrong == 8)


def test_boxes_elsewhere_than_masks_are_found(read) -> None:
    runs = [480 * 100 + 50, *[40, 440] * 59, 40, 480 * 640 - 480 * 159 - 90]
    rle = {"size": [480, 640], "counts": runs}
    rows = [{"bbox": box, "segmentation": rle} for box in ([100, 50, 60, 40], [300, 50, 60, 40])]
    (found,) = check_contradictions(read(rows))
    assert (found.code, found.file) == ("box-other-than-outline", "1.png")
    assert "(100, 50, 160, 90)" in found.wrong


@pytest.mark.parametrize("scale", [1, 2])
def test_boxes_in_shares_of_the_image_are_an_error(read, scale: int) -> None:
    found = check_contradictions(read([{"bbox": [0.1, 0.2, 0.3 * scale, 0.4 * scale]}] * 3))
    assert codes(found) == [("error", "box-units")] and "3 boxes of 3" in found[0].wrong


def test_one_tiny_box_among_many_is_no_matter_of_units(read) -> None:
    assert check_contradictions(read([*SOUND, *SOUND, {"bbox": [0.1, 0.2, 0.3, 0.4]}])) == []


@pytest.mark.parametrize(("count", "expected"), [(5, [("warning", "box-units")]), (4, [])])
def test_boxes_in_per_cent_are_doubted_from_five_on(read, count: int, expected) -> None:
    assert (
        codes(check_contradictions(read([{"bbox": [30 + n, 40, 50, 30]} for n in range(count)]))) == expected
    )


def test_corners_in_the_place_of_sizes_are_an_error(read) -> None:
    corners = [{"bbox": [300 + n, 200, 500, 400]} for n in range(4)]
    found = check_contradictions(read(corners))
    assert codes(found) == [("error", "box-of-corners")] and "4 boxes of 4" in found[0].wrong


def test_corners_are_known_by_the_outline_too(read) -> None:
    rows = [{"bbox": [50 + n, 60, 150, 160], "segmentation": outline(50 + n, 60, 150, 160)} for n in range(4)]
    found = check_contradictions(read(rows))
    assert codes(found) == [("error", "box-of-corners")] and "4 boxes" in found[0].wrong


def test_boxes_that_reach_out_are_no_corners(read) -> None:
    assert check_contradictions(read([{"bbox": [600, 200, 80, 40]}, {"bbox": [500, 400, 60, 100]}])) == []


@pytest.mark.parametrize(("marks", "crowd", "expected"), [
    ((1, 1, 1, 0, 0, 0), "auto", ["crowd-marks-doubtful"]),
    ((1, 1, 1, 0, 0, 0), "region", []),
    ((1, 1, 1, 0, 0, 0), "object", []),
    ((1, 1, 0, 0, 0, 0), "auto", []),
    ((1, 1, 1, 1, 1, 1), "auto", []),
])  # fmt: skip
def test_many_crowd_marks_are_doubted(read, marks, crowd, expected) -> None:
    rows = [{**row, "iscrowd": mark} for row, mark in zip(SOUND, marks, strict=False)]
    found = check_contradictions(read(rows, crowd=crowd))
    assert [f.code for f in found] == expected
    assert all("3 of 6 objects" in f.wrong and "`crowd='object'`" in f.wrong for f in found)


def test_class_names_that_look_alike_are_named_with_their_objects(images, write_json) -> None:
    folder = images("data", "a.png")
    names = ["Hard Hat", "hard-hat", "vest", "vests", "glass", "hard_hats"]
    document = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": k, "bbox": [1, 2, 30, 40]} for k in range(len(names))
        ],
        "categories": [{"id": k, "name": name} for k, name in enumerate(names)],
    }
    write_json(folder / "c.json", document)
    found = [f for f in check_classes(Dataset.read(folder)) if f.code == "classes-alike"]
    assert [f.severity for f in found] == ["warning"] * 2
    assert found[0].wrong.startswith(
        "'Hard Hat' (1) and 'hard-hat' (1) and 'hard_hats' (1) look like one class"
    )
    assert found[1].wrong.startswith("'vest' (1) and 'vests' (1)")


def test_files_that_two_splits_name_are_an_error(images, write_json) -> None:
    root = images("data", "images/a.png", "images/b.png", "images/c.png")
    for split, names in (("train", "ab"), ("val", "bc")):
        listed = [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate(names)]
        rows = [{"id": n, "image_id": n, "category_id": 1, "bbox": [1, 2, 30, 40]} for n in range(2)]
        document = {"images": listed, "annotations": rows, "categories": [{"id": 1, "name": "x"}]}
        write_json(root / "annotations" / f"instances_{split}.json", document)
    (found,) = check_shared_images(Dataset.read(root))
    assert (found.severity, found.code, found.split, found.file) == (
        "error",
        "image-in-several-splits",
        "val",
        "b.png",
    )
    assert found.wrong.startswith("1 file of train and of val")
