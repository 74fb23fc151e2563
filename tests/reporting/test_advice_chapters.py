"""What a run suggests stands in its page, with the labels that are in issue."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from aerostat.datasets.dataset import Dataset
from aerostat.datasets.records import ImageRecord, Instance, Split
from aerostat.errors import InputError
from aerostat.evaluation.advice import Advice, AdviceReport
from aerostat.evaluation.label_issues import LabelIssue
from aerostat.reporting.advice_chapters import advice_chapters
from aerostat.reporting.subject import Subject
from aerostat.runs.directory import Run
from aerostat.training.recipe import Recipe

BOX = (10.0, 10.0, 40.0, 40.0)


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((80, 100, 3), 90, np.uint8))
    record = ImageRecord(tmp_path / "a.jpg", "a.jpg", 100, 80, (Instance(BOX, 0),))
    gone = ImageRecord(tmp_path / "gone.jpg", "gone.jpg", 100, 80, (Instance(BOX, 1),))
    split = Split("train", ("cat", "<b>"), (1, 2), (record, gone))
    data = Dataset(split.classes, {"train": split})
    run = Run(tmp_path / "run")
    run.path.mkdir()
    return Subject(run, None, Recipe(), data, split, None)  # type: ignore[arg-type]


def test_advice_and_disputes_of_every_kind_are_shown(subject):
    issues = (
        LabelIssue("a.jpg", "class", BOX, "<b>", "cat", 0.9, 0),
        LabelIssue("a.jpg", "unlabelled", (60.0, 10.0, 90.0, 40.0), "cat", None, 0.8),
        LabelIssue("a.jpg", "unseen", BOX, None, "cat", 0.0, 0),
        LabelIssue("gone.jpg", "unseen", BOX, None, "<b>", 0.0, 0),
        LabelIssue("unknown.jpg", "unseen", BOX, None, "cat", 0.0, 5),
    )
    AdviceReport((Advice("length", "Train for longer."),), issues, 2).write(subject.run.advice)
    first, second = advice_chapters(subject)
    assert first.tables[0].rows == [("length of the run", "Train for longer.")]
    assert "2 images" in second.paragraphs[0] and "5 labels" in second.paragraphs[0]
    assert len(second.figures) == 3 and any("gone.jpg" in text for text in second.paragraphs[1:])
    assert [row[0] for row in second.tables[0].rows] == [d.file_name for d in issues]


def test_nothing_to_say_is_said_and_no_advice_is_no_chapter(subject):
    assert advice_chapters(subject) == []
    AdviceReport().write(subject.run.advice)
    (only,) = advice_chapters(subject)
    assert "Nothing" in only.paragraphs[0]


def test_a_broken_record_is_refused_by_name(subject):
    subject.run.advice.write_text('{"advice": 3}')
    with pytest.raises(InputError, match=r"advice\.json holds no readable advice"):
        advice_chapters(subject)
