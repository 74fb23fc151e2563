"""Explanations of detectors that only answer."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.errors import InputError
from aerostat.explanation.any_detector import explain_black_box
from aerostat.results.detections import Detections

INPUT = (96, 96)
PHOTOGRAPH = np.full((120, 240, 3), 255, np.uint8)
"""In the input it is 96 x 48 px."""


def sees(images_bgr: np.ndarray) -> list[Detections]:
    """Find the right third of the photograph by the brightness of its own pixels, and a faint thing."""
    assert images_bgr.shape[1:] == (96, 96, 3)
    rows = []
    for image in images_bgr:
        score = float(image[:48, 64:].mean()) / 255
        boxes = np.asarray([[0, 0, 20, 20], [64, 0, 120, 48]], np.float32)
        rows.append(Detections(boxes, np.asarray([0.1, score]), np.asarray([0, 1]), ("faint", "bright")))
    return rows


def test_heat_lies_where_the_detector_looks_in_the_photographs_own_pixels() -> None:
    found = explain_black_box(sees, PHOTOGRAPH, input_size=INPUT, masks=300)
    assert len(found) == 1
    assert found[0].detection.name == "bright"
    assert found[0].detection.box_xyxy == pytest.approx((160, 0, 240, 120))  # clipped to the photograph
    heat = found[0].heat
    assert heat.shape == (120, 240)
    assert heat[:, 150:].sum() > 0.9 * heat.sum()


def test_all_above_the_score_are_explained_best_first_and_top_leaves_the_best(tmp_path: Path) -> None:
    both = explain_black_box(sees, PHOTOGRAPH, input_size=INPUT, score=0.05, masks=10)
    assert [item.detection.name for item in both] == ["bright", "faint"]
    assert not both[1].influence and not both[1].heat.any()  # its score never changes
    assert "no influence" in both[1].remark
    best = explain_black_box(sees, PHOTOGRAPH, input_size=INPUT, score=0.05, top=1, masks=10)
    assert [item.detection.name for item in best] == ["bright"]
    assert cv2.imread(str(both.save(tmp_path / "why.png"))) is not None
    assert all("D-RISE" in line for line in both.lines())
    assert both.to_dict()["explanations"][0]["levels"] == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"score": 0.99999999}, None),
        ({"masks": 1}, "at least 2 masks"),
        ({"top": 0}, "at least the best detection"),
    ],
)
def test_bad_requests_are_refused(wrong: dict[str, float], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(InputError, match="no detections above"):
            explain_black_box(sees, PHOTOGRAPH // 2, input_size=INPUT, **wrong)
        return
    with pytest.raises(InputError, match=expected):
        explain_black_box(sees, PHOTOGRAPH, input_size=INPUT, **wrong)


def test_a_detector_that_answers_for_no_image_is_refused() -> None:
    with pytest.raises(InputError, match="for one image"):
        explain_black_box(lambda images: [], PHOTOGRAPH, input_size=INPUT)
