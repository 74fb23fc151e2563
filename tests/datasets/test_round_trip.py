"""Reading back what was written changes nothing, to the last bit of every box."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.formats.coco import read_coco, write_coco
from aerostat.datasets.formats.exact_box import stated_box, width_and_height
from aerostat.datasets.formats.via import read_via, write_via
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.geometry import polygons

WIDTH, HEIGHT = 100, 80
CLASSES = ("气球", "dog", 'a "quoted" name')

numbers = st.one_of(
    st.integers(0, 40), st.floats(0, 40), st.floats(0, 1e-6), st.decimals(0, 40, places=2).map(float)
)
boxes = st.tuples(numbers, numbers, numbers, numbers).map(
    lambda n: (float(n[0]), float(n[1]), float(n[0] + n[2] + 0.01), float(n[1] + n[3] * 0.9 + 0.01))
)
outlines = (
    st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)
    .map(lambda vertices: np.array(vertices, np.float64))
    .filter(lambda polygon: polygons.area(polygon) > 0)
)
areas = st.floats(0.001, 1e9)
rles = st.fixed_dictionaries(
    {"size": st.just([HEIGHT, WIDTH]), "counts": st.just([0, 80, 7920]) | st.just("0P2")}
)


@st.composite
def coco_instances(draw) -> Instance:
    outlined = draw(st.lists(outlines, max_size=3))
    rle = draw(st.none() | rles) if not outlined else None
    return Instance(
        draw(boxes), draw(st.integers(0, 2)), tuple(outlined), rle, draw(st.booleans()), draw(areas)
    )


@st.composite
def via_instances(draw) -> Instance:
    """What VIA can hold: a box, or one outline with the box around it."""
    label = draw(st.integers(0, 2))
    if draw(st.booleans()):
        x1, y1, x2, y2 = box = draw(boxes)
        return Instance(box, label, area=(x2 - x1) * (y2 - y1))
    outline = draw(outlines)
    return Instance(polygons.bounds(outline), label, (outline,), area=polygons.area(outline))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("round_trip")
    for name in ("a.png", "ü.png"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(path / name)
    return path


def split_of(
    folder: Path, per_image: list[list[Instance]], ids: tuple[int, int], category_ids=(1, 2, 3)
) -> Split:
    images = tuple(
        ImageRecord(folder / name, name, WIDTH, HEIGHT, tuple(instances), id_)
        for name, instances, id_ in zip(("a.png", "ü.png"), per_image, ids, strict=True)
    )
    return Split("train", CLASSES, tuple(category_ids), images)


def two_lists(instances: st.SearchStrategy[Instance]) -> st.SearchStrategy[list[list[Instance]]]:
    return st.lists(st.lists(instances, max_size=4), min_size=2, max_size=2)


@settings(max_examples=60, deadline=None)
@given(two_lists(coco_instances()), st.permutations([0, 5, 9, 2**40]), st.permutations([0, 3, 90, 91]))
def test_coco_gives_back_what_was_written(folder: Path, per_image, image_ids, category_ids) -> None:
    split = split_of(folder, per_image, tuple(image_ids[:2]), category_ids[:3])
    write_coco(split, folder / "coco.json")
    assert replace(read_coco(folder / "coco.json", [folder], split="train"), problems=()) == split


@settings(max_examples=60, deadline=None)
@given(two_lists(via_instances()), st.sampled_from([1, 2]))
def test_via_gives_back_what_was_written(folder: Path, per_image, version) -> None:
    split = split_of(folder, per_image, (1, 2))
    assert write_via(split, folder / "via.json", version=version) == {}
    back = read_via(folder / "via.json", [folder], split="train", classes=CLASSES)
    assert replace(back, problems=()) == split


@settings(max_examples=500, deadline=None)
@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(1e-9, 1e5), st.floats(1e-9, 1e5))
def test_a_box_survives_as_width_and_height_to_the_last_bit(
    x1: float, y1: float, dx: float, dy: float
) -> None:
    box = (x1, y1, x1 + dx, y1 + dy)
    (width, height), extra = width_and_height(box)
    assert stated_box((x1, y1, width, height), extra.get("aerostat_box_xyxy")) == box
    assert (width, height) == pytest.approx((dx, dy), abs=1e-10)


def test_corners_that_no_width_gives_back_stand_beside_the_box() -> None:
    x1, x2 = 2.0**-53, 1 + 2.0**-52  # x1 + width always falls between two numbers and rounds to the even one
    (width, _), extra = width_and_height((x1, 0.0, x2, 1.0))
    assert x1 + width != x2
    assert stated_box((x1, 0.0, width, 1.0), extra["aerostat_box_xyxy"]) == (x1, 0.0, x2, 1.0)


def test_corners_beside_the_box_do_not_outlive_an_edited_box() -> None:
    assert stated_box((10.0, 10.0, 5.0, 5.0), [1.0, 1.0, 2.0, 2.0]) == (10, 10, 15, 15)
    assert stated_box((10.0, 10.0, 5.0, 5.0), ["x", 1, 2, None]) == (10, 10, 15, 15)
