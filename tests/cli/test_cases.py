"""The cases of ../shared/cases: what real files made fail, with the exit codes and figures that are right."""

import shlex
import shutil
from pathlib import Path

import pytest

TWO = "out.json: 2 images, 2 objects of 1 class (cell)"
ONE = "out.json: 1 image, 1 object of 1 class (cell)"
OTHER_NAMES = "2 images found under another name"

Ends = tuple[int, tuple[str, ...]]

CASES: dict[str, list[Ends]] = {
    "annotation-without-category-key": [(1, ("1 error", "annotations[1] states no category", "category_id"))],
    "area-as-text": [(0, (ONE, "1 object with an unusable 'area', first 'n/a'"))],
    "box-contradicts-outline": [
        (0, ("2 warnings", "box-other-than-outline (2)", "(175.5, 49, 524.5, 149)", "(332, 99, 399, 144)")),
        (0, ("1 image, 2 objects",)),
    ],
    "box-of-no-height": [(0, (ONE, "degenerate box: 1", "annotation 918"))],
    "class-names-differ-in-case": [(0, ("1 warning", "'Helmet' (1)", "'helmet' (1)", "--merge-classes"))],
    "coco-layout-with-image-info-test": [(0, ("image_info_test2017.json",))],
    "cvat-masks-all-iscrowd": [
        (0, ("1 warning", "2 objects marked as a crowd region", "--crowd region", "2 attributes")),
        (0, ("2 images, 2 objects",)),
        (0, ("crowd-marks-as-objects",)),
    ],
    "cvat-video-subsets-share-images": [
        (1, ("image-in-several-splits (1)", "3 files of train and of val")),
        (0, ("image-in-several-splits",)),
    ],
    "detr-custom-layout": [(0, ("2 training images",))],
    "extension-in-other-case": [(0, (TWO, OTHER_NAMES))],
    "fiftyone-layout": [(0, ("2 training images",)), (0, ("2 images",))],
    "flat-polygon-with-box": [(0, (ONE, "shape in another form: 1", "flat list"))],
    "float-tiff": [(1, ("image-unsupported (2)", "32-bit floating point", "the file is whole"))],
    "git-lfs-pointers": [(1, ("git lfs pull",))],
    "hidden-annotations-file": [(0, ("2 images",))],
    "iscrowd-null": [(0, (ONE,))],
    "item-id-instead-of-image-id": [(1, ("'image_id'", "'item_id'")), (2, ("'image_id'", "'item_id'"))],
    "labelme2coco-relative-backslash": [(0, (TWO,))],
    "labelstudio-exif-size-of-stored-boxes-upright": [
        (0, ("1 warning", "image-size (1)")),
        (0, ("1 image, 1 object", "swapped size: 1")),
    ],
    "large-progressive-photograph": [(0, ("nothing found",)), (0, (ONE,))],
    "leading-folder-gone": [(0, (TWO, OTHER_NAMES))],
    "names-without-extension": [(0, (TWO, OTHER_NAMES))],
    "nested-folders-base-names": [(0, (TWO, OTHER_NAMES))],
    "normalised-boxes": [(1, ("1 error", "2 boxes of 2 within 0 to 1")), (0, ("box-units",))],
    "one-name-for-two-video-frames": [(1, ("'frame000066.png'", "more than once"))],
    "one-via-file-per-image": [(0, ("3 images",))],
    "other-extension": [(2, ("'a.png' is there",))],
    "other-json-beside-annotations": [(0, ("nothing found (2 images",))],
    "percent-encoded-names": [(0, (TWO, "my cell a.jpg"))],
    "rle-without-box": [(0, (ONE, "1 object without a box"))],
    "roboflow-project-named-like-class": [(0, ("1 object of 1 class (person)", "placeholder category: 1"))],
    "string-ids-in-images": [(0, (ONE, "first 7 for '7'"))],
    "supercategory-no-text": [(0, (ONE,))],
    "supervisely-layout": [(2, ("'ds1', 'ds2'",)), (0, ("2 training images",))],
    "test-split-without-images": [(0, ("The split 'test' is left out",))],
    "train-on-some-classes": [(2, ("'dog'", "--only-classes"))],
    "twelve-bits-in-sixteen": [(0, ("1 warning", "1/16 of their range"))],
    "url-with-query": [(0, (TWO, OTHER_NAMES))],
    "via-checkbox-class": [
        (0, ("2 objects of 2 classes (free, occupied)", "c.jpg: region 0")),
        (1, ("1 error", "c.jpg: region 0 names no single class")),
    ],
    "via-class-attribute-in-train-only": [
        (0, ("2 training images", "taken for 'kudzu'")),
        (0, ("2 training images", "attributes-equal")),
    ],
    "via-coco-null-category": [
        (2, ("category_id is null", "annotation 0", "--classes NAME")),
        (2, ("category_id is null", "annotation 0", "--classes NAME")),
    ],
    "via-coco-string-image-id": [
        (0, (TWO, "2 objects with the image id", "first '0' for 0")),
        (0, ("2 images",)),
    ],
    "voc-in-json-named-coco": [(2, ("one Pascal VOC annotation as JSON",))],
    "zero-box-with-polygon": [(0, (ONE, "has the box (0, 0, 0, 0)", "the box around its outline"))],
}  # fmt: skip


def calls_in(script: str) -> list[list[str]]:
    """Return the words of each call of aerostat in a shell script, without pipes and other commands."""
    calls = [call.partition("|")[0].strip() for line in script.splitlines() for call in line.split(";")]
    return [shlex.split(call)[1:] for call in calls if call.startswith("$AEROSTAT")]


def in_one_line(ended) -> str:
    return " ".join(f"{ended.out} {ended.err}".split())


@pytest.mark.parametrize("name", CASES)
def test_a_real_case_ends_as_it_should(aerostat, shared, tmp_path, monkeypatch, name: str) -> None:
    here = tmp_path / "case"
    shutil.copytree(shared / "cases" / name, here)
    monkeypatch.chdir(here)
    calls = [[w for w in words if w != "2>&1"] for words in calls_in((here / "cmd.sh").read_text())]
    assert len(calls) == len(CASES[name])
    for words, (code, said) in zip(calls, CASES[name], strict=True):
        ended = aerostat(*words)
        assert ended.code == code, ended
        for text in said:
            assert text in in_one_line(ended), (words, ended)


def test_no_case_is_left_out(shared: Path) -> None:
    assert {folder.name for folder in (shared / "cases").iterdir() if folder.is_dir()} == set(CASES)
