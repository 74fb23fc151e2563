"""The verb `convert`."""

from pathlib import Path

import pytest
from pycocotools.coco import COCO


def test_convert_writes_what_pycocotools_reads(aerostat, via):
    ended = aerostat("convert", via / "train" / "via.json", "train.json", "--classes", "disc")
    stay = f"The images stay where they are; read the annotations with --images {via / 'train'}.\n"
    assert ended == (0, f"train.json: 3 images, 3 objects of 1 class (disc)\n{stay}", "")
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


def test_the_folder_that_the_report_names_is_the_one_to_type(aerostat, via):
    done = aerostat("convert", via, "out", "--classes", "disc", "--json").document
    assert done["images"] == {"found": False, "folder": str(via)}
    assert aerostat("convert", "out", "back").code == 2
    assert aerostat("convert", "out", "back", "--images", done["images"]["folder"]).code == 0


@pytest.mark.parametrize("how", ["copy", "link"])
def test_with_images_the_folder_can_be_used_at_once(aerostat, via, how):
    ended = aerostat("convert", via, "out", "--classes", "disc", "--with-images", how)
    assert ended.code == 0 and "stay" not in ended.out
    assert aerostat("convert", "out", "back").code == 0
    assert sorted(path.name for path in Path("out/images/train").iterdir()) == sorted(
        path.name for path in (via / "train").iterdir() if path.suffix != ".json"
    )


def test_images_go_into_a_new_folder_only(aerostat, via, assert_refused):
    Path("out").mkdir()
    Path("out/mine").write_text("precious")
    words = ["convert", via, "out", "--classes", "disc", "--with-images", "copy", "--force"]
    assert_refused(aerostat(*words), "out is not empty", "--with-images")
    assert_refused(aerostat(*words[:2], "out.json", *words[3:]), "the name of a file", "--with-images")
    assert [path.name for path in Path("out").iterdir()] == ["mine"] and not Path("out.json").exists()


def test_the_order_of_the_classes_is_told_where_the_files_do_not_state_it(aerostat, tmp_path, write_coco):
    data = write_coco(tmp_path / "two", {1: "kite", 2: "disc, red"})
    ended = aerostat("convert", data, "csv", "--classes", "kite", "disc, red")
    last = ended.out.splitlines()[-2]
    assert last == (
        "The files do not state this order of the classes; read them with --classes kite 'disc, red'."
    )
    given = ["--classes", "kite", "disc, red"]
    assert (
        aerostat("convert", "csv", "back", *given, "--images", data, "--json").document["classes"]
        == given[1:]
    )
