"""Whether two detectors say the same, by hand-worked cases."""

from dataclasses import dataclass

import numpy as np
import pytest

from aerostat.deploy.parity import Parity, compare
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.detector import Detector


@dataclass
class Says:
    """An engine that always finds the same boxes."""

    rows: list[tuple[float, float, float, float, float, int]]
    name: str = "fixed"
    fixed_size: tuple[int, int] | None = None
    lowest_score: float = 0.0
    nms_iou: float | None = None
    parallel: bool = False

    def candidates(self, images_bgr, *, score_threshold, pre_nms, content_sizes=None):
        rows = sorted((r for r in self.rows if r[4] > score_threshold), key=lambda r: -r[4])
        table = np.asarray(rows, np.float32).reshape(-1, 6)
        return [Candidates(table[:, :4], table[:, 4], table[:, 5].astype(np.int64)) for _ in images_bgr]


IMAGE = np.zeros((64, 64, 3), np.uint8)
FIRST = (4.0, 4.0, 24.0, 24.0, 0.9, 0)
SECOND = (30.0, 30.0, 60.0, 50.0, 0.4, 1)


def parity(ours, theirs, images=1) -> Parity:
    detectors = [Detector(Says(rows), ("a", "b"), (64, 64)) for rows in (ours, theirs)]
    return compare(*detectors, [IMAGE] * images)


def test_what_is_the_same_is_the_same():
    found = parity([FIRST, SECOND], [SECOND, FIRST], images=3)
    assert found == Parity(3, 6, 6, 0, 0.0, 0.0)
    assert found.same
    assert found.describe() == (
        "on 3 photographs 6 of 6 detections above 0.05 found again, boxes within 0.0001 px, "
        "scores within 0.0001"
    )


def test_the_largest_differences_are_told():
    found = parity([FIRST, SECOND], [(4, 4.25, 24, 24, 0.9, 0), (30, 30, 60, 50, 0.398, 1)])
    assert found.same
    assert (found.box_difference, found.score_difference) == pytest.approx((0.25, 0.002), abs=1e-6)


@pytest.mark.parametrize(
    ("theirs", "found_again", "extra"),
    [
        ([FIRST], 1, 0),
        ([FIRST, SECOND, (40, 2, 60, 20, 0.2, 0)], 2, 1),
        ([FIRST, (*SECOND[:5], 0)], 1, 1),
        ([FIRST, (30, 30, 60, 80, 0.4, 1)], 2, 0),
        ([FIRST, (*SECOND[:4], 0.41, 1)], 2, 0),
        ([], 0, 0),
    ],
    ids=["missing", "one more", "another class", "another box", "another score", "nothing"],
)
def test_what_differs_is_not_the_same(theirs, found_again, extra):
    found = parity([FIRST, SECOND], theirs)
    assert not found.same
    assert (found.detections, found.found_again, found.extra) == (2, found_again, extra)


def test_a_score_at_the_threshold_is_on_nobodys_edge():
    assert parity([(*FIRST[:4], 0.0501, 0)], [(*FIRST[:4], 0.0499, 0)]).same
    assert parity([(*FIRST[:4], 0.0499, 0)], [(*FIRST[:4], 0.0501, 0)]).same


def test_detectors_that_find_nothing_agree():
    assert parity([], []).same
    assert parity([FIRST], [FIRST], images=0) == Parity(0, 0, 0, 0, 0.0, 0.0)
