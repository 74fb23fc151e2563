"""Maps with weights that have learnt nothing, and how alike two maps are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat.explanation.boxam import explain, explain_with
from aerostat.explanation.randomised import (
    SAME_CORRELATION,
    randomisation_check,
    rank_correlation,
    with_random_weights,
)
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.inference.resolve import load
from aerostat.model import build


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ([1, 2, 3, 4], 1.0),
        ([10, 200, 3000, 40000], 1.0),  # ranks alone count
        ([4, 3, 2, 1], -1.0),
        ([1, 3, 2, 4], 0.8),  # 1 - 6 * (1 + 1) / (4 * 15)
        ([2, 2, 2, 2], 0.0),
    ],
)
def test_rank_correlation_is_spearmans(b: list[float], expected: float) -> None:
    assert rank_correlation(np.asarray([[1.0, 2, 3, 4]]), np.asarray([b])) == pytest.approx(expected)


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    # ranks 1.5, 1.5, 3 and 1, 2, 3: Pearson's correlation of them
    expected = np.corrcoef([1.5, 1.5, 3], [1, 2, 3])[0, 1]
    assert rank_correlation(np.asarray([[5.0, 5, 9]]), np.asarray([[1.0, 2, 3]])) == pytest.approx(expected)


def test_pixels_without_heat_in_both_maps_do_not_make_them_alike() -> None:
    a, b = np.zeros((2, 100, 100))
    a[:2, :2], b[:2, :2] = [[1, 2], [3, 4]], [[4, 3], [2, 1]]
    assert rank_correlation(a, b) == pytest.approx(-1)
    assert rank_correlation(np.zeros((4, 4)), np.zeros((4, 4))) == 0


def detector() -> Detector:
    torch.manual_seed(0)
    net = build("nano", 1).eval()
    for layer in [*net.bbox_head.rtm_cls, *net.bbox_head.rtm_reg]:
        torch.nn.init.normal_(layer.weight, std=0.3)
    for layer in net.bbox_head.rtm_reg:
        torch.nn.init.constant_(layer.bias, 2.0)
    return Detector(TorchEngine(net), ("ball",), (128, 128))


def test_random_weights_leave_the_network_alone_and_follow_the_seed() -> None:
    net = build("tiny", 2).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    once, again, other = (with_random_weights(net, "network", seed=seed) for seed in (1, 1, 2))
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        first, same, different = (twin(images)[0][0] for twin in (once, again, other))
    assert torch.equal(first, same)
    assert not torch.allclose(first, different)
    assert torch.isfinite(first).all()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training and all(p.requires_grad for p in net.parameters())


def test_a_random_head_keeps_the_backbone_and_what_its_levels_share() -> None:
    net = build("tiny", 2).eval()  # its levels share convolutions
    twin = with_random_weights(net, "head")
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert all(
            torch.equal(a, b)
            for a, b in zip(net.neck(net.backbone(images)), twin.neck(twin.backbone(images)), strict=True)
        )
    weights = [tower[0].conv.weight for tower in twin.bbox_head.cls_convs]
    assert weights[0] is weights[2]
    assert not torch.equal(weights[0], net.bbox_head.cls_convs[0][0].conv.weight)
    assert sorted(weights[0].flatten().tolist()) == sorted(
        net.bbox_head.cls_convs[0][0].conv.weight.flatten().tolist()
    )


def test_the_same_weights_make_the_same_map_again() -> None:
    one = detector()
    image = np.random.default_rng(0).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    for method in ("layercam", "ablationcam"):
        made = explain(one, image, layer="neck.top_down_blocks[1]", method=method, top=1, score=0.0)[0]
        again = explain_with(one.net, one, image, made)
        assert np.allclose(made.maps[0], again.maps[0], rtol=1e-3, atol=1e-3 * made.maps[0].max())


def test_a_gradient_map_needs_the_trained_head_and_eigencam_does_not(
    person_weights: Path, balloon: Path
) -> None:
    trained = load(person_weights, device="cpu", input_size=320)
    path = sorted((balloon / "val").glob("*.jpg"))[1]
    layercam, eigencam = (
        explain(trained, path, layer="neck.top_down_blocks[1]", method=method, top=1)[0]
        for method in ("layercam", "eigencam")
    )
    assert randomisation_check(trained, path, layercam)["head"] < SAME_CORRELATION
    assert randomisation_check(trained, path, layercam)["network"] < SAME_CORRELATION
    assert randomisation_check(trained, path, eigencam)["head"] == pytest.approx(1)  # it looks at no target
    assert randomisation_check(trained, path, eigencam)["network"] < SAME_CORRELATION
    assert randomisation_check(trained, path, replace(layercam), parts=["head"]).keys() == {"head"}
