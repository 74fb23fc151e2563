"""What lint finds in outlines and masks: broken ones, holes, tiny parts, outlines within outlines."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.geometry.masks import Masks
from aerostat.lint.contradictions import check_contradictions
from aerostat.lint.lint import lint
from aerostat.lint.listing import Finding
from aerostat.lint.outlines import check_outlines

SIZE = (64, 48)
SQUARE = np.asarray([(10.0, 10.0), (40.0, 10.0), (40.0, 40.0), (10.0, 40.0)])
WITHIN = (SQUARE - 25) / 3 + 25
DOT = SQUARE[:3] / 30 + 45


def data(*instances: Instance, size: tuple[int, int] = SIZE) -> Dataset:
    record = ImageRecord(Path("a.png"), "a.png", *size, instances)
    return Dataset(("cell",), {"train": Split("train", ("cell",), (1,), (record,))})


def outlined(*polygons: Any, **changes: Any) -> Instance:
    return Instance((10, 10, 40, 40), 0, tuple(polygons), **changes)


def masked(mask: np.ndarray, **changes: Any) -> Instance:
    return Instance((10, 10, 40, 40), 0, rle=Masks.from_dense(mask[None]).to_coco()[0], **changes)


def filled(*holes: tuple[slice, slice], size: tuple[int, int] = SIZE) -> np.ndarray:
    mask = np.zeros(size[::-1], bool)
    mask[10:40, 10:40] = True
    for hole in holes:
        mask[hole] = ~mask[hole]
    return mask


def codes(found: list[Finding]) -> list[tuple[str, str, str]]:
    return [(f.severity, f.code, f.record) for f in found]


@pytest.mark.parametrize("instances", [(), (Instance((1, 1, 9, 9), 0),)])
def test_data_without_outlines_have_no_findings(instances: tuple[Instance, ...]) -> None:
    assert check_outlines(data(*instances)) == []
    assert check_outlines(Dataset(("cell",), {"train": Split("train", ("cell",), (1,), ())})) == []


def test_sound_outlines_and_masks_are_left_alone() -> None:
    apart = SQUARE / 4
    overlapping = SQUARE + 5
    assert (
        check_outlines(data(outlined(SQUARE), outlined(SQUARE, apart), outlined(SQUARE, overlapping))) == []
    )
    two_parts = filled((slice(0, 4), slice(0, 4)))
    assert check_outlines(data(masked(filled()), masked(two_parts))) == []


def test_an_outline_within_another_one_of_its_object_is_found() -> None:
    found = check_outlines(data(outlined(SQUARE), outlined(SQUARE, WITHIN), outlined(WITHIN, SQUARE)))
    assert codes(found) == [("warning", "outline-within-outline", f"object {n}") for n in (2, 3)]
    assert found[0].wrong == (
        "cell at (10, 10, 40, 40) has an outline inside another one, as if it were a hole, of 2 with several "
        "outlines"
    )


def test_an_outline_in_the_bay_of_another_one_is_a_part_of_its_own() -> None:
    bay = np.asarray([(10, 10), (40, 10), (40, 15), (15, 15), (15, 35), (40, 35), (40, 40), (10, 40)], float)
    assert check_outlines(data(outlined(bay, WITHIN))) == []


def test_masks_with_holes_are_notes() -> None:
    hole, notch = (slice(20, 25), slice(20, 25)), (slice(20, 25), slice(35, 40))
    found = check_outlines(data(masked(filled(notch)), masked(filled(hole))))
    assert codes(found) == [("note", "mask-with-holes", "object 2")]


@pytest.mark.parametrize("part", [outlined(SQUARE, DOT), masked(filled((slice(0, 1), slice(0, 3))))])
def test_a_tiny_part_beside_a_larger_one_is_a_note(part: Instance) -> None:
    found = check_outlines(data(part))
    assert codes(found) == [("note", "outline-tiny-part", "object 1")]
    assert "below 4 pixels" in found[0].wrong


@pytest.mark.parametrize("small", [outlined(DOT), outlined(DOT, DOT + 3)])
def test_a_small_object_is_no_tiny_part(small: Instance) -> None:
    assert check_outlines(data(small)) == []


def test_crowd_regions_are_not_checked() -> None:
    hole = filled((slice(20, 25), slice(20, 25)))
    assert check_outlines(data(outlined(SQUARE, WITHIN, crowd=True), masked(hole, crowd=True))) == []


BROKEN = [
    {"size": [48, 64], "counts": "]"},
    {"size": [48, 64], "counts": [5, 7]},
    {"size": [48, 64], "counts": [48 * 64 + 1]},
    {"size": [48, 64], "counts": [48 * 64]},
    {"size": [48, 64], "counts": []},
    {"size": [48, 64], "counts": None},
    {"size": [48, 64]},
    {"size": [64, 48], "counts": [0, 48 * 64]},
    {"size": [480, 640], "counts": [0, 480 * 640]},
    {"counts": [0, 48 * 64]},
]


@pytest.mark.parametrize("rle", BROKEN)
def test_a_broken_mask_is_found_and_costs_no_other_its_checks(rle: dict[str, Any]) -> None:
    whole, with_hole = masked(filled()), masked(filled((slice(20, 25), slice(20, 25))))
    some = data(whole, Instance((10, 10, 40, 40), 0, rle=rle), with_hole, Instance((0, 0, 5, 5), 0))
    found = check_outlines(some)
    assert codes(found) == [("warning", "mask-unusable", "object 2"), ("note", "mask-with-holes", "object 3")]
    elsewhere = Instance((50, 0, 60, 5), 0, rle=whole.rle)
    found = check_contradictions(data(Instance((10, 10, 40, 40), 0, rle=rle), elsewhere))
    assert codes(found) == [("warning", "box-other-than-outline", "object 2")]


def test_many_findings_are_counted_and_three_are_named() -> None:
    found = check_outlines(data(*[outlined(SQUARE, WITHIN)] * 7))
    assert [f.record for f in found] == ["object 1", "object 2", "object 3"]
    assert found[0].wrong.startswith("7 objects like this, first cell at (10, 10, 40, 40) has an outline")


def test_lint_reports_them_in_the_order_of_the_table(images: Callable[..., Path], write_json: Any) -> None:
    folder = images("data", "a.png", size=SIZE)
    rle = {"size": [48, 64], "counts": [5, 7]}
    shapes = [rle, [SQUARE.ravel().tolist(), WITHIN.ravel().tolist()], [[1, 2, 3, 4]]]
    rows = [
        {"id": n, "image_id": 1, "category_id": 1, "bbox": [10 + n, 10, 30, 30], "segmentation": shape}
        for n, shape in enumerate(shapes, 1)
    ]
    listed = [{"id": 1, "file_name": "a.png"}]
    categories = [{"id": 1, "name": "cell"}]
    write_json(folder / "c.json", {"images": listed, "annotations": rows, "categories": categories})
    found = lint(Dataset.read(folder), pixels=False).findings
    assert [f.code for f in found if f.code != "not-looked-at"] == [
        *("polygon-degenerate", "mask-unusable", "outline-within-outline"),
    ]


@pytest.mark.parametrize("parts", [2, 3000])
def test_an_outline_of_very_many_points_and_parts_hides_no_other(parts: int) -> None:
    angle = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    around = 24 + 22 * np.stack([np.cos(angle), np.sin(angle)], 1)
    within = [around[:3] + shift for shift in np.linspace(-20, -10, parts)]
    found = check_outlines(data(outlined(around, *within), outlined(SQUARE, WITHIN)))
    assert "object 2" in [f.record for f in found if f.code == "outline-within-outline"]


def test_masks_of_very_many_runs_are_not_traced() -> None:
    size = (1500, 1000)
    board = np.indices(size[::-1]).sum(0) % 2 == 0
    small = filled((slice(20, 25), slice(20, 25)), size=size)
    found = check_outlines(data(masked(board), masked(small), size=size))
    assert codes(found) == [("note", "mask-with-holes", "object 2")]
