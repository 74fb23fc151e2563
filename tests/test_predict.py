"""Real weights on real photographs against the reference's detections."""

import json

import numpy as np
import pytest

from aerostat.boxes import pairwise_iou
from aerostat.errors import InputError
from aerostat.predict import load


@pytest.mark.parametrize("size", [320, 640])
def test_golden_detections_of_the_person_detector(shared, balloon, person_weights, size):
    golden = json.loads((shared / "parity" / "nano_person_balloon_val.json").read_text())
    detector = load(person_weights, input_size=size)
    assert detector.classes == ("person",)
    for name, reference in golden.items():
        theirs = reference[str(size)]
        boxes, scores = np.array(theirs["boxes"]).reshape(-1, 4), np.array(theirs["scores"])
        found = detector.predict(balloon / "val" / name, score=0.05)
        iou = pairwise_iou(found.boxes_xyxy.astype(float), boxes)
        close = (iou > 0.99) & (np.abs(found.scores[:, None] - scores[None]) < 0.005)
        assert close[:, scores > 0.3].any(0).all(), (name, "a reference detection was not found")
        assert close[found.scores > 0.31].any(1).all(), (name, "a detection that the reference does not have")
