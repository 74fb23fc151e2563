import contextlib
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.evaluation import coco_protocol as protocol
from aerostat.evaluation.coco import CocoResult, evaluate_detections, precision_by_recall
from aerostat.evaluation.matching import average_precision, match
from aerostat.evaluation.tide import tide
from aerostat.results.detections import Detections

TWELVE = [
    "ap",
    "ap50",
    "ap75",
    "ap_small",
    "ap_medium",
    "ap_large",
    "ar1",
    "ar10",
    "ar100",
    "ar_small",
    "ar_medium",
    "ar_large",
]


def twelve(result: CocoResult) -> list[float]:
    return [getattr(result, name) for name in TWELVE]


def picture(*instances: Instance, id: int = 0) -> ImageRecord:
    return ImageRecord(Path(f"{id}.jpg"), f"{id}.jpg", 640, 480, instances, id)


def thing(x1: float, y1: float, x2: float, y2: float, label: int = 0, **more: object) -> Instance:
    return Instance((x1, y1, x2, y2), label, **{"area": (x2 - x1) * (y2 - y1), **more})


def found(*rows: tuple[float, ...], classes: tuple[str, ...] = ("balloon",)) -> Detections:
    """Rows of x1, y1, x2, y2, score and perhaps a label."""
    return Detections(
        [row[:4] for row in rows],
        [row[4] for row in rows],
        [row[5] if len(row) > 5 else 0 for row in rows],
        classes,
    )


class Peer:
    """What pycocotools says of the same images and detections."""

    def __init__(
        self,
        images: list[ImageRecord],
        detections: list[Detections],
        classes: tuple[str, ...],
        max_dets: tuple[int, ...] = (1, 10, 100),
    ) -> None:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        annotations, results = [], []
        for image_id, (image, detected) in enumerate(zip(images, detections, strict=True), start=1):
            image_id = image.id or image_id
            for instance in image.instances:
                x1, y1, x2, y2 = instance.box_xyxy
                row = {
                    "image_id": image_id,
                    "category_id": 10 + instance.label,
                    "iscrowd": int(instance.crowd),
                }
                row |= {"id": len(annotations) + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": instance.area}
                annotations.append(row)
            for (x1, y1, x2, y2), score, label in zip(
                detected.boxes_xyxy.tolist(), detected.scores.tolist(), detected.labels.tolist(), strict=True
            ):
                row = {"image_id": image_id, "category_id": 10 + label, "bbox": [x1, y1, x2 - x1, y2 - y1]}
                results.append({**row, "score": score})
        with contextlib.redirect_stdout(io.StringIO()) as said:
            truth = COCO()
            truth.dataset = {
                "images": [{"id": image.id or i} for i, image in enumerate(images, start=1)],
                "annotations": annotations,
                "categories": [{"id": 10 + k, "name": name} for k, name in enumerate(classes)],
            }
            truth.createIndex()
            evaluation = COCOeval(truth, truth.loadRes(results), "bbox")
            evaluation.params.maxDets = list(max_dets)
            evaluation.evaluate()
            evaluation.accumulate()
            said.truncate(0)
            said.seek(0)
            evaluation.summarize()
        self.text = said.getvalue()
        self.stats = evaluation.stats.tolist()
        self.precision = evaluation.eval["precision"]
        self.recall = evaluation.eval["recall"]

    def ap_of_class(self, k: int, iou: slice | int = slice(None)) -> float:
        values = self.precision[iou, :, k, 0, 2]
        return float(values[values > -1].mean()) if (values > -1).any() else -1.0


SIZES = (4.0, 31.75, 32.0, 32.25, 50.0, 95.75, 96.0, 96.25, 200.0)
"""Sides below, at and above the borders of COCO's size ranges."""


def random_case(seed: int, exact: bool) -> tuple[list[ImageRecord], list[Detections], tuple[str, ...]]:
    """Images with crowds, of several classes, some empty, some classes absent; detections with tied scores.

    Args:
        seed: of the random numbers.
        exact: quarter pixels, so that many IoUs and areas fall exactly on a threshold; else any floats.
    """
    rng = np.random.default_rng(seed)
    classes = tuple(f"class {k}" for k in range(rng.integers(1, 6)))
    images, detections = [], []
    for image_id in rng.permutation(np.arange(1, 16)).tolist():
        boxes, labels = random_boxes(rng, int(rng.choice([0, 1, 5, 25])), exact), []
        instances = []
        for box in boxes.tolist():
            labels.append(int(rng.integers(0, max(1, len(classes) - 1))))  # the last of several has none
            area = (box[2] - box[0]) * (box[3] - box[1]) * float(rng.choice([1.0, 0.5]))
            instances.append(Instance(tuple(box), labels[-1], crowd=bool(rng.random() < 0.15), area=area))
        images.append(picture(*instances, id=image_id))
        of = rng.integers(0, len(boxes), rng.choice([0, 3, 40, 300]) if len(boxes) else 0)
        near = boxes[of]
        shift = rng.integers(-8, 9, near.shape) / 4 * rng.choice([0, 1, 4], (len(near), 1))
        near = near + (shift if exact else shift * rng.random(near.shape))
        near[:, 2:] = np.maximum(near[:, :2], near[:, 2:])
        false = random_boxes(rng, int(rng.integers(0, 6)), exact)
        guessed = np.concatenate([near, false]).astype(np.float32)
        scores = (
            rng.choice([0.1, 0.3, 0.5, 0.9], len(guessed)) if rng.random() < 0.7 else rng.random(len(guessed))
        )
        guessed_labels = rng.integers(0, len(classes), len(guessed))
        right = rng.random(len(of)) < 0.8
        guessed_labels[: len(of)][right] = np.asarray(labels, np.int64)[of][right]
        detections.append(Detections(guessed, scores, guessed_labels, classes))
    return images, detections, classes


def random_boxes(rng: np.random.Generator, count: int, exact: bool) -> NDArray[np.float64]:
    corner = rng.integers(0, 1200, (count, 2)) / 4
    sides = rng.choice(SIZES, (count, 2)) * (1.0 if exact else rng.uniform(0.8, 1.2, (count, 2)))
    return np.concatenate([corner, corner + sides], axis=1)


@pytest.mark.parametrize("exact", [True, False], ids=["quarter pixels", "any floats"])
@pytest.mark.parametrize("seed", range(20))
def test_all_figures_equal_those_of_pycocotools(seed: int, exact: bool) -> None:
    images, detections, classes = random_case(seed, exact)
    result, peer = evaluate_detections(images, detections, classes), Peer(images, detections, classes)
    assert twelve(result) == pytest.approx(peer.stats, abs=1e-9, rel=0)
    for k, row in enumerate(result.per_class):
        assert (row.ap, row.ap50) == pytest.approx(
            (peer.ap_of_class(k), peer.ap_of_class(k, 0)), abs=1e-9, rel=0
        )
        assert row.instances == sum(i.label == k and not i.crowd for image in images for i in image.instances)
    assert result.images == 15
    assert result.detections == sum(map(len, detections))
    assert result.instances == sum(row.instances for row in result.per_class)


@pytest.mark.parametrize("exact", [True, False], ids=["quarter pixels", "any floats"])
@pytest.mark.parametrize("seed", range(6))
def test_precision_at_each_recall_equals_the_array_of_pycocotools(seed: int, exact: bool) -> None:
    images, detections, classes = random_case(seed, exact)
    expected = Peer(images, detections, classes).precision[..., 0, 2]
    precision = precision_by_recall(images, detections, classes)
    assert precision.shape == (10, 101, len(classes))
    np.testing.assert_allclose(precision, expected, atol=1e-9, rtol=0)


@pytest.mark.parametrize("exact", [True, False], ids=["quarter pixels", "any floats"])
@pytest.mark.parametrize("seed", range(20))
def test_matches_that_can_be_looked_at_give_the_ap50_of_pycocotools(seed: int, exact: bool) -> None:
    images, detections, classes = random_case(seed, exact)
    peer = Peer(images, detections, classes)
    matching = match(images, detections, classes)
    found, counts = matching.detections, ~matching.detections.ignored
    columns = (found.label[counts], found.score[counts], found.right[counts])
    ap = average_precision(*columns, matching.objects.count(len(classes)))
    expected = [peer.ap_of_class(k, 0) for k in range(len(classes))]
    np.testing.assert_allclose(ap, expected, atol=1e-9, rtol=0)
    assert tide(images, detections, classes).ap50 == pytest.approx(peer.stats[1], abs=1e-9, rel=0)


@pytest.mark.parametrize("at_once", [1, 30], ids=["each class alone", "some classes together"])
@pytest.mark.parametrize("seed", range(4))
def test_in_parts_the_figures_are_those_of_pycocotools_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], seed: int, at_once: int
) -> None:
    monkeypatch.setattr(protocol, "AT_ONCE", at_once)
    images, detections, classes = random_case(seed, exact=True)
    result = evaluate_detections(images, detections, classes, progress=True)
    peer = Peer(images, detections, classes)
    assert twelve(result) == pytest.approx(peer.stats, abs=1e-9, rel=0)
    assert [row.ap for row in result.per_class] == pytest.approx(
        [peer.ap_of_class(k) for k in range(len(classes))], abs=1e-9, rel=0
    )
    assert capsys.readouterr().out == ""


def large_case(image_count: int) -> tuple[list[ImageRecord], list[Detections], tuple[str, ...]]:
    """As many objects and detections of as many classes as COCO's images have, common and rare classes."""
    rng = np.random.default_rng(0)
    classes = tuple(f"class {k}" for k in range(80))
    share = 1 / np.arange(1, 81) / (1 / np.arange(1, 81)).sum()
    images, detections = [], []
    for image_id in range(1, image_count + 1):
        count = int(rng.poisson(7.2))
        boxes, labels = random_boxes(rng, count, exact=False), rng.choice(80, count, p=share)
        things = [
            Instance(tuple(box), int(label), crowd=bool(rng.random() < 0.02), area=(box[2] - box[0]) * 20)
            for box, label in zip(boxes.tolist(), labels, strict=True)
        ]
        images.append(picture(*things, id=image_id))
        of = rng.integers(0, count, 100 if count else 0)
        near = boxes[of] + rng.normal(0, 4, (len(of), 4))
        near[:, 2:] = np.maximum(near[:, :2], near[:, 2:])
        right = rng.random(len(of)) < 0.5
        detections.append(
            Detections(
                near, rng.random(len(of)), np.where(right, labels[of], rng.choice(80, len(of))), classes
            )
        )
    return images, detections, classes


def test_at_the_scale_of_coco_the_figures_are_those_of_pycocotools() -> None:
    images, detections, classes = large_case(1000)
    assert sum(map(len, detections)) > 4 * protocol.AT_ONCE
    result, peer = evaluate_detections(images, detections, classes), Peer(images, detections, classes)
    assert twelve(result) == pytest.approx(peer.stats, abs=1e-9, rel=0)
    assert [row.ap for row in result.per_class] == pytest.approx(
        [peer.ap_of_class(k) for k in range(80)], abs=1e-9, rel=0
    )


@pytest.mark.parametrize("images", [[], [picture()]], ids=["no images", "an image without objects"])
def test_precision_without_objects_is_undefined(images: list[ImageRecord]) -> None:
    precision = precision_by_recall(images, [found((0, 0, 9, 9, 0.5)) for _ in images], ("balloon",))
    assert precision.shape == (10, 101, 1)
    assert (precision == -1).all()


def test_the_random_cases_reach_what_they_are_meant_to_reach() -> None:
    cases = [random_case(seed, exact=True) for seed in range(20)]
    instances = [i for images, _, _ in cases for image in images for i in image.instances]
    areas = {i.area for i in instances}
    assert {32.0**2, 96.0**2} <= areas
    assert sum(i.crowd for i in instances) > 100
    assert max(np.bincount(d.labels).max(initial=0) for _, found, _ in cases for d in found) > 100
    results = [evaluate_detections(*case) for case in cases]
    assert np.mean([result.ap for result in results]) > 0.1
    assert any(row.instances == 0 and len(r.per_class) > 1 for r in results for row in r.per_class)


@pytest.mark.parametrize("max_dets", [(1, 10, 300), (1, 2, 3), (5, 50, 1000)])
def test_other_limits_on_the_detections_equal_those_of_pycocotools(max_dets: tuple[int, int, int]) -> None:
    images, detections, classes = random_case(3, exact=True)
    result = evaluate_detections(images, detections, classes, max_dets=max_dets)
    peer = Peer(images, detections, classes, max_dets)
    # pycocotools' own summary looks for 100 in its first line whatever the limits are.
    every = peer.precision[..., 0, 2]
    assert twelve(result) == pytest.approx([every[every > -1].mean(), *peer.stats[1:]], abs=1e-9, rel=0)
    assert result.max_dets == max_dets
    assert f"maxDets={max_dets[2]:>3d} ]" in result.render()


def test_the_twelve_lines_are_those_of_pycocotools_to_the_letter() -> None:
    images, detections, classes = random_case(0, exact=True)
    lines = evaluate_detections(images, detections, classes).render().splitlines()
    assert lines[:12] == Peer(images, detections, classes).text.splitlines()


def test_one_object_found_perfectly_gives_one_everywhere_it_is_defined() -> None:
    result = evaluate_detections(
        [picture(thing(10, 10, 60, 60))], [found((10, 10, 60, 60, 0.9))], ["balloon"]
    )
    assert twelve(result) == [1, 1, 1, -1, 1, -1, 1, 1, 1, -1, 1, -1]
    assert (result.images, result.instances, result.detections, result.left_out) == (1, 1, 1, 0)
    assert [(row.name, row.ap, row.ap50, row.instances) for row in result.per_class] == [("balloon", 1, 1, 1)]


def test_a_false_detection_with_a_better_score_halves_precision_at_every_threshold() -> None:
    rows = [(10, 10, 60, 60, 0.5), (300, 300, 360, 360, 0.9)]
    result = evaluate_detections([picture(thing(10, 10, 60, 60))], [found(*rows)], ["balloon"])
    assert (result.ap, result.ap50, result.ap75) == pytest.approx((0.5, 0.5, 0.5))
    assert (result.ar1, result.ar10, result.ar100) == (0, 1, 1)  # the best one alone is the false one


def test_a_false_detection_on_an_image_without_objects_counts() -> None:
    images = [picture(thing(10, 10, 60, 60)), picture()]
    result = evaluate_detections(
        images, [found((10, 10, 60, 60, 0.5)), found((0, 0, 50, 50, 0.9))], ["balloon"]
    )
    assert result.ap == pytest.approx(0.5)
    assert result.images == 2


def test_a_box_with_iou_six_tenths_is_right_at_the_first_three_thresholds_only() -> None:
    result = evaluate_detections(
        [picture(thing(0, 0, 100, 100))], [found((0, 0, 100, 62.5, 0.9))], ["balloon"]
    )
    assert result.ap == pytest.approx(0.3)
    assert (result.ap50, result.ap75) == (pytest.approx(1), 0)


def test_detections_in_a_crowd_region_count_neither_for_nor_against() -> None:
    images = [picture(thing(10, 10, 60, 60), thing(200, 200, 400, 400, crowd=True))]
    within = [(210, 210, 230, 230, 0.95), (220, 210, 240, 250, 0.94), (300, 300, 400, 400, 0.93)]
    result = evaluate_detections(images, [found((10, 10, 60, 60, 0.9), *within)], ["balloon"])
    assert result.ap == 1
    assert result.instances == 1


def test_size_goes_by_the_annotated_area_and_by_the_box_where_none_is_stated() -> None:
    by_area = evaluate_detections(
        [picture(thing(10, 10, 60, 60, area=900.0))], [found((10, 10, 60, 60, 0.9))], ["balloon"]
    )
    assert (by_area.ap_small, by_area.ap_medium) == (1, -1)
    by_box = evaluate_detections(
        [picture(thing(10, 10, 60, 60, area=0.0))], [found((10, 10, 60, 60, 0.9))], ["balloon"]
    )
    assert (by_box.ap_small, by_box.ap_medium) == (-1, 1)


def test_equal_scores_on_several_images_rank_by_image_id() -> None:
    right, wrong = found((10, 10, 60, 60, 0.5)), found((300, 300, 350, 350, 0.5))
    first = evaluate_detections(
        [picture(thing(10, 10, 60, 60), id=1), picture(id=2)], [right, wrong], ["balloon"]
    )
    last = evaluate_detections(
        [picture(thing(10, 10, 60, 60), id=7), picture(id=2)], [right, wrong], ["balloon"]
    )
    assert (first.ap, last.ap) == (1, pytest.approx(0.5))


@pytest.mark.parametrize(
    ("images", "detections", "expected"),
    [
        ([], [], [-1] * 12),
        ([picture()], [found()], [-1] * 12),
        ([picture()], [found((0, 0, 9, 9, 0.5))], [-1] * 12),
        ([picture(thing(0, 0, 200, 200, crowd=True))], [found((0, 0, 200, 200, 0.5))], [-1] * 12),
        ([picture(thing(0, 0, 200, 200))], [found()], [0, 0, 0, -1, -1, 0, 0, 0, 0, -1, -1, 0]),
    ],
    ids=["no image", "nothing to find, nothing found", "nothing to find", "only a crowd", "nothing found"],
)
def test_the_empty_cases_are_defined(images: list, detections: list, expected: list) -> None:
    result = evaluate_detections(images, detections, ["balloon"])
    assert twelve(result) == expected
    json.dumps(result.to_dict(), allow_nan=False)
    assert result.render().count("\n") > 12


def test_no_classes_leave_every_figure_undefined() -> None:
    assert twelve(evaluate_detections([picture()], [Detections.empty([])], [])) == [-1] * 12


def test_classes_are_matched_by_name_and_the_detectors_other_classes_left_out() -> None:
    theirs = ("person", "balloon", "kite")
    rows = [(10, 10, 60, 60, 0.5, 1), (300, 300, 350, 350, 0.9, 0), (200, 0, 290, 90, 0.9, 2)]
    images = [picture(thing(10, 10, 60, 60, label=2), thing(100, 100, 150, 150, label=1))]
    result = evaluate_detections(images, [found(*rows, classes=theirs)], ["cat", "dog", "balloon", "kite"])
    assert (result.detections, result.left_out) == (2, 1)
    assert [row.ap for row in result.per_class] == [-1, 0, 1, -1]
    assert result.ap == 0.5
    assert "; 1 detection of other classes left out" in result.render()


def test_what_is_undefined_is_none_in_json_and_nothing_else_changes() -> None:
    images = [picture(thing(10, 10, 60, 60))]
    result = evaluate_detections(images, [found((10, 10, 60, 60, 0.9))], ["balloon", "kite"][:1])
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["ap"] == 1
    assert plain["ap_small"] is None
    assert plain["per_class"] == [{"name": "balloon", "ap": 1, "ap50": 1, "instances": 1}]
    assert (plain["images"], plain["instances"], plain["max_dets"]) == (1, 1, [1, 10, 100])
    assert set(TWELVE) < set(plain)


def test_the_class_table_lines_up_in_any_script() -> None:
    classes = ("气球", "balloon", "воздушный шар")
    images = [picture(thing(10, 10, 60, 60, label=0), thing(10, 10, 60, 60, label=2))]
    text = evaluate_detections(images, [found((10, 10, 60, 60, 0.9, 0), classes=classes)], classes).render()
    assert text.splitlines()[13:] == [
        "class          instances     AP   AP50",
        "气球                   1  1.000  1.000",
        "balloon                0      -      -",
        "воздушный шар          1  0.000  0.000",
        "",
        "1 image, 2 instances, 1 detection",
    ]


@pytest.mark.parametrize(
    ("images", "detections", "classes", "max_dets", "says"),
    [
        ([picture()], [], ["balloon"], (1, 10, 100), "for each of 1 image, found those of 0"),
        ([picture(thing(0, 0, 9, 9, label=1))], [found()], ["balloon"], (1, 10, 100), "found 1 on 0.jpg"),
        (
            [picture()],
            [found(classes=("person",))],
            ["balloon"],
            (1, 10, 100),
            "of balloon, found one of person",
        ),
        ([picture()], [found()], ["balloon"], (1, 100), "three ascending"),
        ([picture()], [found()], ["balloon"], (0, 10, 100), "three ascending"),
        ([picture()], [found()], ["balloon"], (10, 10, 100), "three ascending"),
        ([picture()], [found()], ["balloon"], (1, 10, 10), "three ascending"),
    ],
    ids=[
        "lengths",
        "label without class",
        "no class in common",
        "two limits",
        "zero",
        "not ascending",
        "ascending no more",
    ],
)
def test_what_cannot_be_evaluated_is_said_in_one_sentence(
    images: list, detections: list, classes: list, max_dets: tuple, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        evaluate_detections(images, detections, classes, max_dets=max_dets)


def test_nothing_is_printed_logged_or_changed(
    capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    images, detections, classes = random_case(0, exact=True)
    before = [(d.boxes_xyxy.copy(), d.scores.copy(), d.labels.copy()) for d in detections]
    with caplog.at_level(logging.DEBUG):
        first = evaluate_detections(images, detections, classes)
        again = evaluate_detections(images, detections, classes)
    assert first == again
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []
    assert len(recwarn) == 0
    for old, now in zip(before, detections, strict=True):
        assert np.array_equal(old[0], now.boxes_xyxy)
        assert np.array_equal(old[1], now.scores)
        assert np.array_equal(old[2], now.labels)


def test_the_balloon_validation_set_gives_the_figures_of_pycocotools(balloon: Path) -> None:
    records, detections = [], []
    rng = np.random.default_rng(0)
    for entry in json.loads((balloon / "val" / "via_region_data.json").read_text()).values():
        instances = []
        for region in entry["regions"].values():
            x, y = (np.asarray(region["shape_attributes"][f"all_points_{axis}"], float) for axis in "xy")
            area = abs(float(x @ np.roll(y, 1) - y @ np.roll(x, 1))) / 2
            instances.append(Instance((x.min(), y.min(), x.max(), y.max()), 0, area=area))
        records.append(
            ImageRecord(balloon / entry["filename"], entry["filename"], 2048, 2048, tuple(instances))
        )
        boxes = records[-1].boxes_xyxy().repeat(3, axis=0)
        boxes = boxes + rng.normal(0, 6, boxes.shape)
        boxes[:, 2:] = np.maximum(boxes[:, :2], boxes[:, 2:])
        detections.append(Detections(boxes, rng.random(len(boxes)), [0] * len(boxes), ("balloon",)))
    result = evaluate_detections(records, detections, ("balloon",))
    assert (result.images, result.instances) == (13, 50)
    assert 0 < result.ap < 1
    assert result.ap_small > -1
    assert twelve(result) == pytest.approx(Peer(records, detections, ("balloon",)).stats, abs=1e-9, rel=0)


def test_a_large_set_gives_the_figures_of_pycocotools() -> None:
    images, detections = [], []
    for seed in range(40):
        case = random_case(seed, exact=False)
        offset = len(images)
        images += [picture(*image.instances, id=offset + image.id) for image in case[0]]
        detections += case[1]
    classes = tuple(f"class {k}" for k in range(5))
    detections = [Detections(d.boxes_xyxy, d.scores, d.labels, classes) for d in detections]
    result = evaluate_detections(images, detections, classes)
    assert result.images == 600
    assert twelve(result) == pytest.approx(Peer(images, detections, classes).stats, abs=1e-9, rel=0)


def test_the_area_of_a_box_that_states_none_is_width_times_height() -> None:
    images = [picture(thing(0, 0, 20, 100, area=0.0))]  # 2000, though 100 * 100 would be large
    result = evaluate_detections(images, [found((0, 0, 20, 100, 0.9))], ["balloon"])
    assert (result.ap_small, result.ap_medium, result.ap_large) == (-1, 1, -1)
    tiny = [picture(thing(0, 0, 100, 100, area=0.5))]  # less than a pixel is an area, too
    result = evaluate_detections(tiny, [found((0, 0, 100, 100, 0.9))], ["balloon"])
    assert (result.ap_small, result.ap_medium, result.ap_large) == (1, -1, -1)


def test_the_json_has_the_fields_of_the_result_and_lists() -> None:
    images = [picture(thing(10, 10, 60, 60))]
    result = evaluate_detections(
        images, [found((10, 10, 60, 60, 0.9), classes=("balloon", "kite"))], ["balloon", "kite"]
    )
    plain = result.to_dict()
    assert set(plain) == {*TWELVE, "per_class", "images", "instances", "detections", "left_out", "max_dets"}
    assert plain["max_dets"] == [1, 10, 100]
    assert plain["per_class"][1] == {"name": "kite", "ap": None, "ap50": None, "instances": 0}


def test_how_far_it_is_is_told_where_it_is_asked_for_and_there_are_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    monkeypatch.setattr(protocol, "track", lambda items, title: told.append(title) or items)
    case = random_case(0, exact=True)
    evaluate_detections(*case, progress=True)
    monkeypatch.setattr(protocol, "AT_ONCE", 1)
    evaluate_detections(*case)
    assert told == []
    evaluate_detections(*case, progress=True)
    assert told == ["scoring classes"]


def test_numpys_integers_as_limits_become_plain_ones() -> None:
    result = evaluate_detections(
        [picture()], [found()], ["balloon"], max_dets=tuple(np.asarray([1, 10, 100]))
    )
    assert json.loads(json.dumps(result.to_dict()))["max_dets"] == [1, 10, 100]
    assert [type(limit) for limit in result.max_dets] == [int] * 3


def test_one_detector_with_a_class_in_common_is_enough() -> None:
    images = [picture(thing(10, 10, 60, 60), id=1), picture(thing(10, 10, 60, 60), id=2)]
    both = [found((10, 10, 60, 60, 0.9)), found((10, 10, 60, 60, 0.9), classes=("person",))]
    result = evaluate_detections(images, both, ["balloon"])
    assert (result.detections, result.left_out, result.ar100) == (1, 1, 0.5)
