"""The verb `inspect` as a person meets it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.training.loop import build_loader
from aerostat.training.plan import TrainRequest, plan

NANO = ["--model", "rtmdet-nano", "--input-size", "64"]


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder and a cache without weights."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three photographs to learn from and two to validate on, two classes, in COCO format."""
    for split, count in (("train", 3), ("val", 2)):
        folder = tmp_path / "data" / split
        folder.mkdir(parents=True)
        images, annotations = [], []
        for i in range(count):
            cv2.imwrite(str(folder / f"{i}.png"), np.full((64, 80, 3), 60 * i, np.uint8))
            images.append({"id": i + 1, "file_name": f"{i}.png", "width": 80, "height": 64})
            box = {"bbox": [20, 10, 30, 30], "area": 900, "iscrowd": 0}
            annotations.append({"id": i + 1, "image_id": i + 1, "category_id": i % 2 + 1, **box})
        categories = [{"id": 1, "name": "disc"}, {"id": 2, "name": "kite"}]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "_annotations.coco.json").write_text(json.dumps(document))
    return tmp_path / "data"


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inspect(capfd: pytest.CaptureFixture[str]) -> Run:
    def run(*words: object) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["inspect", *map(str, words)])
        return (code, *capfd.readouterr())

    return run


def refused(ended: tuple[int, str, str], *words: str) -> None:
    code, out, err = ended
    assert code == 2 and out == ""
    assert "Traceback" not in err
    for word in words:
        assert word in err


def test_the_card_is_printed_and_every_picture_named(inspect: Run, data: Path, working_folder: Path) -> None:
    code, out, err = inspect(data, *NANO)
    assert code == 0
    for words in ("Objects per class", "disc", "kite", "train", "val", "3 of 3 images, seed 0"):
        assert words in out
    for line in re.findall(r"^(inspection/\S+):", out, re.MULTILINE):
        assert Path(line).exists(), line
    for name in ("train/images.jpg", "val/labels.jpg", "batches/stage1.png", "batches/stage2.png"):
        assert f"inspection/{name}" in out
    assert "rtmdet-nano at 64 px" in err and "seed 0" in err


def test_json_is_the_card_the_paths_and_the_numbers_and_nothing_else(inspect: Run, data: Path) -> None:
    code, out, _ = inspect(data, *NANO, "--out", "elsewhere", "--seed", "7", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["card"]["classes"] == ["disc", "kite"]
    assert document["seed"] == document["recipe"]["run"]["seed"] == 7
    assert document["splits"]["val"]["statistics"]["objects_per_class"] == {"disc": 1, "kite": 1}
    assert [batch["stage"] for batch in document["batches"]] == [1, 2]
    assert all((Path("elsewhere") / name).is_file() for name in document["files"])
    assert json.loads(Path("elsewhere/inspection.json").read_text()) == document


def test_the_batches_are_those_that_train_would_begin_with(inspect: Run, data: Path) -> None:
    words = ["--seed", "3", "--set", "augment.flip=0", "--set", "schedule.stage2_share=0.5"]
    _, out, _ = inspect(data, *NANO, *words, "--json")
    document = json.loads(out)
    values = {
        "data": {"input_size": 64},
        "run": {"seed": 3},
        "augment": {"flip": 0},
        "schedule": {"stage2_share": 0.5},
    }
    planned = plan(Dataset.read(data), TrainRequest("rtmdet-nano", values=values))
    assert document["recipe"] == json.loads(json.dumps(planned.recipe.to_dict()))
    loader = build_loader(planned.train_split, planned.recipe)
    for batch in document["batches"]:
        assert batch["epoch"] == (1 if batch["stage"] == 1 else planned.recipe.schedule.stage2_epoch + 1)
        sheet = cv2.imread(batch["picture"])
        tensor = next(loader.epoch(batch["epoch"] - 1, batch["stage"])).images[0]
        pixels = tensor.permute(1, 2, 0).numpy()
        match = max(
            float((sheet[y : y + 64, 8:72] == pixels).all(axis=2).mean()) for y in range(sheet.shape[0] - 64)
        )
        assert match > 0.5  # all but boxes and tags


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--limit", "0"], ["--limit", "from 1 to 1000", "0"]),
        (["--limit", "5000"], ["5000"]),
        (["--seed", "-1"], ["run.seed", "-1"]),
        (["--out", "taken"], ["taken", "no earlier inspection", "--force"]),
        (["--out", "a.txt"], ["a.txt is a file"]),
        (["--model", "rtmdet-nan"], ["Did you mean 'rtmdet-nano'"]),
        (["--input-size", "100"], ["multiple of 32", "100"]),
        (["--recipe", "tiny"], ["'tiny'", "small"]),
        (["--set", "augment.flop=1"], ["augment.flop", "Did you mean", "flip"]),
        (["--weights", "none.pth"], ["none.pth"]),
        (["--classes", "ball"], ["'disc'", "'ball'"]),
        (["--images", "nowhere"], ["nowhere"]),
    ],
)
def test_a_request_that_does_not_fit_is_one_sentence_and_nothing_is_written(
    inspect: Run, data: Path, working_folder: Path, words: list[str], expected: list[str]
) -> None:
    Path("taken").mkdir()
    Path("taken/mine.txt").write_text("mine")
    Path("a.txt").write_text("mine")
    before = sorted(working_folder.rglob("*"))
    refused(inspect(data, *words), *expected)
    assert sorted(working_folder.rglob("*")) == before


def test_data_that_are_none_are_refused(inspect: Run, tmp_path: Path) -> None:
    refused(inspect(tmp_path / "nothing"), "found nothing")


def test_a_broken_image_is_named_and_the_rest_is_shown(inspect: Run, data: Path) -> None:
    content = (data / "train" / "1.png").read_bytes()
    (data / "train" / "1.png").write_bytes(content[: len(content) // 2])  # its header is sound
    code, out, err = inspect(data, *NANO)
    assert code == 0
    assert "1.png left out of the pictures" in out and "2 of 3 images" in out
    assert "another image in place of 1.png" in err


@pytest.mark.slow
def test_what_train_would_refuse_is_said_and_the_rest_is_shown(inspect: Run, data: Path) -> None:
    for split, words in (
        ("val", "usable box in the split 'val'"),
        ("train", "usable box in the split 'train'"),
    ):
        path = data / split / "_annotations.coco.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
        code, out, err = inspect(data, *NANO)
        assert code == 0
        assert "train would refuse these data: expected" in err and words in err
        assert ("stage1.png" in out) == (split == "val")
        assert "train/images.jpg" in out
        assert words in json.loads(Path("inspection/inspection.json").read_text())["refusal"]


@pytest.mark.slow
def test_the_balloons_are_inspected_as_the_readme_says(inspect: Run, balloon: Path) -> None:
    code, out, _ = inspect(balloon, "--classes", "balloon", *NANO[:2], "--input-size", "320", "--json")
    document = json.loads(out)
    assert code == 0
    train = document["splits"]["train"]
    assert (len(train["shown"]), train["statistics"]["images"], train["statistics"]["objects"]) == (
        16,
        61,
        255,
    )
    assert sum(train["statistics"]["box_size_px"]["counts"]) == 255
    assert max(train["statistics"]["objects_per_image"]["edges"]) == 29  # at most 28 in a photograph
    assert len(document["batches"]) == 2
