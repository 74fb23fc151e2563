"""Parts of a split: which images they hold, in which order."""

from pathlib import Path

from aerostat.datasets.records import ImageRecord, Split

FIVE = Split("train", ("disc",), (7,), tuple(ImageRecord(Path(f"{n}.png"), n, 8, 8) for n in "abcde"))


def names(split: Split) -> str:
    return "".join(image.file_name for image in split.images)


def test_chosen_images_come_in_the_order_asked_for():
    found = FIVE.chosen([2, 0, 1])
    assert names(found) == "cab" and names(FIVE) == "abcde"
    assert (found.name, found.classes, found.category_ids) == ("train", ("disc",), (7,))
    assert names(FIVE.chosen([])) == ""


def test_a_sample_spreads_over_the_whole_split_and_is_it_where_that_is_small():
    assert names(FIVE.sample(3)) == "ace"
    assert FIVE.sample(5) is FIVE and FIVE.sample(9) is FIVE
