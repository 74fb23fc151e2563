"""Training with masks, from data and weights to a run that is resumed to the bit."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import aerostat as ae
from aerostat.datasets.dataset import Dataset
from aerostat.errors import InputError
from aerostat.model import build
from aerostat.training.api import resume
from aerostat.training.plan import TrainRequest, plan
from aerostat.training.signals import InterruptedRunError
from aerostat.weights.checkpoint import Header, load_weights, save_weights

WITH_MASKS, BOXES_ALONE = {"model": {"masks": True}}, {"model": {"masks": False}}


@pytest.fixture
def outlined(discs: Dataset, outline) -> Dataset:
    """The discs with outlines."""
    return outline(discs)


def replace_instances(image, instances):
    return type(image)(image.location, image.file_name, image.width, image.height, tuple(instances), image.id)


def records(run, kind):
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_a_run_learns_masks_and_its_weights_draw_them(outlined, tmp_path, start, small, caplog):
    caplog.set_level("INFO", "aerostat")
    run = start(outlined, tmp_path / "run", {**small, **WITH_MASKS})
    (step, *_), (val, *_) = records(run, "train"), records(run, "val")
    assert step["loss_mask"] > 0
    assert {"ap", "mask_ap", "mask_ap50"} <= val.keys()
    assert caplog.text.count(f"mask AP {max(0, val['mask_ap']):.3f}  epoch 1") == 2  # best and last weights
    assert f"best mask AP {val['mask_ap']:.3f} (epoch 1)" in repr(run)
    weights = load_weights(run.last)
    assert weights.header.masks and weights.header.metrics["mask_ap"] == val["mask_ap"]
    detector = ae.load(run.last)
    assert detector.has_masks
    found = detector.predict(outlined.split("val").images[0].location.path, score=0.001)
    assert found.masks is not None and len(found.masks) == len(found) <= 100
    assert found[:0].masks is not None
    assert detector.predict(np.zeros((50, 60, 3), np.uint8), score=0.0, masks=False).masks is None


def test_a_stopped_run_with_masks_is_resumed_to_the_bit(outlined, tmp_path, start, small, signal_at):
    values = {**small, **WITH_MASKS, "schedule": {"epochs": 2}}
    whole = start(outlined, tmp_path / "whole", values)
    with pytest.raises(InterruptedRunError):
        start(outlined, tmp_path / "stopped", values, loggers=(signal_at(3),))
    stopped = resume(tmp_path / "stopped", outlined)
    ours, theirs = load_file(stopped.last), load_file(whole.last)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_data_without_outlines_train_boxes_alone_and_refuse_masks(discs):
    request = TrainRequest("rtmdet-nano", "", values=WITH_MASKS)
    with pytest.raises(InputError, match=r"Masks cannot be learned: none of the \d+ objects of train has"):
        plan(discs, request)
    planned = plan(discs, replace(request, values={}))
    assert not planned.recipe.model.masks
    assert not any("outlines" in reason for reason in planned.reasons)


def test_outlines_alone_ask_for_nothing_but_are_told(outlined):
    planned = plan(outlined, TrainRequest("rtmdet-nano", ""))
    assert not planned.recipe.model.masks
    assert any("have outlines: `masks` would also train instance masks" in r for r in planned.reasons)
    declined = plan(outlined, TrainRequest("rtmdet-nano", "", values=BOXES_ALONE))
    assert not any("outlines" in reason for reason in declined.reasons)


def test_some_objects_without_outlines_train_their_boxes(outlined):
    train = outlined.split("train")
    first, *others = train.images
    boxed_first = replace_instances(first, [replace(each, polygons=()) for each in first.instances])
    data = replace(
        outlined, splits={**outlined.splits, "train": replace(train, images=[boxed_first, *others])}
    )
    planned = plan(data, TrainRequest("rtmdet-nano", "", values=WITH_MASKS))
    left = len(first.instances)
    assert any(f"the other {left} train boxes and are left out" in r for r in planned.reasons)


def weights_file(path, *, masks, classes=("disc",)):
    torch.manual_seed(1)
    net = build("nano", len(classes), masks)
    save_weights(path, net.state_dict(), Header("nano", classes, (64, 64), masks=masks))
    return net.state_dict()


def test_the_task_is_that_of_the_weights(outlined, tmp_path):
    weights_file(tmp_path / "ins.safetensors", masks=True)
    planned = plan(outlined, TrainRequest(None, str(tmp_path / "ins.safetensors")))
    assert planned.recipe.model.masks
    assert (planned.recipe.eval.nms_iou, planned.recipe.eval.max_detections) == (0.6, 100)
    boxes = plan(outlined, TrainRequest(None, str(tmp_path / "ins.safetensors"), values=BOXES_ALONE))
    assert not boxes.recipe.model.masks


@pytest.mark.parametrize(
    ("masks", "preset", "factor"),
    [(False, "auto", 3), (False, "small", 3), (True, "small", 1), (False, "published", 1)],
)
def test_a_fresh_head_learns_faster(outlined, tmp_path, masks, preset, factor):
    source = tmp_path / "start.safetensors"
    weights_file(source, masks=masks)
    planned = plan(outlined, TrainRequest(None, str(source), preset, values=WITH_MASKS))
    assert planned.recipe.optim.head_lr_factor == factor
    assert any("the head learns 3 times as fast" in reason for reason in planned.reasons) == (factor == 3)
    boxes = plan(outlined, TrainRequest(None, str(source), preset, values=BOXES_ALONE))
    assert boxes.recipe.optim.head_lr_factor == 1


@pytest.mark.parametrize("masks", [True, False])
def test_weights_of_the_other_task_are_a_start(outlined, tmp_path, start, small, caplog, masks):
    source = weights_file(tmp_path / "start.safetensors", masks=not masks, classes=outlined.classes)
    values = {**small, "model": {"masks": masks}, "optim": {"batch_size": 2, "lr": 1e-9}}
    caplog.set_level("INFO")
    run = start(outlined, tmp_path / "run", values, weights=str(tmp_path / "start.safetensors"))
    assert "backbone, neck" in caplog.text and "taken over" in caplog.text
    learned = load_file(run.last)
    for name in ("backbone.stage4.2.final_conv.conv.weight", "neck.out_convs.0.pointwise_conv.conv.weight"):
        assert torch.allclose(learned[name], source[name], atol=1e-5)
    assert ("bbox_head.rtm_kernel.0.weight" in learned) == masks


def test_a_checkpoint_of_other_classes_gets_fresh_rows(outlined, tmp_path, start, small):
    weights_file(tmp_path / "other.safetensors", masks=True, classes=("cat", "dog"))
    run = start(outlined, tmp_path / "run", small, weights=str(tmp_path / "other.safetensors"))
    assert load_weights(run.last).header.classes == outlined.classes
    assert load_weights(run.last).header.masks


def test_a_header_that_contradicts_its_tensors_is_refused(tmp_path):
    net = build("nano", 1, masks=True)
    with pytest.raises(InputError, match="without masks, but its tensors have a mask branch"):
        save_weights(tmp_path / "a.safetensors", net.state_dict(), Header("nano", ("a",), (64, 64)))
