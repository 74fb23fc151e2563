"""Groups dealt to parts: cases worked by hand, and what holds for all of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aerostat.errors import InputError
from aerostat.splitting.stratify import GroupCounts, stratify


def content(groups: list[list[list[int]]], classes: int = 3) -> GroupCounts:
    """Return the counts of groups of images, each a list of the labels on it."""
    group_of = [number for number, group in enumerate(groups) for _ in group]
    images = [image for group in groups for image in group]
    objects = [(place, label) for place, image in enumerate(images) for label in image]
    places, labels = np.asarray(objects, np.int64).reshape(-1, 2).T
    return GroupCounts.of(np.asarray(group_of), places, labels, classes)


def test_images_without_objects_are_a_class_of_their_own():
    counts = content([[[0, 0], [1]], [[]], [[], [2]]])
    assert counts.sizes.tolist() == [2, 1, 2]
    cells = zip(counts.groups.tolist(), counts.labels.tolist(), counts.counts.tolist(), strict=True)
    assert list(cells) == [(0, 0, 2), (0, 1, 1), (1, 3, 1), (2, 2, 1), (2, 3, 1)]


@pytest.mark.parametrize(
    ("groups", "shares", "expected"),
    [
        # Four images of one class: train lacks 3 objects and val 1. Train gets two, then both lack one, and
        # so the tie goes to the part with most room, which is a tie too, and to the first.
        ([[[0]]] * 4, (0.75, 0.25), [0, 0, 0, 1]),
        # The scarce class 1 (two images) is dealt first, one to each part, then class 0 fills up.
        ([[[0]], [[0]], [[1]], [[1]]], (0.5, 0.5), [0, 1, 0, 1]),
        # Both images of class 1 hold objects of class 0 too: the second goes where class 1 is lacking,
        # and the three images of class 0 alone make up for it.
        ([[[0, 0, 1]], [[0, 1]], [[0]], [[0]], [[0]]], (0.5, 0.5), [0, 1, 1, 0, 1]),
        # A group of four near-copies comes first and goes to train, whatever its place. Then train and val
        # lack two objects each, and the four single images go to them by turns.
        ([[[0]], [[0]], [[0], [0], [0], [0]], [[0]], [[0]]], (0.75, 0.25), [0, 1, 0, 0, 1]),
        # Images without objects are spread, too.
        ([[[]], [[]], [[]], [[0]], [[0]], [[0]]], (2 / 3, 1 / 3), [0, 0, 1, 0, 0, 1]),
    ],
)  # fmt: skip
def test_cases_worked_by_hand(groups, shares, expected):
    assert stratify(content(groups), shares).tolist() == expected


def test_the_order_decides_among_groups_of_one_size():
    one_class = content([[[0]]] * 4)
    assert stratify(one_class, (0.75, 0.25), np.array([3, 2, 1, 0])).tolist() == [1, 0, 0, 0]


def test_a_group_of_most_images_goes_to_the_largest_part():
    groups = [[[0]] * 6, [[0]], [[0]], [[0]], [[0]]]
    assert stratify(content(groups), (0.2, 0.8)).tolist()[0] == 1


def test_no_part_is_empty_even_if_its_share_is_less_than_an_image():
    assert sorted(np.bincount(stratify(content([[[0]]] * 8), (0.98, 0.02))).tolist()) == [1, 7]
    assert sorted(stratify(content([[[0]] * 9, [[0]] * 6]), (0.8, 0.2)).tolist()) == [0, 1]


def test_fewer_groups_than_parts_are_refused():
    with pytest.raises(InputError, match=r"parts of the split \(3\), found 2 groups"):
        stratify(content([[[0]], [[0]] * 5]), (0.5, 0.3, 0.2))


@st.composite
def any_content(draw):
    labels = st.lists(st.integers(0, 2), max_size=4)
    return draw(st.lists(st.lists(labels, min_size=1, max_size=5), min_size=3, max_size=40))


@given(any_content(), st.sampled_from([(0.8, 0.2), (0.7, 0.2, 0.1), (1 / 3, 1 / 3, 1 / 3)]))
@settings(max_examples=200, deadline=None)
def test_each_part_is_as_large_as_it_shall_be_to_a_group(groups, shares):
    counts = content(groups)
    part_of = stratify(counts, shares)
    sizes = np.bincount(part_of, counts.sizes, len(shares))
    wanted = np.asarray(shares) * counts.sizes.sum()
    assert (np.bincount(part_of, minlength=len(shares)) > 0).all()
    # No part has more than its share and the largest group, except where it had to get one group at all.
    assert (sizes <= np.maximum(wanted, 1) + counts.sizes.max()).all()


def test_classes_of_many_images_are_spread_to_a_hundredth():
    rng = np.random.default_rng(4)
    per_image = rng.poisson(4, 3000)
    images = np.repeat(np.arange(3000), per_image)
    labels = rng.choice(5, len(images), p=[0.5, 0.25, 0.15, 0.07, 0.03])
    counts = GroupCounts.of(np.arange(3000), images, labels, 5)
    part_of = stratify(counts, (0.7, 0.2, 0.1))
    assert np.bincount(part_of).tolist() == [2100, 600, 300]
    for label in range(5):
        found = np.bincount(part_of[images[labels == label]], minlength=3)
        np.testing.assert_allclose(found / found.sum(), (0.7, 0.2, 0.1), atol=0.01)


def test_images_of_many_objects_are_swapped_until_the_objects_are_spread():
    """Dealing alone leaves 86 % of the objects in train here: val had no room for an image left."""
    per_image = [50, 27, 20, 12, 12, 9, 8, 8, 7, 7, *[3] * 20, *[1] * 40]
    images = np.repeat(np.arange(70), per_image)
    counts = GroupCounts.of(np.arange(70), images, np.zeros(len(images), np.int64), 1)
    for order in (np.arange(70), np.arange(70)[::-1]):
        part_of = stratify(counts, (0.8, 0.2), order)
        assert np.bincount(part_of).tolist() == [56, 14]
        objects = np.bincount(part_of, per_image)
        np.testing.assert_allclose(objects / objects.sum(), (0.8, 0.2), atol=0.01)
