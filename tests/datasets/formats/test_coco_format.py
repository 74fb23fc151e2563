import gc
import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from aerostat.datasets import annotation_text, json_stream
from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import coco
from aerostat.datasets.formats import coco_records as coco_annotations
from aerostat.datasets.formats.coco import FORMAT, read_coco, write_coco
from aerostat.datasets.formats.coco_shapes import rle_area
from aerostat.datasets.formats.format import WriteOptions
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError

mask = pytest.importorskip("pycocotools.mask")

CATS = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]


def document(*annotations: dict[str, Any], categories=None, images=None) -> dict[str, Any]:
    return {
        "images": images or [{"id": 11, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [
            {"id": n, "image_id": 11, "category_id": 7, **a} for n, a in enumerate(annotations, 1)
        ],
        "categories": CATS if categories is None else categories,
    }


@pytest.fixture(params=["at once", "in parts"])
def read(request, monkeypatch, images, write_json):
    """Read a COCO document whose images a.png and b.png, 100 x 80, lie beside it."""

    if request.param == "in parts":
        monkeypatch.setattr(annotation_text, "LARGE_FILE", 0)
        monkeypatch.setattr(json_stream, "CHUNK", 100)

    def read(content: Any, classes: list[str] | None = None) -> Split:
        folder = images("data", "a.png", "b.png")
        return read_coco(write_json(folder / "coco.json", content), [folder], split="train", classes=classes)

    return read


def only(split: Split) -> Instance:
    (instance,) = split.images[0].instances
    return instance


def test_ids_boxes_areas_and_crowds_are_kept(read) -> None:
    split = read(document({"bbox": [10, 20, 30, 40], "area": 555.5}, {"bbox": [1, 2, 3, 4], "iscrowd": 1}))
    box, crowd = split.images[0].instances
    assert (split.classes, split.category_ids, split.images[0].id) == (("cat", "dog"), (3, 7), 11)
    assert (box.box_xyxy, box.label, box.area, box.crowd) == ((10, 20, 40, 60), 1, 555.5, False)
    assert (crowd.crowd, crowd.area) == (True, 12)
    assert split.box_count == 1 and split.problems == ()


def test_given_classes_fix_the_order_of_labels(read) -> None:
    split = read(document({"bbox": [10, 20, 30, 40]}), ["dog", "cat", "cow"])
    assert (split.classes, split.category_ids, only(split).label) == (("dog", "cat", "cow"), (7, 3, 8), 0)


def test_a_category_without_objects_need_not_be_listed_but_one_with_objects_must(read) -> None:
    assert read(document({"bbox": [1, 2, 3, 4]}), ["dog"]).category_ids == (7,)
    with pytest.raises(InputError, match="'dog', which `classes` does not list: it lists 'cat'"):
        read(document({"bbox": [1, 2, 3, 4]}), ["cat"])


def test_masks_are_kept_as_they_are_found(read) -> None:
    compressed = mask.encode(np.asfortranarray(np.pad(np.ones((20, 30), np.uint8), ((10, 50), (40, 30)))))
    rle = {"size": [80, 100], "counts": compressed["counts"].decode()}
    plain = {"size": [80, 100], "counts": [0, 80, 7920]}
    split = read(document(*({"bbox": [1, 2, 30, 20], "segmentation": s} for s in (rle, plain))))
    kept = split.images[0].instances
    assert [i.rle for i in kept] == [rle, plain]
    assert [i.area for i in kept] == [600, 80]


@pytest.mark.parametrize("seed", range(5))
def test_the_area_of_a_compressed_mask_is_that_of_pycocotools(seed: int) -> None:
    pixels = np.random.default_rng(seed).random((97, 203)) < [0.01, 0.3, 0.5, 0.9, 1.1][seed]
    encoded = mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert rle_area(encoded["counts"].decode()) == mask.area(encoded) == pixels.sum()


def test_outlines_make_the_box_and_the_area_where_none_is_stated(read) -> None:
    outlines = [[10, 10, 20, 10, 20, 20, 10, 20], [30, 10, 40, 10, 40, 20]]
    instance = only(read(document({"segmentation": outlines})))
    assert (instance.box_xyxy, instance.area) == ((10, 10, 40, 20), 150)
    assert [p.ravel().tolist() for p in instance.polygons] == outlines


@pytest.mark.parametrize(
    ("annotation", "box", "kinds"),
    [
        ({"bbox": [90, 10, 10, 70]}, (90, 10, 100, 80), []),
        ({"bbox": [90, 10, 10.5, 70]}, (90, 10, 100, 80), []),
        ({"bbox": [90, 10, 30, 10]}, (90, 10, 100, 20), ["clipped"]),
        ({"bbox": [-0.2, -3, 30, 10]}, (0, 0, 29.8, 7), ["clipped"]),
        ({"bbox": [100, 10, 30, 10]}, None, ["outside the image"]),
        ({"bbox": [10, 10, 0, 10]}, None, ["degenerate box"]),
        ({"bbox": [10, 10, 5, -10]}, None, ["degenerate box"]),
        ({"bbox": [10, 10, 5]}, None, ["malformed record"]),
        ({"bbox": []}, None, ["malformed record"]),
        ({"bbox": ["a", 1, 2, 3]}, None, ["malformed record"]),
        ({}, None, ["malformed record"]),
        ({"bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 5, 5]]}, (1, 1, 6, 6), ["degenerate polygon"]),
        ({"bbox": [1, 1, 5, 5], "segmentation": [[1, 1, 5, 5, 9]]}, (1, 1, 6, 6), ["degenerate polygon"]),
        ({"bbox": [1, 1, 5, 5], "segmentation": [[]]}, (1, 1, 6, 6), ["degenerate polygon"]),
        (
            {"bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 9, 9, 1, 1, 8]]},
            (1, 1, 10, 10),
            ["self-crossing polygon"],
        ),
        ({"bbox": [1, 1, 5, 5], "segmentation": "x"}, (1, 1, 6, 6), ["unusable mask"]),
        (
            {"bbox": [1, 1, 5, 5], "segmentation": {"size": [3, 3], "counts": [9]}},
            (1, 1, 6, 6),
            ["unusable mask"],
        ),
        ({"bbox": [1, 1, 5, 5], "segmentation": {"counts": [9]}}, (1, 1, 6, 6), ["unusable mask"]),
        ({"bbox": [1, 1, 5, 5], "segmentation": None}, (1, 1, 6, 6), []),
        ({"bbox": [1, 1, 5, 5], "segmentation": []}, (1, 1, 6, 6), []),
        ({"bbox": ["1", 1.0, "5", 5]}, (1, 1, 6, 6), ["number in another form"]),
        ({"bbox": [1, 1, 5, 5], "category_id": 7.0}, (1, 1, 6, 6), ["number in another form"]),
        ({"bbox": [1, 1, math.nan, 5]}, None, ["malformed record"]),
        ({"bbox": [1, -math.inf, 5, 5]}, None, ["malformed record"]),
        ({"bbox": [1, 1, 5, 5], "area": math.nan}, (1, 1, 6, 6), ["number in another form"]),
        ({"bbox": [1, 1, 2.0**40, 5]}, (1, 1, 100, 6), ["clipped"]),
        ({"bbox": [2.0**40, 1, 5, 5]}, None, ["outside the image"]),
        ({"bbox": [1, 1, 5, 5], "image_id": 99}, None, ["unknown image"]),
        ({"bbox": [1, 1, 5, 5], "category_id": 99}, None, ["unknown category"]),
        ({"bbox": [1, 1, 5, 5], "area": 25, "category_id": 99}, None, ["unknown category"]),
        ({"bbox": [1, 1, 5, 5], "area": 25, "image_id": 99}, None, ["unknown image"]),
        ({"bbox": [1, 1, 5, 5], "category_id": None}, None, ["malformed record"]),
    ],
)
def test_what_becomes_of_an_annotation(read, annotation, box, kinds: list[str]) -> None:
    split = read(document(annotation))
    assert [i.box_xyxy for i in split.images[0].instances] == ([] if box is None else [pytest.approx(box)])
    assert [p.kind for p in split.problems] == kinds


def test_a_clipped_object_states_the_area_that_is_left(read) -> None:
    outline = [90, 10, 120, 10, 120, 20, 90, 20]
    clipped = only(read(document({"bbox": [90, 10, 30, 10], "area": 300, "segmentation": [outline]})))
    assert (clipped.area, clipped.polygons[0].tolist()) == (100, [[90, 10], [100, 10], [100, 20], [90, 20]])


def test_an_image_without_annotations_is_kept(read) -> None:
    assert [len(image.instances) for image in read(document()).images] == [0]


def test_sizes_come_from_the_header_where_the_file_states_none_or_a_wrong_one(read) -> None:
    listed = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png", "width": 80, "height": 100}]
    split = read(document(images=listed))
    assert [(i.width, i.height) for i in split.images] == [(100, 80), (100, 80)]
    assert [(p.kind, p.file_name) for p in split.problems] == [("swapped size", "b.png")]


def test_missing_and_broken_images_are_named_and_left_out_with_their_objects(read, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "broken.png").write_bytes(b"no image")
    listed = [{"id": i, "file_name": f} for i, f in ((11, "gone.png"), (12, "broken.png"), (13, "a.png"))]
    split = read(document({"bbox": [1, 2, 3, 4]}, images=listed))
    assert [image.file_name for image in split.images] == ["a.png"] and split.box_count == 0
    assert [(p.kind, p.file_name) for p in split.problems] == [
        ("missing image", "gone.png"),
        ("unreadable image", "broken.png"),
    ]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            document(images=[{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "a.png"}]),
            "file name.*'a.png'",
        ),
        (document(images=[{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": "b.png"}]), "image id.*1"),
        (document(categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "category id.*1"),
        (
            document(categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "a"}]),
            "category more than once.*'a'",
        ),
    ],
)
def test_what_must_be_unique_is_refused_twice(read, content, found: str) -> None:
    with pytest.raises(InputError, match=found):
        read(content)


def test_a_file_of_missing_images_has_no_objects(read) -> None:
    listed = [{"id": 1, "file_name": "gone.png"}]
    box = {"bbox": [1, 2, 3, 4], "area": 12}
    split = read(document({**box, "image_id": 1}, {**box, "image_id": 99}, images=listed))
    assert [p.kind for p in split.problems] == ["missing image", "unknown image"] and len(split) == 0


def test_images_in_sub_folders_of_one_name_are_two_images(images, write_json) -> None:
    folder = images("data", "one/a.png", "two/a.png")
    listed = [{"id": 1, "file_name": "one/a.png"}, {"id": 2, "file_name": "two/a.png"}]
    split = read_coco(write_json(folder / "c.json", document(images=listed)), [folder], split="train")
    assert [image.path for image in split.images] == [folder / "one" / "a.png", folder / "two" / "a.png"]


def test_two_names_for_one_file_are_refused(images, write_json) -> None:
    folder = images("data", "a.png")
    listed = [{"id": 1, "file_name": "one/a.png"}, {"id": 2, "file_name": "two/a.png"}]
    with pytest.raises(InputError, match=r"'one/a\.png' and 'two/a\.png', which both mean"):
        read_coco(write_json(folder / "c.json", document(images=listed)), [folder], split="train")


@pytest.mark.parametrize("name", ["../secret.png", "/etc/secret.png", "..\\secret.png", "C:\\x\\secret.png"])
def test_file_names_never_lead_out_of_the_folder(images, write_json, name: str) -> None:
    folder = images("data", "a.png")
    Image.new("RGB", (9, 9)).save(folder.parent / "secret.png")
    listed = [{"id": 11, "file_name": name}, {"id": 12, "file_name": "a.png"}]
    split = read_coco(write_json(folder / "c.json", document(images=listed)), [folder], split="train")
    assert [p.kind for p in split.problems] == ["missing image"]


def test_names_in_any_script_and_either_unicode_form_are_found(images, write_json) -> None:
    folder = images("data", "气球.png", "Ba\u0308llon.png")
    listed = [{"id": 1, "file_name": "气球.png"}, {"id": 2, "file_name": "B\u00e4llon.png"}]
    split = read_coco(write_json(folder / "c.json", document(images=listed)), [folder], split="train")
    assert len(split) == 2 and split.problems == ()


def test_roboflows_placeholder_is_left_out_and_reported(read) -> None:
    categories = [{"id": 0, "name": "pets", "supercategory": "none"}]
    categories += [{"id": i, "name": n, "supercategory": "pets"} for i, n in ((1, "cat"), (7, "dog"))]
    split = read(document({"bbox": [1, 2, 3, 4]}, categories=categories))
    assert (split.classes, split.category_ids, only(split).label) == (("cat", "dog"), (1, 7), 1)
    assert [p.kind for p in split.problems] == ["placeholder category"]


def test_a_category_0_with_objects_is_no_placeholder(read) -> None:
    categories = [{"id": 0, "name": "pets"}, {"id": 7, "name": "dog", "supercategory": "pets"}]
    split = read(document({"bbox": [1, 2, 3, 4], "category_id": 0}, categories=categories))
    assert split.classes == ("pets", "dog") and split.problems == ()


def test_ids_that_are_text_are_numbered_anew(read) -> None:
    content = document(
        {"bbox": [1, 2, 3, 4], "image_id": "x", "category_id": "d"},
        images=[{"id": "x", "file_name": "a.png"}],
        categories=[{"id": "c", "name": "cat"}, {"id": "d", "name": "dog"}],
    )
    split = read(content)
    assert (split.images[0].id, split.category_ids, only(split).label) == (1, (1, 2), 1)


def test_a_record_of_another_form_is_named_by_its_place(read) -> None:
    with pytest.raises(InputError, match=r"file_name.*images\[0\]"):
        read(document(images=[{"id": 1}]))


def test_records_of_images_and_categories_cost_themselves(read) -> None:
    content = document(
        {"bbox": [1, 2, 3, 4], "image_id": 1, "category_id": 1},
        {"bbox": [1, 2, 3, 4], "image_id": 2, "category_id": 1},
        {"bbox": [1, 2, 3, 4], "image_id": 1, "category_id": 9},
        images=[
            {"id": 1, "file_name": "a.png", "width": "100", "height": math.nan},
            {"id": 2, "file_name": None},
            "no image",
        ],
        categories=[{"id": 1, "name": "disc"}, {"id": 1, "name": "disc"}, {"id": None, "name": "x"}],
    )
    split = read(content)
    assert (split.classes, split.category_ids, len(split), split.box_count) == (("disc",), (1,), 1, 1)
    assert [(p.kind, p.record) for p in split.problems] == [
        ("malformed record", "images[1]"),
        ("malformed record", "images[2]"),
        ("malformed record", "categories[2]"),
        ("repeated category", "category 1"),
        ("wrong size", ""),
        ("unknown category", "annotation 3"),
    ]


def test_one_id_for_two_categories_is_refused(read) -> None:
    with pytest.raises(InputError, match="1 category id more than once, first 1"):
        read(document(categories=[{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]))


def test_numbers_of_any_length_are_read(read) -> None:
    content = document(
        {"bbox": [1, 2, 3, 4], "image_id": 10**30, "category_id": 2**31},
        images=[{"id": 10**30, "file_name": "a.png", "width": 10**400, "height": 80}],
        categories=[{"id": 2**31, "name": "disc"}],
    )
    split = read(content)
    assert (split.images[0].id, split.category_ids, split.box_count) == (10**30, (2**31,), 1)


def test_huge_data_sets_skip_the_slow_checks_and_say_so(read, monkeypatch) -> None:
    monkeypatch.setattr(coco, "CHECKED_IMAGES", 0)
    split = read(document({"bbox": [1, 1, 9, 9], "segmentation": [[1, 1, 9, 9, 9, 1, 1, 8]]}))
    assert [p.kind for p in split.problems] == ["not checked"] and len(split) == 1


# --- many annotations at once ---


def messy(count: int, seed: int) -> list[dict[str, Any]]:
    """Return annotations most of which are plain, and some of which have each kind of thing wrong."""
    rng = np.random.default_rng(seed)
    made = []
    for n in range(count):
        x, y, w, h = (float(v) for v in rng.integers(1, 40, 4))
        annotation: dict[str, Any] = {"id": n, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0}
        annotation["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
        wrong: list[dict[str, Any]] = [
            {"bbox": [90, 10, 30, 10]},
            {"bbox": None},
            {"area": None},
            {"area": 0},
            {"segmentation": "no mask"},
            {"segmentation": [[1, 1, 9, 9, 9, 1, 1, 8], [1, 2, 3]]},
            {"segmentation": [[5, 5, 9, 9], [20, 20, 30, 20, 30, 30]]},
            {"segmentation": [[90, 10, 120, 10, 120, 20, 90, 20]]},
            {"segmentation": {"size": [80, 100], "counts": [0, 80, 7920]}, "iscrowd": 1},
            {"category_id": 99},
            {"image_id": 99},
            {"iscrowd": "yes"},
            {"category_id": [7]},
        ]
        made.append(annotation | (wrong[int(rng.integers(len(wrong)))] if rng.random() < 0.3 else {}))
    return made


SAID_ONCE = ("derived box", "ignored field", "shape in another form")
"""Kinds of problem that are reported once for a file, with their number."""


@pytest.mark.parametrize(("seed", "batch"), [(0, 64), (1, 100), (2, 1)])
def test_what_becomes_of_many_annotations_is_what_becomes_of_each(
    read, monkeypatch, seed: int, batch: int
) -> None:
    monkeypatch.setattr(coco_annotations, "BATCH", batch)
    annotations = messy(80, seed)
    together = read(document(*annotations))
    alone = [read(document(annotation)) for annotation in annotations]
    assert [i for split in alone for i in split.images[0].instances] == list(together.images[0].instances)
    kinds = [p.kind for split in alone for p in split.problems if p.kind not in SAID_ONCE]
    assert [p.kind for p in together.problems if p.kind not in SAID_ONCE] == kinds
    said = [p.kind for split in alone for p in split.problems if p.kind in SAID_ONCE]
    assert sorted(p.kind for p in together.problems if p.kind in SAID_ONCE) == sorted(set(said))
    named = [problem.detail for problem in together.problems if problem.kind == "malformed record"]
    places = [n for n, a in enumerate(annotations) if a.get("category_id") == [7]]
    assert [f"annotations[{n}] is no" in " ".join(named) for n in places] == [True] * len(places)


def test_the_collector_is_left_as_it_was(read) -> None:
    frozen = gc.get_freeze_count()
    read(document({"bbox": [1, 1, 5, 5]}))
    assert gc.isenabled() and gc.get_freeze_count() == frozen
    gc.disable()
    try:
        read(document({"bbox": [1, 1, 5, 5]}))
        assert not gc.isenabled()
    finally:
        gc.enable()


# --- writing ---


def two_objects() -> Split:
    outline = np.array([[5, 6], [25, 6], [5, 16.5]])
    instances = (
        Instance((5, 6, 25, 16.5), 1, (outline,), area=105),
        Instance((1, 2, 4, 6), 0, crowd=True, area=9),
    )
    return Split(
        "val", ("cat", "dog"), (3, 7), (ImageRecord(Path("a.png"), "a.png", 100, 80, instances, 11),)
    )


def test_written_files_state_what_the_split_states(tmp_path: Path) -> None:
    write_coco(two_objects(), tmp_path / "c.json")
    written = json.loads((tmp_path / "c.json").read_text())
    assert written["images"] == [{"id": 11, "file_name": "a.png", "height": 80, "width": 100}]
    assert written["categories"] == [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    assert written["annotations"] == [
        {
            "image_id": 11,
            "id": 1,
            "category_id": 7,
            "bbox": [5, 6, 20, 10.5],
            "area": 105,
            "segmentation": [[5, 6, 25, 6, 5, 16.5]],
            "iscrowd": 0,
        },
        {
            "image_id": 11,
            "id": 2,
            "category_id": 3,
            "bbox": [1, 2, 3, 4],
            "area": 9,
            "segmentation": [],
            "iscrowd": 1,
        },
    ]


@pytest.mark.filterwarnings("error")
def test_written_files_load_in_pycocotools(tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    write_coco(two_objects(), tmp_path / "c.json")
    loaded = COCO(str(tmp_path / "c.json"))
    assert loaded.getAnnIds(iscrowd=False) == [1] and loaded.getCatIds() == [3, 7]
    loaded.loadRes([{"image_id": 11, "category_id": 7, "bbox": [5, 6, 20, 10], "score": 0.5}])


@pytest.mark.parametrize(
    ("options", "offset", "area", "number"),
    [
        (WriteOptions(), 0, 105, 1),
        (WriteOptions("box"), 0, 210, 1),
        (WriteOptions("polygon", whole_pixels=True), 0, 105, 1),
        (WriteOptions("box", whole_pixels=True), 0.5, 210, 0),  # as the usual balloon converter does
    ],
)
def test_options_of_writing_say_which_area_is_stated(tmp_path: Path, options, offset, area, number) -> None:
    assert FORMAT.write(two_objects(), tmp_path / "c.json", options) == Counter()
    row = json.loads((tmp_path / "c.json").read_text())["annotations"][0]
    outline = [value + offset for value in (5, 6, 25, 6, 5, 16.5)]
    assert (row["segmentation"], row["area"], row["id"]) == ([outline], area, number)


@pytest.mark.parametrize(
    ("content", "may_begin", "is_coco"),
    [
        (b'{"images": [], "annotations": []}', True, True),
        (b'{"images": [], "annotations": [], "info": {}}', True, True),
        (b'{"info": {}, "categories": []}', True, False),
        (b'["images", "annotations"]', True, False),
        (b'{"shapes": []}', False, False),
        (b'x {"images": [], "annotations": []}', False, False),
    ],
)
def test_a_file_is_recognised_by_its_keys(tmp_path: Path, content: bytes, may_begin: bool, is_coco) -> None:
    (tmp_path / "c.json").write_bytes(content)
    assert FORMAT.may_begin(content) == may_begin
    assert FORMAT.recognise(AnnotationText(tmp_path / "c.json")) == is_coco


def test_a_folder_is_read_by_its_objects_and_not_by_its_key_points(images, write_json) -> None:
    folder = images("data", "a.png")
    for name, count in (("instances_train", 2), ("person_keypoints_train", 1)):
        write_json(folder / f"{name}.json", document(*[{"bbox": [1, 2, 3, 4], "id": 5}] * count))
    assert Dataset.read(folder).split("train").box_count == 2


def test_splits_that_list_their_categories_in_another_order_have_one_order(images, write_json) -> None:
    root = images("data", "train/a.png", "val/a.png")
    write_json(root / "train" / "c.json", document({"bbox": [1, 2, 3, 4]}))
    write_json(root / "val" / "c.json", document({"bbox": [1, 2, 3, 4]}, categories=CATS[::-1]))
    val = Dataset.read(root).split("val")
    assert (val.classes, val.category_ids, only(val).label) == (("cat", "dog"), (3, 7), 1)


def test_a_split_without_images_is_written_as_one(tmp_path: Path) -> None:
    write_coco(Split("val", ("a",), (1,), ()), tmp_path / "c.json")
    assert json.loads((tmp_path / "c.json").read_text())["annotations"] == []
