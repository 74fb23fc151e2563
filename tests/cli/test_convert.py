"""The verb `convert`."""

from pathlib import Path

import pytest
from pycocotools.coco import COCO


def test_convert_writes_what_pycocotools_reads(aerostat, via):
    ended = aerostat("convert", via / "train" / "via.json", "train.json", "--classes", "disc")
    assert ended == (0, "train.json: 3 images, 3 objects of 1 class (disc)\n", "")
    read = COCO("train.json")
    assert read.cats[1]["name"] == "disc"
    assert [a["bbox"] for a in read.anns.values()] == [[20 + i, 10, 30, 30] for i in range(3)]


def test_convert_says_in_json_what_it_wrote(aerostat, via):
    document = aerostat("convert", via, "out", "--classes", "disc", "--json").document
    assert [file["path"] for file in document["files"]] == ["out/train.json", "out/val.json"]
    assert document["classes"] == ["disc"]


def test_convert_replaces_only_with_force_and_never_its_source(aerostat, via, assert_refused):
    Path("a.json").write_text("precious")
    words = ["convert", via / "train", "a.json", "--classes", "disc"]
    assert_refused(aerostat(*words), "a.json exists", "--force")
    assert Path("a.json").read_text() == "precious"
    assert aerostat(*words, "--force").code == 0
    source = via / "train" / "via.json"
    assert_refused(
        aerostat("convert", source, source, "--classes", "disc", "--force"), "is the file to convert"
    )


def test_several_classes_come_as_words_or_with_commas(aerostat, tmp_path, write_coco):
    data = write_coco(tmp_path / "two", {1: "disc", 2: "kite"})
    for classes in (["kite", "disc"], ["kite,disc"]):
        ended = aerostat("convert", data, "out", "--classes", *classes, "--json", "--force")
        assert ended.document["classes"] == ["kite", "disc"]


@pytest.mark.parametrize("classes", [[""], [","], [], ["disc", "disc"]])
def test_class_names_must_be_names(aerostat, coco, classes, assert_refused):
    assert_refused(aerostat("convert", coco, "out", "--classes", *classes), "--classes")
