"""ONNX Runtime behind the seam: threads, batches, and what it refuses."""

import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from aerostat.errors import InputError
from aerostat.geometry.postprocess import Candidates
from aerostat.inference.backends.engine import NotNumbersError
from aerostat.inference.backends.exported import Exported
from aerostat.inference.backends.exported_backend import ExportedEngine
from aerostat.inference.backends.onnxruntime import onnx_engine
from aerostat.model.onnx_graph import onnx_model


def engine_of(net, *, size=(96, 64), batch=1, dynamic=False) -> ExportedEngine:
    model = onnx_model(net, input_size=size, batch=batch, dynamic=dynamic)
    return onnx_engine(model.SerializeToString(), Exported("nano", ("a", "b", "c"), size, dynamic, batch))


def columns(boxes: Candidates) -> list[np.ndarray]:
    return [boxes.boxes_xyxy, boxes.scores, boxes.labels]


def found_by(engine, images, score_threshold=0.1):
    return engine.candidates(images, score_threshold=score_threshold, pre_nms=30000)


def assert_equal(found, expected):
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        for mine, other in zip(columns(ours), columns(theirs), strict=True):
            np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("threads", [1, 4])
def test_called_by_several_threads_at_once_it_gives_what_it_gives_to_one(lively, noise, threads):
    engine = engine_of(lively())
    images = [noise(1, 96, 64, seed=seed) for seed in range(12)]
    with engine.concurrent(threads) as shared, ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: found_by(shared, image), images))
        alone = [found_by(shared, image) for image in images]
    assert sum(len(boxes.scores) for (boxes,) in alone) > 100
    for ours, theirs in zip(together, alone, strict=True):
        assert_equal(ours, theirs)


def test_a_graph_for_three_images_takes_any_number_of_them(lively, noise):
    images = noise(7, 96, 64)
    engine, one = engine_of(lively(), batch=3), engine_of(lively())
    for count in (1, 2, 3, 4, 7):
        found, expected = found_by(engine, images[:count]), found_by(one, images[:count])
        assert [len(boxes.scores) for boxes in found] == [len(boxes.scores) for boxes in expected]
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_no_images_give_nothing(lively, noise):
    assert found_by(engine_of(lively()), noise(1, 96, 64)[:0]) == []


@pytest.mark.parametrize("size", [(64, 96), (96, 96), (32, 32), (640, 640)])
def test_another_size_of_input_is_refused_in_one_sentence(lively, noise, size):
    with pytest.raises(
        InputError, match=r"96 x 64 px only, found \d+ x \d+; export it with `export.dynamic=True"
    ):
        found_by(engine_of(lively()), noise(1, *size))


def test_weights_that_are_not_numbers_raise_naming_the_image(lively, noise):
    net = copy.deepcopy(lively())
    with torch.no_grad():
        net.bbox_head.rtm_cls[1].bias[0] = float("nan")
    with pytest.raises(NotNumbersError) as caught:
        found_by(engine_of(net, batch=3), noise(5, 96, 64))
    assert caught.value.image == 0


@pytest.mark.parametrize("content", [b"", b"no model", bytes(100)])
def test_what_is_no_model_is_refused_in_one_sentence(tmp_path, content):
    exported, path = Exported("nano", ("a",), (64, 64)), tmp_path / "model.onnx"
    path.write_bytes(content)
    for model in (path, content):
        with pytest.raises(InputError, match="cannot be run by ONNX Runtime") as caught:
            onnx_engine(model, exported)
        assert "\n" not in str(caught.value)
