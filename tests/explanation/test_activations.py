"""Gradients from a layer on, and channels taken away, against the plain ways of doing the same."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from aerostat.explanation.ablation import ablated_values
from aerostat.explanation.activations import LAST_LAYERS, Objective, forward_from, gradients
from aerostat.explanation.named_layers import find_layer, private_copy
from aerostat.inference.detector import Detector

Lively = Callable[..., Detector]


def at_point(
    cls: list[Tensor], reg: list[Tensor], level: int, row: int, column: int, both: bool = True
) -> Tensor:
    value = cls[level][:, 0, row, column]
    return value + reg[level][:, :, row, column].sum(1) / 10 if both else value


POINTS = [(0, 0, 0), (0, 0, 1), (0, 9, 9), (0, 15, 15), (1, 3, 3), (1, 4, 4), (2, 0, 0), (2, 3, 3)]
"""Level, row and column; some near enough to one another to share cells, some not."""
OBJECTIVES: list[Objective] = [partial(at_point, level=p[0], row=p[1], column=p[2]) for p in POINTS]


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_one_backward_pass_for_many_gives_what_one_for_each_gives(lively: Lively, size: str) -> None:
    net = private_copy(lively(size).net)
    images = torch.randn(1, 3, 128, 128)
    paths = [*LAST_LAYERS, "backbone.stage4"]
    done = forward_from(net, [find_layer(net, path) for path in paths], images)
    batched = dict(gradients(done, OBJECTIVES, paths))
    assert sorted(batched) == list(range(len(OBJECTIVES)))
    for index, objective in enumerate(OBJECTIVES):
        value = objective(done.cls, done.reg).sum()
        alone = torch.autograd.grad(
            value, [done.activations[path] for path in paths], retain_graph=True, allow_unused=True
        )
        for path, expected in zip(paths, alone, strict=True):
            found = batched[index][path]
            expected = torch.zeros(1, *found.shape) if expected is None else expected
            torch.testing.assert_close(found, expected[0], rtol=1e-4, atol=1e-6)


def test_backward_passes_are_shared_where_detections_lie_apart(
    lively: Lively, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = private_copy(lively().net)
    paths = list(LAST_LAYERS)
    done = forward_from(net, [find_layer(net, path) for path in paths], torch.randn(1, 3, 128, 128))
    apart = [partial(at_point, level=0, row=row, column=col) for row in (0, 8, 15) for col in (0, 8, 15)]
    passes = 0
    backward = torch.autograd.grad

    def count(outputs: object, inputs: object, *rest: object, **options: object) -> object:
        nonlocal passes
        passes += any(x is y for x in inputs for y in done.activations.values())  # type: ignore[attr-defined]
        return backward(outputs, inputs, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", count)
    assert len(dict(gradients(done, apart, paths))) == 9
    assert passes == 1


def test_outputs_are_those_of_the_plain_network(lively: Lively) -> None:
    net = private_copy(lively().net)
    images = torch.randn(1, 3, 64, 96)
    layers = [find_layer(net, name) for name in ("backbone.stage1", "neck.out_convs[1]")]
    done = forward_from(net, layers, images)
    cls, reg = net(images)
    for found, expected in zip([*done.cls, *done.reg], [*cls, *reg], strict=True):
        torch.testing.assert_close(found, expected)


def test_nothing_before_a_layer_is_part_of_the_graph_and_layers_behind_one_another_stay_joined(
    lively: Lively,
) -> None:
    detector = lively()
    detector.net.requires_grad_(True)
    net = private_copy(detector.net)
    names = ["backbone.stage2", "neck.out_convs[2]"]
    done = forward_from(net, [find_layer(net, name) for name in names], torch.randn(1, 3, 64, 64))
    first, second = (done.activations[name.replace("[2]", ".2")] for name in names)
    assert first.is_leaf and not second.is_leaf
    assert torch.autograd.grad(second.sum(), first)[0].any()


def test_a_convolution_that_levels_share_means_the_level_of_its_name(lively: Lively) -> None:
    net = private_copy(lively("tiny").net)
    layers = [find_layer(net, f"bbox_head.cls_convs[{level}][0].conv") for level in range(3)]
    assert layers[0].module is layers[2].module
    sides = [
        forward_from(net, [layer], torch.randn(1, 3, 64, 64)).activations[layer.path].shape[-1]
        for layer in layers
    ]
    assert sides == [8, 4, 2]


@pytest.mark.parametrize("caller", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_them_here(lively: Lively, caller: Callable[[], object]) -> None:
    net = private_copy(lively().net)
    with caller():  # type: ignore[attr-defined]
        done = forward_from(net, [find_layer(net, "neck.out_convs[0]")], torch.randn(1, 3, 64, 64))
        found = dict(gradients(done, OBJECTIVES[:1], ["neck.out_convs.0"]))
    assert found[0]["neck.out_convs.0"].any()


# --- channels taken away


@pytest.mark.parametrize(
    ("size", "masks", "name"),
    [
        ("nano", False, "neck.out_convs[2]"),
        ("nano", False, "neck.top_down_blocks[1]"),
        ("nano", False, "backbone.stage3[1].short_conv"),
        ("nano", False, "bbox_head.reg_convs[0][1]"),
        ("tiny", False, "bbox_head.cls_convs[1][0].conv"),  # shared with the other levels
        ("nano", True, "neck.out_convs[2]"),
        ("nano", True, "bbox_head.reg_convs[0][1]"),  # another name of the tower of classes
        ("nano", True, "bbox_head.kernel_convs[0][1]"),  # without influence on boxes
        ("tiny", True, "bbox_head.cls_convs[1][0].conv"),
    ],
)
def test_taking_channels_away_is_what_a_whole_pass_without_them_gives(
    lively: Lively, size: str, masks: bool, name: str
) -> None:
    net = private_copy(lively(size, side=64, masks=masks).net)
    images = torch.randn(1, 3, 64, 64)
    objectives = [partial(at_point, level=level, row=1, column=1) for level in range(3)]
    layer = find_layer(net, name)
    found = ablated_values(net, layer, images, objectives, batch=7)

    def lose(channel: int) -> list[float]:
        runs = 0

        def hook(_: object, __: object, output: Tensor) -> Tensor:
            nonlocal runs
            runs += 1
            if "cls_convs[1]" in name and runs != 2:
                return output
            output = output.clone()
            output[:, channel] = 0
            return output

        handle = layer.module.register_forward_hook(hook)
        with torch.no_grad():
            cls, reg = net(images)[:2]
        handle.remove()
        return [float(objective(cls, reg)) for objective in objectives]

    for channel in (0, 6, 7, found.shape[1] - 1):
        assert found[:, channel].tolist() == pytest.approx(lose(channel), rel=1e-4, abs=1e-5)


def test_the_network_is_whole_again_after_channels_were_taken_away(lively: Lively) -> None:
    net = private_copy(lively(side=64).net)
    images, layer = torch.randn(1, 3, 64, 64), find_layer(net, "neck.out_convs[2]")
    before = net(images)[0][2]

    def fail(*_: object) -> Tensor:
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        ablated_values(net, layer, images, [fail])
    assert torch.equal(net(images)[0][2], before)
    assert not any("forward" in module.__dict__ or module._forward_hooks for module in net.modules())
