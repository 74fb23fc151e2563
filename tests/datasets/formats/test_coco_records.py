"""COCO files at the borders of what is allowed: numbers, sizes and ids, each worked by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.datasets import annotation_text, json_stream
from aerostat.datasets.formats import checks as refusals
from aerostat.datasets.formats import coco
from aerostat.datasets.formats import coco_records as coco_annotations
from aerostat.datasets.formats.coco import read_coco, write_coco
from aerostat.datasets.formats.coco_records import categories_in_use
from aerostat.datasets.formats.coco_shapes import rle_area
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError

CATS = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
IMAGE = {"id": 11, "file_name": "a.png", "width": 100, "height": 80}
BOX = {"bbox": [10, 20, 30, 40]}


def document(*annotations: dict[str, Any], images: Any = (IMAGE,), categories: Any = CATS) -> dict[str, Any]:
    rows = [{"id": n, "image_id": 11, "category_id": 7, **a} for n, a in enumerate(annotations, 1)]
    return {"images": list(images), "annotations": rows, "categories": categories}


@pytest.fixture(params=["at once", "in parts"])
def read(request, monkeypatch, images, write_json):
    """Read a document whose images a.png and b.png, 100 x 80, lie beside it."""
    folder = images("data", "a.png", "b.png")

    if request.param == "in parts":
        monkeypatch.setattr(annotation_text, "LARGE_FILE", 0)
        monkeypatch.setattr(json_stream, "CHUNK", 100)

    def read(content: Any, classes: list[str] | None = None) -> Split:
        path = folder / "coco.json"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            write_json(path, content)
        return read_coco(path, [folder], split="train", classes=classes)

    return read


def kinds(split: Split) -> list[str]:
    return [problem.kind for problem in split.problems]


def only(split: Split) -> Instance:
    (instance,) = split.images[0].instances
    return instance


# --------------------------------------------------------------------------- the file and its images


def test_a_split_knows_its_name_and_its_format(read) -> None:
    split = read(document(BOX))
    assert (split.name, split.source_format) == ("train", "coco")


def test_a_file_of_no_images_is_refused(read) -> None:
    with pytest.raises(InputError, match="no images"):
        read(document(images=[]))


@pytest.mark.parametrize(
    ("listed", "categories", "said"),
    [
        ([{**IMAGE, "id": n // 2} for n in range(4)], CATS, "1 file name more"),
        ([{**IMAGE, "id": n // 2, "file_name": f"{n}.png"} for n in range(4)], CATS, "2 image ids more"),
        ([IMAGE], [{"id": n // 2, "name": f"c{n}"} for n in range(4)], "2 category ids more"),
        ([IMAGE], [{"id": n, "name": f"c{n // 2}"} for n in range(4)], "2 categories more"),
        ([IMAGE], [{"id": n, "name": "c"} for n in range(2)], "1 category more"),
        ([IMAGE], [{"id": 1, "name": f"c{n}"} for n in range(2)], "1 category id more"),
        ([{**IMAGE, "file_name": f"{n}.png"} for n in range(2)], CATS, "1 image id more"),
    ],
)
def test_what_stands_there_twice_is_counted_and_named(read, listed, categories, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(document(images=listed, categories=categories))


def test_the_same_category_twice_is_one(read) -> None:
    split = read(document({**BOX, "category_id": 3}, categories=[*CATS, CATS[0], CATS[0]]))
    assert (split.classes, split.category_ids, only(split).label) == (("cat", "dog"), (3, 7), 0)
    (problem,) = split.problems
    assert (problem.split, problem.file_name, problem.kind) == ("train", "coco.json", "repeated category")
    assert "3 times" in problem.detail and problem.record == "category 3"


def test_a_file_in_another_encoding_is_refused_whole(read) -> None:
    text = json.dumps(document(BOX, images=[IMAGE, {**IMAGE, "id": 12, "file_name": "caf\u00e9.png"}]))
    latin = text.replace("\\u00e9", "\u00e9").encode("latin-1")
    with pytest.raises(InputError):
        read(latin)


def test_an_image_whose_id_is_a_decimal_is_read_and_told(read) -> None:
    split = read(document(BOX, images=[{**IMAGE, "id": 11.0}]))
    assert only(split).box_xyxy == (10, 20, 40, 60) and split.images[0].id == 11
    (problem,) = split.problems
    assert (problem.split, problem.file_name, problem.kind, problem.record) == (
        "train",
        "coco.json",
        "number in another form",
        "images[0]",
    )


def test_a_broken_image_record_costs_itself_and_its_objects(read) -> None:
    broken = {"id": 12, "file_name": None}
    split = read(document(BOX, {**BOX, "image_id": 12}, images=[broken, IMAGE, {"file_name": "b.png"}]))
    assert len(split) == 1 and only(split).label == 1
    assert [(p.split, p.file_name, p.kind, p.record) for p in split.problems] == [
        ("train", "coco.json", "malformed record", "images[0]"),
        ("train", "coco.json", "malformed record", "images[2]"),
    ]


def test_a_broken_category_costs_itself_and_all_broken_are_refused(read) -> None:
    split = read(document(BOX, categories=[*CATS, {"id": 9}]))
    assert split.classes == ("cat", "dog") and kinds(split) == ["malformed record"]
    with pytest.raises(InputError):
        read(document(BOX, categories=[{"id": 9}]))
    with pytest.raises(InputError):
        read(document(BOX, images=[{"id": 9}]))


@pytest.mark.parametrize(("most", "told"), [(2, []), (1, ["not checked"])])
def test_headers_are_checked_up_to_a_number_of_images(read, monkeypatch, most: int, told: list[str]) -> None:
    monkeypatch.setattr(coco, "CHECKED_IMAGES", most)
    split = read(document(images=[IMAGE, {**IMAGE, "id": 12, "file_name": "b.png"}]))
    assert kinds(split) == told
    assert [(p.split, p.file_name) for p in split.problems] == [("train", "coco.json")] * len(told)


@pytest.mark.parametrize(
    ("stated", "size"),
    [
        ({"width": 500, "height": 40}, (500, 40)),
        ({"width": 1, "height": 1}, (1, 1)),
        ({"width": 50.6, "height": 40.2}, (51, 40)),
        ({"width": 2**63 - 1, "height": 7}, (2**63 - 1, 7)),
        ({"width": 2**63, "height": 7}, (100, 80)),
        ({"width": 0, "height": 40}, (100, 80)),
        ({"width": 50, "height": 0}, (100, 80)),
        ({"width": -5, "height": 40}, (100, 80)),
        ({"width": "50", "height": 40}, (100, 80)),
        ({"width": True, "height": 40}, (100, 80)),
        ({"width": None, "height": None}, (100, 80)),
    ],
)
def test_beyond_that_number_a_stated_size_is_trusted_if_an_image_can_have_it(
    read, monkeypatch, stated, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(coco, "CHECKED_IMAGES", 0)
    (image,) = read(document(images=[{**IMAGE, **stated}])).images
    assert (image.width, image.height) == size
    assert type(image.width) is type(image.height) is int


def test_beyond_that_number_a_missing_image_is_missed_all_the_same(read, monkeypatch) -> None:
    monkeypatch.setattr(coco, "CHECKED_IMAGES", 0)
    split = read(
        document(BOX, {**BOX, "image_id": 12}, images=[IMAGE, {**IMAGE, "id": 12, "file_name": "c.png"}])
    )
    assert kinds(split) == ["not checked", "missing image"] and len(split) == 1


LONG = "w" * 18
"""Twenty letters with its quotation marks: as much as is told."""


@pytest.mark.parametrize(
    ("stated", "kind", "said"),
    [
        ({"width": 100, "height": 80}, None, ""),
        ({"width": 100.4, "height": 79.6}, None, ""),
        ({"width": None, "height": None}, None, ""),
        ({"width": 101, "height": 80}, "wrong size", "say 101 x 80"),
        ({"width": 80, "height": 100}, "swapped size", "say 80 x 100"),
        ({"width": 100, "height": None}, "wrong size", "say 100 x None"),
        ({"width": None, "height": 80}, "wrong size", "say None x 80"),
        ({"width": 0, "height": 80}, "wrong size", "say 0 x 80"),
        ({"width": "100", "height": 80}, "wrong size", "say '100' x 80"),
        ({"width": LONG, "height": 80}, "wrong size", f"say '{LONG}' x 80"),
        ({"width": LONG + "w", "height": 80}, "wrong size", f"say '{LONG}w... x 80"),
    ],
)
def test_what_is_said_of_a_stated_size(read, stated, kind: str | None, said: str) -> None:
    split = read(document(images=[{**IMAGE, **stated}]))
    assert kinds(split) == ([kind] if kind else [])
    assert (split.images[0].width, split.images[0].height) == (100, 80)
    for problem in split.problems:
        assert (problem.split, problem.file_name) == ("train", "a.png")
        assert problem.detail == f"is 100 x 80 upright, the annotations {said}"


@pytest.mark.parametrize(("ids", "read_as"), [((5, 9), [5, 9]), ((5, "x"), [1, 2]), (("x", "y"), [1, 2])])
def test_images_keep_their_numbers_if_all_have_one(read, ids, read_as: list[int]) -> None:
    rows = [
        {**IMAGE, "id": id_, "file_name": name} for id_, name in zip(ids, ("a.png", "b.png"), strict=True)
    ]
    split = read(document(*({**BOX, "image_id": id_} for id_ in ids), images=rows))
    assert [image.id for image in split.images] == read_as
    assert [len(image.instances) for image in split.images] == [1, 1]


# ------------------------------------------------------------------------------------------------- categories


def test_a_class_that_the_file_does_not_know_gets_the_next_free_id(read) -> None:
    split = read(document(BOX), ["cow", "dog", "cat", "hen"])
    assert (split.category_ids, only(split).label) == ((8, 7, 3, 9), 1)
    fresh = read(document(categories=[]), ["cow", "hen"])
    assert fresh.category_ids == (1, 2)


def test_ids_of_categories_one_of_which_is_text_are_all_numbered_anew(read) -> None:
    split = read(
        document(
            {**BOX, "category_id": "d"}, categories=[{"id": 5, "name": "cat"}, {"id": "d", "name": "dog"}]
        )
    )
    assert (split.category_ids, only(split).label) == ((1, 2), 1)


def test_names_of_categories_that_are_numbers_become_texts(read) -> None:
    assert read(document(categories=[{"id": 1, "name": 7}])).classes == ("7",)


@pytest.mark.parametrize(
    "categories",
    [
        [{"id": 0, "name": "pets"}],
        [{"id": 0, "name": "pets"}, {"id": 7, "name": "dog", "supercategory": "beasts"}],
        [
            {"id": 0, "name": "pets"},
            {"id": 7, "name": "dog", "supercategory": "pets"},
            {"id": 8, "name": "cow", "supercategory": "none"},
        ],
        [{"id": 1, "name": "pets"}, {"id": 7, "name": "dog", "supercategory": "pets"}],
    ],
)
def test_what_only_looks_like_a_placeholder_stays(read, categories) -> None:
    split = read(document(categories=categories))
    assert split.classes == tuple(c["name"] for c in categories) and split.problems == ()


def test_a_placeholder_is_told_with_its_name(read) -> None:
    split = read(
        document(
            BOX, categories=[{"id": 0, "name": "pets"}, {"id": 7, "name": "dog", "supercategory": "pets"}]
        )
    )
    (problem,) = split.problems
    assert (problem.split, problem.file_name, problem.kind) == ("train", "coco.json", "placeholder category")
    assert "'pets'" in problem.detail and split.classes == ("dog",)


def test_categories_in_use_are_those_of_records_that_can_be_read() -> None:
    broken = [{"category_id": 5}, {"category_id": None}, {"category_id": "x"}]
    batches = [json.dumps(rows).encode() for rows in (broken, [{"category_id": 7}])]
    assert categories_in_use(batches) == {5, "x", 7}


# ------------------------------------------------------------------------------------------------ annotations


@pytest.mark.parametrize(
    ("annotation", "box", "area", "told"),
    [
        ({"bbox": [0, 0, 100, 80]}, (0, 0, 100, 80), 8000, []),
        ({"bbox": [0, 0, 100, 80], "area": 1}, (0, 0, 100, 80), 1, []),
        ({"bbox": [0, 0, 100, 80], "area": 0}, (0, 0, 100, 80), 8000, []),
        ({"bbox": [0, 0, 100, 80], "area": -1}, (0, 0, 100, 80), 8000, []),
        ({"bbox": [0, 0, 100, 80], "area": 1e308}, (0, 0, 100, 80), 1e308, []),
        ({"bbox": [10, 20, 30, 40], "area": 0.5}, (10, 20, 40, 60), 0.5, []),
        ({"bbox": [10, 20, 30, 70], "area": 5}, (10, 20, 40, 80), 1800, ["clipped"]),
        ({"bbox": [80, 20, 30, 40], "area": 5}, (80, 20, 100, 60), 800, ["clipped"]),
        ({"bbox": [-10, 20, 30, 40], "area": 5}, (0, 20, 20, 60), 800, ["clipped"]),
        ({"bbox": [10, -20, 30, 40], "area": 5}, (10, 0, 40, 20), 600, ["clipped"]),
        ({"bbox": [10, 80, 30, 40]}, None, 0, ["outside the image"]),
        ({"bbox": [10, 20, 30, 0]}, None, 0, ["degenerate box"]),
        ({"bbox": [10, 20, 30, 0], "area": 9}, None, 0, ["degenerate box"]),
        ({"bbox": [10, 20, 0, 40], "area": 9}, None, 0, ["degenerate box"]),
        ({"bbox": [10, 20, 30, -1], "area": 9}, None, 0, ["degenerate box"]),
        ({"bbox": [10, 20, 30, 40, 50]}, None, 0, ["malformed record"]),
        ({"bbox": [10, 20, 30, 40, 50], "area": 9}, None, 0, ["malformed record"]),
        ({**BOX, "aerostat_box_xyxy": [10, 20, 40.0000005, 60]}, (10, 20, 40.0000005, 60), None, []),
        ({**BOX, "aerostat_box_xyxy": [10, 20, 41, 60]}, (10, 20, 40, 60), 1200, []),
    ],
)  # fmt: skip
def test_boxes_and_areas_worked_by_hand(read, annotation, box, area: float, told: list[str]) -> None:
    split = read(document(annotation))
    assert kinds(split) == told
    if box is None:
        assert split.images[0].instances == ()
    else:
        assert only(split).box_xyxy == box
        assert area is None or only(split).area == area
    for problem in split.problems:
        assert (problem.split, problem.file_name, problem.record) == ("train", "a.png", "annotation 1")


def test_what_is_said_of_a_box_names_its_numbers(read) -> None:
    split = read(document({"bbox": [90, 10, 30, 10]}, {"bbox": [200, 10, 30, 10]}, {"bbox": [1, 2, 3]}))
    assert [problem.detail for problem in split.problems] == [
        "annotation 1 has the box (90, 10, 120, 20) in 100 x 80; clipped",
        "annotation 2 has the box (200, 10, 230, 20) in 100 x 80; dropped",
        "annotation 3 states no box in 100 x 80; dropped",
    ]
    assert [problem.box_xyxy for problem in split.problems] == [(90, 10, 120, 20), (200, 10, 230, 20), None]


SQUARE, TRIANGLE = [10, 20, 40, 20, 40, 60, 10, 60], [50, 20, 60, 20, 60, 40]


@pytest.mark.parametrize(
    ("segmentation", "kept", "told"),
    [
        ([SQUARE], [SQUARE], []),
        ([SQUARE, TRIANGLE], [SQUARE, TRIANGLE], []),
        ([SQUARE, [], TRIANGLE], [SQUARE, TRIANGLE], ["degenerate polygon"]),
        ([[1, 2, 3], SQUARE], [SQUARE], ["degenerate polygon"]),
        ([[1, 2, 3, 4], TRIANGLE], [TRIANGLE], ["degenerate polygon"]),
        ([[1, 2, 3], [1, 2, 3, 4], SQUARE], [SQUARE], ["degenerate polygon"]),
        ([[1, 2, 3], [1, 2, 3, 4]], [], ["degenerate polygon"]),
        ([[90, 20, 120, 20, 120, 40, 90, 40]], [[90, 20, 100, 20, 100, 40, 90, 40]], ["clipped"]),
        ([[1, 1, 9, 9, 9, 1, 1, 8]], [[1, 1, 9, 9, 9, 1, 1, 8]], ["self-crossing polygon"]),
        ({"size": [100, 80], "counts": [0, 5]}, [], ["unusable mask"]),
        ("text", [], ["unusable mask"]),
    ],
)
@pytest.mark.parametrize("area", [{}, {"area": 9}], ids=["without an area", "with one"])
def test_outlines_worked_by_hand(read, segmentation, kept, told: list[str], area: dict[str, int]) -> None:
    # Others before and after in the same batch: each record has its own outlines, and no other's.
    rows = ([TRIANGLE, SQUARE], segmentation, [SQUARE], None)
    split = read(document(*({**BOX, **area, "segmentation": row} for row in rows)))
    outlines = [[p.ravel().tolist() for p in i.polygons] for i in split.images[0].instances]
    assert outlines == [[TRIANGLE, SQUARE], kept, [SQUARE], []]
    assert kinds(split) == told
    assert [problem.record for problem in split.problems] == ["annotation 2"] * len(told)


def test_outlines_without_a_box_give_one_and_their_area(read) -> None:
    instance = only(read(document({"segmentation": [SQUARE, TRIANGLE], "bbox": None})))
    assert (instance.box_xyxy, instance.area) == ((10, 20, 60, 60), 1200 + 100)


def test_a_mask_without_an_area_has_that_of_its_pixels_else_of_its_box(read) -> None:
    rle = {"size": [80, 100], "counts": [10, 30, 7960]}
    empty = {"size": [80, 100], "counts": [8000]}
    split = read(
        document(
            {**BOX, "segmentation": rle},
            {**BOX, "segmentation": empty},
            {**BOX, "segmentation": rle, "area": 9},
        )
    )
    assert [i.area for i in split.images[0].instances] == [30, 1200, 9]
    assert [i.rle for i in split.images[0].instances] == [rle, empty, rle]


def test_a_mask_of_a_box_that_is_dropped_is_not_asked_for(read) -> None:
    split = read(document({"bbox": [200, 10, 30, 10], "segmentation": {"size": [1, 1], "counts": [1]}}))
    assert kinds(split) == ["outside the image"]


@pytest.mark.parametrize("area", [{}, {"area": 9}], ids=["without an area", "with one"])
def test_numbers_in_another_form_are_read_and_told(read, area: dict[str, int]) -> None:
    other = [{"bbox": ["10", 20, 30, 40]}, {**BOX, "category_id": 7.0}, {**BOX, "iscrowd": "1"}]
    split = read(document(*({**row, **area} for row in (BOX, *other))))
    assert [i.box_xyxy for i in split.images[0].instances] == [(10, 20, 40, 60)] * 4
    assert [(p.kind, p.record) for p in split.problems] == [
        ("number in another form", f"annotation {n}") for n in (2, 3, 4)
    ]


def test_a_segmentation_that_is_none_is_told_beside_an_area_too(read) -> None:
    split = read(document({**BOX, "area": 9, "segmentation": "text"}))
    assert (only(split).area, only(split).rle, only(split).polygons) == (9, None, ())
    assert kinds(split) == ["unusable mask"]


def test_records_that_belong_nowhere_are_named_by_their_place(read) -> None:
    rows = document(BOX, {**BOX, "image_id": 99}, {**BOX, "category_id": 99}, {"category_id": None})
    del rows["annotations"][1]["id"]
    split = read(rows)
    assert len(split.images[0].instances) == 1
    assert [(p.split, p.file_name, p.kind, p.record) for p in split.problems] == [
        ("train", "coco.json", "unknown image", "annotations[1]"),
        ("train", "a.png", "unknown category", "annotation 3"),
        ("train", "coco.json", "malformed record", "annotations[3]"),
    ]


def test_a_file_of_too_many_broken_records_is_refused_with_the_first(read, monkeypatch) -> None:
    monkeypatch.setattr(refusals, "MAX_BROKEN", 2)
    monkeypatch.setattr(coco_annotations, "BATCH", 1)
    rows = document(BOX, BOX)
    rows["annotations"][1:1] = [{"image_id": None}] * 2
    assert kinds(read(rows)) == ["malformed record"] * 2
    rows["annotations"][1:1] = [{"image_id": None}]
    with pytest.raises(InputError, match=r"more than 2 records.*annotations\[1\]"):
        read(rows)
    images = [
        IMAGE,
        *({"id": n, "file_name": None} for n in range(3)),
        {**IMAGE, "id": 12, "file_name": "b.png"},
    ]
    with pytest.raises(InputError, match=r"more than 2 records.*images\[1\]"):
        read(document(images=images))
    assert kinds(read(document(images=[*images[:3], images[4]]))) == ["malformed record"] * 2


def test_places_are_counted_through_all_batches(read, monkeypatch) -> None:
    monkeypatch.setattr(coco_annotations, "BATCH", 2)
    rows = document(*[BOX] * 7)
    rows["annotations"][4] = {"image_id": "none"}
    rows["annotations"][5] = {"image_id": 11, "category_id": 7, "bbox": [90, 20, 30, 40]}
    split = read(rows)
    assert [(problem.kind, problem.record) for problem in split.problems] == [
        ("malformed record", "annotations[4]"),
        ("clipped", "annotations[5]"),
    ]
    assert len(split.images[0].instances) == 6


@pytest.mark.parametrize(
    ("count", "most", "told"), [(5, 5, []), (3, 1, ["reading coco.json"]), (9, 4, ["reading coco.json"])]
)
def test_how_far_it_is_is_shown_where_there_are_many_batches(
    read, monkeypatch, count: int, most: int, told
) -> None:
    said: list[str] = []

    def track(items, title: str, total: int) -> list[bytes]:
        batches = list(items)
        said.append(title)
        assert total == len(batches)
        return batches

    monkeypatch.setattr(coco_annotations, "BATCH", 2)
    monkeypatch.setattr(coco, "SILENT_BATCHES", most)
    monkeypatch.setattr(coco, "track", track)
    assert len(read(document(*[{"bbox": [1, 2, 3, 4]}] * count)).images[0].instances) == count
    assert said == told


def test_crowds_may_be_told_in_numbers_or_words(read) -> None:
    split = read(document(*({**BOX, "iscrowd": value} for value in (0, 1, True, False))))
    assert [i.crowd for i in split.images[0].instances] == [False, True, True, False]
    assert all(type(i.crowd) is bool for i in split.images[0].instances)


@pytest.mark.parametrize(
    ("runs", "pixels"), [([], 0), ([9], 0), ([0, 9], 9), ([2, 3, 4, 5], 8), ([1, 0, 2, 7], 7)]
)
def test_the_pixels_of_a_mask_are_every_other_run(runs: list[int], pixels: int) -> None:
    assert rle_area(runs) == pixels


def test_a_mask_of_one_pixel_or_of_all_has_its_own_area(read) -> None:
    masks = [{"size": [80, 100], "counts": counts} for counts in ([5, 1, 7994], [0, 8000], [0, 8001])]
    split = read(document(*({**BOX, "segmentation": mask} for mask in masks)))
    assert [i.area for i in split.images[0].instances] == [1, 8000, 1200]  # more than all is nonsense
    assert [type(i.area) for i in split.images[0].instances] == [float] * 3


def test_runs_have_twelve_digits_at_most() -> None:
    # A digit of six bits: 32 says that more follow, and the lowest come first; "0" is 0 and "P" is 32.
    assert rle_area("0" + "P" * 11 + "1") == 2**55
    assert rle_area("0" + "P" * 12 + "1") == 0


# --------------------------------------------------------------------------------------------------- writing


def test_files_for_other_tools_number_all_from_zero_and_state_box_areas(tmp_path: Path) -> None:
    outline = np.array([[5, 6], [25, 6], [5, 16.5]])
    rle = {"size": [80, 100], "counts": [0, 80, 7920]}
    instances = (
        Instance((5, 6, 25, 16.5), 1, (outline,), area=105),
        Instance((1, 2, 4, 6), 0, rle=rle, area=9),
    )
    images = [ImageRecord(Path(f"{n}.png"), f"{n}.png", 100, 80, instances, 11 + n) for n in range(2)]
    split = Split("val", ("cat", "dog"), (3, 7), tuple(images))
    write_coco(split, tmp_path / "c.json", area="box", ids="from_zero", polygon_offset=0.5)
    written = json.loads((tmp_path / "c.json").read_text())
    assert [image["id"] for image in written["images"]] == [0, 1]
    assert written["categories"] == [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    rows = written["annotations"]
    assert [row["id"] for row in rows] == [0, 1, 2, 3]
    assert [row["image_id"] for row in rows] == [0, 0, 1, 1]
    assert [row["category_id"] for row in rows] == [1, 0, 1, 0]
    assert [row["area"] for row in rows] == [210, 12, 210, 12]
    assert rows[0]["segmentation"] == [[5.5, 6.5, 25.5, 6.5, 5.5, 17]] and rows[1]["segmentation"] == rle
    assert outline.tolist() == [[5, 6], [25, 6], [5, 16.5]]
    assert [type(row["iscrowd"]) for row in rows] == [int] * 4
    assert set(written) == {"images", "annotations", "categories", "info"}
    assert written["info"] == {"description": "written by aerostat"}
