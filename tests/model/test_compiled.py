"""Batch normalisation and SiLU by compiled kernels, against torch's own two operators in float64."""

import copy
import multiprocessing
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from aerostat.model import build, compiled, cpu_training, detection_loss
from aerostat.model.cpu_training import use_fast_training
from aerostat.model.layers import ConvModule

needs_numba = pytest.mark.skipif(not compiled.available(), reason="numba is not installed")
SHAPES = [
    (2, 8, 16, 16),
    (3, 12, 5, 7),
    (1, 24, 4, 4),
    (2, 1, 3, 3),
    (4, 600, 2, 2),
    (5, 3, 11, 13),
    (9, 17, 1, 1),
    (2, 64, 33, 47),
]


def inputs(shape, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = (torch.randn(shape, generator=g) * 2 + 3).contiguous(memory_format=torch.channels_last)
    bn = nn.BatchNorm2d(shape[1])
    nn.init.normal_(bn.weight, generator=g)
    nn.init.normal_(bn.bias, generator=g)
    return x, bn, torch.randn(shape, generator=g)


def results(form, x, bn, upper):
    """Output, gradients of input, weight and bias, and both running statistics, all in float64."""
    bn, x = copy.deepcopy(bn), x.detach().clone().requires_grad_()
    y = form(x, bn)
    y.backward(upper)
    found = (y, x.grad, bn.weight.grad, bn.bias.grad, bn.running_mean, bn.running_var)
    return [value.detach().double() for value in found]


def exact(x, bn, upper):
    return results(
        lambda x, bn: functional.silu(bn(x)), x.double(), copy.deepcopy(bn).double(), upper.double()
    )


def worst(found, wanted):
    """Largest error of each value, as a share of its largest figure."""
    pairs = zip(found, wanted, strict=True)
    return [float((a - b).abs().max() / b.abs().max().clamp(min=1e-6)) for a, b in pairs]


@needs_numba
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_gradients_and_statistics_are_exact_to_the_precision_of_float32(shape):
    x, bn, upper = inputs(shape)
    assert max(worst(results(compiled.batch_norm_silu, x, bn, upper), exact(x, bn, upper))) < 2e-5


@needs_numba
def test_on_a_large_map_it_is_no_less_exact_than_torch():
    x, bn, upper = inputs((4, 24, 80, 80))
    wanted = exact(x, bn, upper)
    theirs = worst(results(lambda x, bn: functional.silu(bn(x)), x, bn, upper), wanted)
    ours = worst(results(compiled.batch_norm_silu, x, bn, upper), wanted)
    assert all(mine <= 2 * other + 1e-7 for mine, other in zip(ours, theirs, strict=True))


@needs_numba
def test_a_large_mean_costs_no_digits():
    x, bn, upper = inputs((2, 8, 32, 32))
    x = x + 10_000
    theirs = worst(results(lambda x, bn: functional.silu(bn(x)), x, bn, upper)[:1], exact(x, bn, upper)[:1])
    ours = worst(results(compiled.batch_norm_silu, x, bn, upper)[:1], exact(x, bn, upper)[:1])
    assert ours[0] <= 2 * theirs[0]


@needs_numba
def test_large_and_small_inputs_of_silu_are_exact_too():
    x = torch.linspace(-90, 90, 4096).reshape(1, 1, 64, 64).contiguous(memory_format=torch.channels_last)
    bn = nn.BatchNorm2d(1)
    nn.init.constant_(bn.weight, 60)
    upper = torch.ones_like(x)
    for found, wanted in zip(
        results(compiled.batch_norm_silu, x, bn, upper), exact(x, bn, upper), strict=True
    ):
        torch.testing.assert_close(found, wanted, rtol=2e-5, atol=2e-5)


@needs_numba
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_reaches_its_whole_channel_as_with_torch(value):
    x, bn, upper = inputs((2, 8, 6, 6))
    x[0, 3, 2, 1] = value
    found = results(compiled.batch_norm_silu, x, bn, upper)
    theirs = results(lambda x, bn: functional.silu(bn(x)), x, bn, upper)
    for mine, other in zip(found, theirs, strict=True):
        assert torch.equal(mine.isfinite(), other.isfinite())


@needs_numba
def test_maps_and_gradients_that_lie_otherwise_in_memory_give_the_same():
    x, bn, upper = inputs((2, 8, 6, 6))
    wanted = results(compiled.batch_norm_silu, x, bn, upper)
    for other in (x.contiguous(), torch.cat([x, x], 1)[:, 8:], x.mT.contiguous().mT):
        found = results(compiled.batch_norm_silu, other, bn, upper)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    for gradient in (upper.contiguous(), torch.cat([upper, upper], 1)[:, 8:], upper[:1, :1, :1, :1]):
        gradient = gradient.expand(x.shape)
        found = results(compiled.batch_norm_silu, x, bn, gradient)
        wanted = results(compiled.batch_norm_silu, x, bn, gradient.clone())
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


@needs_numba
def test_the_result_lies_channels_last_and_the_input_is_left_alone():
    x, bn, _ = inputs((2, 8, 6, 6))
    before = x.clone()
    assert compiled.batch_norm_silu(x, bn).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)
    assert bn.num_batches_tracked == 1


@needs_numba
def test_the_number_of_threads_changes_no_bit(monkeypatch):
    monkeypatch.setattr(compiled, "SPLIT", 100)
    x, bn, upper = inputs((2, 12, 37, 41))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 40):
            torch.set_num_threads(threads)
            found.append(results(compiled.batch_norm_silu, x, bn, upper))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def _total(shape):
    x, bn, _ = inputs(shape)
    return float(compiled.batch_norm_silu(x, bn).sum())


@needs_numba
@pytest.mark.skipif(sys.platform == "win32", reason="no fork on Windows")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(compiled, "SPLIT", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    wanted = _total((2, 8, 16, 16))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(_total, ((2, 8, 16, 16),)).get(60) == wanted


@needs_numba
def test_a_training_step_of_the_network_is_that_of_the_plain_network(monkeypatch):
    monkeypatch.setattr(cpu_training, "COMPILED_MAP", 1)
    torch.manual_seed(0)
    net = build("nano", 2).train()
    with torch.no_grad():  # a fresh head's gradients are next to nothing
        for name, parameter in net.named_parameters():
            if name.startswith("bbox_head") and parameter.ndim == 4:
                parameter.mul_(20)
    images = torch.randn(2, 3, 64, 96).contiguous(memory_format=torch.channels_last)
    boxes, labels = [torch.tensor([[4.0, 4, 50, 60]]), torch.zeros(0, 4)], [torch.tensor([1]), torch.zeros(0)]
    found = []
    for double, prepare in ((True, lambda net: None), (False, lambda net: None), (False, use_fast_training)):
        other = copy.deepcopy(net).double() if double else copy.deepcopy(net)
        prepare(other)
        cls, reg = other(images.to(other.bbox_head.rtm_cls[0].weight.dtype))
        sum(detection_loss(cls, reg, boxes, labels).values()).backward()
        found.append(torch.cat([p.grad.double().flatten() for p in other.parameters()]))
    plain, fast = ((gradients - found[0]).norm() / found[0].norm() for gradients in found[1:])
    assert fast <= 3 * plain + 1e-6


@needs_numba
def test_a_layer_in_evaluation_mode_within_a_training_step_keeps_its_statistics():
    module = ConvModule(8, 8, 3).train()
    module.bn.eval()
    plain = copy.deepcopy(module)
    use_fast_training(module)
    x = torch.randn(2, 8, 120, 120).contiguous(memory_format=torch.channels_last)
    assert torch.equal(module(x), plain(x))
    assert module.bn.num_batches_tracked == 0


def test_without_numba_training_takes_the_operators_of_torch():
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch\n"
        "from aerostat.model import compiled\n"
        "from aerostat.model.cpu_training import use_fast_training\n"
        "from aerostat.model.layers import ConvModule\n"
        "assert not compiled.available()\n"
        "module = ConvModule(8, 8, 3).train()\n"
        "use_fast_training(module)\n"
        "x = torch.randn(2, 8, 160, 160).contiguous(memory_format=torch.channels_last)\n"
        "module(x).sum().backward()\n"
        "assert module.conv.weight.grad.isfinite().all()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_import_of_the_package_does_not_load_numba():
    code = "import sys, aerostat, aerostat.model, aerostat.training.step; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
