"""Which classes have too few objects to learn."""

from pathlib import Path

from aerostat.datasets.rare_classes import rare_classes, rare_classes_text
from aerostat.datasets.records import ImageRecord, Instance, Split


def split_of(counts: dict[str, int], crowd: str | None = None) -> Split:
    names = tuple(counts)
    objects = [Instance((0, 0, 5, 5), label) for label, name in enumerate(names) for _ in range(counts[name])]
    if crowd:
        objects += [Instance((0, 0, 5, 5), names.index(crowd), crowd=True)] * 40
    image = ImageRecord(Path("a.png"), "a.png", 20, 20, tuple(objects))
    return Split("train", names, tuple(range(len(names))), (image,))


def test_classes_below_the_limit_are_rare_and_the_rarest_comes_first() -> None:
    assert rare_classes(split_of({"cat": 29, "dog": 30, "cow": 0})) == {"cow": 0, "cat": 29}


def test_crowd_regions_are_no_objects() -> None:
    assert rare_classes(split_of({"cat": 5, "dog": 30}, crowd="cat")) == {"cat": 5}


def test_data_of_one_class_have_no_rare_one() -> None:
    assert rare_classes(split_of({"cat": 1})) == {}
    assert rare_classes_text(split_of({"cat": 1})) == ""


def test_the_text_counts_and_names_them() -> None:
    counts = {"bird": 3} | {f"c{i}": i for i in range(1, 7)} | {"person": 200}
    assert rare_classes_text(split_of(counts)) == (
        "7 of 8 classes have fewer than 30 objects in train (c1 1, c2 2, bird 3, c3 3, c4 4 and 2 more)"
    )
