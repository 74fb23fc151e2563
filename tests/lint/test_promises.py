"""What lint says about broken data is what training, evaluation and prediction do with them."""

import json
from pathlib import Path

import pytest

from aerostat.__main__ import main
from aerostat.datasets.dataset import Dataset
from aerostat.images.read import read_image
from aerostat.lint.lint import lint_path
from aerostat.pipeline.loader import TrainLoader
from aerostat.pipeline.policy import Augmentation

from . import nasty

LEFT_OUT = {"missing.jpg", "empty.jpg", "text.jpg"}
BROKEN_BEHIND_THE_HEADER = {"truncated.jpg", "truncated.png"}
KEPT = {
    101: (0, 5, 20, 35),
    105: (0, 0, 96, 64),
    106: (10, 10, 40, 30),
    107: (10, 10, 40, 30),
    108: (10, 10, 40, 30),
    111: (50, 30, 70, 40),
    112: (1, 1, 96, 4),
    116: (60, 10, 80, 30),
    117: (60, 40, 80, 60),
    118: (60, 40, 70, 50),
}
"""What is left of the objects of `boxes.jpg`, worked out by hand."""
TINY = ["--model", "rtmdet-nano", "--weights", "", "--input-size", "64", "--epochs", "1", "--batch-size", "4"]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nasty.write(tmp_path_factory.mktemp("nasty") / "data")


@pytest.fixture(autouse=True)
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AEROSTAT_HOME", str(tmp_path / "home"))


def test_a_broken_record_costs_itself_and_the_image_keeps_its_other_objects(broken: Path) -> None:
    (image,) = (i for i in Dataset.read(broken).split("train").images if i.file_name == "boxes.jpg")
    assert [i.box_xyxy for i in image.instances] == list(KEPT.values())


def test_images_are_left_out_as_lint_says_and_all_others_are_there(broken: Path) -> None:
    named = {image.file_name for image in Dataset.read(broken).split("train").images}
    assert named == {*nasty.files()["train"], "missing.jpg"} - LEFT_OUT - {"unreferenced.jpg"}
    out = {
        f.file for f in lint_path(broken).findings if f.training == "the image is left out with its objects"
    }
    assert out == LEFT_OUT


def test_an_image_that_is_turned_is_upright_with_the_size_that_counts(broken: Path) -> None:
    sizes = {i.file_name: (i.width, i.height) for i in Dataset.read(broken).split("train").images}
    for name in ("turned.jpg", "turned_and_stated.jpg"):
        assert sizes[name] == read_image(broken / "train" / name).shape[1::-1] == (64, 96)


@pytest.mark.parametrize("threads", [0, 2])
def test_an_epoch_ends_and_shows_every_image_but_the_broken_ones(
    broken: Path, caplog: pytest.LogCaptureFixture, threads: int
) -> None:
    caplog.set_level("INFO", "aerostat")
    images = Dataset.read(broken).split("train").images
    loader = TrainLoader(
        images, augmentation=Augmentation(input_size=64), batch_size=4, seed=3, threads=threads
    )
    batches = [batch for epoch in range(3) for batch in loader.epoch(epoch, stage=2)]
    assert len(batches) == 3 * len(loader)
    said = [line for line in caplog.messages if "in place of" in line]
    assert len(said) == len(BROKEN_BEHIND_THE_HEADER)
    assert {name for name in BROKEN_BEHIND_THE_HEADER if name in " ".join(said)} == BROKEN_BEHIND_THE_HEADER


@pytest.mark.slow
def test_training_evaluation_and_prediction_come_through(
    broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(broken), *TINY, "--out", "run"]) == 0
    err = capsys.readouterr().err
    for code in ("image-truncated (3)", "box-clipped (1)", "duplicate-across-splits (1)"):
        assert code in err
    assert "in place of truncated.jpg" in err
    written = json.loads(Path("run/environment.json").read_text("utf-8"))["lint"]
    assert written["counts"] == {"errors": 17, "warnings": 18, "notes": 7}

    assert main(["eval", "run", str(broken), "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["unreadable"] == ["truncated.jpg"]
    assert "val: truncated.jpg is left out with its objects" in err

    assert main(["predict", "run", str(broken / "train"), "--out", "found"]) == 1
    out, err = capsys.readouterr()
    assert "4 of 16 images could not be read" in err and "the others are done" in err
    assert len(list(Path("found").glob("*.jpg")) + list(Path("found").glob("*.png"))) == 12

    assert main(["inspect", str(broken), "--out", "look", "--strict", *TINY[:6]]) == 2
    out, err = capsys.readouterr()
    assert "image-truncated (3)" in out and "look/train/images.jpg" in out  # all is shown first
    assert "refused by --strict: error image-missing, train/missing.jpg" in err
    assert json.loads(Path("look/inspection.json").read_text("utf-8"))["lint"]["counts"]["errors"] == 17

    assert main(["train", str(broken), *TINY, "--out", "strict", "--strict"]) == 2
    assert not Path("strict").exists()


def test_strict_training_refuses_what_only_the_pixels_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for n in range(2):
        (folder / f"{n}.jpg").write_bytes(nasty.encoded(nasty.picture(n), quality=95)[: -900 if n else None])
    rect = {"shape_attributes": {"name": "rect", "x": 5, "y": 5, "width": 30, "height": 30}}
    document = {f"{n}": {"filename": f"{n}.jpg", "regions": [rect]} for n in range(2)}
    (folder / "via.json").write_text(json.dumps(document))
    assert main(["train", str(folder.parent), "--classes", "disc", *TINY, "--out", "run", "--strict"]) == 2
    assert "refused by --strict: error image-truncated, train/1.jpg" in capsys.readouterr().err
    assert not Path("run").exists()
