"""Archives, named splits, several files of a split, and splits that are not needed."""

import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset, read_what_can_be_read
from aerostat.datasets.origin import Origin, ReadOptions
from aerostat.errors import InputError
from aerostat.images.location import path_of


def coco(*names: str, category: str = "cell", box: tuple[float, ...] = (5, 5, 20, 20)) -> dict[str, Any]:
    return {
        "images": [{"id": n, "file_name": name, "width": 60, "height": 40} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": category}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": list(box), "area": 400}
            for n in range(len(names))
        ],
    }


def via(*names: str, x: float = 5) -> dict[str, Any]:
    shape = {"name": "rect", "x": x, "y": 5, "width": 20, "height": 20}
    region = {"shape_attributes": shape, "region_attributes": {"class": "cell"}}
    return {name: {"filename": name, "size": 1, "regions": [region]} for name in names}


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    """Write files below a folder: JSON documents, or images for None."""

    def write(files: dict[str, Any]) -> Path:
        root = tmp_path / "data"
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                Image.new("RGB", (60, 40), (len(name), 9, 9)).save(path)
            elif isinstance(content, str):
                path.write_text(content)
            else:
                path.write_text(json.dumps(content))
        return root

    return write


def packed(folder: Path, inside: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, f"{inside}{file.relative_to(folder).as_posix()}")
    return path


def counts(data: Dataset) -> dict[str, tuple[int, int]]:
    return {name: (len(split), len(split.images.instances)) for name, split in data.splits.items()}


TWO_SPLITS = {
    "train/a.png": None,
    "train/b.png": None,
    "train/coco.json": coco("a.png", "b.png"),
    "val/c.png": None,
    "val/coco.json": coco("c.png"),
}


@pytest.mark.parametrize("inside", ["", "data/", "deep/data/"])
def test_an_archive_is_read_in_place(make: Callable[..., Path], inside: str) -> None:
    folder = make(TWO_SPLITS)
    path = packed(folder, inside)
    on_disk = Dataset.read(folder)
    shutil.rmtree(folder)
    data = Dataset.read(path)
    assert counts(data) == counts(on_disk) == {"train": (2, 2), "val": (1, 1)}
    row = data.split("train").images[0]
    assert path_of(row.location) is None
    assert row.location.name == f"{path}/{inside}train/a.png"
    assert list(path.parent.iterdir()) == [path], "nothing is unpacked"


def test_an_archive_is_trained_from_again_by_its_origin(make: Callable[..., Path]) -> None:
    path = packed(make(TWO_SPLITS))
    data = Dataset.read(path)
    assert data.origin is not None
    again = Dataset.read_again(Origin.from_dict(data.origin.to_dict()))  # type: ignore[arg-type]
    assert again.split("val").images == data.split("val").images


def test_images_may_be_in_an_archive_of_their_own(make: Callable[..., Path], tmp_path: Path) -> None:
    folder = make({"a.png": None, "x/b.png": None})
    images = packed(folder)
    (tmp_path / "labels.json").write_text(json.dumps(coco("a.png", "x/b.png")))
    data = Dataset.read(tmp_path / "labels.json", images=images)
    assert counts(data) == {"all": (2, 2)}


def test_one_annotation_file_in_an_archive_of_annotations(make: Callable[..., Path], tmp_path: Path) -> None:
    folder = make({"a.png": None, "coco.json": coco("a.png")})
    path = tmp_path / "annotations.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(folder / "coco.json", "coco.json")
    assert counts(Dataset.read(path, images=folder)) == {"all": (1, 1)}


def test_an_archive_of_another_kind_names_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "data.tar.gz").write_bytes(b"\x1f\x8b" + bytes(20))
    with pytest.raises(InputError, match="unpack it, or pack a zip"):
        Dataset.read(tmp_path / "data.tar.gz")


def test_a_folder_with_one_folder_is_gone_through(make: Callable[..., Path]) -> None:
    root = make({f"download/{name}": content for name, content in TWO_SPLITS.items()})
    assert counts(Dataset.read(root)) == {"train": (2, 2), "val": (1, 1)}


def test_splits_are_named_where_the_folder_does_not_tell(make: Callable[..., Path]) -> None:
    root = make(
        {
            "images/a.png": None,
            "images/b.png": None,
            "one.json": coco("a.png"),
            "two.json": coco("b.png"),
        }
    )
    data = Dataset.read(root, splits={"train": "one.json", "valid": root / "two.json"})
    assert counts(data) == {"train": (1, 1), "val": (1, 1)}
    assert data.origin is not None
    again = Dataset.read_again(Origin.from_dict(json.loads(json.dumps(data.origin.to_dict()))))  # type: ignore[arg-type]
    assert counts(again) == counts(data)
    with pytest.raises(InputError, match=r"annotations of 'val' \(`splits`\), found nothing at"):
        Dataset.read(root, splits={"val": "three.json"})


def test_a_split_that_was_named_from_the_working_folder_is_found_from_another(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make({"data/a.png": None, "data/b.png": None, "work/one.json": coco("a.png")})
    monkeypatch.chdir(root / "work")
    data = Dataset.read("../data", splits={"train": "one.json"})
    assert data.origin is not None
    kept = data.origin.to_dict()
    monkeypatch.chdir(root)
    again = Origin.from_dict(kept)
    assert again is not None and counts(Dataset.read_again(again)) == {"train": (1, 1)}


def test_two_names_of_one_split_are_refused(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "b.png": None, "one.json": coco("a.png"), "two.json": coco("b.png")})
    with pytest.raises(InputError, match=r"'val' and 'valid' in `splits` are one split, 'val'; name it once"):
        Dataset.read(root, splits={"val": "one.json", "valid": "two.json"})


def test_a_folder_of_two_formats_that_is_named_for_a_split_is_read_in_the_format_asked_for(
    make: Callable[..., Path],
) -> None:
    root = make({"x/a.png": None, "x/via.json": via("a.png")})
    (root / "x" / "data.yaml").write_text("train: .\nnames: [cat]\n")
    (root / "x" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    data = Dataset.read(root, splits={"train": "x"}, from_format="via")
    assert counts(data) == {"train": (1, 1)}


def test_splits_in_an_archive_are_named(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "b.png": None, "one.json": coco("a.png"), "two.json": coco("b.png")})
    archive = root.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as file:
        for path in root.iterdir():
            file.write(path, f"d/{path.name}")
    data = Dataset.read(archive, splits={"train": "d/one.json", "val": "d/two.json"})
    assert counts(data) == {"train": (1, 1), "val": (1, 1)}
    assert data.origin is not None and counts(Dataset.read_again(data.origin)) == counts(data)


def test_an_unknown_format_is_refused_and_no_finding(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "a.json": via("a.png")})
    with pytest.raises(InputError, match=r"Expected a format .* found 'viaa'"):
        read_what_can_be_read(root, ReadOptions(from_format="viaa"))


def test_files_with_the_same_annotations_count_once(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "via.json": via("a.png"), "coco.json": coco("a.png")})
    data = Dataset.read(root)
    assert counts(data) == {"all": (1, 1)}
    assert [(p.kind, p.file_name) for p in data.problems] == [("same annotations", "via.json")]


def test_files_that_differ_are_refused_with_the_ways_out(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "via.json": via("a.png", x=9), "coco.json": coco("a.png")})
    with pytest.raises(
        InputError, match=r"\(coco\.json, via\.json\); name one .* `splits`, or the format with"
    ):
        Dataset.read(root)
    data = Dataset.read(root, from_format="via")
    assert data.split("all").images[0].instances[0].box_xyxy[0] == 9


def test_files_about_different_images_are_joined(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, "b.png": None, "a.json": via("a.png"), "b.json": via("b.png", x=7)})
    data = Dataset.read(root)
    (split,) = data.splits.values()
    assert [(image.file_name, image.id) for image in split.images] == [("a.png", 1), ("b.png", 2)]
    assert [image.instances[0].box_xyxy[0] for image in split.images] == [5, 7]


def test_files_of_a_split_are_not_joined_with_others(make: Callable[..., Path]) -> None:
    files = {"train.json": via("a.png"), "more.json": via("b.png"), "even.json": via("c.png")}
    root = make({"a.png": None, "b.png": None, "c.png": None, **files})
    assert counts(Dataset.read(root)) == {"train": (1, 1), "all": (2, 2)}


def test_the_folder_of_many_files_of_a_split_is_not_listed_for_each(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    files: dict[str, Any] = {f"{n}.png": None for n in range(40)}
    root = make(files | {f"{n}.json": via(f"{n}.png") for n in range(40)})
    listed = []
    scan = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scan(path))
    assert counts(Dataset.read(root)) == {"all": (40, 40)}
    assert len(listed) < 40


def test_json_that_holds_no_annotations_is_passed_over(make: Callable[..., Path]) -> None:
    tasks = [{"id": 1, "data": {"image": "a.png"}, "images": "annotations"}]
    settings = {"images": 3, "note": "annotations"}
    root = make({"a.png": None, "b.json": tasks, "c.json": settings, "labels.json": coco("a.png")})
    assert counts(Dataset.read(root)) == {"all": (1, 1)}


def test_a_hidden_annotation_file_is_found_if_there_is_no_other(make: Callable[..., Path]) -> None:
    root = make({"a.png": None, ".annotations.coco.json": coco("a.png")})
    assert counts(Dataset.read(root)) == {"all": (1, 1)}
    (root / "labels.json").write_text(json.dumps(coco("a.png", category="other")))
    assert Dataset.read(root).classes == ("other",)


@pytest.mark.parametrize(
    "broken", [coco("gone.png"), json.dumps(coco("x.png"))[:90], {"images": [], "annotations": []}]
)
def test_a_test_split_that_cannot_be_read_is_left_out(
    make: Callable[..., Path], caplog: pytest.LogCaptureFixture, broken: Any
) -> None:
    root = make({**TWO_SPLITS, "test/coco.json": broken, "test/x.png": None})
    data = Dataset.read(root)
    assert list(data.splits) == ["train", "val"]
    (refusal,) = data.left_out
    assert (refusal.split, refusal.annotations) == ("test", root / "test/coco.json")
    assert "The split 'test' is left out" in caplog.text
    with pytest.raises(InputError) as refused:
        data.split("test")
    assert str(refused.value) == refusal.sentence
    with pytest.raises(InputError):
        Dataset.read(root, strict=True)


def test_a_test_split_of_other_classes_is_left_out(make: Callable[..., Path]) -> None:
    root = make({**TWO_SPLITS, "test/coco.json": coco("x.png", category="Cell"), "test/x.png": None})
    data = Dataset.read(root)
    assert list(data.splits) == ["train", "val"]
    assert [refusal.split for refusal in data.left_out] == ["test"]
    assert "The classes differ between the splits" in data.left_out[0].sentence
    with pytest.raises(InputError, match="classes differ"):
        Dataset.read(root, strict=True)


def test_a_validation_split_that_cannot_be_read_is_refused(make: Callable[..., Path]) -> None:
    root = make({**TWO_SPLITS, "val/coco.json": json.dumps(coco("c.png"))[:90]})
    with pytest.raises(InputError, match="cut off"):
        Dataset.read(root)


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        ("annotations/custom_train.json", "train2017/a.png"),
        ("annotations/instances_train2017.json", "images/train2017/a.png"),
        ("labels.json", "data/a.png"),
        ("train.json", "somewhere/else/a.png"),
    ],
)
def test_images_are_found_in_the_layouts_of_other_tools(
    make: Callable[..., Path], annotations: str, images: str
) -> None:
    root = make({annotations: coco("a.png"), images: None})
    data = Dataset.read(root)
    assert [path_of(location) for location in next(iter(data.splits.values())).images.locations] == [
        root / images
    ]


def test_a_project_folder_names_its_data_sets(make: Callable[..., Path]) -> None:
    root = make(
        {"ds1/coco.json": coco("a.png"), "ds1/a.png": None, "ds2/coco.json": coco("b.png"), "ds2/b.png": None}
    )
    with pytest.raises(InputError, match="its folders do: 'ds1', 'ds2'; name one of them"):
        Dataset.read(root)


def test_labels_are_found_beside_a_folder_of_annotations(make: Callable[..., Path]) -> None:
    root = make(
        {
            "images/a.png": None,
            "labels/a.txt": "0 0.5 0.5 0.5 0.5",
            "annotations/labels.json": coco("a.png"),
        }
    )
    assert Dataset.read(root).classes == ("cell",)
    (split,) = Dataset.read(root, from_format="yolo").splits.values()
    assert split.images[0].instances[0].box_xyxy == (15, 10, 45, 30)


def test_an_unknown_format_is_refused(make: Callable[..., Path]) -> None:
    root = make(TWO_SPLITS)
    with pytest.raises(InputError, match=r"Expected a format \(coco, .*, found 'cocoa'"):
        Dataset.read(root, from_format="cocoa")
    with pytest.raises(InputError, match="Expected via annotations, found coco in"):
        Dataset.read(root, options=ReadOptions(from_format="via"))
