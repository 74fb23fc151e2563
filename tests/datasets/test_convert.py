import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import ReadOptions
from aerostat.errors import InputError


def usual_balloon_converter(folder: Path) -> dict[str, Any]:
    """What the converter of the well-known tutorials writes for a VIA file, as its results are described."""
    document = json.loads((folder / "via_region_data.json").read_text())
    images, annotations = [], []
    for number, photograph in enumerate(document.values()):
        width, height = Image.open(folder / photograph["filename"]).size
        images.append({"id": number, "file_name": photograph["filename"], "height": height, "width": width})
        for region in photograph["regions"].values():
            xs, ys = (region["shape_attributes"][f"all_points_{axis}"] for axis in "xy")
            wide, high = max(xs) - min(xs), max(ys) - min(ys)
            annotations.append(
                {
                    "image_id": number,
                    "id": len(annotations),
                    "category_id": 0,
                    "bbox": [min(xs), min(ys), wide, high],
                    "area": wide * high,
                    "segmentation": [[n + 0.5 for point in zip(xs, ys, strict=True) for n in point]],
                    "iscrowd": 0,
                }
            )
    return {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "balloon"}]}


@pytest.mark.parametrize("split", ["train", "val"])
def test_area_box_writes_what_the_usual_balloon_converter_writes(
    balloon: Path, tmp_path: Path, split: str
) -> None:
    source = balloon / split / "via_region_data.json"
    convert(source, tmp_path / "c.json", ReadOptions(["balloon"]), area="box")
    written = json.loads((tmp_path / "c.json").read_text())
    written.pop("info")
    assert written == usual_balloon_converter(balloon / split)


@pytest.mark.filterwarnings("error")
def test_the_default_is_cocos_meaning_of_area(balloon: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO

    done = convert(balloon / "val" / "via_region_data.json", tmp_path / "val.json", ReadOptions(["balloon"]))
    loaded = COCO(str(tmp_path / "val.json"))
    assert (len(loaded.imgs), len(loaded.anns), loaded.getCatIds()) == (13, 50, [1])
    assert min(loaded.anns) == 1  # 0 means "unmatched" to COCO's evaluation
    ranges = ((0, 32**2), (32**2, 96**2), (96**2, 1e10))
    assert [len(loaded.getAnnIds(areaRng=r)) for r in ranges] == [3, 17, 30]
    assert [(f.split, f.images, f.instances) for f in done.files] == [("val", 13, 50)]


def test_stated_areas_are_those_of_the_masks_that_pycocotools_draws(balloon: Path, tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    convert(balloon / "val", tmp_path / "val.json", ReadOptions(["balloon"]))
    for annotation in json.loads((tmp_path / "val.json").read_text())["annotations"]:
        drawn = mask.area(mask.frPyObjects(annotation["segmentation"], 2048, 2048))[0]
        assert drawn == pytest.approx(annotation["area"], rel=0.05, abs=40)  # the border's pixels differ


def test_there_and_back_changes_nothing(balloon: Path, tmp_path: Path) -> None:
    convert(balloon, tmp_path / "coco", ReadOptions(["balloon"]))
    convert(tmp_path / "coco", tmp_path / "via", ReadOptions(images=balloon), to="via")
    original = Dataset.read(balloon, ["balloon"])
    for step in ("coco", "via"):
        back = Dataset.read(tmp_path / step, images=balloon)
        assert [split.images for split in back.splits.values()] == [
            s.images for s in original.splits.values()
        ]


@pytest.fixture
def pets(images, write_json) -> Path:
    root = images("pets", "train/a.png", "val/b.png")
    for split, name in (("train", "a.png"), ("val", "b.png")):
        shape = {"name": "rect", "x": 90, "y": 2, "width": 30, "height": 4}
        region = {"shape_attributes": shape, "region_attributes": {"kind": "cat"}}
        write_json(root / split / "labels.txt", {"1": {"filename": name, "size": 1, "regions": [region]}})
    return root


@pytest.mark.parametrize(
    ("name", "options", "key"),
    [
        ("out.json", {}, "categories"),
        *((name, {}, "1") for name in ("via.json", "my_via.json", "VIA_region_data.json", "via2.json")),
        ("aviary.json", {}, "categories"),
        ("out.json", {"to": "via"}, "1"),
    ],
)
def test_the_format_follows_the_name_unless_it_is_given(pets, tmp_path, name, options, key) -> None:
    convert(pets / "train", tmp_path / name, **options)
    written = json.loads((tmp_path / name).read_text())
    assert ("categories" in written) == (key == "categories")


def test_a_folder_is_named_after_its_format_too(pets, tmp_path) -> None:
    assert convert(pets, tmp_path / "train-via").format == "via"
    assert convert(pets, tmp_path / "aviary").format == "coco"


def test_the_summary_tells_what_was_written_and_what_was_wrong(pets, tmp_path) -> None:
    done = convert(pets, tmp_path / "out")
    assert [f.path for f in done.files] == [tmp_path / "out" / "train.json", tmp_path / "out" / "val.json"]
    told = done.to_dict()
    assert told["problems"] == {"clipped": 2} and told["classes"] == ["cat"] and json.dumps(told)
    assert done.lines()[0].endswith("train.json: 1 image, 1 object of 1 class (cat)")
    assert done.lines()[2].startswith("clipped: 2, first a.png: region 0")


def test_crowd_regions_that_via_cannot_hold_are_not_counted_as_written(images, write_json, tmp_path) -> None:
    folder = images("photos", "a.png")
    annotations = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": n} for n in (0, 1)
    ]
    categories = [{"id": 1, "name": "cat"}]
    source = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": annotations,
        "categories": categories,
    }
    done = convert(write_json(folder / "c.json", source), tmp_path / "via.json")
    assert done.files[0].instances == 1 and done.lost == {"crowd regions left out": 1}


def test_splits_in_one_folder_are_told_apart_in_the_summary(pets, tmp_path) -> None:
    lines = convert(pets, tmp_path / "out", to="yolo").lines()
    assert lines[0].endswith("out (train): 1 image, 1 object of 1 class (cat)")
    assert lines[1].split(": ")[0].endswith("out (val)")


def test_the_summary_counts_what_is_lost_in_writing(images, write_json, tmp_path) -> None:
    folder = images("photos", "a.png")
    outline = {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 5, 1, 5, 4]]}
    source = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [outline],
        "categories": [{"id": 1, "name": "cat"}],
    }
    done = convert(write_json(folder / "c.json", source), tmp_path / "voc", to="voc")
    assert "lost in writing: 1 outlines" in done.lines()


def test_an_output_that_exists_is_refused_unless_forced(pets, tmp_path) -> None:
    target = tmp_path / "out.json"
    target.write_text("mine")
    with pytest.raises(InputError, match=r"out\.json exists; .*`force=True`\.$"):
        convert(pets / "train", target)
    assert target.read_text() == "mine"
    convert(pets / "train", target, force=True)
    assert "images" in json.loads(target.read_text())


@pytest.mark.parametrize("force", [True, False])
def test_the_source_is_never_overwritten(pets, force: bool) -> None:
    source = pets / "train" / "labels.txt"
    before = source.read_bytes()
    with pytest.raises(InputError, match="is the file to convert"):
        convert(source, source, force=force)
    assert source.read_bytes() == before


def test_several_splits_do_not_go_into_one_file(pets, tmp_path) -> None:
    with pytest.raises(InputError, match=r"several splits \(train, val\).*name a folder"):
        convert(pets, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_nothing_is_written_when_a_later_split_is_broken(pets, tmp_path) -> None:
    (pets / "val" / "labels.txt").write_text('{"1": {"filename": "b.png", "regions": [')
    with pytest.raises(InputError, match="cut off"):
        convert(pets, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_source_of_another_format_than_named_is_refused(pets, tmp_path) -> None:
    with pytest.raises(InputError, match="Expected coco annotations, found via"):
        convert(pets / "train", tmp_path / "out.json", ReadOptions(from_format="coco"))


def test_a_destination_below_a_file_is_refused(pets, tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file stands in the way"):
        convert(pets / "train", tmp_path / "file" / "out.json")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"bbox": [1, 2, 3, 4], "image_id": "x"}, "unknown image, c.json: annotation 1"),
        ({"bbox": [1, 2, 0, 4]}, "degenerate box, a.png: annotation 1"),
        ({"bbox": "none"}, r"malformed record, c.json: annotations\[0\]"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_a_source_that_loses_every_object_is_refused_and_nothing_is_written(
    images, write_json, tmp_path, row, said, force
) -> None:
    folder = images("photos", "a.png")
    rows = [{"id": 1, "image_id": 1, "category_id": 1, **row}, {"id": 2, "image_id": 1, "category_id": 9}]
    source = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "cat"}],
    }
    with pytest.raises(InputError, match=f"No object of .* {said}.* and 1 more problem like this"):
        convert(write_json(folder / "c.json", source), tmp_path / "out.json", force=force)
    assert not (tmp_path / "out.json").exists()


def test_a_source_without_objects_is_written(images, write_json, tmp_path) -> None:
    folder = images("photos", "a.png")
    source = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [],
        "categories": [{"id": 1, "name": "cat"}],
    }
    done = convert(write_json(folder / "c.json", source), tmp_path / "out.json")
    assert [(f.images, f.instances) for f in done.files] == [(1, 0)]
