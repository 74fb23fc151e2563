"""COCO records that state things in other forms: what is converted, ignored, counted, or refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.coco import read_coco, write_coco
from aerostat.datasets.formats.coco_ids import meaning_of
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Instance, OtherClassesError, Split
from aerostat.errors import InputError

BOX = [10, 20, 30, 40]
SQUARE = [10, 20, 40, 20, 40, 60, 10, 60]
RLE = {"size": [80, 100], "counts": [80 * 10 + 20, *[40, 40] * 29, 40, 80 * 100 - 80 * 40 + 20]}
"""The mask of the box (10, 20, 40, 60)."""
CELL = [{"id": 1, "name": "cell"}]


def document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    rows = [{"id": n, "image_id": 1, "category_id": 1, **a} for n, a in enumerate(annotations, 1)]
    images = [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}]
    return {"images": images, "annotations": rows, "categories": CELL, **changes}


@pytest.fixture
def read(images, write_json):
    """Read a COCO document whose images a.png and b.png, 100 x 80, lie beside it."""
    folder = images("data", "a.png", "b.png")

    def read(content: Any, classes: list[str] | None = None) -> Split:
        return read_coco(write_json(folder / "coco.json", content), [folder], split="train", classes=classes)

    return read


def kinds(split: Split) -> list[str]:
    return [problem.kind for problem in split.problems]


def boxes(split: Split) -> list[tuple[float, ...]]:
    return [instance.box_xyxy for instance in split.images[0].instances]


# --------------------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("one", "other"),
    [(0, "0"), ("0", 0), (7, " 7 "), (7, "007"), ("7.0", 7), (-3, "-3"), (10**20, str(10**20))],
)
def test_ids_match_whatever_form_they_have_and_it_is_reported_once(read, one, other) -> None:
    images = [{"id": one, "file_name": "a.png"}]
    categories = [{"id": one, "name": "cell"}]
    rows = [{"bbox": BOX, "image_id": other, "category_id": other}] * 2
    split = read(document(*rows, images=images, categories=categories))
    assert boxes(split) == [(10, 20, 40, 60)] * 2
    assert kinds(split) == ["id in another form"] * 2
    assert [p.detail[:32] for p in split.problems] == [
        "2 objects with the image id in a",
        "2 objects with the category id i",
    ]
    assert [(p.split, p.file_name) for p in split.problems] == [("train", "coco.json")] * 2


def test_an_id_that_may_mean_two_is_not_guessed(read) -> None:
    images = [{"id": "7", "file_name": "a.png"}, {"id": "07", "file_name": "b.png"}]
    split = read(document({"bbox": BOX, "image_id": 7}, {"bbox": BOX, "image_id": "07"}, images=images))
    assert kinds(split) == ["unknown image"] and [len(i.instances) for i in split.images] == [0, 1]


def test_ids_that_are_text_of_numbers_are_kept_as_numbers(read) -> None:
    images, categories = [{"id": "5", "file_name": "a.png"}], [{"id": "3", "name": "cell"}]
    row = {"bbox": BOX, "image_id": "5", "category_id": "3"}
    split = read(document(row, images=images, categories=categories))
    assert (split.images[0].id, split.category_ids, kinds(split)) == (5, (3,), [])


@pytest.mark.parametrize("text", ["", "x", "1e3", "0x7", "1.5", "9" * 5000, "٣"])
def test_a_text_that_is_no_whole_number_means_itself(text: str) -> None:
    assert meaning_of(text) == text


# --------------------------------------------------------------------------- categories


def test_a_placeholder_of_the_name_of_a_class_is_left_out_first(read) -> None:
    categories = [
        {"id": "0", "name": "cell", "supercategory": "none"},
        {"id": 1, "name": "cell", "supercategory": "cell"},
    ]
    split = read(document({"bbox": BOX}, categories=categories))
    assert (split.classes, split.category_ids, kinds(split)) == (("cell",), (1,), ["placeholder category"])


def test_of_two_categories_of_one_name_that_without_objects_is_left_out(read) -> None:
    categories = [{"id": 4, "name": "cell"}, {"id": 1, "name": "cell"}]
    split = read(document({"bbox": BOX}, categories=categories))
    assert (split.category_ids, kinds(split)) == ((1,), ["repeated category"])
    (problem,) = split.problems
    assert (problem.split, problem.file_name, problem.record) == ("train", "coco.json", "category 4")
    more = [{"id": 5, "name": "cell"}, *categories, {"id": 2, "name": "dot"}]
    split = read(document({"bbox": BOX}, categories=more))
    assert (split.category_ids, kinds(split)) == ((1, 2), ["repeated category"] * 2)
    with pytest.raises(InputError, match="1 category more than once"):
        read(document({"bbox": BOX}, {"bbox": BOX, "category_id": 4}, categories=categories))
    twice = [*CELL, {"id": 1, "name": "dot"}, {"id": 2, "name": "dot"}]
    with pytest.raises(InputError, match="1 category id more than once"):
        read(document({"bbox": BOX, "category_id": 2}, categories=twice))


@pytest.mark.parametrize("category", [None, ""])
def test_objects_without_a_category_are_taken_for_the_only_class(read, category) -> None:
    rows = [{"bbox": BOX, "category_id": category}] * 2
    for split in (read(document(*rows)), read(document(*rows, categories=[]), ["cell"])):
        assert (split.classes, len(boxes(split)), kinds(split)) == (("cell",), 2, ["class not stated"])
        assert [instance.label for instance in split.images[0].instances] == [0, 0]
        (problem,) = split.problems
        assert (problem.split, problem.file_name) == ("train", "coco.json")
    with pytest.raises(OtherClassesError, match=r"first annotation 1.*`classes=NAME`"):
        read(document(*rows, categories=[]))
    with pytest.raises(OtherClassesError, match=r"first annotations\[0\]"):
        read(document({"bbox": BOX, "id": None, "category_id": category}, categories=[]))
    two = read(document(*rows, categories=[*CELL, {"id": 2, "name": "dot"}]))
    named = read(document(*rows, categories=[]), ["cell", "dot"])
    assert kinds(two) == kinds(named) == ["malformed record"] * 2


def test_one_object_without_a_category_beside_others_is_left_out(read) -> None:
    split = read(document({"bbox": BOX}, {"bbox": BOX, "category_id": None}))
    assert len(boxes(split)) == 1 and kinds(split) == ["malformed record"]
    assert "annotations[1] states no category" in split.problems[0].detail


def test_annotations_none_of_which_names_an_image_are_refused_with_their_keys(read) -> None:
    with pytest.raises(InputError, match=r"the key 'image_id'.*'item_id'"):
        read({**document(), "annotations": [{"id": 1, "item_id": 1, "bbox": BOX}]})
    many = {f"{n}{'k' * 40}": n for n in range(9)}
    with pytest.raises(InputError, match=rf"the first has '0{'k' * 39}', .*, '7{'k' * 39}' and 1 more;"):
        read({**document(), "annotations": [many]})
    with pytest.raises(InputError, match="the first has no keys"):
        read({**document(), "annotations": [7, {"bbox": BOX}]})


def test_a_record_that_is_no_object_costs_itself(read) -> None:
    split = read({**document(), "annotations": [7, {"image_id": 1, "bbox": BOX, "score": 0.5}, "x"]})
    assert boxes(split) == [(10, 20, 40, 60)]
    assert [(p.split, p.file_name, p.kind, p.record) for p in split.problems] == [
        ("train", "coco.json", "malformed record", "annotations[0]"),
        ("train", "coco.json", "malformed record", "annotations[2]"),
        ("train", "coco.json", "class not stated", "without a category"),
        ("train", "coco.json", "not read", "scores"),
    ]
    assert "first annotations[1];" in split.problems[2].detail


def test_a_record_of_no_image_and_no_category_is_told_by_its_image(read) -> None:
    split = read(document({"bbox": BOX, "image_id": None}, {"bbox": BOX, "image_id": 9, "category_id": 9}))
    assert [p.detail.partition(";")[0] for p in split.problems] == [
        "annotations[0] states no image (image_id is null or missing)",
        "annotation 2 names the image id 9, but no image has it",
    ]
    split = read(document({"bbox": BOX, "category_id": None}, {"image_id": 9, "category_id": None}))
    assert kinds(split) == ["unknown image", "class not stated"]


def test_what_is_unusual_about_a_record_that_is_dropped_is_not_told(read) -> None:
    odd = {"segmentation": SQUARE, "area": "?"}
    split = read(document({"bbox": BOX, "category_id": 9, **odd}, {"bbox": BOX, "image_id": 9, **odd}))
    assert kinds(split) == ["unknown category", "unknown image"]


# --------------------------------------------------------------------------- boxes that are derived


NO_BOXES = [
    *(None, [], "none", {}, ["a", 1, 2, 3], [1, 2, 3], [1, 2, float("nan"), 3]),
    *([0, 0, 0, 0], [40, 60, -30, -40], [500, 500, 9, 9]),
]


@pytest.mark.parametrize("shape", [[SQUARE], RLE], ids=["outline", "mask"])
@pytest.mark.parametrize("box", NO_BOXES)
def test_an_outline_or_a_mask_gives_the_box_that_is_missing_or_unusable(read, shape, box) -> None:
    split = read(document({"bbox": box, "segmentation": shape}, {"bbox": BOX}))
    assert boxes(split) == [(10, 20, 40, 60)] * 2
    assert "derived box" in kinds(split) and "malformed record" not in kinds(split)


def test_boxes_that_are_missing_are_counted_in_one_problem(read) -> None:
    split = read(document(*[{"segmentation": [SQUARE]}] * 40))
    assert len(boxes(split)) == 40
    assert [p.detail[:23] for p in split.problems] == ["40 objects without a bo"]


@pytest.mark.parametrize(
    "mask", [{"size": [80, 100], "counts": [8000]}, {"size": [80, 100], "counts": [1, 2]}]
)
def test_an_empty_or_broken_mask_gives_no_box(read, mask) -> None:
    split = read(document({"segmentation": mask}, {"bbox": BOX}))
    assert len(boxes(split)) == 1 and kinds(split) == ["malformed record"]


# --------------------------------------------------------------------------- fields that are not needed


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"iscrowd": None}, []),
        ({"iscrowd": "no"}, ["ignored field"]),
        ({"iscrowd": [1]}, ["ignored field"]),
        ({"area": None}, []),
        ({"area": "n/a"}, ["ignored field"]),
        ({"area": {}}, ["ignored field"]),
        ({"id": None}, []),
        ({"id": [1]}, ["ignored field"]),
        ({"segmentation": None}, []),
        ({"segmentation": []}, []),
        ({"segmentation": {}}, []),
        ({"segmentation": ""}, []),
        ({"segmentation": [None]}, ["unusable mask"]),
        ({"license": "x", "date": [1], "extra": {"a": 1}}, []),
    ],
)
def test_a_field_of_another_form_costs_no_object(read, field, told) -> None:
    split = read(document({"bbox": BOX, **field}, {"bbox": BOX}))
    assert boxes(split) == [(10, 20, 40, 60)] * 2
    assert [i.area for i in split.images[0].instances] == [1200, 1200]
    assert kinds(split) == told


TRIANGLE = [10, 20, 40, 20, 40, 60]


@pytest.mark.parametrize(
    ("shape", "kept", "told"),
    [
        (SQUARE, [SQUARE], ["shape in another form"]),
        ([[SQUARE]], [SQUARE], ["shape in another form"]),
        ([[[[SQUARE], [TRIANGLE]]]], [SQUARE, TRIANGLE], ["shape in another form"]),
        ([[[[[SQUARE]]]]], [], ["unusable mask"]),
        ([[10, 20], [40, 20], [40, 60], [10, 60]], [SQUARE], []),
        ([[10, 20], [40, 20], [40, 60]], [TRIANGLE], []),
        ([[[10, 20], [40, 20], [40, 60]]], [TRIANGLE], ["shape in another form"]),
        ([[1, 2], [3, 4], SQUARE], [SQUARE], ["degenerate polygon"]),
        ([str(number) for number in SQUARE], [SQUARE], ["shape in another form"]),
        ([[SQUARE], ["x"]], [], ["unusable mask"]),
        ([[10, 20], [40, 20], 5], [], ["unusable mask"]),
    ],
)
def test_outlines_in_lists_of_another_depth_are_read(read, shape, kept, told) -> None:
    split = read(document({"bbox": BOX, "segmentation": shape}))
    (instance,) = split.images[0].instances
    assert [outline.ravel().tolist() for outline in instance.polygons] == kept
    assert kinds(split) == told


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no?", "'no?'"),
        ([1, "a"], "'[1, \"a\"]'"),
        ("x" * 70, f"'{'x' * 16}..."),
        ({}, "'{}'"),
    ],
)
def test_a_field_that_is_ignored_is_told_with_its_beginning(read, value, told: str) -> None:
    split = read(document({"bbox": BOX}, {"bbox": BOX, "area": value}, {"bbox": BOX, "area": "?"}))
    (problem,) = split.problems
    assert (problem.split, problem.file_name, problem.kind) == ("train", "coco.json", "ignored field")
    assert problem.detail == (
        f"2 objects with an unusable 'area', first {told} of annotation 2; worked out from the shape"
    )


def test_the_first_record_of_a_field_that_is_ignored_is_told(read) -> None:
    odd = {1: {"area": "?", "id": None}, 8: {"area": "x", "iscrowd": "?"}, 9: {"id": [1]}}
    split = read(document(*({"bbox": BOX, **odd.get(n, {})} for n in range(10))))
    assert [p.detail for p in split.problems] == [
        "2 objects with an unusable 'area', first '?' of annotations[1]; worked out from the shape",
        "1 object with an unusable 'iscrowd', first '?' of annotation 9; taken for no crowd region",
        "1 object with an unusable 'id', first '[1]' of annotations[9]; ignored",
    ]


def test_a_field_that_is_cut_within_a_letter_is_told(read, images) -> None:
    path = images("data", "a.png") / "letters.json"
    text = json.dumps(document({"bbox": BOX, "area": "\u00e9" * 40}), ensure_ascii=False)
    path.write_text(text, "utf-8")
    (problem,) = read_coco(path, [path.parent], split="train").problems
    assert "\u00e9" * 16 + "..." in problem.detail


def test_points_of_one_outline_beside_records_with_outlines_are_read(read) -> None:
    points = [[10, 20], [40, 20], [40, 60], [10, 60]]
    split = read(document(*({"bbox": BOX, "segmentation": shape} for shape in (points, [TRIANGLE], points))))
    outlines = [[p.ravel().tolist() for p in i.polygons] for i in split.images[0].instances]
    assert outlines == [[SQUARE], [TRIANGLE], [SQUARE]]


def test_numbers_in_another_form_are_read_beside_a_field_that_is_ignored(read) -> None:
    exact = [10, 20, 40.0000005, 60]
    size = {"size": ["80", 100], "counts": RLE["counts"]}
    split = read(
        document(
            {"bbox": ["10", 20, 30, 40], "aerostat_box_xyxy": exact, "iscrowd": "no"},
            {"bbox": BOX, "segmentation": size, "iscrowd": "no"},
        )
    )
    first, second = split.images[0].instances
    assert (first.box_xyxy, second.rle) == (tuple(exact), RLE)
    assert kinds(split) == ["number in another form", "ignored field", "shape in another form"]


def test_what_is_nested_a_thousand_times_costs_its_outline_alone(read, images) -> None:
    folder = images("data", "a.png")
    text = json.dumps(document({"bbox": BOX, "segmentation": "HERE"}, {"bbox": BOX}))
    (folder / "deep.json").write_text(text.replace('"HERE"', "[" * 900 + "]" * 900))
    split = read_coco(folder / "deep.json", [folder], split="train")
    assert len(boxes(split)) == 2 and kinds(split) == ["unusable mask"]


def test_names_sizes_and_categories_of_another_form_are_read(read, images) -> None:
    images("data", "17.png")
    listed = [{"id": 1, "file_name": "a.png", "width": None, "height": "80"}]
    categories = [{"id": 1, "name": 7, "supercategory": 0, "keypoints": ["x"]}]
    split = read(document({"bbox": BOX}, images=listed, categories=categories, licenses=7, info=None))
    assert split.classes == ("7",) and kinds(split) == ["wrong size"]
    split = read(
        document({"bbox": BOX}, images=[{"id": 1, "file_name": 17}, {"id": 2, "file_name": "a.png"}])
    )
    assert kinds(split) == ["number in another form", "other name"] and len(split) == 2
    told = split.problems[0]
    assert (told.split, told.file_name, told.record) == ("train", "coco.json", "images[0]")


def test_lists_that_are_null_are_empty(read) -> None:
    split = read({"images": [{"id": 1, "file_name": "a.png"}], "annotations": None, "categories": None})
    assert len(split) == 1 and split.classes == ()


# --------------------------------------------------------------------------- what is not read, and marks


def test_what_is_not_read_is_counted_by_its_kind(read) -> None:
    split = read(
        document(
            {"bbox": BOX, "keypoints": [0, 2, 2, 0, 4, 1, 5, 0, 0], "num_keypoints": 2},
            {"bbox": BOX, "keypoints": [["nose", 2, 2], ["ear", 4, 1], ["tail", 0, 0]], "attributes": 7},
            {"bbox": BOX, "attributes": {"occluded": False, "colour": "red"}, "score": 0.5},
            {"bbox": BOX, "attributes": {}, "keypoints": [], "score": None, "caption": "a cell"},
            {"bbox": "none", "score": 1},
        )
    )
    told = [p.detail for p in split.problems if p.kind == "not read"]
    assert told == ["5 key points", "2 attributes", "2 scores", "1 captions"]
    assert len(boxes(split)) == 4


@pytest.mark.parametrize(
    ("value", "difficult"), [(1, True), (True, True), ("1", True), (0, False), (None, False)]
)
def test_difficult_marks_are_read(read, value, difficult: bool) -> None:
    split = read(
        document(
            {"bbox": BOX, "difficult": value}, {"bbox": [90, 20, 30, 40], "difficult": value}, {"bbox": BOX}
        )
    )
    assert [i.difficult for i in split.images[0].instances] == [difficult, difficult, False]


def test_difficult_marks_are_written_where_they_are_set(tmp_path: Path, images) -> None:
    folder = images("data", "a.png")
    rows = (Instance((1, 2, 5, 6), 0, area=16, difficult=True), Instance((1, 2, 5, 7), 0, area=20))
    split = Split("train", ("cell",), (1,), (ImageRecord(folder / "a.png", "a.png", 100, 80, rows, 1),))
    write_coco(split, folder / "c.json")
    written = json.loads((folder / "c.json").read_text())["annotations"]
    assert [row.get("difficult") for row in written] == [1, None]
    assert read_coco(folder / "c.json", [folder], split="train") == split


# --------------------------------------------------------------------------- crowd marks of a data set


def marked(*crowds: int | None, **shape: Any) -> dict[str, Any]:
    return document(*({"bbox": BOX, "iscrowd": crowd, **shape} for crowd in crowds))


@pytest.mark.parametrize(
    ("content", "crowd", "marks"),
    [
        (marked(1, 1, segmentation=RLE), "auto", [False, False]),
        (marked(1, 1, segmentation=RLE), "region", [True, True]),
        (marked(1, 0, segmentation=RLE), "auto", [True, False]),
        (marked(1, 0, segmentation=RLE), "object", [False, False]),
        (marked(1, 1), "auto", [False, False]),
        (marked(1, 0), "auto", [True, False]),
        (document({"bbox": BOX, "iscrowd": 1, "segmentation": RLE}, {"bbox": BOX}), "auto", [False, False]),
        (
            document(
                {"bbox": BOX, "iscrowd": 1, "segmentation": RLE}, {"bbox": BOX, "segmentation": [SQUARE]}
            ),
            "auto",
            [True, False],
        ),
    ],
)
def test_marks_of_crowds_are_what_they_are_meant_for(images, write_json, content, crowd, marks) -> None:
    folder = images("data", "a.png")
    write_json(folder / "coco.json", content)
    (split,) = Dataset.read(folder, options=ReadOptions(crowd=crowd)).splits.values()
    assert split.images[0].instances.crowd.tolist() == marks
    assert ("crowd marks" in kinds(split)) == (crowd == "auto" and not any(marks))


def test_two_crowds_of_a_small_split_stay_beside_outlines_of_another(images, write_json) -> None:
    root = images("data", "train/a.png", "val/a.png")
    write_json(root / "train" / "c.json", marked(0, 0, segmentation=[SQUARE]))
    write_json(root / "val" / "c.json", marked(1, 1, segmentation=RLE))
    data = Dataset.read(root)
    assert data.split("val").images.instances.crowd.tolist() == [True, True]


def test_bounds_of_outlines_are_those_of_each_object() -> None:
    outline = np.array([[1.0, 2], [5, 2], [5, 9]])
    rows = [
        Instance((0, 0, 9, 9), 0),
        Instance((0, 0, 9, 9), 0, (outline, outline + 10)),
        Instance((0, 0, 9, 9), 0, (outline,)),
    ]
    image = ImageRecord("a.png", "a.png", 100, 80, rows)
    bounds = image.instances.outline_bounds()
    assert np.isnan(bounds[0]).all() and bounds[1:].tolist() == [[1, 2, 15, 19], [1, 2, 5, 9]]
    assert image.instances[1:].outline_bounds().tolist() == bounds[1:].tolist()
