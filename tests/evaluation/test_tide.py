"""The kinds of error and their price in AP50: cases worked by hand, and inputs mended by construction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from aerostat.datasets.records import ImageRecord, Instance
from aerostat.errors import InputError
from aerostat.evaluation.coco import evaluate_detections
from aerostat.evaluation.matching import best_f1, match
from aerostat.evaluation.tide import KINDS, TideResult, tide, worst_images
from aerostat.results.detections import Detections

CLASSES = ("cat", "dog")
CAT, DOG = 0, 1
BOX = (0.0, 0.0, 100.0, 100.0)
OFF = (0.0, 0.0, 100.0, 40.0)  # IoU 0.4 with BOX
SLIVER = (0.0, 0.0, 100.0, 9.0)  # IoU 0.09 with BOX
FAR = (300.0, 300.0, 400.0, 400.0)

Row = tuple[tuple[float, ...], int, float]


def image(*objects: tuple[tuple[float, ...], int], crowd: tuple[int, ...] = (), id: int = 0) -> ImageRecord:
    instances = tuple(
        Instance(box, label, crowd=i in crowd, area=(box[2] - box[0]) * (box[3] - box[1]))
        for i, (box, label) in enumerate(objects)
    )
    return ImageRecord(Path(f"{id}.jpg"), f"{id}.jpg", 1000, 1000, instances, id)


def found(*rows: Row, classes: tuple[str, ...] = CLASSES) -> Detections:
    return Detections([r[0] for r in rows], [r[2] for r in rows], [r[1] for r in rows], classes)


def counts(mistakes: TideResult) -> dict[str, int]:
    return {kind: mistakes.count(kind) for kind in KINDS if mistakes.count(kind)}


def won(mistakes: TideResult) -> dict[str, float]:
    return {kind: pytest.approx(value) for kind, value in mistakes.ap50_gain.items() if value > 1e-12}


HALF = 51 / 101  # AP when the first half of the recalls, 0 to 0.5, has precision 1
SECOND_OF_THREE = 50 / 3 / 101  # what is lost if the second of three detections is wrong


@pytest.mark.parametrize(
    ("objects", "rows", "kinds", "prices"),
    [
        ([(BOX, CAT)], [(BOX, CAT, 0.9)], {}, {}),
        ([(BOX, CAT)], [(BOX, DOG, 0.9)], {"classification": 1}, {"classification": 1.0}),
        ([(BOX, CAT)], [(OFF, CAT, 0.9)], {"localisation": 1}, {"localisation": 1.0}),
        ([(BOX, CAT)], [(OFF, DOG, 0.9)], {"both": 1, "missed": 1}, {"missed": 1.0}),
        ([(BOX, CAT)], [(SLIVER, CAT, 0.9)], {"background": 1, "missed": 1}, {}),
        ([(BOX, CAT)], [(SLIVER, DOG, 0.9)], {"background": 1, "missed": 1}, {"missed": 1.0}),
        ([(BOX, CAT)], [], {"missed": 1}, {"missed": 1.0}),
        ([(BOX, CAT), (FAR, CAT)], [(BOX, CAT, 0.9)], {"missed": 1}, {"missed": 1 - HALF}),
        (
            [(BOX, CAT), (FAR, CAT)],
            [(BOX, CAT, 0.9), (BOX, CAT, 0.8), (FAR, CAT, 0.7)],
            {"duplicate": 1},
            {"duplicate": SECOND_OF_THREE},
        ),
        (
            [(BOX, CAT), (FAR, CAT)],
            [(BOX, CAT, 0.9), ((600, 600, 700, 700), CAT, 0.8), (FAR, CAT, 0.7)],
            {"background": 1},
            {"background": SECOND_OF_THREE},
        ),
        # one object is won back once, by the better of those that claim it
        ([(BOX, CAT)], [(OFF, CAT, 0.9), (OFF, CAT, 0.8)], {"localisation": 2}, {"localisation": 1.0}),
        (
            [(BOX, CAT)],
            [(OFF, CAT, 0.9), (BOX, DOG, 0.8)],
            {"localisation": 1, "classification": 1},
            {"localisation": 1.0},
        ),
        # an object that is found already cannot be won: the error is taken away
        (
            [(BOX, CAT), (FAR, CAT)],
            [(BOX, CAT, 0.9), (OFF, CAT, 0.8), (FAR, CAT, 0.7)],
            {"localisation": 1},
            {"localisation": SECOND_OF_THREE},
        ),
        # localisation before classification before duplicate, as TIDE has it
        ([(OFF, DOG), (BOX, CAT)], [(BOX, DOG, 0.9)], {"localisation": 1, "missed": 1}, None),
        ([(BOX, CAT), (BOX, DOG)], [(BOX, CAT, 0.9), (BOX, CAT, 0.8)], {"classification": 1}, None),
    ],
)
def test_each_kind_is_told_and_priced(
    objects: list[tuple[tuple[float, ...], int]],
    rows: list[Row],
    kinds: dict[str, int],
    prices: dict[str, float] | None,
) -> None:
    mistakes = tide([image(*objects)], [found(*rows)], CLASSES)
    assert counts(mistakes) == kinds
    if prices is not None:
        assert won(mistakes) == prices


def scattered(seed: int) -> tuple[list[ImageRecord], dict[str, list[Detections]]]:
    """Cells of a board, each with a known error or none; and the detections with each kind mended.

    The cells are far apart, so nothing that is mended touches anything else.
    """
    rng = np.random.default_rng(seed)
    images, mended = [], {kind: [] for kind in ("none", *KINDS)}
    for number in range(12):
        objects, rows = [], {kind: [] for kind in mended}
        for corner in rng.permutation(16)[:10]:
            x, y = 150.0 * (corner % 4), 150.0 * (corner // 4)
            box, off = (x, y, x + 100, y + 100), (x, y, x + 100, y + float(rng.integers(15, 45)))
            label, other = (CAT, DOG) if rng.random() < 0.6 else (DOG, CAT)
            high, low = sorted(rng.choice(10_000, 2, replace=False) / 10_000, reverse=True)
            right = (box, label, high)
            case = rng.choice(["right", "twice", *KINDS])
            has, shown, mend = {
                "right": (True, [right], [right]),
                "twice": (True, [(off, label, high), (off, label, low)], [right]),
                "classification": (True, [(box, other, high)], [right]),
                "localisation": (True, [(off, label, high)], [right]),
                "both": (True, [(off, other, high)], []),
                "duplicate": (True, [right, (box, label, low)], [right]),
                "background": (False, [(box, label, high)], []),
                "missed": (True, [], []),
            }[str(case)]
            objects += [(box, label)] if has else []
            kind = "localisation" if case == "twice" else case
            for name in rows:
                rows[name] += mend if name == kind else shown
        images.append(image(*objects, id=number + 1))
        for kind in rows:
            mended[kind].append(found(*rows[kind]))
    return images, mended


@pytest.mark.parametrize("seed", range(8))
def test_the_price_of_a_kind_is_the_ap50_of_the_mended_detections(seed: int) -> None:
    images, mended = scattered(seed)
    mistakes = tide(images, mended["none"], CLASSES, score=0.0)
    ap50 = evaluate_detections(images, mended["none"], CLASSES).ap50
    assert mistakes.ap50 == pytest.approx(ap50)
    for kind in KINDS[:-1]:
        better = evaluate_detections(images, mended[kind], CLASSES).ap50
        assert mistakes.ap50_gain[kind] == pytest.approx(better - ap50), kind
    without = [without_missed(record, found) for record, found in zip(images, mended["none"], strict=True)]
    better = evaluate_detections(without, mended["none"], CLASSES).ap50
    assert mistakes.ap50_gain["missed"] == pytest.approx(better - ap50)
    assert all(mistakes.count(kind) for kind in KINDS)


def without_missed(record: ImageRecord, found: Detections) -> ImageRecord:
    """Drop objects on which there is nothing, or nothing but a wrong class in a wrong place."""
    kept = []
    for instance in record.instances:
        x, y = instance.box_xyxy[:2]
        here = (found.boxes_xyxy[:, :2] == (x, y)).all(axis=1)
        whole = found.boxes_xyxy[:, 3] == y + 100
        if (here & (whole | (found.labels == instance.label))).any():
            kept.append((instance.box_xyxy, instance.label))
    return image(*kept, id=record.id)


@pytest.mark.parametrize("score", [0.0, 0.3, 0.8])
def test_every_detection_has_one_fate_at_any_score(score: float) -> None:
    rng = np.random.default_rng(1)
    images, detections = [], []
    for i in range(30):
        corners = rng.uniform(0, 200, (rng.integers(0, 12), 2))
        boxes = [(*c, *(c + rng.uniform(20, 120, 2))) for c in corners.tolist()]
        crowd = tuple(np.flatnonzero(rng.random(len(boxes)) < 0.1).tolist())
        images.append(image(*((b, int(rng.integers(2))) for b in boxes), crowd=crowd, id=i))
        corners = rng.uniform(0, 200, (rng.integers(0, 40), 2))
        rows = [((*c, *(c + rng.uniform(20, 120, 2))), int(rng.integers(2)), rng.random()) for c in corners]
        rows += [(b, int(rng.integers(2)), rng.random()) for b in boxes]
        detections.append(found(*rows))
    mistakes = tide(images, detections, CLASSES, score=score)
    wrong = mistakes.counts[:, :-1].sum(axis=1)
    np.testing.assert_array_equal(mistakes.right + wrong, mistakes.shown)
    assert mistakes.right.sum() + mistakes.count("missed") <= mistakes.objects.sum()
    assert len(mistakes.mistakes) == mistakes.counts.sum()
    assert all(m.score is None or m.score >= np.float32(score) for m in mistakes.mistakes)
    told = [(m.image, m.detection) for m in mistakes.mistakes if m.detection is not None]
    assert len(told) == len(set(told))


def test_the_score_decides_what_is_counted_but_not_the_price() -> None:
    images = [image((BOX, CAT), (FAR, CAT))]
    detections = [found((BOX, CAT, 0.9), (OFF, CAT, 0.2), (FAR, CAT, 0.1))]
    strict, lax = (tide(images, detections, CLASSES, score=s) for s in (0.3, 0.05))
    assert counts(strict) == {"missed": 1}
    assert counts(lax) == {"localisation": 1}
    assert strict.ap50_gain == lax.ap50_gain


def test_a_score_of_exactly_the_threshold_counts() -> None:
    assert counts(tide([image()], [found((BOX, CAT, 0.3))], CLASSES, score=0.3)) == {"background": 1}


def test_what_lies_in_a_crowd_of_its_class_is_neither_right_nor_wrong() -> None:
    crowd = image((BOX, CAT), crowd=(0,))
    inside = tide([crowd], [found((OFF, CAT, 0.9))], CLASSES)
    assert counts(inside) == {} and inside.shown.sum() == 0 and inside.objects.sum() == 0
    assert counts(tide([crowd], [found((OFF, DOG, 0.9))], CLASSES)) == {"background": 1}


def test_a_mistake_says_which_boxes_it_is_about() -> None:
    images = [image(), image((FAR, DOG), (BOX, CAT), id=1)]
    detections = [found(), found((OFF, CAT, 0.5), (FAR, DOG, 0.6), (FAR, DOG, 0.9))]
    duplicate, localisation = sorted(tide(images, detections, CLASSES).mistakes, key=lambda m: m.kind)
    assert (duplicate.kind, duplicate.image, duplicate.detection, duplicate.first) == ("duplicate", 1, 1, 2)
    assert (duplicate.instance, duplicate.label) == (0, DOG)
    assert (localisation.kind, localisation.detection, localisation.instance) == ("localisation", 0, 1)
    assert localisation.iou == pytest.approx(0.4)
    assert localisation.severity == pytest.approx(0.5 * 0.6)


def test_detections_of_other_classes_are_left_out() -> None:
    detections = [Detections([BOX, FAR], [0.9, 0.8], [0, 1], ("horse", "cat"))]
    mistakes = tide([image((BOX, CAT))], detections, CLASSES)
    assert counts(mistakes) == {"background": 1, "missed": 1}
    assert next(m for m in mistakes.mistakes if m.kind == "background").detection == 1


@pytest.mark.parametrize(
    ("images", "detections", "ap50", "kinds"),
    [
        ([], [], -1.0, {}),
        ([image()], [found()], -1.0, {}),
        ([image()], [found((BOX, CAT, 0.9))], -1.0, {"background": 1}),
        ([image((BOX, CAT))], [found()], 0.0, {"missed": 1}),
        ([image((BOX, CAT)), image(id=1)], [found((BOX, CAT, 1.0)), found()], 1.0, {}),
    ],
)
def test_cases_without_objects_or_detections(
    images: list[ImageRecord], detections: list[Detections], ap50: float, kinds: dict[str, int]
) -> None:
    mistakes = tide(images, detections, CLASSES)
    assert mistakes.ap50 == ap50
    assert counts(mistakes) == kinds
    if ap50 == -1:
        assert set(mistakes.ap50_gain.values()) == {-1.0} and mistakes.best is None


@pytest.mark.parametrize(
    ("images", "detections", "classes", "says"),
    [
        ([image()], [], CLASSES, "Expected detections for each of 1 image"),
        ([image((BOX, 2))], [found()], CLASSES, "found 2 on 0.jpg"),
        ([image()], [found()], ("horse",), "Expected a detector of horse"),
    ],
)
def test_bad_input_is_refused(
    images: list[ImageRecord], detections: list[Detections], classes: tuple[str, ...], says: str
) -> None:
    with pytest.raises(InputError, match=says):
        tide(images, detections, classes)


def test_only_the_best_hundred_of_a_class_on_an_image_count_as_in_coco() -> None:
    rows = [((200.0 + i, 200, 210.0 + i, 210), CAT, 0.9) for i in range(100)]
    detections = [found(*rows, (BOX, CAT, 0.5), (FAR, DOG, 0.4))]
    mistakes = tide([image((BOX, CAT), (FAR, DOG))], detections, CLASSES)
    assert counts(mistakes) == {"background": 100, "missed": 1}
    np.testing.assert_array_equal(mistakes.right, [0, 1])


def test_a_crowded_image_is_matched_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    boxes = [(x, y, x + 40, y + 40) for x, y in rng.uniform(0, 900, (400, 2)).tolist()]
    rows = [((x1 + 3, y1, x2, y2), int(rng.integers(2)), rng.random()) for x1, y1, x2, y2 in boxes]
    case = [image(*((box, int(rng.integers(2))) for box in boxes))], [found(*rows)]
    whole = tide(*case, CLASSES)
    monkeypatch.setattr("aerostat.evaluation.matching.PAIRS_AT_ONCE", 7 * 400)
    assert tide(*case, CLASSES).mistakes == whole.mistakes


# ------------------------------------------------------------------------------------------------ best F1


def points(rows: list[tuple[bool, float]], objects: int) -> tuple[ImageRecord, Detections]:
    """Objects in a row, of which each right detection finds the next."""
    boxes = [(20.0 * i, 0.0, 20.0 * i + 10, 10.0) for i in range(objects)]
    left = iter(boxes)
    return image(*((box, CAT) for box in boxes)), found(
        *((next(left) if right else (0, 500, 10, 510), CAT, score) for right, score in rows)
    )


@pytest.mark.parametrize(
    ("rows", "objects", "expected"),
    [
        ([(True, 0.9), (True, 0.8), (False, 0.7), (True, 0.6)], 4, (0.6, 3 / 4, 3 / 4)),
        ([(True, 0.9), (True, 0.8), (False, 0.7), (False, 0.6)], 4, (0.8, 1.0, 2 / 4)),
        (
            [(True, 0.5), (False, 0.5), (False, 0.5)],
            1,
            (0.5, 1 / 3, 1.0),
        ),  # equal scores stand or fall together
        ([(True, 0.8765), (False, 0.8723)], 1, (0.876, 1.0, 1.0)),  # as few digits as keep the same
        ([(True, 0.8765), (False, 0.5)], 1, (0.87, 1.0, 1.0)),
    ],
)
def test_the_best_f1_of_hand_worked_cases(
    rows: list[tuple[bool, float]], objects: int, expected: tuple[float, float, float]
) -> None:
    record, detections = points(rows, objects)
    best = best_f1(match([record], [detections], CLASSES))
    assert best is not None
    assert best.score == pytest.approx(expected[0])
    assert (best.precision, best.recall) == pytest.approx(expected[1:])
    assert best.f1 == pytest.approx(2 * expected[1] * expected[2] / (expected[1] + expected[2]))
    kept = detections.filter(score=best.score)
    shown = tide([record], [kept], CLASSES, score=0)
    assert shown.right.sum() / len(kept) == pytest.approx(best.precision)


def test_there_is_no_best_f1_where_nothing_is_right() -> None:
    for objects, rows in (
        ([], []),
        ([(BOX, CAT)], []),
        ([], [(BOX, CAT, 0.9)]),
        ([(BOX, CAT)], [(FAR, CAT, 1)]),
    ):
        assert best_f1(match([image(*objects)], [found(*rows)], CLASSES)) is None


# ----------------------------------------------------------------------------------------------- worst images


def test_worst_images_are_ranked_by_how_bad_they_are() -> None:
    images = [image(id=i) for i in range(4)]
    detections = [
        found((BOX, CAT, 0.4), (FAR, CAT, 0.4), ((700, 0, 800, 90), CAT, 0.4)),
        found((BOX, CAT, 0.9)),
        found((BOX, CAT, 0.4)),
        found(),
    ]
    worst = worst_images(tide(images, detections, CLASSES), 3)
    assert [bad.image for bad in worst["background"]] == [1, 0, 2]  # a better score, then more of them
    assert list(worst) == ["background"]


def test_missed_objects_are_ranked_by_size_and_number() -> None:
    large, small = (0, 0, 500, 500), [((60.0 * i, 0, 60.0 * i + 50, 50), CAT) for i in range(3)]
    images = [image(small[0]), image((large, CAT), id=1), image(*small, id=2)]
    worst = worst_images(tide(images, [found()] * 3, CLASSES), 5)
    assert [bad.image for bad in worst["missed"]] == [1, 2, 0]
    assert [len(bad.mistakes) for bad in worst["missed"]] == [1, 3, 1]


def test_no_image_is_shown_twice_in_a_row_where_another_one_is_left() -> None:
    images = [image(id=0), image((FAR, CAT), id=1), image((FAR, CAT), id=2)]
    detections = [found((BOX, CAT, 0.5)), found((BOX, CAT, 0.4)), found()]
    mistakes = tide(images, detections, CLASSES)
    shown = worst_images(mistakes, 2)
    assert [bad.image for bad in shown["background"]] == [0, 1]
    assert [bad.image for bad in shown["missed"]] == [2, 1]
    turned = worst_images(mistakes, 2, ("missed", "background"))
    assert [[bad.image for bad in turned[kind]] for kind in turned] == [[1, 2], [0, 1]]
    assert worst_images(mistakes, 0) == {}


def test_the_result_is_one_line_json_and_a_table_of_kinds() -> None:
    result = tide([image((BOX, CAT), (FAR, DOG))], [found((BOX, CAT, 0.9), (FAR, CAT, 0.8))], CLASSES)
    assert repr(result) == "TideResult(1 of 2 objects found, 1 error at a score of 0.3)"
    plain = json.loads(json.dumps(result.to_dict()))
    assert plain["kinds"]["classification"]["count"] == 1 and plain["errors"][0]["kind"] == "classification"
    assert result._repr_html_().count("<tr>") == 1 + len(KINDS)
    nothing = tide([image()], [found()], CLASSES)
    assert nothing.to_dict()["ap50"] is None and nothing.to_dict()["best_f1"] is None
