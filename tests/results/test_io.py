"""Masks, track ids and free columns in JSON, CSV and COCO files."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from aerostat.errors import InputError
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections
from aerostat.results.io import write_coco, write_csv, write_json

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


def test_csv_has_columns_for_tracks_and_masks_where_any_image_has_them(tmp_path: Path) -> None:
    write_csv(tmp_path / "all.csv", [("a.jpg", tracked()), ("b.jpg", plain())])
    with (tmp_path / "all.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["file", "class", "score", "x1", "y1", "x2", "y2", "track_id", "segmentation"]
    assert [row[7] for row in rows] == ["7", "12", ""]
    assert json.loads(rows[0][8]) == tracked().masks.to_coco()[0]
    assert rows[2][8] == ""


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
