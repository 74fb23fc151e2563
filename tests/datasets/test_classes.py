"""Choosing and merging classes."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import Origin, ReadOptions
from aerostat.errors import InputError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two images: a dog and two persons, then a cat alone."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (60, 40)).save(tmp_path / name)
    objects = [(1, 5), (1, 3), (1, 5), (2, 8)]
    document: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{'ab'[n - 1]}.png", "width": 60, "height": 40} for n in (1, 2)],
        "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "person"}, {"id": 8, "name": "cat"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "bbox": [n, 2, 20, 20], "area": 400}
            for n, (image, category) in enumerate(objects, start=1)
        ],
    }
    path = tmp_path / "coco.json"
    path.write_text(json.dumps(document))
    return path


def read(path: Path, **options: Any) -> Dataset:
    return Dataset.read(path, options=ReadOptions(**options))


def objects(data: Dataset) -> list[list[str]]:
    (split,) = data.splits.values()
    return [[data.classes[label] for label in image.instances.labels] for image in split.images]


def test_only_some_classes_are_kept_and_the_others_counted(data: Path) -> None:
    found = read(data, only_classes=["person"])
    assert found.classes == ("person",)
    assert objects(found) == [["person", "person"], []]
    (split,) = found.splits.values()
    assert split.category_ids == (5,)
    assert [i.box_xyxy[0] for i in split.images[0].instances] == [1, 3]
    left_out = [(p.kind, p.detail) for p in split.problems]
    assert left_out == [
        ("class left out", "1 object of the class 'dog'"),
        ("class left out", "1 object of the class 'cat'"),
    ]


def test_classes_are_kept_in_the_order_in_which_they_are_named(data: Path) -> None:
    assert read(data, only_classes=["cat", "dog"]).classes == ("cat", "dog")


def test_merged_classes_take_the_place_of_the_first(data: Path) -> None:
    found = read(data, merge_classes={"animal": ["dog", "cat"]})
    assert found.classes == ("animal", "person")
    assert objects(found) == [["person", "animal", "person"], ["animal"]]
    (split,) = found.splits.values()
    assert split.category_ids == (3, 5)


def test_a_class_can_be_merged_into_another_that_is_there(data: Path) -> None:
    found = read(data, merge_classes={"person": ["dog"]}, only_classes=["person"])
    assert objects(found) == [["person"] * 3, []]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only_classes": ["persn"]}, r"no class 'persn' \(`only_classes`\).*Did you mean 'person'\?"),
        ({"only_classes": []}, "at least one class name for `only_classes`"),
        ({"only_classes": ["dog", "dog"]}, "different class names for `only_classes`"),
        ({"only_classes": ["dog"], "classes": ["dog"]}, "exclude each other"),
        ({"merge_classes": {"animal": ["dgo"]}}, r"no class 'dgo' \(`merge_classes`\)"),
        ({"merge_classes": {"x": ["dog"], "y": ["dog"]}}, "each class once in `merge_classes`"),
    ],
)
def test_names_that_cannot_be_are_refused(data: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(data, **options)


def test_an_unlisted_class_names_the_way_out(data: Path) -> None:
    with pytest.raises(InputError, match="`only_classes` leaves out the objects of other classes"):
        read(data, classes=["person"])


def test_data_are_read_again_in_the_same_way(data: Path) -> None:
    options = ReadOptions(only_classes=["cat", "person"], merge_classes={"person": ["dog"]})
    found = Dataset.read(data, options=options)
    assert found.origin is not None
    kept = json.loads(json.dumps(found.origin.to_dict()))
    again = Dataset.read_again(Origin.from_dict(kept))  # type: ignore[arg-type]
    assert (
        (again.classes, objects(again))
        == (found.classes, objects(found))
        == (
            ("cat", "person"),
            [["person"] * 3, ["cat"]],
        )
    )
