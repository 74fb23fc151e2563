"""Explanations as pictures that a person can look at."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest

from aerostat.explanation.boxam import explain
from aerostat.explanation.features import feature_maps
from aerostat.explanation.options import METHODS
from aerostat.images.letterbox import PAD_VALUE
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


def decoded(picture: bytes | None) -> np.ndarray:
    assert picture is not None
    image = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image


def test_a_notebook_shows_the_drawn_sheet_and_a_console_one_line(detector: Detector) -> None:
    made = explain(detector, IMAGE, top=2, score=0.1, progress=False)
    np.testing.assert_array_equal(decoded(made._repr_png_()), made.draw().image_bgr)
    assert repr(made) == "Explanations(2 maps of 2 subjects on an image)"
    assert replace(made, items=())._repr_png_() is None


def test_one_explanation_shows_its_heat_where_its_box_is(detector: Detector) -> None:
    (item,) = explain(detector, IMAGE, top=1, score=0.1, progress=False)
    shown = decoded(item._repr_png_())
    assert shown.shape[1] == IMAGE.shape[1] and shown.shape[0] > IMAGE.shape[0]  # with a caption
    y, x = np.unravel_index(item.heat.argmax(), item.heat.shape)
    assert tuple(shown[y, x]) != (PAD_VALUE,) * 3
    assert repr(item) == f"Explanation({item.subject}: {item.source}, target score)"


def test_feature_maps_show_the_contact_sheet(detector: Detector) -> None:
    maps = feature_maps(detector, IMAGE, "neck")
    np.testing.assert_array_equal(decoded(maps._repr_png_()), maps.draw().image_bgr)
    assert repr(maps) == "FeatureMaps(3 maps of neck on an image)"
    assert repr(maps.maps[0]).startswith("FeatureMap(neck, stride 8, 64 x ")
    assert "mean of 64 channels" in repr(maps.maps[0].planes[0])


def test_slow_methods_log_progress_unless_it_is_off(
    detector: Detector, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aerostat.progress.LINE_SECONDS", 0.0)
    caplog.set_level("INFO")
    for shown in (True, False):
        caplog.clear()
        explain(detector, IMAGE, top=1, score=0.1, method="drise", masks=8, progress=shown)
        assert any("masked photographs" in text for text in caplog.messages) == shown
