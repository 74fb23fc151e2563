"""Values of the published configs against the constants of the model."""

import pytest

from aerostat.model import ARCHITECTURES
from aerostat.openmmlab.published import PUBLISHED_SIZES, find


@pytest.mark.parametrize("size", ["nano", "tiny", "s", "m", "l", "x"])
def test_sizes_are_those_of_the_networks(size) -> None:
    known, here = ARCHITECTURES[size], PUBLISHED_SIZES[size]
    assert (here.depth, here.width, here.neck_blocks) == (known.depth, known.width, known.neck_blocks)
    assert here.depthwise == known.depthwise
    model = find(f"rtmdet_{size}_8xb32-300e_coco.py")["model"]
    assert model["bbox_head"]["exp_on_reg"] == known.exp_on_reg
    assert model["neck"]["in_channels"] == [int(c * known.width) for c in (256, 512, 1024)]


def test_other_names_are_unknown() -> None:
    for name in ("rtmdet-ins_tiny_8xb32-300e_coco.py", "yolox_s_8xb8-300e_coco.py", "", "rtmdet_tiny.py"):
        assert find(name) is None


def test_each_request_has_values_of_its_own() -> None:
    find("rtmdet_s_8xb32-300e_coco.py")["model"]["test_cfg"]["nms"]["iou_threshold"] = 0.1
    assert find("rtmdet_s_8xb32-300e_coco.py")["model"]["test_cfg"]["nms"]["iou_threshold"] == 0.65


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("../_base_/default_runtime.py", "default_hooks"),
        ("../_base_/schedules/schedule_1x.py", "optim_wrapper"),
        ("../_base_/datasets/coco_detection.py", "train_dataloader"),
        ("./rtmdet_tta.py", "tta_model"),
    ],
)
def test_parts_that_the_published_configs_stand_on_are_known(name, key) -> None:
    assert key in find(name)
