"""The verb `predict`."""

from pathlib import Path

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
