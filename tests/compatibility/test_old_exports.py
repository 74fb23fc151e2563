"""Exported models of version 0.1.0 find what they found then."""

import numpy as np
import pytest

import aerostat as ae

RUNTIMES = {"float32.onnx": "onnxruntime", "int8.onnx": "onnxruntime", "float32.xml": "openvino"}
TOLERANCES = {
    "float32.onnx": (1e-3, 1e-5),
    "float32.xml": (1e-3, 1e-5),
    "int8.onnx": (2.0, 0.03),
    "openmmlab.pth": (1e-4, 1e-6),
}
"""Of boxes in pixels and of scores. Runtimes choose their own order of sums, and that of INT8 saturates on
processors without VNNI."""
SCORE = 0.1


@pytest.mark.parametrize("name", TOLERANCES)
def test_an_old_export_finds_the_same(here, arrays, name):
    if name in RUNTIMES:
        pytest.importorskip(RUNTIMES[name])
    detector = ae.load(f"exports/{name}", device="cpu")
    assert tuple(detector.classes) == ("drawn balloon",)
    assert tuple(detector.input_size) == (192, 192)
    before = arrays("scenes")
    compared = 0
    for image in sorted((here / "scenes" / "val").glob("*.jpg")):
        found = detector.predict(image, score=SCORE)
        old = [before[f"exports/{name}/{image.name}/{field}"] for field in ("boxes_xyxy", "scores", "labels")]
        new = [found.boxes_xyxy, found.scores, found.labels]
        compared += require_partners(old, new, *TOLERANCES[name])
        require_partners(new, old, *TOLERANCES[name])
    assert compared > 20


def require_partners(ours, theirs, pixels, score):
    """Assert that each detection clearly above the threshold is among others; return how many there are."""
    clear = ours[1] > SCORE + score
    near = np.abs(ours[0][clear][:, None] - theirs[0][None]).max(-1, initial=0) <= pixels
    near &= np.abs(ours[1][clear][:, None] - theirs[1][None]) <= score
    near &= ours[2][clear][:, None] == theirs[2][None]
    assert near.any(1).all(), (ours[0][clear][~near.any(1)], ours[1][clear][~near.any(1)])
    return int(clear.sum())
