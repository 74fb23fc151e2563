"""The whole page about a run, with a real detector on drawn scenes."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
import torch

from aerostat.datasets.dataset import Dataset
from aerostat.demo import CHECKPOINT
from aerostat.errors import InputError
from aerostat.inference.backends.pytorch import TorchEngine
from aerostat.inference.detector import Detector
from aerostat.model import build
from aerostat.reporting import complete, report, run_chapters, write_report
from aerostat.reporting.page import Chapter
from aerostat.reporting.subject import Subject, read_subject
from aerostat.reporting.tta_chapters import right_and_wrong_chapters, view_card, view_chapters
from aerostat.runs.directory import Run
from aerostat.scenes.balloons import write_balloons
from aerostat.training.api import train
from aerostat.training.recipe import Recipe
from aerostat.weights.checkpoint import Header, save_weights

CLASSES = ("drawn balloon",)
"""Of the demo's checkpoint."""
SHOWN = [
    "Summary",
    "Data",
    "Images and labels",
    "Training batches",
    "Test-time augmentation",
    "Precision and recall",
    "Confusion matrix",
    "Kinds of error",
    "Feature maps",
    "Explanations",
    "Recipe",
    "Environment",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_balloons(tmp_path_factory.mktemp("scenes") / "data", train=4, val=3, seed=5)


def make_run(folder: Path, data: Path, *, classes: tuple[str, ...] = CLASSES) -> Run:
    """Return the directory of a run as training leaves it, with the weights of the demo."""
    run = Run(folder)
    run.create()
    values = {"model": {"size": "nano"}, "data": {"input_size": 320}, "optim": {"batch_size": 4}}
    Recipe().override({**values, "schedule": {"epochs": 4, "stage2_share": 0.25}}).write(run.recipe)
    run.environment.write_text(json.dumps({"data": {"path": str(data), "classes": list(classes)}}))
    shutil.copy(CHECKPOINT, run.best)
    return run


@pytest.mark.slow
def test_a_run_is_shown_with_its_data_its_mistakes_and_what_its_detections_rest_on(
    scenes: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", scenes)
    chapters = run_chapters(run)
    assert [chapter.title for chapter in chapters] == SHOWN
    by_title = {chapter.title: chapter for chapter in chapters}
    views = by_title["Test-time augmentation"].tables[0]
    cards = {card.name: card.value for card in by_title["Summary"].cards}
    assert cards["AP with TTA"] == views.rows[0][2]
    assert [row[0] for row in views.rows][:3] == ["AP", "AP50", "AP75"]
    plain, seen = (float(views.rows[0][column]) for column in (1, 2))
    assert 0 < plain <= 1 and views.rows[0][3] == f"{seen - plain:+.3f}"
    maps = by_title["Explanations"].tables[0]
    assert len(maps.rows) == 5 and maps.rows[0][0] == "LayerCAM"
    without = {"Summary", "Data", "Test-time augmentation", "Recipe", "Environment"}
    assert {title for title in SHOWN if not by_title[title].figures} == without
    assert len(by_title["Images and labels"].figures) == 2 + 6  # a sheet for each split, and the plots
    assert len(by_title["Training batches"].figures) == 2  # stages
    page = write_report(tmp_path / "page.html", title="t", chapters=chapters)
    assert page.stat().st_size < 10_000_000


@pytest.mark.slow
def test_a_run_that_was_trained_in_python_gets_its_page_and_is_told_what_to_call(
    scenes: Path, tmp_path: Path
) -> None:
    data = Dataset.read(scenes, classes=CLASSES)
    fields = {"epochs": 1, "input_size": 64, "batch_size": 2, "threads": 0, "device": "cpu"}
    run = train(data, model="rtmdet-nano", weights="", out=tmp_path / "run", progress=False, **fields)
    page = report(run, progress=False)
    text = page.read_text("utf-8")
    assert page == run.path / "report.html" and "Training batches" in text
    assert "ae.evaluate(" in text and "aerostat eval" not in text


def test_data_that_are_gone_leave_a_page_that_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "nowhere")
    chapters = run_chapters(run)
    assert [chapter.title for chapter in chapters] == ["Summary", "Data", "Recipe", "Environment"]
    assert "left out" in chapters[0].paragraphs[-1] and "nowhere" in chapters[0].paragraphs[-1]


def test_data_that_were_named_must_be_the_runs_own(scenes: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "nowhere")
    with pytest.raises(InputError, match="trained on drawn balloon, but the data have kite"):
        report(run, Dataset.read(scenes, classes=["kite"]))
    assert not (run.path / "report.html").exists()


def test_data_that_have_moved_can_be_named(scenes: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", tmp_path / "nowhere")
    subject = read_subject(run, Dataset.read(scenes, classes=CLASSES))
    assert (len(subject.train_split), len(subject.shown)) == (4, 3)
    assert subject.part(3) == "3 images of the split val"
    assert [record.path for record, _ in subject.found] == [image.path for image in subject.shown.images]


def test_a_run_without_a_validation_split_is_shown_on_its_training_images(
    scenes: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "run", scenes / "train")
    subject = read_subject(run)
    assert subject.val_split is None and subject.part(4) == "4 images of the split train"


def test_a_sample_is_spread_over_the_split(scenes: Path) -> None:
    split = Dataset.read(scenes, classes=CLASSES).split("train")
    assert split.sample(4) is split
    assert split.sample(2).images == (split.images[0], split.images[3])


def test_what_cannot_be_read_is_said_and_not_counted(scenes: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(scenes, tmp_path / "data"))
    broken = sorted((data / "val").glob("*.jpg"))[0]
    broken.write_bytes(broken.read_bytes()[:3000])
    subject = read_subject(make_run(tmp_path / "run", data))
    assert len(subject.found) == 2 and broken.name in subject.unreadable
    assert subject.unreadable.startswith("1 image is left out: ")
    assert "2 of the 3 images of the split val" in view_chapters(subject)[0].paragraphs[0]
    for chapter in right_and_wrong_chapters(subject):
        assert chapter.paragraphs[0] == "This is about 2 of the 3 images of the split val."


def test_without_a_readable_image_nothing_is_claimed(scenes: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(scenes, tmp_path / "data"))
    for path in (data / "val").glob("*.jpg"):
        path.write_bytes(path.read_bytes()[:3000])
    subject = read_subject(make_run(tmp_path / "run", data))
    assert view_card(subject) is None
    assert not view_chapters(subject) and not right_and_wrong_chapters(subject)
    assert subject.unreadable.startswith("3 images are left out: ")


def test_a_processor_is_asked_for_less_of_a_larger_network(scenes: Path, tmp_path: Path) -> None:
    subject = read_subject(make_run(tmp_path / "run", scenes))
    # 0.99 million parameters are 1.6 billion multiply-adds at 640 px, so 0.41 at 320 px
    assert subject.affords(100) == 100
    assert subject.affords(100_000) == pytest.approx(3000 / 0.41, rel=0.02)
    assert subject.affords(100_000, 10.0) == pytest.approx(300 / 0.41, rel=0.02)
    large = dataclasses.replace(
        subject, detector=Detector(TorchEngine(subject.detector.net), CLASSES, (3200, 3200))
    )
    assert large.affords(100) == pytest.approx(3000 / 40.7, abs=2)  # a hundred times the pixels
    assert large.affords(100, 100.0) == 0


def test_views_of_a_part_are_compared_with_plain_prediction_of_that_part(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = read_subject(make_run(tmp_path / "run", scenes))
    monkeypatch.setattr("aerostat.reporting.subject.MIN_IMAGES", 0)
    monkeypatch.setattr(Subject, "affords", lambda self, most, passes=1.0: 2 if passes > 1 else most)
    assert len(subject.found) == 3 and len(subject.seen) == 2
    (chapter,) = view_chapters(subject)
    assert "2 of the 3 images of the split val" in chapter.paragraphs[0]
    card = view_card(subject)
    assert card is not None and card.name == "TTA gain" and card.value == chapter.tables[0].rows[0][3]
    part = {record.path for record, _ in subject.seen}
    alone = dataclasses.replace(
        subject, val_split=dataclasses.replace(subject.shown, images=tuple(r for r, _ in subject.seen))
    )
    assert part == {record.path for record, _ in alone.found}
    assert [row[1] for row in view_chapters(alone)[0].tables[0].rows] == [
        row[1] for row in chapter.tables[0].rows
    ]


def test_with_masks_views_are_compared_by_boxes_and_by_masks(scenes: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", scenes)
    torch.manual_seed(0)
    net = build("nano", 1, masks=True)
    run.best.unlink()
    save_weights(run.best, net.state_dict(), Header("nano", CLASSES, (320, 320), masks=True))
    subject = read_subject(run)
    (chapter,) = view_chapters(subject)
    boxes, masks = chapter.tables
    assert (boxes.caption, masks.caption) == ("", "Masks")
    assert [row[0] for row in boxes.rows] == [row[0] for row in masks.rows]
    card = view_card(subject)
    assert card is not None
    assert (card.name, card.value) == ("Mask AP with TTA", masks.rows[0][2])


def test_a_chapter_that_cannot_be_made_says_why_and_the_others_stay(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "aerostat")

    def fail(_: Subject) -> list[Chapter]:
        raise RuntimeError("out of memory\nand a long story")

    monkeypatch.setattr(
        complete, "SHOWN", {"Data": {"Broken": fail, "Whole": lambda _: [Chapter("Whole", ["here"])]}}
    )
    monkeypatch.setattr(complete, "view_card", lambda _: None)
    chapters = {chapter.title: chapter for chapter in run_chapters(make_run(tmp_path / "run", scenes))}
    assert chapters["Broken"].paragraphs == ["This could not be shown: RuntimeError: out of memory"]
    assert chapters["Whole"].paragraphs == ["here"]
    assert any(
        message.endswith("goes without the chapter 'Broken': RuntimeError: out of memory")
        for message in caplog.messages
    )


def test_a_page_that_cannot_be_written_does_not_fail_the_training(
    scenes: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    from aerostat.cli.pages import write_page

    run = make_run(tmp_path / "run", scenes)
    write_page(run, Dataset.read(scenes, classes=["kite"]))
    assert "is whole, but its report could not be written: " in caplog.text
    assert not capsys.readouterr().out


@pytest.mark.slow
def test_where_nothing_is_found_the_page_says_so(scenes: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", scenes)
    torch.manual_seed(0)
    header = Header("nano", CLASSES, input_size=(320, 320))
    save_weights(run.best, build("nano", 1).state_dict(), header)
    (rest,) = [c for c in run_chapters(run) if c.title == "Explanations"]
    assert rest.paragraphs[0].startswith(
        "There are no detections above a score of 0.3 on 3 images of the split val"
    )
    assert not rest.figures
