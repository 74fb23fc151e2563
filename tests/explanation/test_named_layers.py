"""Layers by name, and a copy of a network that leaves no trace in it."""

import threading

import pytest
import torch
from torch import nn

from aerostat.errors import InputError
from aerostat.explanation.named_layers import (
    describe_layers,
    find_layer,
    layer_name,
    layer_names,
    layer_tree,
    private_copy,
    record,
)
from aerostat.model import build
from aerostat.model.rtmdet import RTMDet

IMAGES = torch.linspace(-2, 2, 3 * 64 * 96).reshape(1, 3, 64, 96)


@pytest.fixture(scope="module")
def nano() -> RTMDet:
    return build("nano", 1)


@pytest.fixture(scope="module")
def tiny() -> RTMDet:
    """A size whose head shares its convolutions across levels."""
    return build("tiny", 2)


@pytest.mark.parametrize(
    ("written", "name", "path"),
    [
        ("backbone", "backbone", "backbone"),
        ("backbone.stage4", "backbone.stage4", "backbone.stage4"),
        ("neck.out_convs[2]", "neck.out_convs[2]", "neck.out_convs.2"),
        ("neck.out_convs.2", "neck.out_convs[2]", "neck.out_convs.2"),
        (" neck.out_convs[2] ", "neck.out_convs[2]", "neck.out_convs.2"),
        ("bbox_head.cls_convs[0][1]", "bbox_head.cls_convs[0][1]", "bbox_head.cls_convs.0.1"),
        ("bbox_head.cls_convs[0].1", "bbox_head.cls_convs[0][1]", "bbox_head.cls_convs.0.1"),
        ("backbone.stage1[1].main_conv", "backbone.stage1[1].main_conv", "backbone.stage1.1.main_conv"),
    ],
)  # fmt: skip
def test_a_layer_is_found_by_both_ways_of_writing_it(
    nano: RTMDet, written: str, name: str, path: str
) -> None:
    layer = find_layer(nano, written)
    assert (layer.name, layer.path) == (name, path)
    assert layer.module is nano.get_submodule(path)


@pytest.mark.parametrize(
    ("written", "offered"),
    [
        ("neck.out_conv[2]", "neck.out_convs[2]"),
        ("neck.out_convs[3]", "neck.out_convs[2]"),
        ("neck.out_convs[-1]", "neck.out_convs[1]"),
        ("neck.out_layers[2]", "neck.out_convs[2]"),  # MMYOLO's name
        ("bbox_head.head_module.cls_convs[0][1]", "bbox_head.cls_convs[0][1]"),  # MMYOLO's name
        ("backbone.stage5", "backbone.stage4"),
        ("Neck", "neck"),
        ("nothing like it at all", "backbone, neck, bbox_head"),
        ("", "backbone, neck, bbox_head"),
        ("backbone.training", "backbone"),
        ("neck.out_convs[2]]", "neck.out_convs[2]"),
        ("neck[out_convs]", "neck"),
    ],
)
def test_an_unknown_layer_lists_the_nearest_ones(nano: RTMDet, written: str, offered: str) -> None:
    with pytest.raises(InputError) as caught:
        find_layer(nano, written)
    sentence = str(caught.value)
    assert repr(written) in sentence and offered in sentence and "\n" not in sentence


@pytest.mark.parametrize(
    "code", ["neck.out_convs[__import__('os').abort()]", "neck.__class__", "(lambda: neck)()"]
)
def test_a_name_is_never_evaluated(nano: RTMDet, code: str) -> None:
    with pytest.raises(InputError, match="There is no layer"):
        find_layer(nano, code)


@pytest.mark.parametrize("size", ["nano", "tiny"])  # what sets their layers apart sets apart all sizes
def test_every_listed_name_is_found_again(size: str) -> None:
    net = build(size, 1)
    names = layer_names(net)
    assert {"backbone.stage4", "neck.out_convs[2]", "bbox_head.cls_convs[0][1]"} <= set(names)
    assert len(set(names)) == len(names)
    for name in names[::10]:
        assert find_layer(net, name).name == name


def test_a_number_within_a_word_is_no_index() -> None:
    assert layer_name("stage4.1.conv2.0") == "stage4[1].conv2[0]"


# ------------------------------------------------------------------ the copy


def snapshot(net: nn.Module) -> tuple:
    return (
        {name: module.training for name, module in net.named_modules()},
        {name: p.requires_grad for name, p in net.named_parameters()},
        {name: p.grad for name, p in net.named_parameters()},
        {name: tensor.clone() for name, tensor in net.state_dict().items()},
        {name: getattr(module, "inplace", None) for name, module in net.named_modules()},
        {
            (name, key): list(value)
            for name, module in net.named_modules()
            for key, value in module.__dict__.items()
            if "hooks" in key and isinstance(value, dict)
        },
    )


def assert_same(before: tuple, after: tuple) -> None:
    for index in (0, 1, 2, 4, 5):
        assert before[index] == after[index]
    assert all(torch.equal(tensor, after[3][name]) for name, tensor in before[3].items())


def test_the_copy_shares_memory_and_gives_the_same(tiny: RTMDet) -> None:
    copy = private_copy(tiny)
    mine, theirs = tiny.state_dict(), copy.state_dict()
    assert list(mine) == list(theirs)
    assert all(theirs[name].data_ptr() == tensor.data_ptr() for name, tensor in mine.items())
    assert not {id(m) for m in tiny.modules()} & {id(m) for m in copy.modules()}
    assert not any(p.requires_grad for p in copy.parameters())
    with torch.no_grad():
        for a, b in zip(private_copy(copy)(IMAGES)[0], tiny.eval()(IMAGES)[0], strict=True):
            assert torch.equal(a, b)


def test_what_was_shared_stays_shared_in_the_copy(tiny: RTMDet) -> None:
    copy = private_copy(tiny)
    first = copy.get_submodule("bbox_head.cls_convs.0.0.conv")
    assert copy.get_submodule("bbox_head.cls_convs.2.0.conv") is first
    assert copy.get_submodule("bbox_head.cls_convs.0.0.bn") is not copy.get_submodule(
        "bbox_head.cls_convs.2.0.bn"
    )
    assert len(list(copy.parameters())) == len(list(tiny.parameters()))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("frozen", [True, False])
def test_recording_leaves_nothing_in_the_callers_network(training: bool, frozen: bool) -> None:
    net = build("nano", 1).train(training)
    net.backbone.requires_grad_(not frozen)
    net.neck.eval()
    calls: list[str] = []
    guard = threading.Lock()  # what cannot be copied

    def count(*_: object) -> None:
        with guard:
            calls.append("called")

    net.neck.register_forward_hook(count)
    net.backbone.register_full_backward_hook(count)
    before = snapshot(net)
    outputs = record(net, ["backbone", "neck.out_convs[2]", "bbox_head"], IMAGES.clone().requires_grad_())
    outputs["bbox_head"][0].sum().backward()
    assert_same(before, snapshot(net))
    assert calls == []


def test_an_exception_within_leaves_nothing_either() -> None:
    net = build("nano", 1).train()

    class Broken(nn.Module):
        def forward(self, _: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("in between")

    net.neck.out_convs[1] = Broken()
    before = snapshot(net)
    with pytest.raises(RuntimeError, match="in between"):
        record(net, ["backbone", "neck"], IMAGES)
    assert_same(before, snapshot(net))


# ------------------------------------------------------------------ what layers give


def test_layers_with_several_outputs_give_all_in_order(tiny: RTMDet) -> None:
    outputs = record(tiny, ["neck", "backbone", "bbox_head", "backbone.stage1"], IMAGES)
    shapes = {name: [tuple(x.shape) for x in levels] for name, levels in outputs.items()}
    sides = [(8, 12), (4, 6), (2, 3)]  # of 64 x 96 at strides 8, 16, 32
    assert list(shapes) == ["neck", "backbone", "bbox_head", "backbone.stage1"]
    assert shapes["neck"] == [(1, 96, *side) for side in sides]
    assert shapes["backbone"] == [(1, c, *side) for c, side in zip((96, 192, 384), sides, strict=True)]
    assert shapes["bbox_head"] == [(1, c, *side) for c in (2, 4) for side in sides]
    assert shapes["backbone.stage1"] == [(1, 48, 16, 24)]


def test_a_shared_convolution_gives_one_output_a_level_by_any_of_its_names(tiny: RTMDet) -> None:
    names = [f"bbox_head.cls_convs[{level}][0].conv" for level in range(3)]
    outputs = record(tiny, names, IMAGES)
    for name in names:
        assert [tuple(x.shape) for x in outputs[name]] == [(1, 96, 8, 12), (1, 96, 4, 6), (1, 96, 2, 3)]
    around = record(tiny, ["bbox_head.cls_convs[1][0]"], IMAGES)["bbox_head.cls_convs[1][0]"]
    assert [tuple(x.shape) for x in around] == [(1, 96, 4, 6)]


def test_what_a_layer_gave_is_not_overwritten_by_the_next_one_working_in_place(nano: RTMDet) -> None:
    block = nano.get_submodule("backbone.stem.0")
    outputs = record(nano, ["backbone.stem[0].conv", "backbone.stem[0].bn", "backbone.stem[0]"], IMAGES)
    conv = torch.nn.functional.conv2d(IMAGES, block.conv.weight, stride=2, padding=1)
    normed = conv / (1 + 1e-5) ** 0.5  # fresh statistics: mean 0, variance 1
    torch.testing.assert_close(outputs["backbone.stem[0].conv"][0], conv)
    torch.testing.assert_close(outputs["backbone.stem[0].bn"][0], normed)
    torch.testing.assert_close(outputs["backbone.stem[0]"][0], normed * normed.sigmoid())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("neck.out_convs", r"found the list neck\.out_convs.*choose from neck\.out_convs\[0\]"),
        ("backbone.stage1[1].attention.fc", r"output of 32 x 1 x 1 has no place in the image"),
        ("backbone.stage1[1].attention.act", "no place in the image"),
    ],
)
def test_a_layer_without_a_map_is_refused(nano: RTMDet, name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        record(nano, ["neck", name], IMAGES)


def test_a_layer_that_is_not_run_or_gives_a_vector_is_refused() -> None:
    net = build("nano", 1)
    net.neck.spare = nn.Conv2d(1, 1, 1)
    net.neck.out_convs[2] = nn.Sequential(net.neck.out_convs[2], Vector())
    with pytest.raises(InputError, match=r"neck\.spare, which is not run"):
        record(net, ["neck.spare"], IMAGES)
    with pytest.raises(InputError, match=r"out_convs\[2\]\[1\]\.flat, whose output of 384 has no place"):
        record(net, ["neck.out_convs[2][1].flat"], IMAGES)


class Vector(nn.Module):
    """Passes a map through, and a vector through a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Flatten()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.flat(x)
        return x


def test_the_only_cell_of_the_smallest_input_is_a_map(nano: RTMDet) -> None:
    assert record(nano, ["backbone.stage4"], IMAGES[..., :32, :32])["backbone.stage4"][0].shape == (
        1,
        256,
        1,
        1,
    )


# ------------------------------------------------------------------ the tree


def test_the_tree_tells_channels_and_strides_of_every_part(nano: RTMDet) -> None:
    tree = layer_tree(nano)
    lines = {line.split()[0]: line.split()[1:] for line in tree.splitlines() if line}
    assert lines["backbone"] == ["CSPNeXt", "64,", "128,", "256", "8,", "16,", "32"]
    assert lines["backbone.stage4"] == ["Sequential", "256", "32"]
    assert lines["neck.out_convs[1]"] == ["DepthwiseSeparableConvModule", "64", "16"]
    assert lines["neck.out_convs"] == ["ModuleList", "no", "map"]
    assert lines["bbox_head.rtm_reg[0]"] == ["Conv2d", "4", "8"]
    assert "backbone.stem[0].conv" not in lines
    assert "Every ConvModule holds .conv, .bn and .activate." in tree
    assert max(map(len, tree.splitlines())) <= 120


def test_every_layer_is_described(tiny: RTMDet) -> None:
    described = {d.layer.name: d for d in describe_layers(tiny)}
    assert list(described) == layer_names(tiny)
    assert described["backbone.stem[0].conv"].to_dict() == {
        "name": "backbone.stem[0].conv",
        "type": "Conv2d",
        "channels": [12],
        "strides": [2],
    }
    assert described["bbox_head.cls_convs[2][0].conv"].strides == (8, 16, 32)
    assert described["backbone.stage1[1].attention.fc"].channels == ()
