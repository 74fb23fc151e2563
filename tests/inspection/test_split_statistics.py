"""The numbers of a split, against cases worked out by hand."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Split
from aerostat.inspection import split_statistics as numbers
from aerostat.inspection.split_statistics import count_edges, coverage, histogram, measure

Make = Callable[..., ImageRecord]
MakeSplit = Callable[..., Split]


def bin_of(counts: np.ndarray, edges: np.ndarray) -> list[tuple[float, float, int]]:
    return [(edges[i], edges[i + 1], int(counts[i])) for i in np.flatnonzero(counts)]


def test_objects_are_counted_by_class_and_image_without_crowd_regions(
    make_record: Make, make_split: MakeSplit
) -> None:
    found = measure(
        make_split(
            make_record([(0, 0, 10, 10), (0, 0, 20, 20), (5, 5, 50, 50)], [1, 1, 0], crowd=[2]),
            make_record(),
            make_record([(0, 0, 10, 10)], [1]),
        )
    )
    assert (found.images, found.objects) == (3, 3)
    assert found.per_class.tolist() == [0, 3]
    assert found.per_image.tolist() == [2, 0, 1]


def test_a_box_has_its_size_in_pixels_its_share_of_the_longer_side_and_its_ratio(
    make_record: Make, make_split: MakeSplit
) -> None:
    found = measure(make_split(make_record([(10, 5, 50, 15)])))  # 40 x 10 on 100 x 50: side 20
    [(low, high, count)] = bin_of(found.sizes, numbers.SIZE_EDGES)
    assert low <= 20 < high and count == 1 and high / low < 1.3
    [(low, high, _)] = bin_of(found.shares, numbers.SHARE_EDGES)
    assert low <= 0.2 < high
    [(low, high, _)] = bin_of(found.ratios, numbers.RATIO_EDGES)
    assert low <= 4 < high
    np.testing.assert_allclose(found.centres, [[0.3, 0.2]])


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), [[1, 1], [1, 1]]),
        ((0.0, 0.0, 0.5, 0.5), [[1, 0], [0, 0]]),
        ((0.25, 0.5, 1.0, 0.75), [[0, 0], [0.25, 0.5]]),
        ((0.25, 0.25, 0.75, 0.75), [[0.25, 0.25], [0.25, 0.25]]),
        ((0.1, 0.1, 0.1, 0.9), [[0, 0], [0, 0]]),
    ],
)
def test_coverage_is_the_exact_share_of_each_cell(
    box: tuple[float, ...], expected: list[list[float]]
) -> None:
    np.testing.assert_allclose(coverage(np.asarray([box]), 2), expected, atol=1e-12)


def test_coverage_is_the_mean_over_boxes_however_many_are_added_up_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    boxes = np.sort(rng.random((50, 2, 2)), axis=1).reshape(50, 4)
    fine = np.zeros((8, 8, 40, 40))
    centres = (np.arange(320) + 0.5) / 320
    for x1, y1, x2, y2 in boxes:
        inside = ((centres >= y1) & (centres < y2))[:, None] & ((centres >= x1) & (centres < x2))
        fine += inside.reshape(8, 40, 8, 40).transpose(0, 2, 1, 3)
    monkeypatch.setattr(numbers, "_BOXES_AT_ONCE", 7)
    np.testing.assert_allclose(coverage(boxes, 8), fine.mean(axis=(2, 3)) / 50, atol=0.01)


def test_values_at_an_edge_belong_to_the_bin_above_and_those_beyond_to_the_outermost() -> None:
    edges = np.asarray([1.0, 2.0, 4.0])
    assert histogram(np.asarray([1, 2, 3.9]), edges).tolist() == [1, 2]
    assert histogram(np.asarray([0.0, 4.0, 100.0]), edges).tolist() == [1, 2]
    assert histogram(np.asarray([]), edges).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("most", "bins", "step"), [(0, 1, 1), (3, 4, 1), (59, 60, 1), (60, 31, 2), (718, 60, 12)]
)
def test_few_counts_have_a_bin_each_and_many_share_bins_of_one_width(
    make_record: Make, make_split: MakeSplit, most: int, bins: int, step: int
) -> None:
    found = measure(make_split(make_record([(0, 0, 1, 1)] * most), make_record()))
    edges = count_edges([found, measure(make_split())])
    assert set(np.diff(edges).tolist()) == {step}
    assert len(edges) == bins + 1 and edges[0] == 0 and edges[-1] > most
    counts = histogram(found.per_image, edges)
    assert counts.sum() == 2 and counts[-1] >= 1


def test_image_sizes_are_counted_the_commonest_first(make_record: Make, make_split: MakeSplit) -> None:
    sizes = [(10, 20), (30, 40), (30, 40), (20, 10)]
    found = measure(make_split(*[make_record(size=size) for size in sizes]))
    assert found.image_sizes[0].tolist() == [30, 40, 2]
    assert sorted(map(tuple, found.image_sizes[1:].tolist())) == [(10, 20, 1), (20, 10, 1)]


@pytest.mark.parametrize("images", [0, 1])
def test_a_split_without_images_or_objects_has_zeros(
    make_record: Make, make_split: MakeSplit, images: int
) -> None:
    found = measure(make_split(*[make_record()] * images))
    assert (found.images, found.objects, found.places.sum(), len(found.centres)) == (images, 0, 0.0, 0)
    document = found.to_dict(count_edges([found]))
    assert sum(document["objects_per_image"]["counts"]) == images
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_degenerate_box_and_an_image_of_unknown_size_do_no_harm(
    make_record: Make, make_split: MakeSplit
) -> None:
    found = measure(
        make_split(make_record([(5, 5, 5, 5), (3, 3, 9, 3)]), make_record([(1, 1, 2, 2)], size=(0, 0)))
    )
    assert found.sizes.sum() == found.shares.sum() == found.ratios.sum() == 3
    assert np.isfinite(found.places).all() and np.isfinite(found.centres).all()


def test_the_document_has_every_class_and_histograms_that_add_up(
    make_record: Make, make_split: MakeSplit
) -> None:
    sizes = [(100 + k, 50) for k in range(150)]
    found = measure(make_split(*[make_record([(0, 0, 9, 9)], size=size) for size in sizes]))
    document = found.to_dict(count_edges([found]))
    assert document["objects_per_class"] == {"a": 150, "b": 0}
    for name in ("box_size_px", "box_size_share", "box_aspect_ratio", "objects_per_image"):
        edges, counts = document[name]["edges"], document[name]["counts"]
        assert len(edges) == len(counts) + 1 and sum(counts) == 150
    assert len(document["image_sizes"]) == 100 and document["image_sizes_not_listed"] == 50


def test_a_hundred_thousand_images_are_counted_and_only_some_centres_kept(
    make_record: Make, make_split: MakeSplit
) -> None:
    image = make_record([(1, 1, 9, 9), (2, 2, 30, 40)], [0, 1])
    found = measure(make_split(*[image] * 100_000))
    assert found.objects == 200_000 and len(found.centres) == 2000
