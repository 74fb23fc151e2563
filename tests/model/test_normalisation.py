"""Batch normalisation and SiLU in one, against torch's own two in float64; what it does to the statistics."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from aerostat.model.normalisation import batch_norm_silu


def inputs(shape, dtype, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = (torch.randn(shape, generator=g, dtype=dtype) * 2 + 3).contiguous(memory_format=torch.channels_last)
    bn = nn.BatchNorm2d(shape[1], dtype=dtype)
    nn.init.normal_(bn.weight, generator=g)
    nn.init.normal_(bn.bias, generator=g)
    return x, bn, torch.randn(shape, generator=g, dtype=dtype)


SHAPES = [(2, 8, 16, 16), (3, 12, 5, 7), (1, 24, 4, 4), (2, 1, 3, 3), (4, 600, 2, 2), (1, 3, 1, 2)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_gradients_and_statistics_are_those_of_the_two_operations(shape):
    x, bn, upper = inputs(shape, torch.float64)
    theirs, ours = copy.deepcopy(bn), copy.deepcopy(bn)
    a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
    expected, found = functional.silu(theirs(a)), batch_norm_silu(b, ours)
    expected.backward(upper)
    found.backward(upper)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(b.grad, a.grad, rtol=1e-8, atol=1e-10)
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs.get_parameter(name).grad, rtol=1e-9, atol=1e-10)
    for name, buffer in ours.named_buffers():
        torch.testing.assert_close(buffer, theirs.get_buffer(name), rtol=1e-12, atol=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    x, bn, _ = inputs((2, 3, 3, 4), torch.float64)
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x, *_: batch_norm_silu(x, bn), (x, *bn.parameters()))


def test_a_large_mean_costs_no_digits():
    """The variance as the mean square less the squared mean would be noise here."""
    x, bn, _ = inputs((2, 8, 32, 32), torch.float32)
    x = x + 10_000
    exact = functional.silu(copy.deepcopy(bn).double()(x.double()))
    theirs = (functional.silu(copy.deepcopy(bn)(x)) - exact).abs().max()
    assert (batch_norm_silu(x, bn) - exact).abs().max() <= 2 * theirs


def test_a_gradient_that_lies_otherwise_in_memory_gives_the_same():
    x, bn, upper = inputs((2, 8, 6, 6), torch.float64)
    grads = []
    for gradient in (upper.contiguous(), torch.cat([upper, upper], 1)[:, 8:], upper.mT.contiguous().mT):
        leaf = x.clone().requires_grad_()
        batch_norm_silu(leaf, bn).backward(gradient)
        grads.append(leaf.grad)
    assert all(torch.equal(grad, grads[0]) for grad in grads)


def test_the_result_lies_channels_last_and_the_input_is_left_alone():
    x, bn, _ = inputs((2, 8, 6, 6), torch.float32)
    before = x.clone()
    assert batch_norm_silu(x, bn).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(x, before)
