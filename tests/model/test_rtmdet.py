"""Sizes: parameter counts and channels of the published table, the form of the distances, refusals."""

import math

import pytest
import torch
from torch import nn

from aerostat.errors import InputError
from aerostat.model import SIZES, build

# RTMDet paper (arXiv:2212.07784), table 1, and the published model files: millions of parameters, 80 classes.
PARAMETERS = {"tiny": 4.896168, "s": 8.886924, "m": 24.709188, "l": 52.315804, "x": 94.855572}
STEM = {"nano": 16, "tiny": 24, "s": 32, "m": 48, "l": 64, "x": 80}
NECK = {"nano": 64, "tiny": 96, "s": 128, "m": 192, "l": 256, "x": 320}
BACKBONE_BLOCKS = {
    "nano": [1, 2, 2, 1],
    "tiny": [1, 1, 1, 1],
    "s": [1, 2, 2, 1],
    "m": [2, 4, 4, 2],
    "l": [3, 6, 6, 3],
    "x": [4, 8, 8, 4],
}
NECK_BLOCKS = {"nano": 1, "tiny": 1, "s": 1, "m": 2, "l": 3, "x": 4}


def skeleton(size, classes):
    with torch.device("meta"):
        return build(size, classes)


def millions(net):
    return sum(p.numel() for p in net.parameters()) / 1e6


@pytest.mark.parametrize("size", PARAMETERS)
def test_parameters_with_80_classes_are_the_published_number(size):
    assert millions(skeleton(size, 80)) == pytest.approx(PARAMETERS[size], abs=1e-7)


def test_parameters_of_nano_are_the_published_number():
    assert millions(skeleton("nano", 1)) == pytest.approx(0.994, abs=5e-4)


@pytest.mark.parametrize("size", SIZES)
def test_channels_and_blocks_are_those_of_the_published_table(size):
    shapes = {name: tuple(t.shape) for name, t in skeleton(size, 3).state_dict().items()}

    def blocks(place):
        return len({n[len(place) :].split(".")[0] for n in shapes if n.startswith(place)})

    assert shapes["backbone.stem.2.conv.weight"][0] == STEM[size]
    assert shapes["bbox_head.rtm_cls.2.weight"] == (3, NECK[size], 1, 1)
    assert [
        blocks(f"backbone.stage{i}.{2 if i == 4 else 1}.blocks.") for i in (1, 2, 3, 4)
    ] == BACKBONE_BLOCKS[size]
    for place in ("top_down_blocks", "bottom_up_blocks"):
        assert [blocks(f"neck.{place}.{i}.blocks.") for i in (0, 1)] == [NECK_BLOCKS[size]] * 2


@pytest.mark.parametrize("size", ["tiny", "m", "x"])
def test_larger_sizes_take_the_exponential_of_the_distance(size):
    head = skeleton(size, 1).bbox_head.to_empty(device="cpu").eval()
    for layer in head.rtm_reg:
        nn.init.zeros_(layer.weight)
        nn.init.constant_(layer.bias, 0.5)
    for name, tensor in head.state_dict().items():
        if "convs" in name:
            tensor.fill_(1)
    levels = tuple(torch.zeros(1, NECK[size], 2, 2) for _ in range(3))
    with torch.no_grad():
        _, reg = head(levels)
    for distance, stride in zip(reg, (8, 16, 32), strict=True):
        expected = (0.5 if size == "tiny" else math.exp(0.5)) * stride
        assert torch.allclose(distance, torch.full_like(distance, expected))


def test_what_cannot_be_built_is_refused_in_a_sentence():
    with pytest.raises(InputError, match=r"Unknown size 'tinny'.*Did you mean 'tiny'"):
        build("tinny", 1)
    with pytest.raises(InputError, match="at least one class, got 0"):
        build("tiny", 0)


def test_an_input_that_the_pyramid_does_not_divide_is_refused():
    with pytest.raises(ValueError, match=r"multiples of 32, got \(1, 3, 100, 64\)"):
        skeleton("nano", 1)(torch.zeros(1, 3, 100, 64))
