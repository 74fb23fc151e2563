"""Objects in columns and objects in rows give the same split."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aerostat.datasets.annotation_text import AnnotationText
from aerostat.datasets.formats.assembly import (
    Findings,
    StatedColumns,
    StatedImage,
    StatedObject,
    assemble,
)
from aerostat.datasets.formats.format import SplitFiles
from aerostat.datasets.origin import ReadOptions
from aerostat.datasets.records import Split

NAMES = ("cat", "dog", "owl")
SIZE = (100, 80)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("columns")
    for name in ("a.png", "c.png"):
        Image.new("RGB", SIZE).save(path / name)
    return path


numbers = st.one_of(
    st.floats(-20, 120), st.integers(0, 100).map(float), st.sampled_from([0.0, 100.0, 80.0, 1e300, -1e9])
)
points = st.lists(st.tuples(numbers, numbers), min_size=3, max_size=6)
objects = st.tuples(st.integers(0, 2), st.integers(0, 2), st.tuples(*[numbers] * 4) | points)
"""Place of the image, class, and box or outline."""


def read(folder: Path, rows, columns: StatedColumns | None, options: ReadOptions) -> Split:
    files = SplitFiles("train", folder, (AnnotationText(folder),), (folder,))
    # The second image is missing.
    stated = [StatedImage(name, found) for name, found in zip(("a.png", "b.png", "c.png"), rows, strict=True)]
    findings = Findings("train")
    return assemble(*(stated, files, options, findings), format_name="toy", classes=NAMES, columns=columns)


@settings(max_examples=200, deadline=None)
@given(found=st.lists(objects, max_size=8), classes=st.sampled_from([None, ("owl", "cat", "dog")]))
def test_columns_give_what_rows_give(folder: Path, found, classes) -> None:
    found.sort(key=lambda row: row[0])
    rows: list[list[StatedObject]] = [[], [], []]
    lines = []
    for image, label, shape in found:
        lines.append(len(rows[image]) + 1)
        is_box = isinstance(shape, tuple)
        outlines = [] if is_box else [np.array(shape)]
        box = shape if is_box else None
        rows[image].append(StatedObject(NAMES[label], f"line {lines[-1]}", box, outlines))
    shapes = [shape for *_, shape in found]
    columns = StatedColumns(
        NAMES,
        np.array([image for image, *_ in found], np.int64),
        np.array([label for _, label, _ in found], np.int64),
        np.array(lines, np.int64),
        np.array([s if isinstance(s, tuple) else (0.0,) * 4 for s in shapes]).reshape(-1, 4),
        np.array([0 if isinstance(s, tuple) else len(s) for s in shapes], np.int64),
        np.array([point for s in shapes if not isinstance(s, tuple) for point in s]).reshape(-1, 2),
    )
    options = ReadOptions(classes=classes)
    one, other = read(folder, rows, None, options), read(folder, [(), (), ()], columns, options)
    assert one.images == other.images and one.classes == other.classes
    assert sorted(map(repr, one.problems)) == sorted(map(repr, other.problems))


def test_shares_are_rounded_once(folder: Path) -> None:
    third = 1 / 3
    rest = float(Fraction(1, 3) - Fraction(third))
    columns = StatedColumns(
        ("cat",),
        *(np.array([0]), np.array([0]), np.array([1]), np.array([[0.0, 0.0, third, third]])),
        *(np.array([0]), np.zeros((0, 2))),
        shares=True,
        boxes_rest=np.array([[0.0, 0.0, rest, rest]]),
    )
    split = read(folder, [(), (), ()], columns, ReadOptions())
    assert split.images.instances[0].box_xyxy == (0.0, 0.0, 100 / 3, 80 / 3)


def test_a_class_that_was_not_asked_for_is_refused_in_columns_too(folder: Path) -> None:
    from aerostat.datasets.records import OtherClassesError

    one = np.array([0])
    columns = StatedColumns(("cat",), one, one, one, np.array([[1.0, 1.0, 2.0, 2.0]]), one, np.zeros((0, 2)))
    with pytest.raises(OtherClassesError, match="'cat', which `classes` does not list"):
        read(folder, [(), (), ()], columns, ReadOptions(classes=["dog"]))
