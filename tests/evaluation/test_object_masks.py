"""COCO's figures for masks against those of pycocotools, and objects whose masks are missing or broken."""

from __future__ import annotations

import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.evaluation import coco_protocol as protocol
from aerostat.evaluation.coco import CocoResult, evaluate_detections, precision_by_recall
from aerostat.evaluation.object_masks import mask_iou
from aerostat.geometry.masks import Masks
from aerostat.results.detections import Detections

from .mask_cases import KINDS, MaskCase, MaskPeer, random_mask_case

TWELVE = (
    *("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large"),
    *("ar1", "ar10", "ar100", "ar_small", "ar_medium", "ar_large"),
)


def figures(case: MaskCase, **more: object) -> CocoResult:
    return evaluate_detections(case.images, case.detections, case.classes, **more)


def twelve(result: CocoResult | None) -> list[float]:
    assert result is not None
    return [getattr(result, name) for name in TWELVE]


def square(x: float, y: float, side: float) -> np.ndarray:
    return np.asarray([(x, y), (x + side, y), (x + side, y + side), (x, y + side)], np.float64)


def thing(x: float, y: float, side: float, *, mask: bool = True, **more: object) -> Instance:
    polygons = (square(x, y, side),) if mask else ()
    return Instance((x, y, x + side, y + side), **{"label": 0, "polygons": polygons, **more})


def picture(*instances: Instance, size: tuple[int, int] = (100, 80), id: int = 1) -> ImageRecord:
    return ImageRecord(Path(f"{id}.jpg"), f"{id}.jpg", *size, instances, id)


def found(
    *squares: tuple[float, float, float], size: tuple[int, int] = (100, 80), masks: bool = True
) -> Detections:
    """Return a detection of each square x, y, side, the best first."""
    boxes = np.reshape([(x, y, x + side, y + side) for x, y, side in squares], (-1, 4))
    drawn = Masks.from_polygons([[square(*one)] for one in squares], size) if masks else None
    scores = np.linspace(0.9, 0.5, len(squares))
    return Detections(boxes, scores, [0] * len(squares), ("disc",), masks=drawn)


# ------------------------------------------------------------------------------------ equal to pycocotools


@pytest.mark.parametrize("seed", range(16))
def test_all_figures_of_masks_equal_those_of_pycocotools(seed: int) -> None:
    case = random_mask_case(seed)
    result, peer = figures(case).masks, MaskPeer(case)
    assert twelve(result) == pytest.approx(peer.stats, abs=1e-9, rel=0)
    for k, row in enumerate(result.per_class):
        assert (row.ap, row.ap50) == pytest.approx(
            (peer.ap_of_class(k), peer.ap_of_class(k, 0)), abs=1e-9, rel=0
        )


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "box"])
def test_each_kind_of_mask_alone_gives_the_figures_of_pycocotools(kind: str) -> None:
    case = random_mask_case(100, (kind,))
    assert twelve(figures(case).masks) == pytest.approx(MaskPeer(case).stats, abs=1e-9, rel=0)


def test_the_random_cases_reach_what_they_are_meant_to_reach() -> None:
    cases = [random_mask_case(seed) for seed in range(16)]
    rows = [row for case in cases for row in case.annotations]
    objects = [o for case in cases for image in case.images for o in image.instances]
    assert sum(row["iscrowd"] for row in rows) > 50
    assert sum(o.area == 0 for o in objects) > 100
    assert sum(o.rle is None and not o.polygons for o in objects) > 50
    assert sum(len(o.polygons) > 1 for o in objects) > 50
    assert any(not d.masks.area().all() for case in cases for d in case.detections)
    results = [figures(case) for case in cases]
    assert np.mean([result.masks.ap for result in results]) > 0.05
    assert all(result.masks.ap != result.ap for result in results)


@pytest.mark.parametrize("max_dets", [(1, 10, 200), (1, 2, 3)])
def test_other_limits_on_the_detections_hold_for_masks(max_dets: tuple[int, int, int]) -> None:
    case = random_mask_case(3)
    peer = MaskPeer(case, max_dets)
    every = peer.precision[..., 0, 2]
    result = figures(case, max_dets=max_dets)
    # pycocotools' own summary looks for 100 in its first line whatever the limits are.
    assert twelve(result.masks) == pytest.approx([every[every > -1].mean(), *peer.stats[1:]], abs=1e-9, rel=0)


@pytest.mark.parametrize("at_once", [1, 60])
def test_in_parts_the_figures_of_masks_are_the_same(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    case = random_mask_case(5)
    monkeypatch.setattr(protocol, "AT_ONCE", at_once)
    assert twelve(figures(case).masks) == pytest.approx(MaskPeer(case).stats, abs=1e-9, rel=0)


@pytest.mark.parametrize("seed", range(3))
def test_precision_at_each_recall_is_that_of_the_masks(seed: int) -> None:
    case = random_mask_case(seed)
    precision = precision_by_recall(case.images, case.detections, case.classes, masks=True)
    np.testing.assert_allclose(precision, MaskPeer(case).precision[..., 0, 2], atol=1e-9, rtol=0)


def test_masks_leave_the_figures_of_boxes_as_they_are() -> None:
    case = random_mask_case(2)
    boxes = [Detections(d.boxes_xyxy, d.scores, d.labels, d.classes) for d in case.detections]
    expected = evaluate_detections(case.images, boxes, case.classes)
    assert expected.masks is None
    assert figures(case, masks=False) == expected
    assert replace(figures(case), masks=None) == expected


# ---------------------------------------------------------------------------------------- when masks count


def test_a_poor_mask_in_a_perfect_box_counts_for_the_box_alone() -> None:
    half = Masks.from_polygons([[[(10, 10), (50, 10), (50, 34), (10, 34)]]], (100, 80))
    detection = replace(found((10, 10, 40)), masks=half)  # IoU of masks 24 / 40
    result = evaluate_detections([picture(thing(10, 10, 40))], [detection], ("disc",))
    assert result.ap == 1
    assert (result.masks.ap50, result.masks.ap75) == (1, 0)
    assert result.masks.ap == pytest.approx(0.3)


def test_a_detector_that_finds_nothing_yet_has_a_mask_ap_of_zero() -> None:
    result = evaluate_detections([picture(thing(10, 10, 40))], [found()], ("disc",))
    assert (result.masks.ap, result.masks.instances) == (0, 1)


def test_an_image_without_detections_needs_no_masks() -> None:
    images = [picture(thing(10, 10, 40), id=1), picture(id=2)]
    result = evaluate_detections(images, [found((10, 10, 40)), Detections.empty(("disc",))], ("disc",))
    assert result.masks.ap == 1


@pytest.mark.parametrize(
    ("images", "detections"),
    [
        ([picture(thing(10, 10, 40))], [found((10, 10, 40), masks=False)]),
        ([picture(thing(10, 10, 40, mask=False))], [found((10, 10, 40))]),
        ([picture()], [found((10, 10, 40))]),
        ([], []),
        ([picture(thing(10, 10, 40))], [Detections.empty(("disc",))]),
        ([picture(thing(10, 10, 40))] * 2, [found((10, 10, 40)), found((10, 10, 40), masks=False)]),
    ],
    ids=[
        *("detections without masks", "objects without masks", "no objects", "nothing", "no detections"),
        "an image whose detections have no masks",
    ],
)
def test_without_masks_on_both_sides_boxes_alone_are_evaluated(images: list, detections: list) -> None:
    result = evaluate_detections(images, detections, ("disc",))
    assert result.masks is None
    assert "masks" not in result.to_dict()
    assert "mask" not in result.render().lower() + repr(result)


@pytest.mark.parametrize(
    ("image", "detection", "says"),
    [
        (picture(thing(10, 10, 40)), found((10, 10, 40), masks=False), "with masks, found none on 1.jpg"),
        (picture(thing(10, 10, 40, mask=False)), found((10, 10, 40)), "leave `masks` out"),
        (picture(thing(10, 10, 40)), found((10, 10, 40), size=(80, 100)), "of 100 x 80 pixels on 1.jpg"),
    ],
    ids=["detections without masks", "objects without masks", "masks of another size"],
)
def test_masks_that_are_asked_for_but_cannot_be_compared_are_refused(
    image: ImageRecord, detection: Detections, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        evaluate_detections([image], [detection], ("disc",), masks=True)


def test_one_mask_among_objects_is_enough_to_ask_for_masks() -> None:
    images = [
        picture(thing(10, 10, 30), thing(60, 10, 20, mask=False)),
        picture(thing(10, 10, 30, mask=False), id=2),
    ]
    result = evaluate_detections(images, [found((10, 10, 30))] * 2, ("disc",), masks=True)
    assert (result.masks.ap, result.masks.instances, result.masks.without_mask) == (1, 1, 2)


# ---------------------------------------------------------------------------- objects without a usable mask


def test_an_object_with_only_a_box_is_neither_found_nor_missed_by_masks() -> None:
    images = [picture(thing(10, 10, 30), thing(60, 10, 20, mask=False))]
    for squares in ([(10, 10, 30)], [(60, 10, 20), (10, 10, 30)]):
        result = evaluate_detections(images, [found(*squares)], ("disc",))
        assert result.masks.ap == 1
        assert (result.masks.instances, result.masks.without_mask, result.instances) == (1, 1, 2)
    assert "1 image, 1 instance, 2 detections; 1 object without a mask left out" in result.render()
    assert result.to_dict()["masks"]["without_mask"] == 1
    assert "without_mask" not in result.to_dict()


NOT_COUNTS = "this is no run length"


@pytest.mark.parametrize(
    "broken",
    [
        thing(60, 10, 20, polygons=(np.asarray([(60.0, 10), (80, 30)]),)),
        thing(60, 10, 20, polygons=(np.asarray([(60.0, 10), (80, np.nan), (60, 30)]),)),
        thing(60, 10, 20, polygons=(np.asarray([(60.0, 10), (80, np.inf), (60, 30)]),)),
        thing(60, 10, 20, polygons=(np.asarray([(0.0, 0), (90_000, 9)] * 60),)),
        thing(60, 10, 20, mask=False, rle={"size": [80, 100], "counts": NOT_COUNTS}),
        thing(60, 10, 20, mask=False, rle={"size": [80, 100], "counts": [5, 5]}),
        thing(60, 10, 20, mask=False, rle={"size": [100, 80], "counts": [8000]}),
        thing(60, 10, 20, mask=False, rle={"size": [80, 100], "counts": [-1, 8001]}),
        thing(60, 10, 20, mask=False, rle={"size": [80, 100]}),
        thing(60, 10, 20, mask=False, rle={"counts": [8000]}),
    ],
    ids=[
        *("two points", "not a number", "infinite", "an endless outline", "no run lengths", "too few pixels"),
        *("another size", "a negative run", "no counts", "no size"),
    ],
)
def test_a_broken_mask_costs_itself_alone(broken: Instance) -> None:
    images = [picture(thing(10, 10, 30), broken)]
    result = evaluate_detections(images, [found((10, 10, 30), (60, 10, 20))], ("disc",))
    assert (result.ap, result.masks.ap) == (1, 1)
    assert (result.instances, result.masks.instances, result.masks.without_mask) == (2, 1, 1)


@pytest.mark.parametrize(
    ("left", "right"), [(50, 3e9), (50, 150_000), (-3e9, 50), (-150_000, 50)], ids=lambda x: f"{x:g}"
)
def test_an_outline_far_outside_of_the_image_is_cut_off(left: float, right: float) -> None:
    far = np.asarray([(left, -3e9), (right, -3e9), (right, 70), (left, 70)])
    inside = np.clip([left, right], 0, 100).tolist()
    box, near = (inside[0], 0, inside[1], 70), square(60, 72, 5)
    drawn = [[(x, y) for x, y in zip(np.take(box, [0, 2, 2, 0]), (0, 0, 70, 70), strict=True)], near]
    image = picture(Instance((0, 0, 100, 80), 0, (far, near)))
    detection = Detections([box], [0.9], [0], ("disc",), masks=Masks.from_polygons([drawn], (100, 80)))
    assert evaluate_detections([image], [detection], ("disc",)).masks.ap == 1


def test_an_outline_with_many_corners_beyond_the_border_is_drawn() -> None:
    side = [(90_000, y) for y in np.linspace(10, 50, 120)]
    image = picture(Instance((10, 10, 100, 50), 0, (np.asarray([(10, 10), *side, (10, 50)], np.float64),)))
    drawn = Masks.from_polygons([[[(10, 10), (100, 10), (100, 50), (10, 50)]]], (100, 80))
    detection = Detections([(10, 10, 100, 50)], [0.9], [0], ("disc",), masks=drawn)
    result = evaluate_detections([image], [detection], ("disc",))
    assert (result.masks.ap, result.masks.without_mask) == (1, 0)


def test_a_stated_area_decides_what_is_small() -> None:
    image = picture(thing(10, 10, 40, area=0.5))  # its mask has 1600 pixels, which is medium
    masks = evaluate_detections([image], [found((10, 10, 40))], ("disc",)).masks
    assert (masks.ap_small, masks.ap_medium) == (1, -1)


def test_no_mask_is_drawn_on_a_whole_frame() -> None:
    size = (30_000, 20_000)  # 600 MB for each dense mask
    squares = [(1_000.0 * k, 900.0 * k, 60.0) for k in range(20)]
    image = picture(*(thing(*one) for one in squares), size=size)
    detections = found(*squares, size=size)
    evaluate_detections([image], [detections], ("disc",))  # what is loaded once does not count
    tracemalloc.start()
    result = evaluate_detections([image], [detections], ("disc",))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.masks.ap == 1
    assert peak < 4e6


def test_overlaps_of_masks_worked_by_hand() -> None:
    def of(*squares: tuple[float, float, float]) -> tuple:
        return tuple(Masks.from_polygons([[square(*one)] for one in squares], (100, 80)).to_coco())

    detections, objects = of((0, 0, 10), (40, 40, 10), (10, 0, 20)), of((5, 0, 10), (0, 0, 20))
    overlaps = mask_iou(detections, objects, np.asarray([False, True]))
    # The second object is a crowd region: how much of the detection lies in it counts.
    np.testing.assert_allclose(overlaps, [(1 / 3, 1), (0, 0), (50 / 450, 0.5)])
    assert mask_iou((), objects, np.asarray([False, True])).shape == (0, 2)
    assert mask_iou(detections, (), np.zeros(0, np.bool_)).shape == (3, 0)


# ---------------------------------------------------------------------------------------- what is shown


def test_figures_of_boxes_and_masks_stand_one_after_the_other() -> None:
    case = random_mask_case(0)
    result = figures(case)
    boxes, masks = replace(result, masks=None).render(), result.masks.render()
    assert result.render() == f"Boxes\n\n{boxes}\n\nMasks\n\n{masks}"
    assert f"mask AP {result.masks.ap:.3f} on 12 images" in repr(result)
    page = result._repr_html_()
    assert page.index("Boxes") < page.index("Masks") and page.count("Average Precision") == 12
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["masks"]["ap"] == result.masks.ap and plain["ap"] == result.ap
    assert set(TWELVE) < set(plain["masks"]) and "masks" not in plain["masks"]
