"""What a few dozen photographs are trained with when nobody says anything: the real balloon photographs."""

import json
from pathlib import Path

import pytest
import torch

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.inference.resolve import load
from aerostat.model import build
from aerostat.training.api import train
from aerostat.training.plan import TrainRequest, plan
from aerostat.weights.checkpoint import Header, save_weights
from aerostat.weights.coco_classes import COCO_CLASSES


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory) -> Path:
    """Weights of the published RTMDet-tiny's shape, drawn at random: the real ones are not at hand here."""
    path = tmp_path_factory.mktemp("weights") / "rtmdet-tiny.safetensors"
    torch.manual_seed(0)
    header = Header("tiny", COCO_CLASSES, (640, 640))
    save_weights(path, build("tiny", len(COCO_CLASSES)).state_dict(), header)
    return path


@pytest.fixture(scope="module")
def balloons(balloon) -> Dataset:
    return Dataset.read(balloon, classes=["balloon"])


def test_one_command_chooses_the_recipe_by_itself(balloon, person_weights, capfd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    asked = ["train", str(balloon), "--classes", "balloon", "--weights", str(person_weights), "--dry-run"]
    assert main(asked) == 0
    said = "".join(capfd.readouterr())
    assert "preset small: 61 training images" in said
    assert "rtmdet-nano at 800 px" in said
    assert "in place of 320" in said
    assert not list(tmp_path.iterdir())


def test_the_rules_are_the_same_for_tiny_from_coco_weights(balloons, person_weights, tiny_weights):
    nano = plan(balloons, TrainRequest(weights=str(person_weights))).recipe
    tiny = plan(balloons, TrainRequest("rtmdet-tiny", str(tiny_weights))).recipe
    assert (tiny.model.size, tiny.data) == ("tiny", nano.data)
    for section in ("augment", "optim", "schedule", "eval"):
        assert getattr(tiny, section) == getattr(nano, section)


def test_fewer_photographs_change_the_recipe_by_their_figures_alone(balloons, person_weights):
    train_split = balloons.split("train")
    for count in (15, 30):
        some = train_split.chosen(range(count))
        asked = TrainRequest(weights=str(person_weights), val=0.0)
        recipe = plan(Dataset(balloons.classes, {"train": some}), asked).recipe
        assert recipe.data.input_size in (640, 800)
        assert recipe.optim.batch_size <= count


@pytest.mark.slow
def test_tiny_learns_by_the_same_command(balloons, tiny_weights, tmp_path):
    splits = {name: balloons.split(name).chosen(range(4)) for name in ("train", "val")}
    data = Dataset(balloons.classes, splits)
    asked = {"model": "rtmdet-tiny", "weights": str(tiny_weights)}
    run = train(data, **asked, out=tmp_path / "run", epochs=2)
    lines = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert [line["epoch"] for line in lines if line["kind"] == "val"] == [1, 2]
    detector = load(run.last)
    assert detector.classes == ("balloon",)
    side = plan(data, TrainRequest(**asked)).recipe.data.input_size
    assert detector.input_size == (side, side)
    assert side >= 640
