"""The fast forms of a training step on a CPU, put into a network from outside."""

import copy

import pytest
import torch

from aerostat.model import build, cpu_training, detection_loss
from aerostat.model.cpu_training import LARGE_MAP, use_fast_training
from aerostat.model.folding import folded
from aerostat.model.layers import ConvModule


def test_a_training_step_is_that_of_the_plain_module_for_small_and_for_large_maps():
    module = ConvModule(8, 8, 5, groups=8).train()
    plain = copy.deepcopy(module)
    use_fast_training(module)
    for side in (8, int((LARGE_MAP / 16) ** 0.5) + 8):
        x = torch.randn(2, 8, side, side).contiguous(memory_format=torch.channels_last)
        plain.load_state_dict(module.state_dict())
        expected = plain(x)
        found = module(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(module.bn.running_var, plain.bn.running_var)
        assert module.bn.num_batches_tracked == plain.bn.num_batches_tracked


@pytest.mark.parametrize(("size", "stride", "groups"), [((2, 24), 1, 1), ((1, 8), 1, 1), ((2, 8), 2, 4)])
@pytest.mark.parametrize("threads", [1, 2])
def test_a_convolution_of_one_pixel_is_that_of_the_plain_module(size, stride, groups, threads):
    module = ConvModule(size[1], 16, 1, stride, groups).train()
    plain = copy.deepcopy(module)
    use_fast_training(module)
    x = torch.randn(*size, 21, 13).contiguous(memory_format=torch.channels_last)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found, expected = module(x), plain(x)
        for y in (found, expected):
            y.square().sum().backward()
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(module.conv.weight.grad, plain.conv.weight.grad, rtol=1e-3, atol=1e-3)


def test_gradients_of_the_whole_network_are_those_of_the_plain_network(monkeypatch):
    monkeypatch.setattr(cpu_training, "LARGE_MAP", 1)
    torch.manual_seed(0)
    net = build("nano", 2).double().train()
    with torch.no_grad():  # a fresh head's gradients are next to nothing
        for name, parameter in net.named_parameters():
            if name.startswith("bbox_head") and parameter.ndim == 4:
                parameter.mul_(20)
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    boxes, labels = [torch.tensor([[4.0, 4, 50, 60]]), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0)]
    found = []
    for prepare in (lambda net: None, use_fast_training):
        other = copy.deepcopy(net)
        prepare(other)
        cls, reg = other(images.contiguous(memory_format=torch.channels_last))
        sum(detection_loss(cls, reg, boxes, labels).values()).backward()
        found.append({name: p.grad for name, p in other.named_parameters()})
    for name, gradient in found[0].items():
        scale = gradient.abs().max().clamp(min=1e-12)
        torch.testing.assert_close(found[1][name] / scale, gradient / scale, rtol=1e-4, atol=1e-4, msg=name)


def test_names_parameters_and_buffers_stay_the_same_objects():
    net = build("tiny", 2)
    before = dict(net.named_parameters()) | dict(net.named_buffers()) | dict(net.named_modules())
    names = list(net.state_dict())
    use_fast_training(net)
    after = dict(net.named_parameters()) | dict(net.named_buffers()) | dict(net.named_modules())
    assert list(net.state_dict()) == names
    assert all(after[name] is value for name, value in before.items())
    assert set(after) == set(before)


@pytest.mark.parametrize("prepare", [copy.deepcopy, folded], ids=["copied", "folded"])
def test_a_prepared_network_can_be_copied_and_folded(prepare):
    net = build("nano", 2).eval()
    image = torch.rand(1, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    expected = prepare(net)(image)
    use_fast_training(net)
    for found, wanted in zip(prepare(net)(image), expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
