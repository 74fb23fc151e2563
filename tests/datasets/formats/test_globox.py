"""A second opinion on readers and writers: globox, a converter of boxes by others (MIT).

It is no dependency, because it needs tqdm (MPL-2.0): ``pip install globox`` to run these tests.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.datasets.convert import convert
from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import ReadOptions

globox = pytest.importorskip("globox", reason="globox is not installed")
Boxes = dict[str, list[tuple[str, tuple[float, ...]]]]

PARTS: dict[str, tuple[str, Callable[[Path, Path], Any]]] = {
    "voc": ("pascalvoc_format", lambda path, images: globox.AnnotationSet.from_pascal_voc(path)),
    "labelme": ("labelme_format", lambda path, images: globox.AnnotationSet.from_labelme(path)),
    "cvat": ("cvat_format/annotations.xml", lambda path, images: globox.AnnotationSet.from_cvat(path)),
    "coco": (
        "coco_format_v1/instances_default.json",
        lambda path, images: globox.AnnotationSet.from_coco(path),
    ),
}
"""By format: the form of the same boxes, and how globox reads it."""


@pytest.fixture(scope="module")
def same_boxes(shared: Path) -> Path:
    return shared / "data" / "same_boxes"


def ours(data: Dataset) -> Boxes:
    (split,) = data.splits.values()
    return {
        Path(image.file_name).stem: sorted((data.classes[i.label], i.box_xyxy) for i in image.instances)
        for image in split.images
    }


def theirs(annotations: Any) -> Boxes:
    return {
        Path(str(annotation.image_id)).stem: sorted(
            (str(box.label), (box.xmin, box.ymin, box.xmax, box.ymax)) for box in annotation.boxes
        )
        for annotation in annotations
    }


def assert_same(one: Boxes, other: Boxes) -> None:
    assert one.keys() == other.keys()
    for name, objects in one.items():
        assert [label for label, _ in objects] == [label for label, _ in other[name]]
        boxes, other_boxes = ([box for _, box in found] for found in (objects, other[name]))
        np.testing.assert_allclose(np.reshape(boxes, (-1, 4)), np.reshape(other_boxes, (-1, 4)), atol=1e-9)


@pytest.mark.parametrize("name", PARTS)
def test_real_files_are_read_alike(same_boxes: Path, name: str) -> None:
    place, read = PARTS[name]
    data = Dataset.read(same_boxes / place, images=same_boxes / "images")
    assert sum(map(len, ours(data).values())) == 273
    assert_same(ours(data), theirs(read(same_boxes / place, same_boxes / "images")))


@pytest.mark.parametrize("name", PARTS)
def test_written_files_are_read_alike(same_boxes: Path, tmp_path: Path, name: str) -> None:
    source = same_boxes / "coco_format_v1" / "instances_default.json"
    out = tmp_path / ("out" if name in ("voc", "labelme") else f"out{'.xml' if name == 'cvat' else '.json'}")
    convert(source, out, ReadOptions(images=same_boxes / "images"), to=name)
    place = out / "Annotations" if name == "voc" else out
    expected = ours(Dataset.read(source, images=same_boxes / "images"))
    assert_same(expected, theirs(PARTS[name][1](place, same_boxes / "images")))
