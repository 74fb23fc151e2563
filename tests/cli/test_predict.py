"""The verb `predict`."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest


def test_predict_reports_the_broken_and_does_the_rest(aerostat, via, weights):
    (via / "val" / "1.jpg").write_bytes(b"no image")
    ended = aerostat("predict", weights, via / "val")
    assert ended.code == 1
    assert f"{via / 'val' / '1.jpg'}: NOT READ" in ended.out
    assert ended.err.endswith(
        f"1 of 3 images could not be read, first {via / 'val' / '1.jpg'}; the others are done.\n"
    )
    written = sorted(p.name for p in Path("predictions").iterdir())
    assert written == ["0.jpg", "2.jpg", "detections.json"]
    document = aerostat("predict", weights, via / "val", "--json").document
    assert [Path(image["file"]).name for image in document["images"]] == ["0.jpg", "2.jpg"]
    assert [Path(image["file"]).name for image in document["failed"]] == ["1.jpg"]


def test_predict_of_nothing_readable_fails_and_writes_nothing(aerostat, weights, working_folder):
    Path("broken.jpg").write_bytes(b"no image")
    ended = aerostat("predict", weights, "broken.jpg")
    assert (ended.code, ended.out.splitlines()[-1]) == (1, "nothing was written: no image could be read")
    assert "first broken.jpg; nothing was written." in ended.err
    assert [path.name for path in working_folder.iterdir()] == ["broken.jpg"]


def test_predict_says_when_nothing_was_found(aerostat, via, weights):
    ended = aerostat("predict", weights, via / "val" / "0.jpg", "--no-pictures", "--format", "csv")
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"{via / 'val' / '0.jpg'}: nothing above the score",
        "0 detections on 1 image",
        "wrote predictions/detections.csv",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["nowhere"], ["nowhere"]),
        (["empty"], ["no images in the folder empty"]),
        (["*.jpg"], ["*.jpg"]),
        (["x.png", "--score", "1.5"], ["1.5"]),
        (["x.png", "--nms-iou", "0"], ["0.0"]),
        (["x.png", "--out", "."], ["photographs", "--out"]),
        (["x.png", "--out", "x.png"], ["x.png is a file"]),
        (["x.png", "--input-size", "33"], ["multiple of 32"]),
        (["x.png", "--label-maps"], ["Expected masks for --label-maps", "this model has none"]),
        (["x.png", "--cut-outs", "--no-pictures"], ["--cut-outs"]),
        (["x.png", "--mask-format", "polygons"], ["--mask-format polygons is for --format coco"]),
        (["x.png", "--pixel-size", "1um"], ["--pixel-size 1um is for --format csv"]),
        (["x.png", "--pixel-size", "1 cubit", "--format", "csv"], ["--pixel-size", "0.35um", "1 cubit"]),
    ],
)
def test_a_prediction_that_cannot_be_done_is_refused(
    aerostat, weights, working_folder, words, expected, assert_refused, photograph, tree
):
    Path("empty").mkdir()
    photograph(Path("x.png"))
    before = tree(working_folder)
    assert_refused(aerostat("predict", weights, *words), *expected)
    assert tree(working_folder) == before


@pytest.fixture(scope="module")
def mask_weights(tmp_path_factory, write_finder):
    """A network that finds something with a mask everywhere."""
    return write_finder(tmp_path_factory.mktemp("weights") / "masks.safetensors", ("disc",), masks=True)


def test_masks_are_written_in_every_form_that_is_asked_for(aerostat, via, mask_weights):
    photograph = via / "val" / "0.jpg"
    words = ["--format", "csv,coco,labelme", "--mask-format", "polygons", "--pixel-size", "0.5mm"]
    ended = aerostat("predict", mask_weights, photograph, *words, "--label-maps", "--cut-outs")
    assert ended.code == 0, ended.err
    with Path("predictions/detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(float(row["area_mm2"]) == float(row["area"]) / 4 for row in rows)
    annotations = json.loads(Path("predictions/detections_coco.json").read_text())["annotations"]
    filled = [row for row in annotations if row["area"]]
    assert len(annotations) == len(rows) and all(isinstance(row["segmentation"], list) for row in filled)
    labels = cv2.imread("predictions/label-maps/0.png", cv2.IMREAD_UNCHANGED)
    assert labels.dtype == np.uint16 and labels.max() <= len(rows)
    assert len(list(Path("predictions/cut-outs/0").iterdir())) == len(filled)
    ended = aerostat("predict", mask_weights, photograph, "--no-masks", "--label-maps")
    assert ended.code == 2 and "Expected masks for --label-maps" in ended.err
