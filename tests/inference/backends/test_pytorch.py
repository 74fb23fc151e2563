"""The torch engine, alone and called from several threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from aerostat.inference.backends.engine import NotNumbersError
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.model import normalise
from aerostat.model.decode import candidate_boxes


@pytest.fixture
def net(random_net: Callable[..., nn.Module]) -> nn.Module:
    return random_net(2, (96, 64))


@pytest.fixture
def images_bgr() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (6, 64, 96, 3), np.uint8)


def test_candidates_are_those_of_the_plain_network(net, images_bgr):
    with torch.inference_mode():
        cls, reg = net(normalise(torch.from_numpy(images_bgr).permute(0, 3, 1, 2).contiguous()))
    found = TorchEngine(net).candidates(images_bgr, score_threshold=0.01, pre_nms=1000)
    for image, ours in enumerate(found):
        theirs = candidate_boxes(
            [x[image] for x in cls], [x[image] for x in reg], score_threshold=0.01, pre_nms=1000
        )
        assert len(ours.scores) == len(theirs.scores) > 20
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=2e-3)  # random weights amplify rounding


def test_threads_that_call_at_once_get_what_each_gets_alone(net, images_bgr):
    engine = TorchEngine(net)
    before = torch.get_num_threads()
    options = {"score_threshold": 0.01, "pre_nms": 1000}
    alone = [engine.candidates(image[None], **options)[0] for image in images_bgr]
    with engine.concurrent(3) as shared, ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda image: shared.candidates(image[None], **options)[0], images_bgr))
        threads = set(pool.map(lambda _: torch.get_num_threads(), range(9)))
    assert 1 in threads and torch.get_num_threads() == before
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)
        np.testing.assert_allclose(ours.boxes_xyxy, theirs.boxes_xyxy, atol=1e-3)


def test_weights_that_are_no_numbers_are_told_with_the_image(net, images_bgr):
    def spoil(module, inputs, outputs):
        cls, reg = outputs
        cls[0][4:] = float("nan")
        return cls, reg

    net.register_forward_hook(spoil)
    with pytest.raises(NotNumbersError) as caught:
        TorchEngine(net).candidates(images_bgr, score_threshold=0.01, pre_nms=1000)
    assert caught.value.image == 4


def test_infinities_of_both_signs_are_no_such_thing(net, images_bgr):
    def stretch(module, inputs, outputs):
        cls, reg = outputs
        cls[0][0, 0, 0, :2] = torch.tensor([float("inf"), float("-inf")])
        return cls, reg

    net.register_forward_hook(stretch)
    found = TorchEngine(net).candidates(images_bgr, score_threshold=0.01, pre_nms=1000)
    assert found[0].scores.max() == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_finds_what_the_processor_finds(net, images_bgr):
    options = {"score_threshold": 0.01, "pre_nms": 1000}
    ours = TorchEngine(net).candidates(images_bgr, **options)
    engine = TorchEngine(net.cuda())
    assert not engine.parallel
    for here, there in zip(ours, engine.candidates(images_bgr, **options), strict=True):
        assert abs(len(here.scores) - len(there.scores)) <= 1
        np.testing.assert_allclose(here.scores[:50], there.scores[:50], atol=1e-3)
