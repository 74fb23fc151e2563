"""Masks, track ids and free columns in JSON, CSV and COCO files."""

import csv
import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from aerostat.errors import InputError
from aerostat.geometry.mask_measures import PixelSize
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections
from aerostat.results.io import decimals, write_coco, write_csv, write_json

CLASSES = ("person", "balloon")
DENSE = np.zeros((2, 6, 8), bool)
DENSE[0, 1:4, 2:5] = DENSE[1, 5, 7] = True


def tracked() -> Detections:
    return Detections(
        [[2, 1, 5, 4], [7, 5, 8, 6]],
        [0.9, 0.5],
        [1, 0],
        CLASSES,
        Masks.from_dense(DENSE),
        image_size=(8, 6),
        track_ids=[7, 12],
        data={"speed": np.asarray([0.5, 2.0], np.float32), "team": np.asarray(["red", "blue"])},
    )


def plain() -> Detections:
    return Detections([[1, 2, 3, 4]], [0.25], [0], CLASSES, image_size=(8, 6))


def test_a_json_document_gives_back_masks_tracks_and_columns(tmp_path: Path) -> None:
    write_json(tmp_path / "all.json", [("a.jpg", tracked()), ("b.jpg", plain())])
    first, second = json.loads((tmp_path / "all.json").read_bytes())["images"]
    assert first["detections"][0] == {
        "box_xyxy": [2, 1, 5, 4],
        "score": 0.9,
        "label": 1,
        "class": "balloon",
        "segmentation": tracked().masks.to_coco()[0],
        "track_id": 7,
    }
    assert first["data"] == {"speed": [0.5, 2.0], "team": ["red", "blue"]}
    assert second.keys() == {"file", "image_size", "classes", "detections"}
    assert second["detections"][0].keys() == {"box_xyxy", "score", "label", "class"}
    assert Detections.from_dict({**first, "file": None}) == tracked()


@pytest.mark.parametrize("name", ["track_ids", "masks"])
def test_a_json_document_without_detections_gives_back_which_columns_there_were(name: str) -> None:
    empty = tracked()[:0]
    only = replace(empty, data={}, **{"track_ids": None, "masks": None, name: getattr(empty, name)})
    document = json.loads(json.dumps(only.to_dict()))
    assert document[name] == [] and document["detections"] == []
    assert Detections.from_dict(document) == only
    assert Detections.from_dict(document).columns() == [name]
    assert plain()[:0].to_dict().keys() == {"file", "image_size", "classes", "detections"}


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a clock that sends signals")
def test_ctrl_c_is_not_dropped_while_numbers_are_made_of_texts() -> None:
    """numpy's cast from texts to float64 drops an exception that a handler raises, and goes on."""
    values = np.random.default_rng(0).random((8, 4)).astype(np.float32)
    sent = raised = 0

    def interrupt(*_: object) -> None:
        nonlocal sent
        sent += 1
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while sent < 40:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + sent / 100_000)
                seen = sent
                while sent == seen:
                    decimals(values)
            except KeyboardInterrupt:
                raised += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised == sent == 40


def test_csv_has_columns_for_tracks_and_masks_where_any_image_has_them(tmp_path: Path) -> None:
    write_csv(tmp_path / "all.csv", [("a.jpg", tracked()), ("b.jpg", plain())])
    with (tmp_path / "all.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == [
        *("file", "class", "score", "x1", "y1", "x2", "y2", "track_id"),
        *("area", "perimeter", "centroid_x", "centroid_y", "equivalent_diameter", "orientation"),
        "segmentation",
    ]
    assert [row[7] for row in rows] == ["7", "12", ""]
    assert [row[8] for row in rows] == ["9", "1", ""]
    assert json.loads(rows[0][-1]) == tracked().masks.to_coco()[0]
    assert rows[2][8:] == [""] * 7


def test_csv_has_measures_in_the_unit_of_the_pixels_and_empty_fields_for_an_empty_mask(
    tmp_path: Path,
) -> None:
    bar, empty = np.zeros((6, 8), bool), np.zeros((6, 8), bool)
    bar[1:3, 2:6] = True
    found = Detections([[2, 1, 6, 3]] * 2, [0.9, 0.5], [0, 1], CLASSES, masks=[bar, empty])
    write_csv(tmp_path / "all.csv", [("a.jpg", found)], PixelSize.parse("0.5um"))
    with (tmp_path / "all.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["area"] == "8" and first["area_um2"] == "2"
    assert (first["centroid_x"], first["centroid_y"], first["orientation"]) == ("4", "2", "0")
    assert (first["centroid_x_um"], first["centroid_y_um"]) == ("2", "1")
    assert float(first["perimeter_um"]) == pytest.approx(float(first["perimeter"]) / 2)
    assert second["area"] == second["area_um2"] == "0"
    assert {
        second[name] for name in second if name.startswith(("perimeter", "centroid", "equiv", "orient"))
    } == {""}


def test_coco_polygons_are_the_same_pixels_and_an_empty_mask_stays_empty(tmp_path: Path) -> None:
    dense = np.random.default_rng(0).random((3, 6, 8)) < [[[0.4]], [[0.7]], [[0.0]]]
    found = Detections(
        [[0, 0, 8, 6]] * 3, [0.9, 0.5, 0.4], [0, 1, 1], CLASSES, masks=dense, image_size=(8, 6)
    )
    rows = found.to_coco(1, mask_format="polygons")
    assert [type(row["segmentation"]) for row in rows] == [list, list, dict]
    write_coco(tmp_path / "all.json", [("a.jpg", found)], mask_format="polygons")
    read = COCO(str(tmp_path / "all.json"))
    for number, mask in enumerate(dense, start=1):
        np.testing.assert_array_equal(read.annToMask(read.anns[number]), mask)
    truth = COCO()
    truth.dataset = {"images": [{"id": 1, "width": 8, "height": 6}], "annotations": [], "categories": []}
    truth.createIndex()
    write_coco(tmp_path / "results.json", [(1, found)], mask_format="polygons")
    results = truth.loadRes(str(tmp_path / "results.json"))
    for number, mask in enumerate(dense, start=1):
        np.testing.assert_array_equal(results.annToMask(results.anns[number]), mask)
    with pytest.raises(InputError, match="`mask_format` as rle or polygons, found 'png'"):
        found.to_coco(1, mask_format="png")


def test_coco_rows_hold_masks_that_pycocotools_reads(tmp_path: Path) -> None:
    rows = tracked().to_coco(3)
    for row, dense in zip(rows, DENSE, strict=True):
        np.testing.assert_array_equal(coco_mask.decode(row["segmentation"]), dense)
    assert [row["track_id"] for row in rows] == [7, 12]
    assert plain().to_coco(3)[0].keys() == {"image_id", "category_id", "bbox", "score"}
    write_coco(tmp_path / "all.json", [("a.jpg", tracked()), ("b.jpg", plain())])
    read = COCO(str(tmp_path / "all.json"))
    np.testing.assert_array_equal(read.annToMask(read.anns[1]), DENSE[0])
    assert [read.anns[i]["area"] for i in (1, 2, 3)] == [9, 1, 4]
    assert "segmentation" not in read.anns[3]


def test_files_without_masks_and_tracks_are_those_of_before(tmp_path: Path) -> None:
    results = [("a.jpg", plain())]
    write_json(tmp_path / "a.json", results)
    write_csv(tmp_path / "a.csv", results)
    write_coco(tmp_path / "c.json", results)
    assert (tmp_path / "a.json").read_text() == (
        '{"images":[{"file":"a.jpg","image_size":[8,6],"classes":["person","balloon"],"detections":'
        '[{"box_xyxy":[1.0,2.0,3.0,4.0],"score":0.25,"label":0,"class":"person"}]}]}\n'
    )
    assert (tmp_path / "a.csv").read_text() == (
        "file,class,score,x1,y1,x2,y2\na.jpg,person,0.25,1.0,2.0,3.0,4.0\n"
    )
    assert (tmp_path / "c.json").read_text() == (
        '{"images":[{"id":1,"file_name":"a.jpg","width":8,"height":6}],"annotations":[{"id":1,"image_id":1,'
        '"category_id":1,"bbox":[1.0,2.0,2.0,2.0],"score":0.25,"area":4.0,"iscrowd":0}],"categories":'
        '[{"id":1,"name":"person"},{"id":2,"name":"balloon"}]}\n'
    )


@pytest.mark.parametrize(
    "change",
    [
        {"segmentation": {"size": [6, 8], "counts": "broken"}},
        {"segmentation": {"size": [5, 8], "counts": [40]}},
        {"segmentation": None},
        {"track_id": "seven"},
        {"track_id": 0.5},
    ],
)
def test_a_document_with_a_broken_field_is_refused(change: dict) -> None:
    document = tracked().to_dict()
    document["detections"][0].update(change)
    with pytest.raises(InputError, match="Expected"):
        Detections.from_dict(document)


def test_a_document_in_which_only_some_objects_have_a_mask_is_refused() -> None:
    document = tracked().to_dict()
    del document["detections"][1]["segmentation"]
    with pytest.raises(InputError, match="segmentation"):
        Detections.from_dict(document)
