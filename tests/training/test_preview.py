"""What inspect shows is what the trainer would get: the same loader, the same positions, the same pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.errors import AerostatError, InputError
from aerostat.training.loop import Trainer
from aerostat.training.plan import TrainRequest, plan
from aerostat.training.preview import first_batches, plan_to_show, preview_pictures
from aerostat.training.recipe import Recipe

VALUES = {
    "data": {"input_size": 64, "threads": 0},
    "optim": {"batch_size": 2},
    "schedule": {"epochs": 4, "stage2_share": 0.5},
    "run": {"seed": 5},
}


def planned(dataset: Dataset, /, **sections: dict[str, object]):
    values = {key: {**VALUES.get(key, {}), **sections.get(key, {})} for key in {*VALUES, *sections}}
    return plan(dataset, TrainRequest("rtmdet-nano", "", values=values))


def test_the_batches_are_those_that_the_trainer_steps_on(
    discs: Dataset, trainer_for: Callable[..., Trainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_for(discs, schedule=VALUES["schedule"], run=VALUES["run"])
    seen: dict[int, list[torch.Tensor]] = {}
    targets: dict[int, list[torch.Tensor]] = {}
    learn = trainer.learner.learn

    def learning(batch, **place):
        seen.setdefault(trainer.position.epoch, []).append(batch.images.clone())
        targets.setdefault(trainer.position.epoch, []).extend(batch.boxes)
        return learn(batch, **place)

    monkeypatch.setattr(trainer.learner, "learn", learning)
    trainer.fit()
    shown = first_batches(discs.split("train"), trainer.job.recipe, samples=4)
    assert {stage: epoch for stage, (epoch, _) in shown.items()} == {1: 0, 2: 2}
    for epoch, batches in shown.values():
        assert len(batches) == 2
        for one, stepped in zip(batches, seen[epoch], strict=True):
            assert torch.equal(one.images, stepped)
        boxes = [boxes for one in batches for boxes in one.boxes]
        assert all(torch.equal(a, b) for a, b in zip(boxes, targets[epoch], strict=True))
    for pictures in preview_pictures(discs.split("train"), trainer.job.recipe, limit=3):
        tensors = torch.cat(seen[pictures.epoch - 1])[:3].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(np.stack(pictures.images_bgr), tensors)


@pytest.mark.parametrize(
    ("schedule", "stages"),
    [
        ({"epochs": 4, "stage2_share": 0.5}, {1: 1, 2: 3}),
        ({"epochs": 4, "stage2_share": 0.0}, {1: 1}),
        ({"epochs": 4, "stage2_share": 1.0}, {2: 1}),
        ({"epochs": 1, "stage2_share": 0.25}, {1: 1}),
    ],
)
def test_only_the_stages_that_a_run_has_are_shown(
    discs: Dataset, schedule: dict[str, object], stages: dict[int, int]
) -> None:
    recipe = Recipe().override({**VALUES, "schedule": schedule})
    found = preview_pictures(discs.split("train"), recipe, limit=1)
    assert {pictures.stage: pictures.epoch for pictures in found} == stages
    assert all(len(pictures.images_bgr) == 1 for pictures in found)


@pytest.mark.parametrize("masks", [False, True])
def test_masks_are_drawn_where_the_run_learns_them(balloon: Path, masks: bool) -> None:
    split = Dataset.read(balloon, classes=["balloon"]).split("val")
    recipe = Recipe().override({**VALUES, "model": {"masks": masks}})
    plain = first_batches(split, recipe, samples=2)
    for pictures in preview_pictures(split, recipe, limit=2):
        assert all((" mask" in caption) == masks for caption in pictures.captions)
        pixels = plain[pictures.stage][1][0].images[:2].permute(0, 2, 3, 1).numpy()
        assert np.array_equal(np.stack(pictures.images_bgr), pixels)


def test_seed_size_and_augmentation_of_the_recipe_reach_the_pictures(discs: Dataset) -> None:
    split = discs.split("train")

    def first(**sections: dict[str, object]) -> np.ndarray:
        return preview_pictures(split, planned(discs, **sections).recipe, limit=1)[0].images_bgr[0]

    plain = first()
    assert plain.shape == (64, 64, 3)
    assert np.array_equal(plain, first(data={"threads": 2}))  # threads change nothing
    assert not np.array_equal(plain, first(run={"seed": 6}))
    assert not np.array_equal(plain, first(augment={"mosaic": 0.0}))
    assert first(data={"input_size": 96}).shape == (96, 96, 3)


def test_more_samples_than_an_epoch_has_are_not_made_up(discs: Dataset) -> None:
    found = preview_pictures(discs.split("train"), planned(discs).recipe, limit=100)
    assert [len(pictures.images_bgr) for pictures in found] == [4, 4]


def test_the_plan_is_that_of_train_whatever_the_validation_split_lacks(
    discs: Dataset, drawn: Callable[..., Path]
) -> None:
    shown, refusal = plan_to_show(discs, TrainRequest("rtmdet-nano", "", values=VALUES))
    assert shown is not None and refusal == ""
    assert shown.recipe == planned(discs).recipe
    bare = replace(
        discs.splits["val"], images=tuple(replace(i, instances=()) for i in discs.splits["val"].images)
    )
    without = Dataset(discs.classes, {"train": discs.splits["train"], "val": bare})
    shown, refusal = plan_to_show(without, TrainRequest("rtmdet-nano", "", values=VALUES))
    assert shown is not None and shown.recipe == planned(discs).recipe
    assert "usable box in the split 'val'" in refusal


def test_without_anything_to_learn_from_there_is_no_plan_and_a_reason(discs: Dataset) -> None:
    request = TrainRequest()
    train = discs.splits["train"]
    bare = replace(train, images=tuple(replace(image, instances=()) for image in train.images))
    shown, refusal = plan_to_show(Dataset(discs.classes, {"train": bare}), request)
    assert shown is None and "usable box in the split 'train'" in refusal
    named = Dataset(discs.classes, {"val": discs.splits["val"], "test": replace(train, name="test")})
    shown, refusal = plan_to_show(named, request)
    assert shown is None and "split named train" in refusal


def test_a_request_that_fits_no_data_is_refused(discs: Dataset) -> None:
    with pytest.raises(InputError, match="rtmdet-nona"):
        plan_to_show(discs, TrainRequest("rtmdet-nona"))


def test_where_no_image_can_be_read_that_is_said(discs: Dataset) -> None:
    for image in discs.split("train").images:
        image.path.write_bytes(b"")
    with pytest.raises(AerostatError, match="none of the 4 readable"):
        preview_pictures(discs.split("train"), planned(discs).recipe)
