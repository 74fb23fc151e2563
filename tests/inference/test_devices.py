"""Devices by name, and what Apple's GPU lacks, watched on tensors without values, as CI has none.

Tensors on the device `meta` have a type and a shape and nothing else, so the code runs as it would on a
device that is not there, up to where values are looked at.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from aerostat.__main__ import main
from aerostat.explanation.methods import eigencam, eigengradcam, gradcampp, principal_component
from aerostat.model import build, decode_boxes, detection_loss, flatten_levels, level_points, normalise
from aerostat.model.folding import folded
from aerostat.scenes.balloons import write_balloons
from aerostat.weights.checkpoint import Header, save_weights

STAND_IN = "meta"
OF_THE_CPU_ALONE = ("linalg_eigh",)
"""Operations that torch has no kernel of for Apple's GPU."""


class AppleGpu(TorchDispatchMode):
    """Refuses what an Apple GPU does not have."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = operation(*args, **(kwargs or {}))
        there = [
            x for x in tree_leaves((args, given)) if isinstance(x, torch.Tensor) and x.device.type == STAND_IN
        ]
        assert not any(x.dtype == torch.float64 for x in there), f"{operation} makes float64"
        assert not (there and any(name in str(operation) for name in OF_THE_CPU_ALONE)), str(operation)
        return given


@pytest.fixture
def apple() -> Iterator[torch.device]:
    with AppleGpu():
        yield torch.device(STAND_IN)


def test_the_watch_sees_float64_and_missing_operations(apple):
    with pytest.raises(AssertionError, match="float64"):
        torch.zeros(2, device=apple).double()
    with pytest.raises(AssertionError, match="eigh"):
        torch.linalg.eigh(torch.zeros(2, 2, device=apple))
    assert torch.zeros(2).double().dtype == torch.float64


@pytest.mark.parametrize("classes", [1, 3])
def test_a_step_of_learning_stays_within_what_an_apple_gpu_has(apple, classes, monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # `meta` has none, `mps` does
    net = build("nano", classes).to(apple, memory_format=torch.channels_last).train()
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8, device=apple)
    cls, reg = net(normalise(images))
    boxes = [torch.zeros(2, 4, device=apple), torch.zeros(0, 4, device=apple)]
    labels = [torch.zeros(2, dtype=torch.long, device=apple), torch.zeros(0, dtype=torch.long, device=apple)]
    losses = detection_loss(cls, reg, boxes, labels)
    (losses["loss_cls"] + losses["loss_bbox"]).backward()
    weight = net.backbone.stem[0].conv.weight
    assert weight.grad is not None and weight.grad.device.type == STAND_IN


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_prediction_stays_within_what_an_apple_gpu_has(apple, size):
    net = folded(build(size, 2).to(apple).eval())
    cls, reg = net(normalise(torch.zeros(1, 3, 96, 64, dtype=torch.uint8, device=apple)))
    points = level_points([(x.shape[2], x.shape[3]) for x in cls], apple)
    assert decode_boxes(points, flatten_levels(reg)).device.type == STAND_IN


@pytest.mark.parametrize("cells", [(2, 3), (9, 9)])
def test_principal_components_are_taken_on_the_cpu(cells):
    with FakeTensorMode(), AppleGpu():  # `meta` cannot be brought to the CPU
        assert principal_component(torch.zeros(16, *cells, device="cuda")).device.type == "cuda"


def test_formulas_of_maps_stay_within_what_an_apple_gpu_has(apple):
    activations, gradients = torch.zeros(2, 8, 4, 4, device=apple)
    assert gradcampp(activations, gradients).device.type == STAND_IN


@pytest.mark.parametrize("formula", [eigencam, lambda a: eigengradcam(a, torch.ones_like(a))])
def test_a_component_is_the_first_right_singular_vector(formula: Callable[[torch.Tensor], torch.Tensor]):
    values = torch.rand(5, 4, 6, generator=torch.Generator().manual_seed(0))
    cells = values.flatten(1).T.double().numpy()
    left, sizes, _ = np.linalg.svd(cells - cells.mean(0), full_matrices=False)
    expected = np.abs(left[:, 0] * sizes[0]).reshape(4, 6)
    found = formula(values).numpy()
    shown = found > 0
    np.testing.assert_allclose(found[shown], expected[shown], rtol=1e-5)
    assert shown.any()


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "w.safetensors", "p.jpg"),
        ("eval", "w.safetensors", "data"),
        ("features", "w.safetensors", "p.jpg"),
        ("explain", "w.safetensors", "p.jpg"),
        ("benchmark", "w.safetensors"),
    ],
)
def test_every_verb_that_runs_a_network_refuses_an_unknown_device_with_the_list(
    words, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("p.jpg", np.zeros((32, 32, 3), np.uint8))
    assert main([*words, "--device", "gpu"]) == 2
    assert "auto, cpu, cuda, cuda:0, mps" in capsys.readouterr().err


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that find plenty, a photograph, and a split of it."""
    folder = tmp_path_factory.mktemp("devices")
    torch.manual_seed(0)
    net = build("nano", 1)
    for level in range(3):
        torch.nn.init.constant_(net.bbox_head.rtm_cls[level].bias, 1.0)
        torch.nn.init.constant_(net.bbox_head.rtm_reg[level].bias, 1.5)
    save_weights(folder / "w.safetensors", net.state_dict(), Header("nano", ("balloon",), (64, 64)))
    write_balloons(folder / "data", train=0, val=1, size=(96, 64))
    (folder / "data" / "train" / "via_region_data.json").unlink()
    (folder / "data" / "train").rmdir()
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ("predict", "w.safetensors", "data/val/scene_0001.jpg"),
        ("eval", "w.safetensors", "data"),
        ("features", "w.safetensors", "data/val/scene_0001.jpg"),
        ("explain", "w.safetensors", "data/val/scene_0001.jpg", "--top", "1"),
        pytest.param(
            ("benchmark", "w.safetensors", "--engine", "torch", "--batch", "1", "--seconds", "0.2"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_every_verb_goes_on_with_the_cpu_and_says_so_beside_its_document(
    words, folder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(folder)
    out = ("--out", str(tmp_path / "out")) if words[0] not in ("eval", "benchmark") else ()
    assert main([*words, *out, "--device", "cuda:99", "--json"]) == 0
    said = capsys.readouterr()
    json.loads(said.out)
    assert said.err.count("the device cuda:99 cannot be used here") == 1
