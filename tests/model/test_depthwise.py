"""The depthwise convolution's gradients against torch's own, also where the borders are everything."""

import pytest
import torch
from torch.nn import functional

from aerostat.model.depthwise import depthwise_conv2d


def pair(shape, dtype=torch.float64):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(shape, generator=g, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(shape[1], 1, 5, 5, generator=g, dtype=dtype)
    return x, weight, torch.randn(shape, generator=g, dtype=dtype)


@pytest.mark.parametrize(
    "shape", [(2, 3, 7, 9), (1, 1, 1, 1), (2, 2, 2, 3), (1, 4, 5, 1), (3, 16, 12, 12), (0, 4, 6, 6)], ids=str
)
def test_values_and_gradients_are_those_of_the_plain_convolution(shape):
    x, weight, upper = pair(shape)
    found = []
    for convolve in (
        lambda x, w: functional.conv2d(x, w, padding=2, groups=shape[1]),
        depthwise_conv2d,
    ):
        leaves = x.clone().requires_grad_(), weight.clone().requires_grad_()
        out = convolve(*leaves)
        out.backward(upper)
        found.append((out.detach(), *(leaf.grad for leaf in leaves)))
    for ours, theirs in zip(found[1], found[0], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


def test_a_gradient_that_lies_otherwise_in_memory_gives_the_same():
    x, weight, upper = pair((2, 4, 6, 5))
    grads = []
    for gradient in (upper, upper.contiguous(), torch.cat([upper, upper], 1)[:, 4:]):
        leaf = weight.clone().requires_grad_()
        depthwise_conv2d(x, leaf).backward(gradient)
        grads.append(leaf.grad)
    assert all(torch.allclose(grad, grads[0], rtol=1e-12) for grad in grads)


def test_an_input_without_gradient_gets_none():
    x, weight, upper = pair((1, 2, 4, 4))
    depthwise_conv2d(x, weight.requires_grad_()).backward(upper)
    assert x.grad is None and weight.grad is not None


def test_threads_change_no_more_than_rounding():
    """With several threads another library works on it than with one."""
    x, weight, upper = pair((2, 32, 20, 20), torch.float32)
    before = torch.get_num_threads()
    grads = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            leaf = weight.clone().requires_grad_()
            depthwise_conv2d(x, leaf).backward(upper)
            grads.append(leaf.grad)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-3)
