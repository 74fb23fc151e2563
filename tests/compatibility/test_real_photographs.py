"""Real weights find on real photographs what version 0.1.0 found, plain and with several views."""

import json

import numpy as np
import pytest

import aerostat as ae


@pytest.mark.slow
@pytest.mark.parametrize("tta", [False, True], ids=["plain", "tta"])
def test_detections_are_the_same(balloon, person_weights, arrays, tta):
    before = arrays("photographs")
    detector = ae.load(person_weights, device="cpu")
    kind = "tta" if tta else "plain"
    names = sorted({key.split("/")[1] for key in before})
    assert len(names) == 4
    for name in names:
        found = detector.predict(balloon / "val" / name, score=0.1, tta=tta)
        at = f"{kind}/{name}"
        assert len(found) == len(before[f"{at}/scores"]) > 0
        np.testing.assert_allclose(found.boxes_xyxy, before[f"{at}/boxes_xyxy"], rtol=0, atol=1e-3)
        np.testing.assert_allclose(found.scores, before[f"{at}/scores"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(found.labels, before[f"{at}/labels"])


@pytest.mark.slow
def test_the_figures_of_an_evaluation_are_the_same(
    aerostat, balloon, person_weights, recorded, assert_as_recorded
):
    ended = aerostat("eval", person_weights, balloon, "--classes", "person", "--json")
    assert ended.code == 0, ended.err
    before = recorded("balloons")
    assert before["detections"] > 500
    assert_as_recorded(before, json.loads(ended.out))
