import csv
import dataclasses
import json
import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from aerostat.errors import InputError
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detection, Detections, Picture
from aerostat.results.io import write_coco, write_csv, write_json

CLASSES = ("person", "balloon", "kite")


def three() -> Detections:
    boxes = [[0, 0, 10, 20], [5.5, 6.25, 50, 60], [100, 100, 110, 120]]
    return Detections(
        boxes, [0.9, 0.3, 0.6], [1, 0, 1], CLASSES, image_size=(640, 480), path=Path("party.jpg")
    )


def none() -> Detections:
    return Detections.empty(CLASSES)


def test_fields_are_kept_in_their_types() -> None:
    found = three()
    assert (found.boxes_xyxy.dtype, found.scores.dtype, found.labels.dtype) == (
        np.float32,
        np.float32,
        np.int64,
    )
    assert found.boxes_xyxy.shape == (3, 4)
    assert (found.image_size, found.path, found.classes) == ((640, 480), Path("party.jpg"), CLASSES)
    assert len(found) == 3


def test_arrays_of_the_right_type_are_not_copied() -> None:
    boxes = np.zeros((2, 4), np.float32)
    assert Detections(boxes, np.zeros(2, np.float32), np.zeros(2, np.int64), CLASSES).boxes_xyxy is boxes


@pytest.mark.parametrize(
    "found",
    [
        Detections.empty(CLASSES),
        Detections([], [], [], CLASSES),
        Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0), CLASSES),
    ],
    ids=["empty()", "lists", "arrays"],
)
def test_nothing_found_is_a_result_like_any_other(found: Detections, tmp_path: Path) -> None:
    assert len(found) == 0
    assert list(found) == []
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.labels.dtype == np.int64
    assert found.filter(score=0.5, classes="balloon") == found[[]] == found[:] == found
    assert found.to_coco(7) == []
    assert Detections.from_dict(found.to_dict()) == found
    image = np.zeros((40, 40, 3), np.uint8)
    assert np.array_equal(found.draw(image).image_bgr, image)
    assert found.save(tmp_path / "none.csv").read_text() == "file,class,score,x1,y1,x2,y2\n"
    assert repr(found) == "Detections(nothing found)"


@pytest.mark.parametrize(
    ("boxes", "scores", "labels", "says"),
    [
        ([1, 2, 3, 4], [0.5], [0], r"shape \(n, 4\), found \(4,\)"),
        ([[1, 2, 3]], [0.5], [0], r"shape \(n, 4\), found \(1, 3\)"),
        ([[1, 2, 3, 4], [1, 2]], [0.5], [0], "rows of different lengths"),
        ([[1, 2, 3, 4]], [0.5, 0.6], [0], r"scores of shape \(1,\).*found \(2,\)"),
        ([[1, 2, 3, 4]], [[0.5]], [0], r"scores of shape \(1,\).*found \(1, 1\)"),
        ([[1, 2, 3, 4]], [0.5], [], r"labels of shape \(1,\).*found \(0,\)"),
        ([[1, 2, math.nan, 4]], [0.5], [0], r"finite boxes_xyxy, found nan at \[0, 2\]"),
        ([[1, 2, 3, 4]], [math.inf], [0], "finite scores, found inf"),
        ([[1, 2, 3, 4]], ["high"], [0], "numbers for scores"),
        ([[9, 2, 3, 4]], [0.5], [0], r"x1 <= x2.*found \[9, 2, 3, 4\] at index 0"),
        ([[1, 2, 3, 4]], [0.5], [3], r"index 3 classes.*found 3 at index 0"),
        ([[1, 2, 3, 4]], [0.5], [-1], "found -1 at index 0"),
        ([[1, 2, 3, 4]], [0.5], [0.5], "found 0.5 at index 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_both_values(
    boxes: list, scores: list, labels: list, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        Detections(boxes, scores, labels, CLASSES)


def test_a_lone_class_name_is_one_class() -> None:
    assert Detections([[1, 2, 3, 4]], [0.5], [0], "balloon").classes == ("balloon",)


def test_iterating_and_indexing_yield_single_detections() -> None:
    found = three()
    assert next(iter(found)) == Detection((0, 0, 10, 20), pytest.approx(0.9), 1, "balloon")
    assert [one.name for one in found] == ["balloon", "person", "balloon"]
    assert [found[i] for i in range(3)] == list(found)
    assert found[-1] == found[np.int64(2)] == list(found)[2]
    with pytest.raises(IndexError):
        found[3]


@pytest.mark.parametrize(
    ("index", "places"),
    [
        (slice(1, None), [1, 2]),
        (slice(None, None, -1), [2, 1, 0]),
        (np.asarray([2, 0, 2]), [2, 0, 2]),
        ([1], [1]),
        ([], []),
        (np.asarray([True, False, True]), [0, 2]),
        ([False, False, False], []),
    ],
)
def test_slices_indices_and_masks_select(index: object, places: list[int]) -> None:
    chosen = three()[index]
    assert isinstance(chosen, Detections)
    assert list(chosen) == [list(three())[i] for i in places]
    assert (chosen.classes, chosen.image_size, chosen.path) == (CLASSES, (640, 480), Path("party.jpg"))


@pytest.mark.parametrize("index", [[True, False], [[0]], [0.5], np.ones((3, 4), bool)])
def test_a_selection_that_does_not_fit_is_refused(index: object) -> None:
    with pytest.raises(InputError, match=r"Expected a (mask of 3|slice)"):
        three()[index]


@pytest.mark.parametrize(
    ("wanted", "places"),
    [
        ({}, [0, 1, 2]),
        ({"score": 0.6}, [0, 2]),
        ({"score": 0.3}, [0, 1, 2]),
        ({"score": 0.9}, [0]),
        ({"score": 0.95}, []),
        ({"classes": "balloon"}, [0, 2]),
        ({"classes": ["person", "kite"]}, [1]),
        ({"classes": []}, []),
        ({"score": 0.7, "classes": ["balloon"]}, [0]),
    ],
)
def test_filter_keeps_scores_at_or_above_and_the_classes_named(wanted: dict, places: list[int]) -> None:
    assert three().filter(**wanted) == three()[places]


def test_filter_by_an_unknown_class_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"found 'baloon'\. Did you mean 'balloon'\?"):
        three().filter(classes=["baloon"])


def test_equality_sees_every_field() -> None:
    assert three() == three()
    assert three() != three()[:2]
    assert three() != three()[::-1]
    assert three() != "balloon"


def test_repr_counts_by_class() -> None:
    assert repr(three()) == "Detections(1 person, 2 balloon on party.jpg)"


def test_coco_rows_have_width_and_height_and_plain_numbers() -> None:
    rows = three().to_coco(42)
    assert rows[1] == {
        "image_id": 42,
        "category_id": 1,
        "bbox": [5.5, 6.25, 44.5, 53.75],
        "score": float(np.float32(0.3)),
    }
    assert [row["category_id"] for row in three().to_coco(42, category_ids=[18, 44, 90])] == [44, 18, 44]
    assert type(rows[1]["score"]) is type(rows[1]["bbox"][0]) is float
    with pytest.raises(InputError, match="each of 3 classes, found 2"):
        three().to_coco(42, [1, 2])


@settings(deadline=None)
@given(st.data())
def test_to_dict_and_back_through_json_changes_nothing(data: st.DataObject) -> None:
    number = st.integers(0, 6)
    n = data.draw(number)
    values = st.floats(-1e6, 1e6, width=32)
    corners = data.draw(hnp.arrays(np.float32, (n, 4), elements=values))
    boxes = np.concatenate(
        [np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])], 1
    )
    scores = data.draw(hnp.arrays(np.float32, n, elements=st.floats(0, 1, width=32)))
    labels = data.draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2)))
    size = data.draw(st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999)))
    path = data.draw(st.sampled_from([None, Path("a/气球 1.jpg")]))
    found = Detections(boxes, scores, labels, ("person", "气球", 'a "b", c'), None, size, path)
    assert Detections.from_dict(json.loads(json.dumps(found.to_dict(), allow_nan=False))) == found


def test_to_dict_shows_decimals_as_short_as_they_can_be() -> None:
    assert three().to_dict()["detections"][0] == {
        "box_xyxy": [0, 0, 10, 20],
        "score": 0.9,
        "label": 1,
        "class": "balloon",
    }


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"detections": []},
        {"detections": 3, "classes": []},
        {"detections": [{"box_xyxy": [1, 2, 3], "score": 1, "label": 0}], "classes": ["a"]},
        {"detections": [{"box_xyxy": [1, 2, 3, 4], "label": 0}], "classes": ["a"]},
        {"detections": [{"box_xyxy": "box", "score": 1, "label": 0}], "classes": ["a"]},
        {"detections": [{"box_xyxy": [1, 2, 3, 4], "score": 1, "label": 1}], "classes": ["a"]},
        {"detections": [None], "classes": ["a"]},
        {"detections": [], "classes": ["a"], "image_size": 5},
        [],
    ],
)
def test_a_dict_that_is_none_of_ours_is_refused(content: object) -> None:
    with pytest.raises(InputError, match="Expected"):
        Detections.from_dict(content)


def test_drawing_reads_the_image_from_its_path_and_saves(tmp_path: Path) -> None:
    photograph = np.full((480, 640, 3), 200, np.uint8)
    cv2.imwrite(str(tmp_path / "party.png"), photograph)
    found = Detections([[100, 100, 300, 300]], [0.9], [1], CLASSES, path=tmp_path / "party.png")
    picture = found.draw()
    assert isinstance(picture, Picture)
    assert picture.image_bgr.shape == (480, 640, 3)
    assert (picture.image_bgr != photograph).any()
    assert np.array_equal(found.draw(photograph).image_bgr, picture.image_bgr)
    saved = picture.save(tmp_path / "found.png")
    assert np.array_equal(cv2.imread(str(saved)), picture.image_bgr)
    shown = cv2.imdecode(np.frombuffer(picture._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, picture.image_bgr)


def test_drawing_without_an_image_or_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="do not know a path"):
        none().draw()
    with pytest.raises(InputError, match=r"gone\.jpg"):
        Detections.empty(CLASSES, path=tmp_path / "gone.jpg").draw()


def test_save_writes_json_that_reads_back(tmp_path: Path) -> None:
    path = three().save(tmp_path / "new folder" / "found.json")
    assert Detections.from_dict(json.loads(path.read_text(encoding="utf-8"))) == three()


def test_save_refuses_other_suffixes_and_points_to_draw(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found .*found\.jpg: draw\(\)\.save"):
        three().save(tmp_path / "found.jpg")
    assert list(tmp_path.iterdir()) == []


def read_csv(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_csv_has_a_row_per_detection_and_survives_any_name(tmp_path: Path) -> None:
    awkward = Detections([[1, 2, 3.5, 4]], [0.25], [0], ('say "hi", 气球',))
    names = ["a,b.jpg", 'c"d".jpg', "派对.jpg", "e\nf.jpg"]
    write_csv(
        tmp_path / "all.csv", [(name, awkward) for name in names] + [("none.jpg", none()), (7, three())]
    )
    rows = read_csv(tmp_path / "all.csv")
    assert rows[0] == ["file", "class", "score", "x1", "y1", "x2", "y2"]
    assert rows[1:5] == [[name, 'say "hi", 气球', "0.25", "1.0", "2.0", "3.5", "4.0"] for name in names]
    assert [row[:3] for row in rows[5:]] == [
        ["7", "balloon", "0.9"],
        ["7", "person", "0.3"],
        ["7", "balloon", "0.6"],
    ]


def test_json_of_many_images_keeps_those_without_detections(tmp_path: Path) -> None:
    write_json(tmp_path / "all.json", [("派对.jpg", three()), (Path("a") / "b.jpg", none()), (3, none())])
    images = json.loads((tmp_path / "all.json").read_text(encoding="utf-8"))["images"]
    assert [image["file"] for image in images] == ["派对.jpg", "a/b.jpg", "3"]
    assert [len(image["detections"]) for image in images] == [3, 0, 0]
    assert np.array_equal(Detections.from_dict(images[0]).boxes_xyxy, three().boxes_xyxy)


def test_names_that_are_no_text_are_written_legibly(tmp_path: Path) -> None:
    found = Detections([[1, 2, 3, 4]], [0.5], [0], ("balloon",), path=Path("party\udcff.jpg"))
    write_csv(tmp_path / "all.csv", [(found.path, found)])
    assert read_csv(tmp_path / "all.csv")[1][0] == "party?.jpg"
    write_json(tmp_path / "all.json", [("party\ud800.jpg", found)])
    write_coco(tmp_path / "coco.json", [("party\udcff.jpg", found)])
    assert json.loads(found.save(tmp_path / "one.json").read_bytes())["file"] == "party?.jpg"


def test_coco_results_by_image_id_load_in_pycocotools(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    from pycocotools.coco import COCO

    ids = [18, 44, 90]
    write_coco(tmp_path / "results.json", [(5, three()), (np.int64(6), none()), (9, three()[:1])], ids)
    truth = COCO()
    truth.dataset = {
        "images": [{"id": i} for i in (5, 6, 9)],
        "annotations": [],
        "categories": [{"id": i, "name": name} for i, name in zip(ids, CLASSES, strict=True)],
    }
    truth.createIndex()
    loaded = truth.loadRes(str(tmp_path / "results.json"))
    assert [(a["image_id"], a["category_id"]) for a in loaded.anns.values()] == [
        (5, 44),
        (5, 18),
        (5, 44),
        (9, 44),
    ]
    assert loaded.anns[2]["bbox"] == [5.5, 6.25, 44.5, 53.75]


def test_coco_by_file_name_is_a_whole_document_that_pycocotools_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    from pycocotools.coco import COCO

    write_coco(tmp_path / "found.json", [("派对.jpg", three()), ("none.jpg", none())])
    coco = COCO(str(tmp_path / "found.json"))
    assert [image["file_name"] for image in coco.loadImgs(coco.getImgIds())] == ["派对.jpg", "none.jpg"]
    assert (coco.imgs[1]["width"], coco.imgs[1]["height"]) == (640, 480)
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASSES)
    assert sorted(coco.anns) == [1, 2, 3]
    assert coco.anns[2]["bbox"] == [5.5, 6.25, 44.5, 53.75]
    assert coco.anns[2]["area"] == 44.5 * 53.75
    assert coco.anns[2]["score"] == float(np.float32(0.3))


@pytest.mark.parametrize("write", [write_coco, write_json, write_csv])
def test_no_images_make_a_file_without_any(write: object, tmp_path: Path) -> None:
    write(tmp_path / "out", [])
    text = (tmp_path / "out").read_text()
    assert text in {"[]\n", '{"images":[]}\n', "file,class,score,x1,y1,x2,y2\n"}


def test_coco_refuses_what_has_no_single_meaning_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found both"):
        write_coco(tmp_path / "x.json", [(1, three()), ("b.jpg", three())])
    with pytest.raises(InputError, match="one class list"):
        write_coco(tmp_path / "x.json", [(1, three()), (2, Detections.empty(["kite"]))])
    with pytest.raises(InputError, match="each of 3 classes, found 1"):
        write_coco(tmp_path / "x.json", [("a.jpg", three())], category_ids=[1])
    assert list(tmp_path.iterdir()) == []


def test_ten_thousand_detections_go_to_every_format(tmp_path: Path) -> None:
    n = 10_000
    boxes = np.arange(4 * n, dtype=np.float32).reshape(n, 4)
    found = Detections(boxes, np.linspace(0, 1, n), np.arange(n) % 3, CLASSES)
    assert Detections.from_dict(json.loads(found.save(tmp_path / "many.json").read_bytes())) == found
    assert len(read_csv(found.save(tmp_path / "many.csv"))) == n + 1
    write_coco(tmp_path / "coco.json", [(1, found)])
    assert len(json.loads((tmp_path / "coco.json").read_bytes())) == n


# ------------------------------------------------------------------- masks, track ids and free columns

DENSE = np.random.default_rng(0).random((3, 480, 640)) < 0.2


def full() -> Detections:
    return Detections(
        three().boxes_xyxy,
        three().scores,
        three().labels,
        CLASSES,
        Masks.from_dense(DENSE),
        image_size=(640, 480),
        track_ids=[4, 5, 6],
        data={"vector": np.arange(6).reshape(3, 2), "team": ["red", "blue", "red"]},
    )


def test_an_array_of_masks_is_stored_compactly() -> None:
    found = Detections(three().boxes_xyxy, three().scores, three().labels, CLASSES, DENSE)
    assert isinstance(found.masks, Masks)
    assert found.masks == full().masks


@pytest.mark.parametrize("index", [slice(1, None), [2, 0], np.asarray([False, True, False]), []])
def test_every_column_is_selected_with_its_box(index: object) -> None:
    chosen = full()[index]
    rows = np.arange(3)[index if index != [] else slice(0)] if not isinstance(index, np.ndarray) else [1]
    assert chosen.track_ids.tolist() == np.asarray([4, 5, 6])[rows].tolist()
    assert chosen.masks == full().masks[index]
    assert chosen.data["vector"].tolist() == np.arange(6).reshape(3, 2)[rows].tolist()
    assert chosen.data["team"].tolist() == np.asarray(["red", "blue", "red"])[rows].tolist()


def test_filtering_and_iterating_carry_every_column() -> None:
    assert full().filter(classes="balloon") == full()[[0, 2]]
    one = full()[1]
    assert one == list(full())[1]
    assert (one.track_id, one.mask, one.data["team"]) == (5, full().masks[[1]], "blue")
    assert (three()[1].track_id, three()[1].mask, three()[1].data) == (None, None, {})


def test_parts_of_an_image_are_joined_with_every_column() -> None:
    assert Detections.concatenate([full()[:1], full()[1:]]) == full()
    assert Detections.concatenate([three()[:2], none_like(three()), three()[2:]]) == three()


def none_like(found: Detections) -> Detections:
    return found[:0]


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ([], "at least one part"),
        ([full(), three()], "part 1 with 3 classes and the columns none, part 0 with 3 classes and masks"),
        ([three(), Detections.empty(("kite",))], "part 1 with 1 class and"),
    ],
)
def test_parts_that_do_not_fit_are_refused(parts: list[Detections], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Detections.concatenate(parts)


@pytest.mark.parametrize(
    "change",
    [
        {"masks": None},
        {"masks": Masks.from_dense(~DENSE)},
        {"track_ids": None},
        {"track_ids": np.asarray([4, 5, 7])},
        {"data": {}},
        {"data": {"vector": np.zeros((3, 2)), "team": ["red", "blue", "red"]}},
        {"path": Path("b.jpg")},
        {"image_size": None},
    ],
)
def test_equality_sees_every_column(change: dict) -> None:
    assert full() == full()
    assert full() != dataclasses.replace(full(), **change)
    assert dataclasses.replace(full(), **change) != full()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"masks": DENSE[:2]}, "a mask for each of 3 boxes, found 2"),
        ({"masks": DENSE[0]}, r"shape \(n, h, w\)"),
        ({"masks": DENSE[:, :9]}, r"image size \(640, 480\), found \(640, 9\)"),
        ({"track_ids": [1, 2]}, r"shape \(3,\), found int64 of shape \(2,\)"),
        ({"track_ids": [1.5, 2, 3]}, "whole numbers"),
        ({"data": {"speed": [1.0]}}, r"data\['speed'\] of shape \(3, \.\.\.\)"),
        ({"data": {"speed": 1.0}}, r"found \(\)"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change: dict, says: str) -> None:
    with pytest.raises(InputError, match=says):
        dataclasses.replace(full(), **change)


def test_a_notebook_is_shown_the_picture_where_there_is_a_file(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "party.png"), np.full((480, 640, 3), 200, np.uint8))
    found = dataclasses.replace(three(), path=tmp_path / "party.png")
    shown = cv2.imdecode(np.frombuffer(found._repr_png_(), np.uint8), cv2.IMREAD_COLOR)
    assert np.array_equal(shown, found.draw().image_bgr)
    assert none()._repr_png_() is None
    assert dataclasses.replace(three(), path=tmp_path / "gone.png")._repr_png_() is None


def test_tracked_objects_are_drawn_in_colours_of_their_own_that_stay() -> None:
    image = np.full((100, 200, 3), 90, np.uint8)
    boxes = [[10, 30, 60, 90], [120, 30, 180, 90]]
    both = Detections(boxes, [0.9, 0.8], [0, 0], ("kite",), track_ids=[3, 5])
    later = Detections(boxes[::-1], [0.8, 0.9], [0, 0], ("kite",), track_ids=[5, 3])
    assert (both.draw(image).image_bgr == later.draw(image).image_bgr).all()
    same = both.draw(image, colours="class").image_bgr
    assert not (both.draw(image).image_bgr == same).all()
    untracked = Detections(boxes, [0.9, 0.8], [0, 0], ("kite",))
    assert (untracked.draw(image).image_bgr == untracked.draw(image, colours="class").image_bgr).all()
