"""What a notebook shows of data: the card, and pictures with labels."""

import base64
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Problem, Split


def picture(html: str) -> np.ndarray:
    (content,) = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)


def text(html: str) -> str:
    return re.sub(r"<[^>]*>", "|", re.sub(r"<img[^>]*>", "", html))


@pytest.fixture
def split(images) -> Split:
    folder = images("photos", *(f"{n}.png" for n in range(12)), size=(640, 480))
    box = Instance((64, 48, 320, 240), 1, (np.array([[64.0, 48], [320, 48], [64, 240]]),), area=5e4)
    rows = [ImageRecord(folder / f"{n}.png", f"{n}.png", 640, 480, (box,)) for n in range(12)]
    problems = (Problem("train", "<i>.png", "clipped", "region 1"),)
    return Split("train", ("cat", "<b>dog</b>"), (1, 2), rows, problems)


def test_a_data_set_shows_its_card_with_names_escaped(split: Split) -> None:
    html = Dataset(split.classes, {"train": split})._repr_html_()
    assert "<b>dog</b>" not in html and "&lt;b&gt;dog&lt;/b&gt;" in html
    assert "|train||12||0||12||0||0||12||0|" in text(html)
    assert "|&lt;b&gt;dog&lt;/b&gt;||12|" in text(html)
    assert "|train||12 objects with outlines|" in text(html)
    assert "train: clipped, kept, cut at the border of the image||1" in text(html)


def test_at_most_eight_pictures_have_boxes_where_the_objects_are(split: Split) -> None:
    grid = picture(split._repr_html_())
    assert grid.shape[1] == 4 * 320 + 5 * 8 and 2 * 240 < grid.shape[0] < 2 * 300  # two rows of four
    ground = np.array([40, 120, 90])
    first = grid[8:248, 8:328].astype(int)
    different = np.abs(first - ground).max(axis=2) > 40
    assert different[24:120, 32:160].any() and not different[130:, 170:].any()


def test_images_that_cannot_be_read_are_left_out(split: Split, tmp_path: Path) -> None:
    for number in range(1, 12):
        (tmp_path / "photos" / f"{number}.png").write_bytes(b"no image")
    grid = picture(split.chosen([0, 1, 2])._repr_html_())
    assert grid.shape[1] == 320 + 2 * 8
    assert "<img" not in split.chosen([1, 2])._repr_html_()
    assert "<img" not in split.chosen([])._repr_html_()


def test_many_classes_are_counted_together(split: Split) -> None:
    names = tuple(f"class {n}" for n in range(50))
    shown = text(split.relabelled((*names, *split.classes), tuple(range(52)))._repr_html_())
    assert "|32 more||0|" in shown and "class 17|" in shown and "class 30|" not in shown


def test_the_pictures_of_a_data_set_come_from_all_its_splits(split: Split) -> None:
    both = Dataset(split.classes, {"train": split.chosen(range(6)), "val": split.chosen(range(6, 12))})
    assert picture(both._repr_html_()).shape[1] == 4 * 320 + 5 * 8


def test_what_is_printed_is_one_line(split: Split) -> None:
    data = Dataset(split.classes, {"train": split, "val": split.chosen([])})
    assert repr(data) == (
        "Dataset(2 classes: cat, <b>dog</b>; train: 12 images, 12 objects; val: 0 images, 0 objects)"
    )
    assert repr(split.images[0].instances[0]) == "Instance(label 1, box (64, 48, 320, 240), 1 outline)"


def test_plain_values_are_json(split: Split) -> None:
    data = Dataset(split.classes, {"train": split})
    card = json.loads(json.dumps(data.to_dict()))
    assert card["splits"][0]["instances"] == 12 and card["classes"] == list(split.classes)
    assert json.loads(json.dumps(split.to_dict())) == card["splits"][0]
    row = json.loads(json.dumps(split.images[3].to_dict()))
    assert (row["file_name"], row["instances"][0]["box_xyxy"]) == ("3.png", [64, 48, 320, 240])
