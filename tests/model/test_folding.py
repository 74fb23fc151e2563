"""A folded network computes what the network computes in evaluation mode."""

import copy

import pytest
import torch
from torch import nn

from aerostat.model import build, folding
from aerostat.model.folding import FoldedConv, folded
from aerostat.model.layers import ConvModule


def alive(size: str, num_classes: int = 3) -> nn.Module:
    """Return a network whose statistics and scales are no identities."""
    torch.manual_seed(0)
    net = build(size, num_classes).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.1)
    return net


@pytest.mark.parametrize("size", ["nano", "tiny", "m"])
@pytest.mark.parametrize("fused", [True, False])
def test_outputs_are_those_of_the_network(size, fused, monkeypatch):
    monkeypatch.setattr(folding, "has_fused_convolution", lambda: fused)
    net = alive(size)
    before = copy.deepcopy(net.state_dict())
    images = torch.randn(2, 3, 96, 64)
    with torch.inference_mode():
        expected = [x for level in net.double()(images.double()) for x in level]
        found = [x for level in folded(net.float())(images) for x in level]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs.double(), rtol=2e-4, atol=2e-4)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())


def test_nothing_is_left_to_normalise_and_shared_convolutions_are_folded_for_each_level():
    net = folded(alive("tiny"))
    assert not any(isinstance(module, nn.BatchNorm2d | ConvModule) for module in net.modules())
    first, second = (net.bbox_head.cls_convs[level][0] for level in (0, 1))
    assert isinstance(first, FoldedConv) and not torch.equal(first.conv.weight, second.conv.weight)


def test_a_network_without_such_modules_is_left_alone():
    net = nn.Conv2d(3, 3, 1)
    assert folded(net) is net


def test_the_number_of_threads_may_change_between_calls():
    net = folded(alive("nano"))
    images = torch.randn(1, 3, 64, 64)
    before = torch.get_num_threads()
    results = []
    try:
        with torch.inference_mode():
            for threads in (1, 2, 1):
                torch.set_num_threads(threads)
                results.append(net(images)[0][0])
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-5, atol=1e-5)


def test_this_build_of_torch_has_the_fused_convolution():
    # No failure of the package, but a reader of benchmarks wants to know.
    assert folding.has_fused_convolution() == torch.backends.mkldnn.is_available()
