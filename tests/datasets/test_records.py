"""Annotations in columns: what goes in as rows comes out as rows, and many are worked on at once."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.datasets.instances import NO_INSTANCES, GrowingArray, Instance, Instances
from aerostat.datasets.records import ImageRecord, Images, Split
from aerostat.images.location import FileLocation

SQUARE = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
TRIANGLE = np.array([[1.5, 1], [9, 1], [5, 7.25]])
RLE = {"size": [4, 5], "counts": [3, 2, 15]}

numbers = st.floats(-1e9, 1e9) | st.integers(-5, 5).map(float)
outlines = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=4).map(np.array)
counts = (
    st.lists(st.integers(0, 2**32 - 1), max_size=5)
    | st.text(max_size=5)
    | st.just([2**40])
    | st.just([-1, 2])
)
rles = st.fixed_dictionaries({"size": st.lists(st.integers(1, 9), min_size=2, max_size=2), "counts": counts})
instances = st.builds(
    Instance,
    st.tuples(numbers, numbers, numbers, numbers),
    st.integers(0, 4),
    st.lists(outlines, max_size=3).map(tuple),
    st.none() | rles,
    st.booleans(),
    numbers,
)


def record(name: str, *objects: Instance, id: int = 0) -> ImageRecord:
    return ImageRecord(Path("photos") / name, name, 64, 48, objects, id)


def split(*images: ImageRecord) -> Split:
    return Split("train", ("cat", "dog"), (5, 3), images)


A = record("a.jpg", Instance((0, 0, 4, 4), 1, (SQUARE,), area=16), Instance((1, 1, 9, 7), 0, crowd=True))
B = record("b.jpg", id=7)
C = record("c.jpg", Instance((1, 1, 9, 7.25), 0, (TRIANGLE, SQUARE)), Instance((0, 0, 2, 2), 1, rle=RLE))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(instances, max_size=4), max_size=4))
def test_rows_come_out_of_columns_as_they_went_in(rows: list[list[Instance]]) -> None:
    images = Images.of(record(f"{n}.jpg", *objects, id=n) for n, objects in enumerate(rows))
    assert [list(image.instances) for image in images] == rows
    assert list(images.instances) == [row for objects in rows for row in objects]
    assert images.instance_counts.tolist() == list(map(len, rows))
    for image, objects in zip(images, rows, strict=True):
        for row, original in zip(image.instances, objects, strict=True):
            assert row.rle == original.rle
            assert [p.tobytes() for p in row.polygons] == [p.tobytes() for p in original.polygons]
            types = [type(value) for value in (*row.box_xyxy, row.label, row.crowd, row.area)]
            assert types == [*[float] * 4, int, bool, float]


def test_columns_of_all_objects_are_arrays() -> None:
    images = split(A, B, C).images
    assert images.instances.boxes_xyxy.tolist() == [[0, 0, 4, 4], [1, 1, 9, 7], [1, 1, 9, 7.25], [0, 0, 2, 2]]
    assert images.instances.labels.tolist() == [1, 0, 0, 1]
    assert images.instances.crowd.tolist() == [False, True, False, False]
    assert images.instances.areas.tolist() == [16, 0, 0, 0]
    assert images.instances.outline_counts.tolist() == [1, 0, 2, 0]
    assert images.places.tolist() == [0, 0, 2, 2] and images.offsets.tolist() == [0, 2, 2, 4]
    assert images.sizes.tolist() == [[64, 48]] * 3 and images.ids.tolist() == [0, 7, 0]
    assert images.file_names == ("a.jpg", "b.jpg", "c.jpg")


def test_views_are_taken_by_place_from_either_end_and_by_slice() -> None:
    images = split(A, B, C).images
    assert images[0] == images[-3] == A and images[2] == images[np.int64(-1)] == C
    assert list(images[1:]) == [B, C] and list(images[::-2]) == [C, A]
    assert images[0].instances[-1] == A.instances[1] and list(images[2].instances[:1]) == [C.instances[0]]
    assert list(images.instances[::2]) == [A.instances[0], C.instances[0]]
    for places in (images, images.instances):
        with pytest.raises(IndexError):
            places[len(places)]
    assert images[3:] == () and images.instances[9:] == ()


def test_images_without_objects_share_one_empty_column() -> None:
    assert B.instances is NO_INSTANCES and B.instances == () and B.boxes_xyxy().shape == (0, 4)
    assert len(Images.of([])) == 0 and split().box_count == 0


def test_boxes_and_labels_leave_crowd_regions_out_unless_asked() -> None:
    assert A.boxes_xyxy().tolist() == [[0, 0, 4, 4]] and A.labels().tolist() == [1]
    assert A.boxes_xyxy(crowd=True).shape == (2, 4) and A.labels(crowd=True).tolist() == [1, 0]
    A.boxes_xyxy()[:] = 9  # a copy
    A.labels(crowd=True)[:] = 9
    assert A.instances.boxes_xyxy[0, 2] == 4 and A.instances.labels[0] == 1


def test_columns_cannot_be_written_to() -> None:
    images = split(A).images
    for array in (
        images.instances.boxes_xyxy,
        images[0].instances.labels,
        images[0].instances[0].polygons[0],
    ):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_equal_data_are_equal_and_the_least_difference_tells() -> None:
    assert split(A, C) == split(A, C) and split(A).images == (A,) and split(A).images != (A, A)
    for changed in (
        replace(A, width=65),
        replace(A, file_name="x"),
        replace(A, location=Path("a.jpg")),
        replace(A, instances=A.instances[:1]),
        replace(A, instances=(replace(A.instances[0], area=17.0), A.instances[1])),
        replace(A, instances=(replace(A.instances[0], polygons=(SQUARE + 1e-9,)), A.instances[1])),
        replace(C, instances=(C.instances[0], replace(C.instances[1], rle={**RLE, "counts": [3, 3, 14]}))),
    ):
        assert split(changed) != split(A if changed.file_name != "c.jpg" else C)
    assert Instances.of([A.instances[0]]) != 5 and split(A).images != 5


def test_chosen_images_have_their_own_objects_in_any_order_and_more_than_once() -> None:
    chosen = split(A, B, C).chosen([2, 0, 2])
    assert list(chosen.images) == [C, A, C] and chosen.images.instance_counts.tolist() == [2, 2, 2]
    assert split(A, B, C).sample(2).images == (A, C) and split(A).sample(5).images == (A,)
    assert list(split(A, B, C).chosen(np.array([1])).images) == [B]


def test_labels_follow_the_names_of_classes() -> None:
    other = split(A, C).chosen([1]).relabelled(("dog", "cow", "cat"), (1, 2, 9))
    assert [i.label for i in other.images[0].instances] == [2, 0]
    assert (other.classes, other.category_ids) == (("dog", "cow", "cat"), (1, 2, 9))
    assert other.images[0].instances[0].polygons[0].tolist() == TRIANGLE.tolist()


def test_ids_of_more_than_64_bits_are_kept() -> None:
    big = split(record("a.jpg", id=2**70), record("b.jpg", id=3))
    assert [image.id for image in big.images] == [2**70, 3]
    assert [image.id for image in big.chosen([1, 0]).images] == [3, 2**70]


def test_a_record_holds_a_location_and_names_its_file() -> None:
    assert A.location == FileLocation(Path("photos/a.jpg")) and A.path == Path("photos/a.jpg")
    assert ImageRecord("x/b.png", "b.png", 1, 1).path == Path("x/b.png")


def test_what_is_printed_is_short() -> None:
    text = repr(split(*[A] * 5000))
    assert text == "Split('train', 5000 images, 10000 objects of 2 classes: cat, dog)"
    assert len(repr(split(*[A] * 5000).images)) < 80 and len(repr(A)) < 200


def test_a_growing_array_gives_back_its_rows() -> None:
    grown = GrowingArray(np.float64, 2)
    assert len(grown) == 0 and grown.array().shape == (0, 2)
    for rows in ([[1, 2]], np.zeros((0, 2)), [[3, 4], [5, 6]]):
        grown.extend(rows)
    assert len(grown) == 3 and grown.array().tolist() == [[1, 2], [3, 4], [5, 6]]
