"""How data were read is remembered, and the same data come back from it."""

import json
from pathlib import Path

import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.origin import Origin, ReadOptions
from aerostat.errors import InputError


@pytest.fixture
def via(images, write_json) -> Path:
    folder = images("photos", "images/a.png")
    shape = {"name": "rect", "x": 1, "y": 2, "width": 30, "height": 40}
    attributes = {"kind": "cat", "colour": "red"}
    regions = [{"shape_attributes": shape, "region_attributes": attributes}]
    write_json(folder / "via.json", {"1": {"filename": "a.png", "regions": regions}})
    return folder


def test_data_know_where_and_how_they_were_read_wherever_one_stands(
    via: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(via)
    data = Dataset.read("via.json", ["cat"], class_attribute="kind", images="images", strict=True)
    monkeypatch.chdir(via.parent)
    assert data.origin is not None
    assert data.origin.to_dict() == {
        "path": str(via / "via.json"),
        "classes": ["cat"],
        "class_attribute": "kind",
        "images": str(via / "images"),
        "strict": True,
    }
    again = Dataset.read_again(data.origin)
    (image,), (same,) = data.split("all").images, again.split("all").images
    assert (again.classes, same.instances, again.origin) == (data.classes, image.instances, data.origin)
    assert same.path == via / "images" / "a.png"


def test_an_origin_comes_back_from_json(via: Path) -> None:
    for options in (ReadOptions(), ReadOptions(["cat", "dog"], "kind", via, True, "via")):
        origin = Origin.of(via, options)
        assert Origin.from_dict(json.loads(json.dumps(origin.to_dict()))) == origin


def test_what_older_runs_have_written_is_understood() -> None:
    assert Origin.from_dict({}) is None
    assert Origin.from_dict({"path": None, "classes": ["a"]}) is None
    old = {"path": "/d", "classes": None, "class_attribute": None, "images": "i", "strict": False, "x": 1}
    assert Origin.from_dict(old) == Origin(Path("/d"), ReadOptions(images="i"))


def test_data_that_were_made_in_memory_have_no_origin_and_it_does_not_count_in_comparing(via: Path) -> None:
    data = Dataset.read(via, class_attribute="kind")
    made = Dataset(data.classes, data.splits)
    assert made.origin is None and made == data


def test_another_format_than_was_asked_for_is_refused(via: Path) -> None:
    assert Dataset.read(via, class_attribute="kind", from_format="via").origin
    with pytest.raises(InputError, match=r"Expected coco annotations, found via"):
        Dataset.read(via, class_attribute="kind", from_format="coco")
