import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats import FORMATS
from aerostat.datasets.layout import find_splits
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import ImageRecord, Split
from aerostat.errors import InputError


def coco(*names: str, classes: tuple[str, ...] = ("cat", "dog"), folder: str = "") -> dict[str, Any]:
    """One object of each class in each image, with category ids 10, 20, ..."""
    ids = [10 * (n + 1) for n in range(len(classes))]
    return {
        "images": [
            {"id": n, "file_name": folder + name, "width": 100, "height": 80} for n, name in enumerate(names)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": i, "bbox": [i, 1, 5, 5]}
            for n in range(len(names))
            for i in ids
        ],
        "categories": [{"id": i, "name": name} for i, name in zip(ids, classes, strict=True)],
    }


def via(*names: str, **attributes: Any) -> dict[str, Any]:
    shape = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}
    regions = {"0": {"shape_attributes": shape, "region_attributes": attributes}}
    return {f"{name}1": {"filename": name, "size": 1, "regions": regions} for name in names}


def sizes(dataset: Dataset) -> dict[str, tuple[int, int]]:
    return {name: (len(split), split.box_count) for name, split in dataset.splits.items()}


# --- where the splits stand ---


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_of_any_spelling_in_either_format(images, write_json, val: str) -> None:
    root = images("data", "train/a.png", f"{val}/b.png", "test/c.png").resolve()
    write_json(root / "train" / "via_region_data.json", via("a.png"))
    write_json(root / val / "labels.txt", via("b.png"))
    dataset = Dataset.read(root, ["balloon"])
    assert sizes(dataset) == {"train": (1, 1), "val": (1, 1)}  # test has images only
    assert dataset.split("valid") is dataset.split("val")
    with pytest.raises(InputError, match="named 'test', but the data set has only train, val"):
        dataset.split("test")


def test_roboflows_layout(images, write_json) -> None:
    root = images("data", "train/a.png", "valid/b.png", "test/c.png")
    for split, name in (("train", "a.png"), ("valid", "b.png"), ("test", "c.png")):
        write_json(root / split / "_annotations.coco.json", coco(name))
    (root / "README.dataset.txt").write_text("pets")
    assert list(Dataset.read(root).splits) == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("train_at", "prefix"),
    [
        ("train2017/", ""),
        ("images/train2017/", ""),
        ("images/train/", ""),
        ("images/", ""),
        ("", ""),
        ("t/", "t/"),
    ],
)
def test_cocos_layout_with_images_wherever_they_are(images, write_json, train_at: str, prefix: str) -> None:
    root = images("data", f"{train_at}a.png", "val2017/b.png")
    write_json(root / "annotations" / "instances_train2017.json", coco("a.png", folder=prefix))
    write_json(root / "annotations" / "instances_val2017.json", coco("b.png"))
    write_json(root / "annotations" / "captions_val2017.json", coco("b.png"))
    assert sizes(Dataset.read(root)) == {"train": (1, 2), "val": (1, 2)}


def test_a_single_split_is_named_after_its_folder_if_that_is_a_split(images, write_json) -> None:
    write_json(images("validation", "a.png") / "via.json", via("a.png"))
    folder = images("photos", "a.png")
    write_json(folder / "via.json", via("a.png"))
    assert list(Dataset.read(folder.parent / "validation", ["x"]).splits) == ["val"]
    dataset = Dataset.read(folder, ["x"])
    assert list(dataset.splits) == ["all"]
    assert dataset.split("val") is dataset.split("anything") is dataset.splits["all"]


def test_an_annotation_file_with_its_images_beside_it_or_elsewhere(
    images, write_json, tmp_path: Path
) -> None:
    folder = images("photos", "a.png")
    beside = write_json(folder / "pets.json", coco("a.png"))
    elsewhere = write_json(tmp_path / "other" / "val.json", coco("a.png"))
    assert list(Dataset.read(beside).splits) == ["all"]
    assert list(Dataset.read(str(elsewhere), images=str(folder)).splits) == ["val"]


def test_cocos_own_file_finds_its_images_by_itself(images, write_json) -> None:
    root = images("data", "val2017/a.png")
    file = write_json(root / "annotations" / "instances_val2017.json", coco("a.png"))
    assert sizes(Dataset.read(file)) == {"val": (1, 2)}


def test_one_file_for_each_split_beside_an_image_folder(images, write_json) -> None:
    root = images("data", "images/a.png", "images/b.png")
    write_json(root / "train.json", coco("a.png"))
    write_json(root / "val.json", coco("b.png"))
    assert sizes(Dataset.read(root)) == {"train": (1, 2), "val": (1, 2)}


def test_an_empty_split_is_still_found_by_name() -> None:
    empty = Split("val", ("a",), (1,), ())
    assert Dataset(("a",), {"val": empty}).split("val") is empty


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_saved_by_windows_tools_are_read(images, encoding: str) -> None:
    folder = images("photos", "ü.png")
    (folder / "via.json").write_text(
        json.dumps(via("ü.png", kind="Bällchen"), ensure_ascii=False), encoding=encoding
    )
    assert Dataset.read(folder).classes == ("Bällchen",)


# --- what cannot be read ---


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found nothing at .*gone; check the path"):
        Dataset.read(tmp_path / "gone")


def test_a_path_that_the_system_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        Dataset.read(tmp_path / ("x" * 5000))


def test_a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no images"):
        Dataset.read(tmp_path)


def test_images_without_an_annotation_file(images) -> None:
    folder = images("photos", "a.png", "b.png")
    (folder / "notes.md").write_text("nothing")
    with pytest.raises(InputError, match="holds 2 images but no annotation file"):
        Dataset.read(folder)


def test_a_split_whose_annotations_are_missing(images, write_json) -> None:
    root = images("data", "train/a.png", "val/b.png")
    write_json(root / "train" / "via.json", via("a.png"))
    with pytest.raises(InputError, match="val holds 1 image but no annotation file"):
        Dataset.read(root, ["x"])


def test_several_annotation_files_for_one_split_are_named(images, write_json) -> None:
    folder = images("train", "a.png")
    write_json(folder / "one.json", via("a.png"))
    write_json(folder / "two.txt", coco("a.png"))
    with pytest.raises(InputError, match=r"2 annotation files for one split \(one\.json, two\.txt\)"):
        Dataset.read(folder)


def test_two_folders_for_one_split(images, write_json) -> None:
    root = images("data", "val/a.png", "valid/a.png")
    with pytest.raises(InputError, match="two folders for the split 'val', val and valid"):
        Dataset.read(root)


@pytest.mark.parametrize(
    ("document", "found"),
    [
        ([{"image_id": 1, "score": 0.5, "bbox": []}], "a list of detections"),
        ([1, 2, 3], "a list of 3 values"),
        ([], "a list of 0 values"),
        ({"images": [], "categories": []}, "images without annotations"),
        ({"type": "FeatureCollection", "features": []}, "GeoJSON"),
        ({f"key{n}": n for n in range(9)}, "an object with the keys 'key0', .* and 3 more"),
    ],
)
def test_json_that_is_no_annotation_file_is_described(images, write_json, document, found: str) -> None:
    folder = images("photos", "a.png")
    file = write_json(folder / "x.json", document)
    titles = ".+".join(format_.title for format_ in FORMATS)
    for path in (file, folder):
        with pytest.raises(InputError, match=f"Expected {titles} annotations in .*x.json, found {found}"):
            Dataset.read(path)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a.png1": {"filename": "a.png",\n"regions": [', r"cut off: .* at byte 45 \(line 2\)"),
        ('{"a.png1": {"filename": "a.png",\n"regions": nul}}', r"not valid JSON: .* at byte 4\d \(line 2\)"),
        ('{"images": [], "annotations": [', r"cut off: .* at byte 31 \(line 1\)"),
        ("", "empty"),
        ("  \n", "empty"),
        ("a,b\n1,2", "neither JSON nor a known table"),
        ("[" * 100_000, "no|nested too deeply|cut off"),
        ('{"images": ' * 50_000, "nested too deeply"),
        (
            '{"images": 5, "annotations": []}',
            r"unexpected form: expected `array`, got `int` - at `\$.images`",
        ),
        ('{"a": {"filename": 3, "regions": []}}', r"unexpected form: expected `str`, got `int`"),
    ],
)
def test_broken_text_is_refused_in_one_sentence(images, text: str, found: str) -> None:
    file = images("photos", "a.png") / "x.json"
    file.write_text(text)
    with pytest.raises(InputError, match=found) as caught:
        Dataset.read(file)
    assert str(file) in str(caught.value) and "\n" not in str(caught.value)


def test_every_cut_of_a_file_is_refused(images) -> None:
    folder = images("photos", "a.png")
    for document in (json.dumps(coco("a.png")), json.dumps(via("a.png"))):
        for length in range(1, len(document) - 1, 7):
            (folder / "x.json").write_text(document[:length])
            for path in (folder, folder / "x.json"):
                with pytest.raises(InputError):
                    Dataset.read(path, ["balloon"])


def test_bytes_that_are_not_utf8_are_refused(images) -> None:
    file = images("photos", "a.png") / "x.json"
    file.write_bytes(json.dumps(via("a.png", kind="K\xf6ln"), ensure_ascii=False).encode("latin-1"))
    with pytest.raises(InputError, match="not UTF-8"):
        Dataset.read(file)
    file.write_bytes(codecs.BOM_UTF16_LE + b"{\x00x")
    with pytest.raises(InputError):
        Dataset.read(file)


def test_a_data_set_none_of_whose_images_is_there(images, write_json) -> None:
    folder = images("photos", "other.png")
    write_json(folder / "x.json", coco("a.png", "b.png"))
    with pytest.raises(InputError, match=r"None of the images .* first 'a.png': not found in .*`images`"):
        Dataset.read(folder)


def test_strict_refuses_a_missing_image_that_is_otherwise_left_out(images, write_json) -> None:
    folder = images("photos", "a.png")
    write_json(folder / "x.json", coco("a.png", "gone.png"))
    assert [(p.kind, p.file_name) for p in Dataset.read(folder).problems] == [("missing image", "gone.png")]
    with pytest.raises(InputError, match=r"refused by `strict`: missing image, gone.png"):
        Dataset.read(folder, strict=True)


@pytest.mark.parametrize(
    ("classes", "found"), [([], "empty"), (["a", " "], "empty"), (["a", "a"], "one twice: a, a")]
)
def test_class_lists_that_make_no_sense(images, write_json, classes: list[str], found: str) -> None:
    folder = images("photos", "a.png")
    write_json(folder / "x.json", coco("a.png"))
    with pytest.raises(InputError, match=found):
        Dataset.read(folder, classes)


def test_a_folder_of_images_that_is_not_there(images, write_json, tmp_path: Path) -> None:
    file = write_json(images("photos", "a.png") / "x.json", coco("a.png"))
    with pytest.raises(InputError, match="Expected a folder of images, found nothing"):
        Dataset.read(file, images=tmp_path / "gone")


# --- classes of several splits ---


@pytest.fixture
def two_splits(images, write_json):
    def make(train: Any, val: Any) -> Path:
        root = images("data", "train/a.png", "val/b.png")
        write_json(root / "train" / "x.json", train)
        write_json(root / "val" / "x.json", val)
        return root

    return make


def test_the_same_classes_in_another_order_are_matched_by_name(two_splits) -> None:
    root = two_splits(coco("a.png", classes=("cat", "dog")), coco("b.png", classes=("dog", "cat")))
    dataset = Dataset.read(root)
    train, val = dataset.split("train"), dataset.split("val")
    assert dataset.classes == train.classes == val.classes == ("cat", "dog")
    assert (train.category_ids, val.category_ids) == ((10, 20), (20, 10))
    assert {i.box_xyxy[0]: i.label for i in val.images[0].instances} == {10: 1, 20: 0}  # 10 is val's dog


@pytest.mark.parametrize("val_classes", [("cat", "dgo"), ("cat",), ("cat", "dog", "cow")])
def test_coco_splits_with_different_classes_are_refused(two_splits, val_classes) -> None:
    root = two_splits(coco("a.png"), coco("b.png", classes=val_classes))
    with pytest.raises(InputError, match=r"classes differ between the splits.*`classes`"):
        Dataset.read(root)


def test_given_classes_settle_what_the_splits_disagree_about(two_splits) -> None:
    dataset = Dataset.read(two_splits(coco("a.png"), coco("b.png", classes=("cow",))), ["cow", "cat", "dog"])
    assert dataset.split("val").images[0].instances[0].label == 0
    assert sorted(i.label for i in dataset.split("train").images[0].instances) == [1, 2]


def test_a_via_split_may_lack_a_class_but_not_spell_it_otherwise(two_splits) -> None:
    both = {**via("a.png", kind="cat"), "2": {**via("c.png", kind="dog")["c.png1"]}}
    dataset = Dataset.read(two_splits(both, via("b.png", kind="dog")))
    val = dataset.split("val")
    assert (val.classes, val.category_ids, val.images[0].instances[0].label) == (("cat", "dog"), (1, 2), 1)
    with pytest.raises(InputError, match="only train has 'cat', 'dog', only val has 'dgo'"):
        Dataset.read(two_splits(both, via("b.png", kind="dgo")))


def test_no_class_at_all_is_refused(two_splits) -> None:
    empty = {"a.png": {"filename": "a.png", "regions": []}}, {"b.png": {"filename": "b.png", "regions": []}}
    with pytest.raises(InputError, match="at least one class, found none"):
        Dataset.read(two_splits(*empty))
    with pytest.raises(InputError, match="at least one class, found none"):
        Dataset.read(two_splits(coco("a.png", classes=()), coco("b.png", classes=())))


# --- the real photographs ---


def test_the_balloon_data_set_is_read_whole(balloon: Path) -> None:
    dataset = Dataset.read(balloon, ["balloon"])
    assert sizes(dataset) == {"train": (61, 255), "val": (13, 50)}
    assert max(len(image.instances) for image in dataset.split("train").images) == 28
    (problem,) = dataset.problems
    assert (problem.kind, problem.file_name) == ("self-crossing polygon", "120853323_d4788431b9_b.jpg")
    assert problem.detail.startswith("region 4 ")


def test_outlines_that_touch_the_border_of_the_balloon_photographs_are_no_problem(balloon: Path) -> None:
    def touches(image: ImageRecord, box: tuple[float, ...]) -> bool:
        return box[2] == image.width or box[3] == image.height

    images = Dataset.read(balloon, ["balloon"]).split("train").images
    assert sum(touches(image, i.box_xyxy) for image in images for i in image.instances) == 13


def test_splits_are_sorted_as_people_name_splits(images, write_json) -> None:
    root = images("data", "test/a.png", "val/a.png", "train/a.png")
    for name in ("test", "val", "train"):
        write_json(root / name / "x.json", coco("a.png"))
    assert [files.split for files in find_splits(root, ReadOptions())] == ["train", "val", "test"]


RECT = {"name": "rect", "x": 5, "y": 6, "width": 20, "height": 10}


def via_splits(images, write_json, train: dict[str, str], val: dict[str, str]) -> Path:
    root = images("regions", "train/a.png", "val/a.png")
    for split, attributes in (("train", train), ("val", val)):
        regions = [{"shape_attributes": RECT, "region_attributes": attributes}]
        write_json(root / split / "via.json", {"1": {"filename": "a.png", "size": 1, "regions": regions}})
    return root


@pytest.mark.parametrize("splits", [({"kind": "dog"}, {}), ({}, {"kind": "dog"})])
@pytest.mark.parametrize(
    "options", [{}, {"class_attribute": "kind"}, {"class_attribute": "kind", "classes": ["dog"]}]
)
def test_a_split_without_a_class_takes_the_only_class_of_the_others(
    images, write_json, splits, options
) -> None:
    data = Dataset.read(via_splits(images, write_json, *splits), **options)
    assert list(data.splits) == ["train", "val"] and data.classes == ("dog",)
    assert [split.images.instances.labels.tolist() for split in data.splits.values()] == [[0], [0]]
    assert [p.kind for p in data.problems] == ["class not stated"]


def test_a_split_without_a_class_is_refused_beside_two_classes_or_a_misspelt_attribute(
    images, write_json
) -> None:
    root = via_splits(images, write_json, {"kind": "dog"}, {})
    with pytest.raises(InputError, match="takes one name"):
        Dataset.read(root, ["dog", "cat"])
    with pytest.raises(InputError, match="no region attribute 'knid'"):
        Dataset.read(root, ["dog"], class_attribute="knid")


def test_classes_that_look_alike_in_two_splits_are_told_how_to_join(images, write_json) -> None:
    root = via_splits(images, write_json, {"kind": "Helmet"}, {"kind": "helmets "})
    with pytest.raises(InputError, match="'helmets' and 'Helmet' look like one class, which `merge_classes`"):
        Dataset.read(root)
