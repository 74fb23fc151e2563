"""Large photographs looked at by windows: an exact detector finds each square once."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.geometry.boxes import pairwise_iou
from aerostat.geometry.postprocess import Candidates
from aerostat.images.frame import Frame
from aerostat.inference.detector import Detector
from aerostat.inference.instance_masks import MASK_LOGITS
from aerostat.inference.slices import TrainedOn
from aerostat.inference.tta import TTA

SIDE = 64
GREYS = tuple(range(20, 110, 10))
BACKGROUND = 200


def colour(grey: int) -> tuple[int, int, int]:
    return grey, 255 - grey, 7  # which no mixture with the background is


class SquareFinder:
    """An engine that finds squares of known greys exactly, and their masks if it is asked to.

    Args:
        has_masks: whether it gives masks.
        blind_whole: whether it finds nothing where the content is smaller than its input, as the overview is.
    """

    name, fixed_size, lowest_score, nms_iou, parallel = "torch", (SIDE, SIDE), 0.0, None, False

    def __init__(self, has_masks: bool = False, blind_whole: bool = False) -> None:
        self.has_masks, self.blind_whole = has_masks, blind_whole
        self.largest_batch = 0

    @contextmanager
    def concurrent(self, threads: int) -> Iterator["SquareFinder"]:
        yield self

    def candidates(
        self,
        images_bgr: np.ndarray,
        *,
        score_threshold: float,
        pre_nms: int,
        content_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> list[Candidates]:
        self.largest_batch = max(self.largest_batch, len(images_bgr))
        sizes = content_sizes or [(SIDE, SIDE)] * len(images_bgr)
        return [self._found(image, size) for image, size in zip(images_bgr, sizes, strict=True)]

    def _found(self, image: np.ndarray, size: tuple[int, int]) -> Candidates:
        boxes, masks = [], []
        for grey in GREYS if not (self.blind_whole and size != (SIDE, SIDE)) else ():
            rows, columns = np.nonzero((image == colour(grey)).all(axis=2))
            if len(rows):
                boxes.append((columns.min(), rows.min(), columns.max() + 1, rows.max() + 1))
                cells = np.full((SIDE // 8, SIDE // 8), -9.0, np.float32)
                x1, y1, x2, y2 = (round(edge / 8) for edge in boxes[-1])
                cells[y1:y2, x1:x2] = 9
                masks.append(cells)
        count = len(boxes)
        columns_ = (
            {MASK_LOGITS: np.asarray(masks).reshape(-1, SIDE // 8, SIDE // 8)} if self.has_masks else {}
        )
        return Candidates(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.full(count, 0.9, np.float32),
            np.zeros(count, np.int64),
            columns=columns_,
        )


def detector(**options: bool) -> Detector:
    return Detector(SquareFinder(**options), ("square",), (SIDE, SIDE))


def drawn(size: tuple[int, int], boxes: Sequence[Sequence[int]]) -> np.ndarray:
    image = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    for grey, (x1, y1, x2, y2) in zip(GREYS, boxes, strict=False):
        image[y1:y2, x1:x2] = colour(grey)
    return image


def assert_found(found: np.ndarray, boxes: Sequence[Sequence[int]], least: float = 0.999) -> None:
    assert len(found) == len(boxes)
    iou = pairwise_iou(found.astype(float), np.asarray(boxes, float))
    assert sorted(iou.argmax(axis=1).tolist()) == list(range(len(boxes)))
    assert (iou.max(axis=1) >= least).all()


@pytest.mark.parametrize(("side", "least"), [(4, 0.999), (8, 0.999), (13, 0.85), (30, 0.85)])
def test_squares_at_all_offsets_are_found_one_to_one(side, least):
    model = detector()
    for x in range(0, 150 - side + 1):
        boxes = [(x, y, x + side, y + side) for y in ((x * 3) % 36, 40 + (x * 5) % (90 - side + 1))]
        boxes = [box for box in boxes if box[3] <= 130]
        boxes = boxes if boxes[0][3] <= boxes[-1][1] else boxes[:1]
        found = model.predict(drawn((150, 130), boxes), slices=SIDE)
        # What no window shows with room around it may have its box from the overview, which is coarser.
        assert_found(found.boxes_xyxy, boxes, least)


@pytest.mark.parametrize("place", [0, 7, 21, 33, 40])
def test_a_square_larger_than_a_window_is_that_of_the_overview(place):
    box = (place, place // 2, place + 100, place // 2 + 100)
    found = detector().predict(drawn((150, 130), [box]), slices=SIDE)
    assert_found(found.boxes_xyxy, [box], least=0.9)


def test_views_of_test_time_augmentation_are_merged_within_each_window():
    boxes = [(10, 10, 40, 40), (55, 20, 75, 40), (100, 70, 130, 100)]
    tta = TTA(scales=(SIDE,), flip=True)
    found = detector().predict(drawn((150, 130), boxes), slices=SIDE, tta=tta)
    assert_found(found.boxes_xyxy, boxes)


def test_windows_come_in_batches_of_bounded_size():
    model = detector()
    images = [drawn((400, 300), [(10, 10, 40, 40)])]
    found = list(model.predict_images([Frame(images[0], "a")], batch_size=3, threads=0, slices=SIDE))
    assert len(found) == 1 and model.engine.largest_batch <= 3


def test_windows_of_another_size_than_the_input_are_resized():
    box = (100, 60, 160, 120)
    found = detector().predict(drawn((300, 260), [box]), slices=2 * SIDE)
    assert_found(found.boxes_xyxy, [box], least=0.85)


def test_masks_of_a_cut_object_are_joined():
    box = (16, 16, 136, 48)
    model = detector(has_masks=True, blind_whole=True)
    found = model.predict(drawn((160, 64), [box]), slices=SIDE, overlap=0.25)
    assert_found(found.boxes_xyxy, [box])
    x1, y1, x2, y2 = found.masks.boxes_xyxy()[0]
    assert abs(x1 - 16) <= 4 and abs(y1 - 16) <= 4 and abs(x2 - 136) <= 4 and abs(y2 - 48) <= 4
    assert found.masks.area()[0] > 0.9 * 120 * 32  # without a gap at the borders


def test_the_mask_of_a_window_stands_where_its_object_is():
    box = (104, 84, 128, 108)
    found = detector(has_masks=True).predict(drawn((160, 140), [box]), slices=SIDE)
    assert_found(found.boxes_xyxy, [box])
    iou = pairwise_iou(found.masks.boxes_xyxy().astype(float), np.asarray([box], float))
    assert iou[0, 0] >= 0.7


def test_a_limit_of_detections_holds_for_the_photograph():
    boxes = [(x, 10, x + 12, 22) for x in (5, 30, 60, 90, 120)]
    image = drawn((150, 130), boxes)
    assert len(detector().predict(image, slices=SIDE, max_detections=3)) == 3


# ------------------------------------------------------------------------------------- when it is chosen


LARGE = drawn((300, 260), [(100, 60, 112, 72)])


@pytest.mark.parametrize(
    ("trained_on", "finds"),
    [
        (None, 0),  # an old weights file
        (TrainedOn(12.0), 1),
        (TrainedOn(200.0), 0),  # large objects are seen in the whole
        (TrainedOn(200.0, SIDE), 1),  # trained on windows
    ],
)
def test_windows_are_chosen_for_photographs_whose_objects_would_become_tiny(trained_on, finds, caplog):
    model = detector(blind_whole=True)
    model.trained_on = trained_on
    with caplog.at_level(logging.INFO, "aerostat"):
        found = list(model.predict_images([Frame(LARGE, "a"), Frame(LARGE, "b")], threads=0))
    assert [len(detections) for _, detections in found] == [finds, finds]
    said = [record.getMessage() for record in caplog.records if "windows" in record.getMessage()]
    assert len(said) == finds  # once, not for each photograph
    assert not len(model.predict(LARGE, slices="off"))


def test_small_and_large_photographs_stay_in_order():
    model = detector(blind_whole=True)
    small = drawn((SIDE, SIDE), [(10, 10, 20, 20)])
    frames = [Frame(image, str(i), i) for i, image in enumerate([small, LARGE, LARGE, small, LARGE])]
    found = list(model.predict_images(iter(frames), threads=0, slices=SIDE))
    assert [frame.index for frame, _ in found] == [0, 1, 2, 3, 4]
    assert [len(detections) for _, detections in found] == [1] * 5


def test_a_photograph_within_one_window_is_looked_at_as_before_and_that_is_said_once(caplog):
    model, image = detector(), drawn((SIDE, SIDE), [(10, 10, 20, 20)])
    with caplog.at_level(logging.INFO, "aerostat"):
        found = list(model.predict_images([Frame(image, "a"), Frame(image, "b")], threads=0, slices=640))
    assert [len(detections) for _, detections in found] == [1, 1]
    assert [record.getMessage() for record in caplog.records] == [
        "a has 64 x 64 px, no more than slices of 640 px: it is looked at as a whole."
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"overlap": -0.1}, "`overlap` from 0 to 0.9, found -0.1"),
        ({"overlap": 0.95}, "`overlap` from 0 to 0.9, found 0.95"),
        ({"overlap": float("nan")}, "`overlap` from 0 to 0.9, found nan"),
        ({"slices": 8}, "`slices` from 32 to 16384 pixels, found 8"),
        ({"slices": "many"}, "`slices` as pixels, auto or off, found 'many'"),
        ({"slices": 2.5}, "`slices` as pixels, auto or off, found 2.5"),
    ],
)
def test_impossible_windows_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        detector().predict(LARGE, **options)


def test_too_many_windows_are_refused():
    image = np.broadcast_to(np.uint8(0), (6000, 6000, 3))
    with pytest.raises(InputError, match="Expected at most 250000 windows"):
        detector().predict(image, slices=32, overlap=0.9)


def test_a_broken_photograph_is_left_out_and_the_others_are_done(tmp_path: Path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.png"
    good.write_bytes(cv2.imencode(".png", LARGE)[1].tobytes())
    bad.write_bytes(good.read_bytes()[:200])
    failed = []
    frames = [Frame(None, path.name, path=path) for path in (bad, good)]
    found = list(
        detector().predict_images(
            frames, threads=0, slices=SIDE, on_unreadable=lambda frame, error: failed.append(frame.name)
        )
    )
    assert failed == ["bad.png"]
    assert [(frame.name, len(detections)) for frame, detections in found] == [("good.png", 1)]
