"""From every format to every other, with images and without: boxes, classes and empty images stay."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from aerostat.datasets import formats
from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.formats.format import Format
from aerostat.datasets.origin import ReadOptions

CLASSES = ("kite", "balloon", "a, b")
"""In no alphabetical order."""

Boxes = dict[str, dict[str, list[tuple[str, tuple[float, ...]]]]]


@pytest.fixture(scope="module")
def drawn_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two splits with a nested image, an image without objects, and boxes that are no whole pixels."""
    import json

    root = tmp_path_factory.mktemp("drawn")
    for number, split in enumerate(("train", "val")):
        images, annotations = [], []
        for place, name in enumerate(("a.png", "b.jpg", "more/a.png", "empty.png", "c.jpg")):
            size = (97 + 11 * place, 80 + number)
            path = root / split / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size, (90, 120, 10 * place)).save(path)
            images.append({"id": place + 1, "file_name": name, "width": size[0], "height": size[1]})
            for label in range(place % 4 if name != "empty.png" else 0):
                box = [3.5 * label + 1, 2.25 + number, 20 + place, 30.125]
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": place + 1, "category_id": label + 1, "bbox": box}
                )
        annotations.append({"id": 99, "image_id": 1, "category_id": 3, "bbox": [1, 2, 30, 40]})
        categories = [{"id": label + 1, "name": name} for label, name in enumerate(CLASSES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (root / split / "coco.json").write_text(json.dumps(document))
    return root


def _bare(file_name: str, split: str) -> str:
    """Return a name below the folder of its split."""
    return file_name.replace("\\", "/").rpartition(f"{split}/")[2]


def boxes(data: Dataset) -> Boxes:
    return {
        name: {
            _bare(image.file_name, name): [(data.classes[i.label], i.box_xyxy) for i in image.instances]
            for image in split.images
        }
        for name, split in data.splits.items()
    }


def assert_same(found: Dataset, expected: Dataset, tolerance: float) -> None:
    assert found.classes == expected.classes
    ours, theirs = boxes(found), boxes(expected)
    assert {name: sorted(split) for name, split in ours.items()} == {
        name: sorted(split) for name, split in theirs.items()
    }
    for split, images in theirs.items():
        for image, objects in images.items():
            assert [name for name, _ in ours[split][image]] == [name for name, _ in objects]
            for (_, box), (_, true_box) in zip(ours[split][image], objects, strict=True):
                np.testing.assert_allclose(box, true_box, rtol=0, atol=tolerance)


def reading(format_: Format) -> ReadOptions:
    """How files of a format are read to get the classes in their order."""
    return ReadOptions() if format_.states_classes else ReadOptions(classes=CLASSES)


TOLERANCE = 1e-9
"""Pixels. Tests of each format tell whether it is exact to the last bit."""

PAIRS = [(one, other) for one in formats.FORMATS for other in formats.FORMATS]


@pytest.mark.parametrize("how", ["copy", "link"])
@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda format_: format_.name)
def test_each_format_goes_into_each_with_its_images(
    drawn_data: Path, tmp_path: Path, one: Format, other: Format, how: str
) -> None:
    expected = Dataset.read(drawn_data)
    convert(drawn_data, tmp_path / "one", to=one.name, with_images=how)
    done = convert(tmp_path / "one", tmp_path / "other", reading(one), to=other.name, with_images=how)
    assert done.images.found
    found = Dataset.read(tmp_path / "other", options=reading(other))
    assert_same(found, expected, TOLERANCE)
    for split in found.splits.values():
        originals = {image.file_name: image.path for image in expected.split(split.name).images}
        for image in split.images:
            assert image.path.is_relative_to(tmp_path / "other")
            assert image.path.read_bytes() == originals[_bare(image.file_name, split.name)].read_bytes()


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=lambda format_: format_.name)
def test_each_format_goes_into_each_while_the_images_stay(
    drawn_data: Path, tmp_path: Path, one: Format, other: Format
) -> None:
    expected = Dataset.read(drawn_data)
    first = convert(drawn_data, tmp_path / "one", to=one.name)
    there = ReadOptions(reading(one).classes, images=first.images.folder)
    second = convert(tmp_path / "one", tmp_path / "other", there, to=other.name)
    assert second.images.found or second.images.folder is not None
    found = Dataset.read(tmp_path / "other", options=reading(other), images=second.images.folder)
    assert_same(found, expected, TOLERANCE)
    assert [p.kind for p in found.problems] == []
