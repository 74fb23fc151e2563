"""Explanations as pictures that a person can look at."""

from collections.abc import Callable

import numpy as np
import pytest

from aerostat.explanation.boxam import explain
from aerostat.explanation.options import METHODS
from aerostat.inference.detector import Detector

IMAGE = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(lively: Callable[..., Detector]) -> Detector:
    return lively()


def shape(detector: Detector, layers: list[str], methods: list[str]) -> tuple[int, ...]:
    made = explain(detector, IMAGE, layer=layers, method=methods, top=1, score=0.1)
    assert len(made) == len(layers) * len(methods)
    return made.draw().image_bgr.shape


def test_many_methods_of_one_layer_make_a_grid_and_no_strip(detector: Detector) -> None:
    inside = [name for name in METHODS if name != "drise"]
    height, width, _ = shape(detector, ["backbone.stage4"], inside)
    assert 1 / 3 < height / width < 3


def test_many_layers_by_one_method_make_a_grid_and_no_strip(detector: Detector) -> None:
    stages = [f"backbone.stage{number}" for number in (1, 2, 3, 4)]
    outs = [f"neck.out_convs[{level}]" for level in range(3)]
    height, width, _ = shape(detector, [*stages, *outs], ["layercam"])
    assert 1 / 3 < height / width < 3
